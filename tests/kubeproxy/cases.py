"""Services and who has to answer at them, for kube-proxy 1.20 and for us alike.

Each row of ROWS is a case: it is asked on a cluster that kube-proxy runs and on one of ours, and both have to answer as the row says.
Where the two may differ by design a case says less: the client's address is compared only where both keep it (a Service with
externalTrafficPolicy: Local; kube-proxy translates the rest, we do so only to other nodes), and how a connection fails only where
both tell the client.

Machines: c1, b1 on node1; c2, b2 on node2; outside. The world's way to services' addresses is node1.
"""
from lib.services import SERVICE_PORT, rows

OTHER_PORT = 81
BOTH = (("TCP", SERVICE_PORT), ("UDP", SERVICE_PORT))
TWO_PORTS = (*BOTH, ("TCP", OTHER_PORT))
PODS, NODES, ALL = "c1 c2", "node1 node2", "c1 c2 node1 node2"
# The API server writes the default in, and kube-proxy relies on it.
STICKY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}
NODE_FRONTENDS = "node:node1 node:node2"

# name, number, backends, and what else the Service has. A backend's number of ports follows from `ports`.
SERVICES = [
    ("both", 1, ("b1", "b2"), {}),
    ("first", 2, ("b1",), {}),
    ("second", 3, ("b2",), {}),
    ("empty", 4, (), {}),
    ("unready", 5, ({"machine": "b1", "ready": False}, "b2"), {}),
    ("none-ready", 6, ({"machine": "b1", "ready": False}, {"machine": "b2", "ready": False}), {}),
    ("leaving", 7, ({"machine": "b1", "ready": False, "serving": True, "terminating": True}, "b2"), {}),
    ("sticky", 8, ("b1", "b2"), STICKY),
    ("ports", 9, ("b1", "b2"), {"ports": TWO_PORTS}),
    ("hosts", 10, ("node1", "node2"), {}),
    ("port", 11, ("b1", "b2"), {"type_": "NodePort"}),
    ("port-local", 12, ("b1",), {"type_": "NodePort", "externalTrafficPolicy": "Local"}),
    ("port-local-both", 13, ("b1", "b2"), {"type_": "NodePort", "externalTrafficPolicy": "Local"}),
    ("port-empty", 14, (), {"type_": "NodePort"}),
    ("port-sticky", 15, ("b1", "b2"), {"type_": "NodePort", **STICKY}),
    ("port-here", 16, ("b1",), {"type_": "NodePort"}),
    ("port-there", 17, ("b2",), {"type_": "NodePort"}),
    ("port-hosts", 18, ("node1", "node2"), {"type_": "NodePort"}),
    ("balanced", 19, ("b1", "b2"), {"type_": "LoadBalancer"}),
    ("balanced-local", 20, ("b1",), {"type_": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31020}),
    ("balanced-local-far", 21, ("b2",), {"type_": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31021}),
    ("balanced-empty", 22, (), {"type_": "LoadBalancer"}),
    ("ranges-in", 23, ("b1", "b2"), {"type_": "LoadBalancer", "loadBalancerSourceRanges": ["172.18.200.0/24", "fd00:18:200::/64"]}),
    ("ranges-out", 24, ("b1", "b2"), {"type_": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24", "2001:db8:77::/64"]}),
    ("outer", 25, ("b1", "b2"), {"external": True}),
    ("outer-here", 26, ("b1",), {"external": True}),
    ("port-first", 27, ("b1",), {"type_": "NodePort", "ports": (("TCP", SERVICE_PORT),)}),
]

ROWS = [
    *rows(f"{ALL} b1 b2", "cluster", 1, "b1 b2"),
    *rows(PODS, "cluster", 1, "b1 b2", kinds=("tcp", "udp"), peer="client"),
    *rows(PODS, "cluster", 1, "b1 b2", kinds=("upload", "download", "fragments"), times=12),
    *rows(f"{ALL} b2", "cluster", 2, "b1"),
    *rows("b1", "cluster", 2, "b1"),  # itself
    *rows(f"{ALL} b1", "cluster", 3, "b2"),
    *rows(ALL, "cluster", 4, kinds=("tcp",), error="refused"),
    *rows(ALL, "cluster", 5, "b2"),
    *rows(PODS, "cluster", 6, kinds=("tcp", "udp"), error="refused"),
    *rows(ALL, "cluster", 7, "b2"),
    *rows(ALL, "cluster", 8, "b1 b2", single=True, kinds=("tcp",)),
    *rows(PODS, "cluster", 9, "b1 b2", kinds=("tcp",), port=OTHER_PORT),
    *rows(ALL, "cluster", 10, "node1 node2", kinds=("tcp", "udp")),
    *rows(ALL, NODE_FRONTENDS, 11, "b1 b2"),
    *rows("outside", NODE_FRONTENDS, 11, "b1 b2"),
    *rows("outside", NODE_FRONTENDS, 11, "b1 b2", kinds=("upload", "fragments"), times=12),
    *rows("outside", "node:node1", 12, "b1", peer="client"),
    *rows("outside", "node:node2", 12, kinds=("tcp", "udp")),
    *rows("c2 node2", "node:node2", 12, "b1"),  # from inside the policy does not bind
    *rows("outside", "node:node1", 13, "b1", peer="client"),
    *rows("outside", "node:node2", 13, "b2", peer="client"),
    *rows(f"outside {ALL}", "node:node1", 14, kinds=("tcp",), error="refused"),
    *rows("outside", NODE_FRONTENDS, 15, "b1 b2", single=True, kinds=("tcp",)),
    *rows("outside c1 c2 b1", NODE_FRONTENDS, 16, "b1"),
    *rows("outside c1 c2 b1", NODE_FRONTENDS, 17, "b2"),
    *rows("outside", NODE_FRONTENDS, 18, "node1 node2", kinds=("tcp",)),
    *rows("outside", "load-balancer", 19, "b1 b2"),
    *rows(ALL, "load-balancer cluster", 19, "b1 b2"),
    *rows("outside", NODE_FRONTENDS, 19, "b1 b2"),
    *rows("outside", "load-balancer", 20, "b1", peer="client"),
    *rows(ALL, "load-balancer", 20, "b1"),
    *rows("outside", "load-balancer", 21, kinds=("tcp", "udp")),
    *rows(PODS, "load-balancer", 21, "b2"),
    *rows("outside", "load-balancer", 22, kinds=("tcp",), error="refused"),
    *rows("outside", "load-balancer", 23, "b1 b2"),
    *rows("outside", "load-balancer", 24, kinds=("tcp", "udp"), error="silent"),
    *rows("outside", "external", 25, "b1 b2"),
    *rows("c1 c2 node2", "external", 25, "b1 b2"),  # not the node that the address leads to: kube-proxy takes it for an outside one there
    *rows("outside c1 c2", "external", 26, "b1"),
    *rows("outside", "node:node2", 27, "b1", kinds=("tcp",)),
    *rows("outside", "node:node2", 27, kinds=("udp",)),  # its protocol is TCP
]
