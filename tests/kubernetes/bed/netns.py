"""Sockets of another network namespace, for a harness that stays in its own."""
import ctypes
import socket
import threading

CLONE_NEWNET = 0x40000000


def connected(netns, address, port, timeout=10):
    """A TCP socket connected from within the namespace pinned at a path. The namespace is a thread's, and the thread ends here."""
    answer = {}

    def dial():
        try:
            with open(netns) as pin:
                if ctypes.CDLL(None, use_errno=True).setns(pin.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"entering {netns}")
            answer["socket"] = socket.create_connection((address, port), timeout=timeout)
        except OSError as error:
            answer["error"] = error

    thread = threading.Thread(target=dial)
    thread.start()
    thread.join()
    if "error" in answer:
        raise answer["error"]
    return answer["socket"]
