"""What scenarios get: one cluster for all of them, because bringing one up takes longer than most of them, and namespaces of their own."""
import itertools
import os

from lib.sandbox import leftovers

from . import workloads
from .axoneme import Axoneme
from .cluster import KubernetesCluster

NUMBERS = itertools.count(1)  # of this process's clusters


class Bed:
    """The shared cluster; it is there from the first scenario that asks for it."""

    def __init__(self, build, keep_logs, nodes=2):
        self.build, self.keep_logs, self.nodes = build, keep_logs, nodes
        self.shared, self.agents = None, None

    def new_cluster(self, **options):
        return KubernetesCluster(self.build, f"k{os.getpid()}-{next(NUMBERS)}", **options)

    def kubernetes(self):
        if self.shared is None:
            self.shared = self.new_cluster(nodes=self.nodes)
            self.shared.up()
        return self.shared

    def axoneme(self):
        if self.agents is None:
            self.agents = Axoneme(self.kubernetes())
            self.agents.install()
        return self.agents

    def end(self):
        if self.shared is None:
            return []
        try:
            self.shared.down()
            return leftovers(self.shared.name)
        except Exception as error:  # noqa: BLE001 - to be reported, not to hide what came before
            return [f"{self.shared.name}: {error}"]


class BedContext:
    def __init__(self, bed, name):
        self.bed, self.name = bed, name
        self.namespaces, self.clusters, self.undo = [], [], []

    def kubernetes(self):
        """The cluster, whether or not our agents run on it."""
        return self.bed.kubernetes()

    def axoneme(self):
        """Our agents and operator on the shared cluster."""
        return self.bed.axoneme()

    def own_cluster(self, **options):
        """A cluster for this scenario alone."""
        cluster = self.bed.new_cluster(**options)
        self.clusters.append(cluster)
        cluster.up()
        return cluster

    def namespace(self, suffix="", labels=None):
        """A namespace that goes with the scenario."""
        self.namespaces.append(self.namespace_in(self.bed.kubernetes(), suffix, labels))
        return self.namespaces[-1]

    def namespace_in(self, cluster, suffix="", labels=None):
        """One in a cluster of the scenario's own."""
        name = self.name[:40] + suffix
        # One of an earlier attempt may be on its way out.
        cluster.api.wait_for(lambda: not (cluster.api.find("v1", "Namespace", None, name) or {}).get("metadata", {}).get("deletionTimestamp"), 60)
        cluster.api.apply(workloads.namespace(name, labels))
        cluster.must("its default service account", lambda: cluster.api.find("v1", "ServiceAccount", name, "default"), 20, "kube-controller-manager")
        return name

    def on_end(self, function):
        self.undo.append(function)

    def end(self, failed):
        found = []
        for function in reversed(self.undo):
            try:
                function()
            except Exception as error:  # noqa: BLE001
                found.append(f"undoing: {error}")
        cluster = self.bed.shared
        if cluster is not None and self.namespaces:
            found += remove_namespaces(cluster, self.namespaces)
        for own in [*self.clusters, *([cluster] if cluster else [])]:
            if failed and self.bed.keep_logs:
                own.keep_logs(self.bed.keep_logs / self.name / own.name)
        for own in self.clusters:
            try:
                own.down()
            except Exception as error:  # noqa: BLE001
                found.append(f"{own.name}: {error}")
            found += leftovers(own.name)
        if cluster is not None:
            # Whatever a scenario ended, it started again.
            found += [f"{name} has ended with {running.process.returncode}" for name, running in cluster.processes.items() if not running.alive()]
        return found


def remove_namespaces(cluster, names):
    """Deletes what runs in them and waits for that; the namespaces themselves go later, by themselves. Names what does not go."""
    for name in names:
        for owner in cluster.api.list("apps/v1", "Deployment", name):
            cluster.api.delete("apps/v1", "Deployment", name, owner["metadata"]["name"])
        for pod in cluster.pods(name):
            cluster.api.delete("v1", "Pod", name, pod["metadata"]["name"], grace=1)
    left = []
    if not cluster.api.wait_for(lambda: not any(cluster.api.list("v1", "Pod", name) for name in names), 90, 0.25):
        left = [f"pod {pod['metadata']['name']} is still there" for name in names for pod in cluster.api.list("v1", "Pod", name)]
    for name in names:
        cluster.api.delete("v1", "Namespace", None, name)
    return left
