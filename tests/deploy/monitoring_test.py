#!/usr/bin/env python3
"""Dashboards and alert rules of deploy/monitoring: written as generated, every expression understood by Prometheus, rules do what they say."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
# Where metrics are named, and what their names begin with.
SOURCES = {"src/app/agent/api/metrics.cpp": "cilium_", "src/app/operator/operator.cpp": "cilium_operator_", "src/app/relay/metrics.cpp": "hubble_relay_",
           "src/app/agent/hubble_outputs.cpp": "", "src/hubble/core/flow_metrics.cpp": "",
           "src/app/agent/api/process_times.h": "cilium_", "src/runtime/controller.h": "cilium_", "src/io/kubernetes/client.h": "cilium_",
           "src/io/kubernetes/client.cpp": "cilium_", "src/features/policy/module.h": "cilium_", "src/features/service/module.cpp": "cilium_"}


def promtool(*words, cwd=MONITORING):
    done = subprocess.run(["promtool", *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((MONITORING / "dashboards").glob("*.json"))}


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            # Grafana puts a regular expression there.
            yield panel["title"], target["expr"].replace("$pod", ".*")


def used(expr):
    """Names of metrics: what is a word outside of strings and braces' labels, and has one of their beginnings."""
    bare = re.sub(r"\{[^}]*\}", "", re.sub(r'"[^"]*"', "", expr))
    return set(re.findall(r"\b(?:cilium|hubble)_[a-z0-9_]+", bare))


def exported():
    """Names that programs write, read where they are written."""
    process = re.findall(r'process\(Kind::k\w+, "(\w+)"', (ROOT / "src/runtime/metrics.cpp").read_text())
    names = set()
    for path, prefix in SOURCES.items():
        text = (ROOT / path).read_text()
        times = re.findall(r'MetricTimes \w+\{\s*"(\w+)"', text)
        here = {name + part for name in times for part in ("_bucket", "_count", "_sum")} | set(re.findall(r'\.(?:gauge|counter)\(\s*"(\w+)"', text)) | set(re.findall(r'\.declare\([\w:]+,\s*"(\w+)"', text))
        if path.endswith("hubble_outputs.cpp"):
            # A helper puts their beginning before them.
            here |= {f"hubble_dynamic_exporter_{name}" for name in re.findall(r'\bgauge\("(\w+)"', text)}
        if path.endswith("flow_metrics.cpp"):
            # The table of metrics: {option, kind, name, …}. Nothing counts those of layer 7 yet.
            here |= {f"hubble_{name}" for kind, name in re.findall(r'\{"[\w-]+",\s*Kind::(k\w+),\s*"(\w+)"', text) if kind != "kLayer7"}
        if not here:
            raise AssertionError(f"{path}: no metric is found there")
        names |= {prefix + name for name in here}
        if "add_process()" in text:
            names |= {f"{prefix}process_{name}" for name in process}
    return names


class Monitoring(unittest.TestCase):
    def test_dashboards_are_what_the_script_writes(self):
        done = subprocess.run([MONITORING / "dashboards.py", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_expression_is_understood(self):
        rules = []
        for name, dashboard in dashboards().items():
            for number, (title, expr) in enumerate(expressions(dashboard)):
                rules.append({"record": f"panel:{name.removesuffix('.json')}:{number}", "expr": expr, "labels": {"panel": title}})
        self.assertGreater(len(rules), 60)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            code, output = promtool("check", "rules", file.name)
        self.assertEqual(code, 0, output)
        self.assertIn(f"{len(rules)} rules found", output)

    def test_a_broken_expression_would_be_seen(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"groups": [{"name": "g", "rules": [{"record": "a", "expr": "sum by (x (rate(y[5m]))"}]}]}, file)
            file.flush()
            self.assertNotEqual(promtool("check", "rules", file.name)[0], 0)

    def test_metrics_are_what_programs_export(self):
        texts = [expr for dashboard in dashboards().values() for _, expr in expressions(dashboard)]
        texts += [rule["expr"] for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
        texts += re.findall(r"series: '([^']*)'", (MONITORING / "alerts_test.yaml").read_text())
        texts += [variable["definition"] for dashboard in dashboards().values() for variable in dashboard["templating"]["list"] if "definition" in variable]
        names = set().union(*map(used, texts))
        self.assertGreater(len(names), 50)
        self.assertEqual(names - exported(), set())
        words = {name for text in texts for name in re.findall(r"\b([a-z][a-z0-9_]+)\s*[{\[]", re.sub(r'"[^"]*"', '""', text))}
        strange = {name for name in words if not re.match(r"(cilium|hubble)_|up$", name)}
        self.assertEqual(strange, set())

    def test_panels_have_places_of_their_own(self):
        for name, dashboard in dashboards().items():
            taken, ids = set(), set()
            for panel in dashboard["panels"]:
                at = panel["gridPos"]
                self.assertLessEqual(at["x"] + at["w"], 24, f"{name}: {panel['title']}")
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertFalse(cells & taken, f"{name}: {panel['title']}")
                taken |= cells
                self.assertNotIn(panel["id"], ids)
                ids.add(panel["id"])

    def test_alert_rules(self):
        code, output = promtool("check", "rules", "alerts.yaml")
        self.assertEqual(code, 0, output)
        code, output = promtool("test", "rules", "alerts_test.yaml")
        self.assertEqual(code, 0, output)

    def test_alerts_say_what_and_where(self):
        for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
            for rule in group["rules"]:
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"), rule["alert"])
                self.assertTrue(rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"])
                self.assertIn("for", rule, rule["alert"])


if __name__ == "__main__":
    sys.exit(unittest.main())
