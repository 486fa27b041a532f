"""A Prometheus that scrapes a cluster, with the alert rules and the dashboards' expressions of deploy/monitoring."""
import json
import pathlib
import subprocess
import tempfile
import urllib.parse

from lib import checks
from lib.policy import cilium, endpoints, text_of
from lib.sandbox import CommandFailed
from lib.scenario import scenario

from .relay import connect, start_relay

MONITORING = pathlib.Path(__file__).resolve().parents[3] / "deploy/monitoring"
HUBBLE_METRICS = "drop tcp flow icmp port-distribution policy flows-to-world"  # as deploy/monitoring/README.md has it
NOBODY = cilium("nobody", {"endpointSelector": endpoints(app="nginx"), "ingress": [{"fromEndpoints": [endpoints(app="nobody")]}]})


class Prometheus:
    """Debian's, on a node."""

    def __init__(self, cluster, node, targets):
        self.cluster, self.node = cluster, node
        self.folder = tempfile.TemporaryDirectory(prefix="axo-prometheus-")
        folder = pathlib.Path(self.folder.name)
        jobs = [{"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()]
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(MONITORING / "alerts.yaml")], "scrape_configs": jobs}))
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen([str(word) for word in cluster.exec_command(
            node, "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:9090")],
            stdout=self.log, stderr=subprocess.STDOUT)

    def get(self, path, **parameters):
        done = self.cluster.exec(self.node, "curl", "-s", "--max-time", "5", f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(parameters)}", check=False)
        return json.loads(done.stdout) if done.stdout.startswith("{") else {"status": "no answer", "data": {}}

    def query(self, expr):
        """[(labels, value)]; an expression that Prometheus refuses is an error."""
        answer = self.get("query", query=expr)
        if answer["status"] != "success":
            raise CommandFailed(["query", expr], 1, "", str(answer))
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def complaints(self):
        return [line for line in pathlib.Path(self.folder.name, "log").read_text().splitlines() if "level=warn" in line or "level=error" in line]

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
        self.folder.cleanup()


def expressions():
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", "10s").replace("$__interval", "10s").replace("$__range", "1m")
                yield f"{path.stem}: {panel['title']}", expr.replace("$pod", ".*")


@scenario(cost=30)
def scraped_by_prometheus(context):
    cluster = context.cluster(nodes=2, agent_flags=["--prometheus-serve-addr=:9962", f"--hubble-metrics={HUBBLE_METRICS}"], operator_flags=["--enable-metrics=true"])
    cluster.add_pod("nginx", "node2", "app=nginx")
    cluster.add_pod("app1", "node1", "app=app1")
    cluster.serve("nginx")
    start_relay(cluster, "--port", "0", "--flag=--metrics-listen-address=:9966")
    first, second = (cluster.addresses()[node]["ipv4"] for node in ("node1", "node2"))
    prometheus = Prometheus(cluster, "node1", {
        "cilium-agent": [f"{first}:9962", f"{second}:9962"], "hubble": [f"{first}:9965", f"{second}:9965"],
        "cilium-operator": [f"{first}:9963"], "hubble-relay": [f"{first}:9966"]})
    try:
        up = lambda: prometheus.get("query", query="up").get("data", {}).get("result", [])  # noqa: E731
        yield checks.check("Prometheus scrapes both agents, their flows, the operator and the relay",
                           checks.wait_until(lambda: [each["value"][1] for each in up()] == ["1"] * 6, 30, 0.5), (up(), prometheus.complaints()[-5:]))
        connect(cluster, "app1", "nginx")
        cluster.apply(text_of([NOBODY]))
        denied = 'sum(cilium_drop_count_total{reason="Policy denied"})'

        def counted():
            connect(cluster, "app1", "nginx")
            return prometheus.query(denied) and prometheus.query(denied)[0][1] > 0

        yield checks.check("a packet that policy denies is counted", checks.wait_until(counted, 20, 1), prometheus.query("cilium_drop_count_total"))
        by_flows = prometheus.query('sum by (reason) (hubble_drop_total)')
        yield checks.check("and by Hubble, under the reason's name there", any(labels.get("reason") == "POLICY_DENIED" and value > 0 for labels, value in by_flows), by_flows)
        calls = prometheus.query('histogram_quantile(0.9, sum by (le) (cilium_agent_api_process_time_seconds_bucket{path="/v1/endpoint", method="PUT"}))')
        yield checks.check("how long the agents' API takes to add a pod", calls and 0 < calls[0][1] < 10, prometheus.query("cilium_agent_api_process_time_seconds_count"))
        for metric, what in (("policy_implementation_delay", "a policy takes to be in force"), ("endpoint_regeneration_time_stats_seconds", "an endpoint takes to be regenerated"),
                             ("controllers_runs_duration_seconds", "controllers run")):
            times = prometheus.query(f"histogram_quantile(0.9, sum by (le) (cilium_{metric}_bucket))")
            yield checks.check(f"how long {what}", times and 0 < times[0][1] < 10, prometheus.query(f"cilium_{metric}_count"))
        empty, number = [], 0
        for title, expr in expressions():
            number += 1
            if not prometheus.query(expr):
                empty.append(title)
        yield checks.check(f"the dashboards' {number} expressions are understood, {number - len(empty)} have something to show", number > 60 and len(empty) < number / 4, empty)
        rules = [rule for group in prometheus.get("rules")["data"]["groups"] for rule in group["rules"]]
        yield checks.check(f"the {len(rules)} alert rules are evaluated", len(rules) > 10 and all(rule["health"] == "ok" for rule in rules), [rule["name"] for rule in rules if rule["health"] != "ok"])
        cluster.sandbox("agent", "kill", "node2")

        def pending():
            return any(rule["name"] == "AxonemeAgentDown" and rule["state"] == "pending" for group in prometheus.get("rules")["data"]["groups"] for rule in group["rules"])

        yield checks.check("an agent that is killed is about to be told of", checks.wait_until(pending, 20, 0.5), prometheus.query("up"))
        complaints = [line for line in prometheus.complaints() if "connection refused" not in line]
        yield checks.check("Prometheus finds nothing wrong with what it was served", not complaints, complaints[:5])
    finally:
        prometheus.end()
