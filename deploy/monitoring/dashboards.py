#!/usr/bin/env python3
"""Writes the Grafana dashboards of this folder: what is on them is here, their JSON is for Grafana.

Usage: deploy/monitoring/dashboards.py [--check]   --check: only whether dashboards/ is what this would write
"""
import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent / "dashboards"
WIDTH = 24

FINE, WARN, BAD = "green", "orange", "red"


class Dashboard:
    """Panels flow from left to right into rows of 24 columns."""

    def __init__(self, uid, title, description):
        self.uid, self.title, self.description = uid, title, description
        self.panels, self.variables = [], []
        self.x = self.y = self.row_height = 0

    def variable(self, name, label, query):
        self.variables.append({
            "name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "query": {"query": query, "refId": name},
            "definition": query, "refresh": 2, "includeAll": True, "allValue": ".*", "multi": True, "sort": 1, "current": {"text": ["All"], "value": ["$__all"]}})

    def section(self, title):
        self.newline()
        self.panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": self.y, "w": WIDTH, "h": 1}})
        self.y += 1

    def newline(self):
        if self.x:
            self.x, self.y = 0, self.y + self.row_height
        self.row_height = 0

    def add(self, panel, width, height):
        if self.x + width > WIDTH:
            self.newline()
        panel["gridPos"] = {"x": self.x, "y": self.y, "w": width, "h": height}
        panel["datasource"] = {"type": "prometheus", "uid": "${datasource}"}
        self.x += width
        self.row_height = max(self.row_height, height)
        self.panels.append(panel)

    @staticmethod
    def targets(queries):
        pairs = queries if isinstance(queries, list) else [queries]
        return [{"refId": chr(65 + at), "expr": expr, "legendFormat": legend, "datasource": {"type": "prometheus", "uid": "${datasource}"}}
                for at, (expr, legend) in enumerate(pairs)]

    def show(self, kind, title, description, targets, defaults, options, size):
        self.add({"type": kind, "title": title, "description": description, "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}, *size)

    def graph(self, title, queries, unit="short", description="", width=12, height=8, stack=False, zero=True):
        custom = {"lineWidth": 1, "fillOpacity": 25 if stack else 8, "showPoints": "never", "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
        self.show("timeseries", title, description, self.targets(queries), {"unit": unit, "custom": custom, **({"min": 0} if zero else {})},
                  {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}, (width, height))

    def stat(self, title, expr, unit="short", steps=((None, FINE),), description="", width=4, height=4):
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}
        self.show("stat", title, description, self.targets((expr, "")), {"unit": unit, "noValue": "–", "thresholds": thresholds},
                  {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area", "textMode": "value"}, (width, height))

    def top(self, title, expr, unit="short", description="", width=12, height=8):
        targets = [{**self.targets((expr, "{{%s}}" % "}} {{".join(label_names(expr))))[0], "instant": True}]
        self.show("bargauge", title, description, targets, {"unit": unit, "min": 0, "color": {"mode": "fixed", "fixedColor": "blue"}},
                  {"displayMode": "basic", "orientation": "horizontal", "reduceOptions": {"calcs": ["lastNotNull"]}, "showUnfilled": False}, (width, height))

    def process(self, prefix, of=""):
        """What the program itself costs."""
        self.section("Cost")
        for title, name, unit in (("CPU", "cpu_seconds_total", "percentunit"), ("Memory", "resident_memory_bytes", "bytes"), ("Open files", "open_fds", "short")):
            expr = f"{prefix}_process_{name}{{{of}}}" if of else f"{prefix}_process_{name}"
            self.graph(title, (f"rate({expr}[5m])" if name.endswith("_total") else expr, "{{pod}}"), unit)

    def json(self):
        self.newline()
        for number, panel in enumerate(self.panels, 1):
            panel["id"] = number
        source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
        return json.dumps({
            "uid": self.uid, "title": self.title, "description": self.description, "tags": ["axoneme", "cilium"], "schemaVersion": 38, "version": 1, "editable": True,
            "time": {"from": "now-1h", "to": "now"}, "refresh": "30s", "timezone": "browser", "graphTooltip": 1,
            "templating": {"list": [source, *self.variables]}, "annotations": {"list": []}, "panels": self.panels}, indent=1) + "\n"


def label_names(expr):
    """Of "topk(10, sum by (a, b) (…))": a and b."""
    return [name.strip() for name in expr.split(" by (")[1].split(")")[0].split(",")]


def slowest(metric, of, by, share=0.99):
    """What that share of a histogram's times stays below."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate(cilium_{metric}_bucket{{{of}}}[5m])))", f"{{{{{by}}}}}"


def agent():
    d = Dashboard("axoneme-agent", "Axoneme: agent", "What the agents of all nodes do: endpoints, policy, drops, maps, cost.")
    d.variable("pod", "Agent", "label_values(cilium_version, pod)")
    of = 'pod=~"$pod"'
    d.stat("Agents", f"count(cilium_version{{{of}}})", description="Agents that answer Prometheus.")
    d.stat("Endpoints", f"sum(cilium_endpoint{{{of}}})")
    d.stat("Not ready", f'sum(cilium_endpoint_state{{{of},endpoint_state!~"ready|disconnected"}}) or vector(0)', steps=((None, FINE), (1, WARN)), description="Endpoints whose datapath is not what it should be.")
    d.stat("Drops", f"sum(rate(cilium_drop_count_total{{{of}}}[5m]))", "pps", ((None, FINE), (10, WARN)))
    d.stat("Nodes out of reach", f"max(cilium_unreachable_nodes{{{of}}})", steps=((None, FINE), (1, BAD)))
    d.stat("Fullest map", f"max(cilium_bpf_map_pressure{{{of}}})", "percentunit", ((None, FINE), (0.7, WARN), (0.9, BAD)))
    d.section("Traffic")
    d.graph("Forwarded", (f"sum by (direction) (rate(cilium_forward_count_total{{{of}}}[5m]))", "{{direction}}"), "pps")
    d.graph("Forwarded bytes", (f"sum by (direction) (rate(cilium_forward_bytes_total{{{of}}}[5m]))", "{{direction}}"), "Bps")
    d.graph("Dropped, by reason", (f"sum by (reason, direction) (rate(cilium_drop_count_total{{{of}}}[5m]))", "{{reason}} {{direction}}"), "pps", stack=True)
    d.top("Dropped, by agent and reason", f"topk(12, sum by (pod, reason) (rate(cilium_drop_count_total{{{of}}}[5m])))", "pps")
    d.graph("Dropped bytes", (f"sum by (reason) (rate(cilium_drop_bytes_total{{{of}}}[5m]))", "{{reason}}"), "Bps", stack=True)
    d.graph("Fragments, and packets that were too big", [(f"sum by (direction) (rate(cilium_fragmented_count_total{{{of}}}[5m]))", "fragments {{direction}}"),
                                                         (f"sum by (direction) (rate(cilium_mtu_error_message_total{{{of}}}[5m]))", "too big {{direction}}")], "pps")
    d.section("Endpoints and policy")
    d.graph("Endpoints by state", (f"sum by (endpoint_state) (cilium_endpoint_state{{{of}}})", "{{endpoint_state}}"), stack=True)
    d.graph("Regenerations", (f"sum by (outcome) (rate(cilium_endpoint_regenerations_total{{{of}}}[5m]))", "{{outcome}}"), "ops")
    d.graph("From a policy's change to its being in force, 99 % of them", slowest("policy_implementation_delay", of, "source"), "s")
    d.graph("An endpoint's regeneration, 99 % of them", slowest("endpoint_regeneration_time_stats_seconds", of, "status"), "s")
    d.graph("Endpoints by what policies are enforced", (f"sum by (enforcement) (cilium_policy_endpoint_enforcement_status{{{of}}})", "{{enforcement}}"), stack=True)
    d.graph("Kernel memory of policies", [(f"max(cilium_policy_memory_bytes{{{of}}})", "fullest agent"), (f"max(cilium_policy_memory_max_bytes{{{of}}})", "limit")], "bytes")
    d.graph("Policies", [(f"max(cilium_policy{{{of}}})", "policies"), (f"max(cilium_policy_max_revision{{{of}}})", "revision")])
    d.graph("Identities", (f"max by (type) (cilium_identity{{{of}}})", "{{type}}"))
    d.graph("Identities by the source of their labels", (f"max by (source) (cilium_identity_label_sources{{{of}}})", "{{source}}"))
    d.section("Services")
    d.graph("Changes of Services", (f"sum by (action) (rate(cilium_services_events_total{{{of}}}[5m]))", "{{action}}"), "ops")
    d.graph("From a Service's change to its being in the datapath, 99 % of them", slowest("service_implementation_delay", of, "action"), "s")
    d.graph("Ports in use to the busiest destination outside", (f"max by (family) (cilium_nat_endpoint_max_connection{{{of}}})", "{{family}}"), "percent")
    d.section("Nodes")
    d.graph("Nodes that agents know, and do not reach", [(f"max(cilium_nodes_all_num{{{of}}})", "known"), (f"max(cilium_unreachable_nodes{{{of}}})", "not reached"),
                                                         (f"max(cilium_unreachable_health_endpoints{{{of}}})", "their endpoints not reached")])
    d.graph("Paths by what was seen last", (f"sum by (type, status) (cilium_node_health_connectivity_status{{{of}}})", "{{type}} {{status}}"), stack=True)
    d.section("Maps and events")
    d.graph("How full maps are", (f"max by (map_name) (cilium_bpf_map_pressure{{{of}}})", "{{map_name}}"), "percentunit")
    d.graph("Kernel memory of maps", (f"max by (pod) (cilium_bpf_maps_virtual_memory_max_bytes{{{of}}})", "{{pod}}"), "bytes")
    d.graph("Events of the datapath", [(f"sum(rate(cilium_datapath_events_total{{{of}}}[5m]))", "sent"), (f"sum(rate(cilium_datapath_events_lost_total{{{of}}}[5m]))", "lost")], "ops")
    d.section("Control")
    d.graph("Controllers that fail", (f"sum by (pod) (cilium_controllers_failing{{{of}}})", "{{pod}}"))
    d.graph("Runs of controllers", (f"sum by (status) (rate(cilium_controllers_runs_total{{{of}}}[5m]))", "{{status}}"), "ops")
    d.graph("How long runs of controllers take, 99 % of them", slowest("controllers_runs_duration_seconds", of, "status"), "s")
    d.graph("How long the agents' own API takes, 99 % of calls", slowest("agent_api_process_time_seconds", of, "path"), "s")
    d.graph("Calls of the API server", (f"sum by (method, return_code) (rate(cilium_k8s_client_api_calls_total{{{of}}}[5m]))", "{{method}} {{return_code}}"), "ops")
    d.graph("How long the API server takes, 99 % of calls", slowest("k8s_client_api_latency_time_seconds", of, "path"), "s")
    d.graph("Agents that the API server answers", (f"sum(cilium_kubernetes_api_reachable{{{of}}})", "agents"))
    d.graph("Objects refused", (f"max by (pod) (cilium_rejected_objects{{{of}}})", "{{pod}}"), description="Objects and files that cannot be used as they are; the agent's status names them.")
    d.graph("Addresses in use", [(f"sum by (family) (cilium_ip_addresses{{{of}}})", "{{family}}"), (f"sum by (family) (cilium_ipam_capacity{{{of}}})", "{{family}} there are")])
    d.graph("Start of the agent", (f"max by (pod) (cilium_agent_bootstrap_seconds{{{of},scope=\"overall\"}})", "{{pod}}"), "s")
    d.process("cilium", of)
    return d


def operator():
    d = Dashboard("axoneme-operator", "Axoneme: operator", "Who leads, what it watches and writes, what it costs.")
    d.variable("pod", "Operator", "label_values(cilium_operator_version, pod)")
    of = 'pod=~"$pod"'
    d.stat("Operators", f"count(cilium_operator_version{{{of}}})")
    d.stat("Leaders", f"sum(cilium_operator_leader{{{of}}})", steps=((None, BAD), (1, FINE), (2, BAD)), description="There is one; the others wait.")
    d.stat("Pods that nobody manages", f"max(cilium_operator_unmanaged_pods{{{of}}})", steps=((None, FINE), (1, WARN)))
    d.stat("Objects refused", f"max(cilium_operator_rejected_objects{{{of}}})", steps=((None, FINE), (1, WARN)), description="Objects that cannot be used as they are; the operator's log names them.")
    d.section("Work")
    d.graph("Objects that the leader watches", (f"max by (kind) (cilium_operator_objects{{{of}}})", "{{kind}}"))
    d.graph("Nodes with addresses to give", (f"max by (category) (cilium_operator_ipam_nodes{{{of}}})", "{{category}}"))
    d.graph("Pod CIDRs written", (f"sum by (outcome) (rate(cilium_operator_pod_cidr_writes_total{{{of}}}[5m]))", "{{outcome}}"), "ops")
    d.graph("Runs of controllers", (f"sum by (status) (rate(cilium_operator_controllers_group_runs_total{{{of}}}[5m]))", "{{status}}"), "ops")
    d.top("Controllers that fail", f'topk(12, sum by (group_name) (rate(cilium_operator_controllers_group_runs_total{{{of},status="failure"}}[5m])))', "ops")
    d.process("cilium_operator", of)
    return d


HUBBLE_METRICS = "drop tcp flow icmp port-distribution policy flows-to-world"


def hubble():
    d = Dashboard("axoneme-hubble", "Axoneme: flows", f"Hubble's metrics: flows, drops, policy verdicts, TCP; and the relay. Needs hubble-metrics: {HUBBLE_METRICS}.")
    d.variable("pod", "Agent", "label_values(hubble_flows_processed_total, pod)")
    of = 'pod=~"$pod"'
    d.stat("Flows", f"sum(rate(hubble_flows_processed_total{{{of}}}[5m]))", "ops")
    d.stat("Dropped", f"sum(rate(hubble_drop_total{{{of}}}[5m])) or vector(0)", "ops", ((None, FINE), (1, WARN)))
    d.stat("Events lost", f"sum(increase(hubble_lost_events_total{{{of}}}[15m])) or vector(0)", steps=((None, FINE), (1, BAD)), description="In the last 15 minutes: what is below is too low by so much.")
    d.stat("New connections", f'sum(rate(hubble_tcp_flags_total{{{of},flag="SYN"}}[5m]))', "ops")
    d.section("Flows")
    d.graph("By verdict", (f"sum by (verdict) (rate(hubble_flows_processed_total{{{of}}}[5m]))", "{{verdict}}"), "ops", stack=True)
    d.graph("By kind", (f"sum by (type, subtype) (rate(hubble_flows_processed_total{{{of}}}[5m]))", "{{type}} {{subtype}}"), "ops", stack=True)
    d.top("By port", f"topk(12, sum by (protocol, port) (rate(hubble_port_distribution_total{{{of}}}[5m])))", "ops")
    d.graph("To the world", (f"sum by (protocol, verdict) (rate(hubble_flows_to_world_total{{{of}}}[5m]))", "{{protocol}} {{verdict}}"), "ops")
    d.section("Drops")
    d.graph("By reason", (f"sum by (reason, protocol) (rate(hubble_drop_total{{{of}}}[5m]))", "{{reason}} {{protocol}}"), "ops", stack=True)
    d.top("By agent and reason", f"topk(12, sum by (pod, reason) (rate(hubble_drop_total{{{of}}}[5m])))", "ops")
    d.graph("Policy verdicts", (f"sum by (direction, match, action) (rate(hubble_policy_verdicts_total{{{of}}}[5m]))", "{{direction}} {{match}} {{action}}"), "ops")
    d.graph("Lost events", (f"sum by (source) (rate(hubble_lost_events_total{{{of}}}[5m]))", "{{source}}"), "ops")
    d.graph("Flows that no series was made for", (f"sum by (metric) (rate(hubble_metrics_refused_total{{{of}}}[5m]))", "{{metric}}"), "ops", description="A metric with too many series: fewer labels or contexts make fewer.")
    d.section("TCP and ICMP")
    d.graph("TCP flags", (f"sum by (flag, family) (rate(hubble_tcp_flags_total{{{of}}}[5m]))", "{{flag}} {{family}}"), "ops")
    d.graph("Connections that get no answer", (f'sum(rate(hubble_tcp_flags_total{{{of},flag="SYN"}}[5m])) - sum(rate(hubble_tcp_flags_total{{{of},flag="SYN-ACK"}}[5m]))', "SYN without SYN-ACK"), "ops", zero=False)
    d.graph("ICMP", (f"sum by (family, type) (rate(hubble_icmp_total{{{of}}}[5m]))", "{{family}} {{type}}"), "ops")
    d.section("Flow logs")
    d.graph("Exporters", (f"sum by (status) (hubble_dynamic_exporter_exporters_total{{{of}}})", "{{status}}"), stack=True)
    d.graph("Changes of their configuration", (f"sum by (op) (increase(hubble_dynamic_exporter_reconfigurations_total{{{of}}}[5m]))", "{{op}}"))
    d.section("Relay")
    d.graph("Nodes by the state of the connection to them", ("sum by (status) (hubble_relay_pool_peer_connection_status)", "{{status}}"), stack=True)
    d.graph("Requests and streams", [("sum(hubble_relay_flow_requests)", "requests of clients"), ("sum(hubble_relay_peer_streams)", "streams from nodes")])
    d.graph("Messages", [("sum(rate(hubble_relay_received_messages_total[5m]))", "received"), ("sum(rate(hubble_relay_lost_messages_total[5m]))", "lost")], "ops")
    d.graph("Requests refused", ("sum(rate(hubble_relay_flow_requests_refused_total[5m]))", "refused"), "ops")
    d.process("hubble_relay")
    return d


DASHBOARDS = {"agent.json": agent, "operator.json": operator, "hubble.json": hubble}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    wrong = []
    for name, make in DASHBOARDS.items():
        text, path = make().json(), HERE / name
        if not args.check:
            HERE.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(name)
    if wrong:
        sys.exit(f"dashboards: {', '.join(wrong)}: not what deploy/monitoring/dashboards.py writes; run it")


if __name__ == "__main__":
    main()
