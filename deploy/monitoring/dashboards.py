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

    def graph(self, title, queries, unit="short", description="", width=12, height=8, stack=False, zero=True):
        custom = {"lineWidth": 1, "fillOpacity": 25 if stack else 8, "showPoints": "never", "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
        self.add({
            "type": "timeseries", "title": title, "description": description, "targets": self.targets(queries),
            "fieldConfig": {"defaults": {"unit": unit, "custom": custom, **({"min": 0} if zero else {})}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}}, width, height)

    def stat(self, title, expr, unit="short", steps=((None, FINE),), description="", width=4, height=4):
        self.add({
            "type": "stat", "title": title, "description": description, "targets": self.targets((expr, "")),
            "fieldConfig": {"defaults": {"unit": unit, "noValue": "–", "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}}, "overrides": []},
            "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area", "textMode": "value"}}, width, height)

    def top(self, title, expr, unit="short", description="", width=12, height=8):
        self.add({
            "type": "bargauge", "title": title, "description": description, "targets": [{**self.targets((expr, "{{%s}}" % "}} {{".join(label_names(expr))))[0], "instant": True}],
            "fieldConfig": {"defaults": {"unit": unit, "min": 0, "color": {"mode": "fixed", "fixedColor": "blue"}}, "overrides": []},
            "options": {"displayMode": "basic", "orientation": "horizontal", "reduceOptions": {"calcs": ["lastNotNull"]}, "showUnfilled": False}}, width, height)

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
    d.section("Endpoints and policy")
    d.graph("Endpoints by state", (f"sum by (endpoint_state) (cilium_endpoint_state{{{of}}})", "{{endpoint_state}}"), stack=True)
    d.graph("Regenerations", (f"sum by (outcome) (rate(cilium_endpoint_regenerations_total{{{of}}}[5m]))", "{{outcome}}"), "ops")
    d.graph("Time of a regeneration", [(f"histogram_quantile(0.5, sum by (le) (rate(cilium_endpoint_regeneration_time_stats_seconds_bucket{{{of},scope=\"total\"}}[5m])))", "p50"),
                                       (f"histogram_quantile(0.99, sum by (le) (rate(cilium_endpoint_regeneration_time_stats_seconds_bucket{{{of},scope=\"total\"}}[5m])))", "p99")], "s")
    d.graph("From a policy's change to the datapath", [(f"histogram_quantile(0.5, sum by (le) (rate(cilium_policy_implementation_delay_bucket{{{of}}}[5m])))", "p50"),
                                                       (f"histogram_quantile(0.99, sum by (le) (rate(cilium_policy_implementation_delay_bucket{{{of}}}[5m])))", "p99")], "s")
    d.graph("Policies", [(f"max(cilium_policy{{{of}}})", "policies"), (f"max(cilium_policy_max_revision{{{of}}})", "revision")])
    d.graph("Identities", (f"max by (type) (cilium_identity{{{of}}})", "{{type}}"))
    d.section("Services")
    d.graph("Changes of Services", (f"sum by (action) (rate(cilium_services_events_total{{{of}}}[5m]))", "{{action}}"), "ops")
    d.graph("From a Service's change to the datapath", [(f"histogram_quantile(0.99, sum by (le, action) (rate(cilium_service_implementation_delay_bucket{{{of}}}[5m])))", "p99 {{action}}")], "s")
    d.section("Maps")
    d.graph("How full maps are", (f"max by (map_name) (cilium_bpf_map_pressure{{{of}}})", "{{map_name}}"), "percentunit")
    d.graph("Map operations that failed", (f'sum by (map_name, operation) (rate(cilium_bpf_map_ops_total{{{of},outcome="fail"}}[5m]))', "{{map_name}} {{operation}}"), "ops")
    d.graph("Connection tracking: entries by the last collection", (f"sum by (family, status) (cilium_datapath_conntrack_gc_entries{{{of}}})", "{{family}} {{status}}"))
    d.graph("Events lost before anybody read them", (f"sum by (source) (rate(hubble_lost_events_total{{{of}}}[5m]))", "{{source}}"), "ops")
    d.section("Control")
    d.graph("Controllers that fail", (f"sum by (pod) (cilium_controllers_failing{{{of}}})", "{{pod}}"))
    d.graph("API requests", (f"sum by (method, return_code) (rate(cilium_k8s_client_api_calls_total{{{of}}}[5m]))", "{{method}} {{return_code}}"), "reqps")
    d.graph("Addresses in use", (f"sum by (family) (cilium_ip_addresses{{{of}}})", "{{family}}"))
    d.graph("Start of the agent", (f"max by (pod) (cilium_agent_bootstrap_seconds{{{of},scope=\"total\"}})", "{{pod}}"), "s")
    d.section("Cost")
    d.graph("CPU", (f"rate(cilium_process_cpu_seconds_total{{{of}}}[5m])", "{{pod}}"), "percentunit")
    d.graph("Memory", (f"cilium_process_resident_memory_bytes{{{of}}}", "{{pod}}"), "bytes")
    return d


def operator():
    d = Dashboard("axoneme-operator", "Axoneme: operator", "Addresses, identities, LoadBalancer Services and what the operator does about them.")
    d.variable("pod", "Operator", "label_values(cilium_operator_version, pod)")
    of = 'pod=~"$pod"'
    d.stat("Operators", f"count(cilium_operator_version{{{of}}})")
    d.stat("Pods that nobody manages", f"max(cilium_operator_unmanaged_pods{{{of}}})", steps=((None, FINE), (1, WARN)))
    d.stat("LoadBalancer Services without address", f"max(cilium_operator_lbipam_services_unsatisfied{{{of}}})", steps=((None, FINE), (1, WARN)), width=6)
    d.stat("Pools in conflict", f"max(cilium_operator_lbipam_conflicting_pools{{{of}}})", steps=((None, FINE), (1, BAD)))
    d.section("Addresses of pods")
    d.graph("Addresses", (f"sum by (type) (cilium_operator_ipam_ips{{{of}}})", "{{type}}"), stack=True)
    d.graph("Nodes", (f"sum by (category) (cilium_operator_ipam_nodes{{{of}}})", "{{category}}"))
    d.top("Least addresses left", f"bottomk(12, min by (target_node) (cilium_operator_ipam_available_ips{{{of}}}))")
    d.graph("Resyncs", (f"sum(rate(cilium_operator_ipam_resync_total{{{of}}}[5m]))", "resyncs"), "ops")
    d.section("LoadBalancer Services")
    d.graph("Addresses left", (f"sum by (pool) (cilium_operator_lbipam_ips_available{{{of}}})", "{{pool}}"))
    d.graph("Addresses in use", (f"sum by (pool) (cilium_operator_lbipam_ips_used{{{of}}})", "{{pool}}"))
    d.section("Identities and endpoints")
    d.graph("Identities collected", (f"sum by (status) (cilium_operator_identity_gc_entries{{{of}}})", "{{status}}"))
    d.graph("Slices synchronised", (f"sum by (outcome) (rate(cilium_operator_ces_sync_total{{{of}}}[5m]))", "{{outcome}}"), "ops")
    d.section("Work and cost")
    d.graph("Work that waits", (f"sum by (queue_name) (cilium_operator_workqueue_depth{{{of}}})", "{{queue_name}}"))
    d.graph("Work done again after it failed", (f"sum by (queue_name) (rate(cilium_operator_workqueue_retries_total{{{of}}}[5m]))", "{{queue_name}}"), "ops")
    d.graph("CPU", (f"rate(cilium_operator_process_cpu_seconds_total{{{of}}}[5m])", "{{pod}}"), "percentunit")
    d.graph("Memory", (f"cilium_operator_process_resident_memory_bytes{{{of}}}", "{{pod}}"), "bytes")
    return d


def hubble():
    d = Dashboard("axoneme-hubble", "Axoneme: flows", "Hubble's metrics: flows, drops, DNS, TCP, HTTP. Needs hubble-metrics: dns drop tcp flow icmp port-distribution httpV2.")
    d.variable("pod", "Agent", "label_values(hubble_flows_processed_total, pod)")
    of = 'pod=~"$pod"'
    d.stat("Flows", f"sum(rate(hubble_flows_processed_total{{{of}}}[5m]))", "ops")
    d.stat("Dropped", f"sum(rate(hubble_drop_total{{{of}}}[5m])) or vector(0)", "ops", ((None, FINE), (1, WARN)))
    d.stat("Events lost", f"sum(increase(hubble_lost_events_total{{{of}}}[15m])) or vector(0)", steps=((None, FINE), (1, BAD)), description="In the last 15 minutes: what is below is too low by so much.")
    d.stat("DNS errors", f'sum(rate(hubble_dns_responses_total{{{of},rcode!="No Error"}}[5m])) / sum(rate(hubble_dns_responses_total{{{of}}}[5m]))', "percentunit", ((None, FINE), (0.05, WARN)))
    d.stat("HTTP 5xx", f'sum(rate(hubble_http_requests_total{{{of},status=~"5.."}}[5m])) / sum(rate(hubble_http_requests_total{{{of}}}[5m]))', "percentunit", ((None, FINE), (0.01, WARN), (0.05, BAD)))
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
    d.section("TCP and ICMP")
    d.graph("TCP flags", (f"sum by (flag, family) (rate(hubble_tcp_flags_total{{{of}}}[5m]))", "{{flag}} {{family}}"), "ops")
    d.graph("Connections that get no answer", (f'sum(rate(hubble_tcp_flags_total{{{of},flag="SYN"}}[5m])) - sum(rate(hubble_tcp_flags_total{{{of},flag="SYN-ACK"}}[5m]))', "SYN without SYN-ACK"), "ops", zero=False)
    d.graph("ICMP", (f"sum by (family, type) (rate(hubble_icmp_total{{{of}}}[5m]))", "{{family}} {{type}}"), "ops")
    d.section("DNS")
    d.graph("Queries", (f"sum by (qtypes) (rate(hubble_dns_queries_total{{{of}}}[5m]))", "{{qtypes}}"), "ops")
    d.graph("Answers", (f"sum by (rcode) (rate(hubble_dns_responses_total{{{of}}}[5m]))", "{{rcode}}"), "ops", stack=True)
    d.section("HTTP")
    d.graph("Requests by status", (f"sum by (status) (rate(hubble_http_requests_total{{{of}}}[5m]))", "{{status}}"), "reqps", stack=True)
    d.graph("Time of a request", [(f"histogram_quantile(0.5, sum by (le) (rate(hubble_http_request_duration_seconds_bucket{{{of}}}[5m])))", "p50"),
                                  (f"histogram_quantile(0.95, sum by (le) (rate(hubble_http_request_duration_seconds_bucket{{{of}}}[5m])))", "p95"),
                                  (f"histogram_quantile(0.99, sum by (le) (rate(hubble_http_request_duration_seconds_bucket{{{of}}}[5m])))", "p99")], "s")
    d.section("Relay")
    d.graph("Nodes by the state of the connection to them", ("sum by (status) (hubble_relay_pool_peer_connection_status)", "{{status}}"), stack=True)
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
