"""How scenarios are declared, and what they get."""
import dataclasses
import itertools
import os

from .sandbox import Cluster, leftovers

REGISTRY = []
NUMBERS = itertools.count(1)  # of this process's clusters


@dataclasses.dataclass
class Scenario:
    name: str
    function: object
    cost: int  # seconds, roughly: long ones start first
    alone: bool  # measures time or loss: nothing beside it
    only_by_name: bool  # not in a run of everything
    dir_only: str = ""  # why it is of the `dir:` store alone; empty: it runs on every store
    every_store: bool = False  # `make test` runs it on Kubernetes' store, too
    since: str = ""  # the first version of Kubernetes that has what it asks for
    api_only: bool = False  # about an API server: not on the `dir:` store


class Context:
    """Gives a scenario its clusters and takes them down."""

    def __init__(self, build, name, keep_logs, kind=Cluster):
        """kind: of clusters that a scenario asks for no other kind of."""
        self.build, self.name, self.keep_logs, self.kind = build, name, keep_logs, kind
        self.clusters = []

    def cluster(self, kind=None, **options):
        # Several runs may go on beside each other on one machine.
        cluster = (kind or self.kind)(self.build, f"t{os.getpid()}-{next(NUMBERS)}-{self.name[:20].strip('-')}", **options)
        self.clusters.append(cluster)
        cluster.up()
        return cluster

    def end(self, failed):
        """Takes everything down; returns what was left behind."""
        found = []
        for cluster in self.clusters:
            try:
                cluster.down(keep_logs=self.keep_logs / self.name / cluster.name if failed and self.keep_logs else None)
            except Exception as error:  # noqa: BLE001 - one cluster's failure must not keep the others up
                found.append(f"{cluster.name}: {error}")
            found += leftovers(cluster.name)
        return found


def scenario(cost=20, alone=False, name=None, only_by_name=False, dir_only="", every_store=False, since="", api_only=False):
    def register(function):
        REGISTRY.append(Scenario(name or function.__name__.replace("_", "-"), function, cost, alone, only_by_name, dir_only, every_store, since, api_only))
        return function
    return register
