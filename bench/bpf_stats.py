"""Run times of loaded BPF programs, as the kernel counts them (BPF_ENABLE_STATS): for programs that BPF_PROG_RUN cannot set the scene for."""
import ctypes
import os
import pathlib
import struct

SYS_BPF = 321  # x86-64
GET_NEXT_ID, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, ENABLE_STATS = 11, 13, 15, 32
# Offsets in struct bpf_prog_info of include/uapi/linux/bpf.h.
NAME, RUN_TIME, RUN_COUNT, INFO_SIZE = 64, 192, 200, 256
LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = LIBC.syscall(SYS_BPF, command, buffer, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf({command}): {os.strerror(number)}")
    return result


class Counting:
    """While open, the kernel counts the time of every program."""

    def __enter__(self):
        self.fd = bpf(ENABLE_STATS, struct.pack("I", 0))
        return self

    def __exit__(self, *unused):
        os.close(self.fd)


def read(program):
    """(name, nanoseconds, runs) of a program id."""
    fd = bpf(PROG_GET_FD_BY_ID, struct.pack("I", program))
    try:
        info = ctypes.create_string_buffer(INFO_SIZE)
        bpf(OBJ_GET_INFO_BY_FD, struct.pack("IIQ", fd, INFO_SIZE, ctypes.addressof(info)))
        return info.raw[NAME:NAME + 16].split(b"\0")[0].decode(), *struct.unpack_from("QQ", info.raw, RUN_TIME)
    finally:
        os.close(fd)


def held_by(pid, name):
    """The id of the program of that name that a process holds."""
    for path in list(pathlib.Path(f"/proc/{pid}/fdinfo").iterdir()):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if "prog_id" in fields and read(int(fields["prog_id"]))[0] == name[:15]:
            return int(fields["prog_id"])
    raise KeyError(f"process {pid} holds no program {name}")


def every():
    """The ids of all loaded programs."""
    buffer, program = ctypes.create_string_buffer(128), 0
    while True:
        struct.pack_into("II", buffer, 0, program, 0)
        if LIBC.syscall(SYS_BPF, GET_NEXT_ID, buffer, 128) < 0:
            return
        program = struct.unpack_from("I", buffer, 4)[0]
        yield program
