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

MONITORING = pathlib.Path(__file__).resolve().parents[2] / "deploy/monitoring"


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

    def test_metrics_are_of_the_three(self):
        texts = [expr for dashboard in dashboards().values() for _, expr in expressions(dashboard)]
        texts += [rule["expr"] for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
        words = {name for text in texts for name in re.findall(r"\b([a-z][a-z0-9_]+)\s*[{\[]", re.sub(r'"[^"]*"', '""', text))}
        self.assertTrue(words)
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
