"""`axoneme connectivity`."""
import json
import pathlib
import tempfile
import xml.etree.ElementTree

from lib import checks
from lib.sandbox import run
from lib.scenario import scenario


ITS_OWN_OBJECTS = "on a sandbox the command writes its pods and policies into the folder"


def command(cluster, *words, timeout=300):
    return run([cluster.axoneme, "connectivity", *words, "--sandbox", cluster.name], check=False, timeout=timeout)


def connectivity(context, least, *words):
    cluster = context.cluster(nodes=2, agent_flags=["--kube-proxy-replacement=true"])
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "junit.xml"
        done = command(cluster, "test", "--junit-file", report, *words, timeout=900)
        yield checks.check(done.stdout.strip().splitlines()[-1] if done.stdout else "connectivity test", done.returncode == 0 and "✅" in done.stdout, done.stdout + done.stderr)
        suite = xml.etree.ElementTree.parse(report).getroot()[0]
        yield checks.check(f"the JUnit report has {suite.get('tests')} tests", int(suite.get("tests")) >= least and suite.get("failures") == "0" and suite.get("skipped") == "0", suite.attrib)
    yield checks.check("its pods and policies are gone", not cluster.status()["pods"] and "cilium-test" not in cluster.cli("node1", "policy", "get"),
                       cluster.status()["pods"])
    # A network that does not do as it should is noticed.
    cluster.exec("underlay", "ip", "link", "set", "port2", "down")
    done = command(cluster, "test", "--test", "^no-policies$")
    yield checks.check("with node2 cut off the test fails and says where", done.returncode == 1 and "echo-other-node" in done.stdout and "tests failed" not in done.stdout, done.stdout)


@scenario(cost=45, dir_only=ITS_OWN_OBJECTS)
def connectivity_test_in_short(context):
    yield from connectivity(context, 3, "--test", "^(no-policies|client-ingress|echo-ingress|to-entities-world)$")


# Minutes on a busy machine.
@scenario(cost=200, only_by_name=True, dir_only=ITS_OWN_OBJECTS)
def connectivity_test(context):
    yield from connectivity(context, 26)


@scenario(cost=30, alone=True, dir_only=ITS_OWN_OBJECTS)
def connectivity_perf(context):
    cluster = context.cluster(nodes=2)
    done = command(cluster, "perf", "--duration", "0.5", "--crr", "-o", "json")
    rows = json.loads(done.stdout) if done.returncode == 0 else []
    found = {(row["scenario"], row["node"], row["test"]) for row in rows}
    wanted = {("pod-to-pod", node, test) for node in ("same-node", "other-node") for test in ("TCP_CRR", "TCP_RR", "TCP_STREAM", "UDP_RR")}
    yield checks.check(f"connectivity perf: {len(rows)} measurements", done.returncode == 0 and wanted <= found, done.stdout + done.stderr)
    yield checks.check("each with a rate or a throughput", rows and all(row.get("per-second", 0) > 100 or row.get("mbit-per-second", 0) > 10 for row in rows), rows)
