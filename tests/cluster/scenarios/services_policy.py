"""The article's toServices policy, asked at the Service's own address."""
from lib import services
from lib.scenario import scenario
from lib.services import rows

from . import policy_forms

PODS = (("app1", "node1"), ("app2", "node2"), ("nginx", "node1"), ("nginx2", "node2"))
TO_SERVICES = next(document for document in policy_forms.SEEDS.split("---") if "toServices" in document)


def put_services(known):
    known.put("nginx", 41, ("nginx", "nginx2"), selector={"app": "nginx"})
    known.put("other", 42, ("app2",))


def article(cluster, known):
    """The toServices article, asked at the Service's address."""
    open_rows = [*rows("app1 app2", "cluster", 41, "nginx nginx2"), *rows("app1 app2", "cluster", 42, "app2")]
    yield services.verdicts(cluster, "without a policy both Services answer", open_rows)
    cluster.apply(TO_SERVICES)
    yield services.verdicts(cluster, "toServices nginx: app1 reaches this Service and no other, app2 is as it was",
                            [*rows("app1", "cluster", 41, "nginx nginx2"), *rows("app1", "cluster", 42), *rows("app2", "cluster", 41, "nginx nginx2"),
                             *rows("app2", "cluster", 42, "app2")])
    known.backends("nginx", ("nginx",))
    yield services.verdicts(cluster, "a backend leaves: the policy follows", [*rows("app1", "cluster", 41, "nginx")])
    known.backends("nginx", ("nginx", "nginx2"))
    cluster.delete(TO_SERVICES)
    yield services.verdicts(cluster, "the policy gone, both answer again", open_rows)


def to_services(context, **options):
    cluster = context.cluster(nodes=2, agent_flags=services.replacement(), **options)
    for name, node in PODS:
        cluster.add_pod(name, node, labels=f"app={'nginx' if name == 'nginx2' else name}")
    known = services.Services(cluster)
    put_services(known)
    yield from article(cluster, known)


@scenario(cost=40, name="policy-to-services-vxlan")
def vxlan(context):
    yield from to_services(context)


@scenario(cost=40, name="policy-to-services-native")
def native(context):
    yield from to_services(context, routing="native")
