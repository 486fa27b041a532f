"""Manifests of what the scenarios run."""
from . import images

PORT = 7000
RATES_PORT = 7001  # the same server's plain echo


def container(ready_seconds=1, probe=True):
    """The traffic server. It goes on for a moment when it is told to end, as servers that are rolled out do."""
    spec = {"name": "server", "image": images.TEST, "imagePullPolicy": "Never", "ports": [{"name": "echo", "containerPort": PORT}, {"name": "rates", "containerPort": RATES_PORT}],
            "command": ["/bin/sh", "-c", "trap 'sleep 5; kill $child' TERM; axoneme-traffic serve --port 7000 & child=$!; wait; wait"]}
    if probe:
        spec["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": ready_seconds, "timeoutSeconds": 3}
    return spec


def pod_spec(node=None, host_network=False, probe=True):
    spec = {"containers": [container(probe=probe)], "terminationGracePeriodSeconds": 10, "automountServiceAccountToken": False}
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    if host_network:
        spec["hostNetwork"] = True
        spec["tolerations"] = [{"operator": "Exists"}]
        spec["containers"] = [{"name": "server", "image": images.TEST, "imagePullPolicy": "Never", "command": ["/bin/sleep", "100000"]}]
    return spec


def pod(name, namespace, labels=None, **options):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": name}}, "spec": pod_spec(**options)}


def deployment(name, namespace, replicas, labels=None, **options):
    labels = labels or {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                     "template": {"metadata": {"labels": labels}, "spec": pod_spec(**options)}}}


def service(name, namespace, kind="ClusterIP", app=None):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"type": kind, "selector": {"app": app or name}, "ports": [{"name": "echo", "port": PORT}, {"name": "rates", "port": RATES_PORT}]}}


def namespace(name, labels=None):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def ingress_policy(name, namespace, app, allowed):
    """A NetworkPolicy: only pods with these labels reach the app."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace},
            "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"],
                     "ingress": [{"from": [{"podSelector": {"matchLabels": allowed}}]}]}}


def cilium_policy(name, namespace, app, allowed, port=PORT):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": name, "namespace": namespace},
            "spec": {"endpointSelector": {"matchLabels": {"app": app}},
                     "ingress": [{"fromEndpoints": [{"matchLabels": allowed}], "toPorts": [{"ports": [{"port": str(port), "protocol": "TCP"}]}]}]}}
