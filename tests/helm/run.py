#!/usr/bin/env python3
"""Renders deploy/helm/axoneme in many ways and checks what comes out: without Helm, with the engine that Helm uses.

Usage: tests/helm/run.py [--build DIR] [--update] [--report FILE]
  --build   where axoneme-agent and axoneme-operator are, to hold every cilium-config against them
  --update  writes what is derived: the goldens, deploy/kubernetes/axoneme.yaml, the chart's files/defaults.json and crds.yaml
"""
import argparse
import difflib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHART = ROOT / "deploy/helm/axoneme"
PLAIN = ROOT / "deploy/kubernetes/axoneme.yaml"
PLAIN_HEADER = """# Axoneme without Helm: the chart's rendering with its default values (docs/kubernetes.md).
# Written by tests/helm/run.py --update; change deploy/helm/axoneme.
"""
GO_PATH = "/usr/share/gocode"  # where Debian puts the sources of Go packages


class Loader(yaml.SafeLoader):
    """YAML in which a key that is there twice is a mistake."""


def unique_keys(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {sorted(twice)} more than once")
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, unique_keys)


class Tally:
    def __init__(self):
        self.passed, self.failures = 0, []

    def check(self, name, problems):
        problems = list(problems)
        if problems:
            self.failures.append(name)
            print(f"FAIL helm: {name}")
            for problem in problems:
                print(f"     {problem}")
        else:
            self.passed += 1


def renderer():
    """The compiled render.go, or the reason why there is none."""
    if not shutil.which("go") or not pathlib.Path(GO_PATH, "src/github.com/Masterminds/sprig").is_dir():
        return None, "Go, or Sprig's sources (packages golang-go, golang-github-masterminds-sprig-dev)"
    program = ROOT / "build/helm-render"
    source = HERE / "render.go"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": GO_PATH, "GOFLAGS": "-p=2"}
        built = subprocess.run(["go", "build", "-o", program, source], env=environment, capture_output=True, text=True)
        if built.returncode != 0:
            sys.exit(f"render.go does not compile:\n{built.stderr}")
    return program, ""


def render(program, cases):
    request = {"chart": str(CHART), "cases": [
        {"name": case["name"], "release": "axoneme", "namespace": case.get("namespace", "kube-system"),
         "kubeVersion": case.get("kubeVersion", ""), "set": case.get("set", []),
         "values": yaml.safe_dump(case.get("values", {}))} for case in cases]}
    done = subprocess.run([program], input=json.dumps(request), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def manifest(files):
    """All files in one, as `helm template` prints them; NOTES.txt is not part of it."""
    parts = [files[name].strip() for name in sorted(files) if name.endswith(".yaml") and files[name].strip()]
    return "---\n" + "\n---\n".join(parts) + "\n"


def without_certificates(text):
    """Those that the chart makes are different each time."""
    return re.sub(r"^(  (?:ca|tls)\.(?:crt|key): )[A-Za-z0-9+/=]{200,}$", r"\1(base64)", text, flags=re.M)


def golden_text(case, result, default):
    if "error" in result:
        # What a template fails with, without the places in the templates.
        return re.sub(r"^.*?(error calling fail: |error calling include: .*error calling fail: )", "", result["error"],
                      flags=re.S).strip() + "\n"
    lines = difflib.unified_diff(default["manifest"].splitlines(), without_certificates(manifest(result["files"])).splitlines(), n=0, lineterm="")
    text = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@"))) + "\n"
    notes = [line for line in result["files"]["templates/NOTES.txt"].splitlines() if line not in default["notes"]]
    return text + ("\n# NOTES.txt\n" + "\n".join(notes) + "\n" if notes else "")


def object_problems(text):
    """What holds for manifests whatever the values."""
    try:
        objects = [item for item in yaml.load_all(text, Loader) if item is not None]
    except yaml.YAMLError as error:
        return [str(error)]
    problems, seen = [], set()
    for item in objects:
        key = (item.get("kind"), item.get("metadata", {}).get("namespace"), item.get("metadata", {}).get("name"))
        if not item.get("apiVersion") or not all((key[0], key[2])):
            problems.append(f"{key}: no apiVersion, kind or name")
        if key in seen:
            problems.append(f"{key}: twice")
        seen.add(key)
        if item.get("kind") == "ConfigMap":
            problems += [f"{key}: {name} is no string" for name, value in item["data"].items() if not isinstance(value, str)]
        if item.get("kind") in ("DaemonSet", "Deployment"):
            problems += pod_problems(item)
    return problems


def pod_problems(item):
    template, name = item["spec"]["template"], item["metadata"]["name"]
    selector = item["spec"]["selector"]["matchLabels"]
    if not selector.items() <= template["metadata"]["labels"].items():
        yield f"{name}: the selector does not select its own pods"
    volumes = [volume["name"] for volume in template["spec"].get("volumes", [])]
    used = set()
    for container in template["spec"].get("initContainers", []) + template["spec"]["containers"]:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        used |= {mount["name"] for mount in container.get("volumeMounts", [])}
        if len(set(paths)) != len(paths):
            yield f"{name}: two mounts at one path"
        for argument in container.get("args", []) + container["command"]:
            if not isinstance(argument, str):
                yield f"{name}: {argument!r} is no string"
    if used != set(volumes) or len(set(volumes)) != len(volumes):
        yield f"{name}: volumes {sorted(volumes)}, mounted {sorted(used)}"


def config_of(text):
    for item in yaml.safe_load_all(text):
        if item and item["kind"] == "ConfigMap" and item["metadata"]["name"] == "cilium-config":
            return item["data"]
    return {}


def check_config(build, config):
    """What agent and operator say of a cilium-config: (their output, problems)."""
    with tempfile.TemporaryDirectory() as directory:
        for key, value in config.items():
            pathlib.Path(directory, key).write_text(value)
        for program in ("axoneme-agent", "axoneme-operator"):
            done = subprocess.run([build / "bin" / program, "--check-config", f"--config-dir={directory}"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"K8S_NODE_NAME": "n1"})
            output = done.stdout.replace(directory, "cilium-config")
            if done.returncode != 0:
                yield f"{program}: {output.strip()}"
            elif "unknown key" in output:
                yield f"{program}: {next(line for line in output.splitlines() if 'unknown key' in line)}"


def leaves(values, path=""):
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, below)
        else:
            yield below


def unused_values():
    """Values that no template and no key refers to; keys that refer to no value."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    keys = yaml.safe_load((CHART / "files/config-keys.yaml").read_text())
    templates = "".join(path.read_text() for path in CHART.rglob("templates/**/*.*"))
    used = set(keys.values()) | set(re.findall(r"(?:\$v|\$values|\.[vV]alues)\.([A-Za-z][\w.]*)", templates))
    by_family = {"ipv4", "ipv6", "enableIPv4Masquerade", "enableIPv6Masquerade", "ipv4NativeRoutingCIDR",
                 "ipv6NativeRoutingCIDR", "ipam.operator"}  # index with the family's name
    all_leaves = set(leaves(values))
    for leaf in sorted(all_leaves):
        parts = leaf.split(".")
        if not any(".".join(parts[:n]) in used | by_family for n in range(1, len(parts) + 1)):
            yield f"{leaf}: nothing uses it"
    for path in sorted(set(keys.values()) - all_leaves):
        yield f"files/config-keys.yaml: {path} is no value"


def undocumented_values():
    """A value, the run of values that it ends, or its group has a comment; what Kubernetes itself documents needs none."""
    kubernetes = {"resources", "tolerations", "nodeSelector", "affinity", "podAnnotations", "podLabels", "priorityClassName",
                  "updateStrategy", "podSecurityContext", "securityContext", "imagePullSecrets", "startupProbe",
                  "livenessProbe", "readinessProbe", "terminationGracePeriodSeconds", "serviceAccounts", "rbac"}
    commented = False
    for line in (CHART / "values.yaml").read_text().splitlines():
        key, _, value = line.partition(":")
        if line.startswith("#"):
            commented = not line.startswith("# ---")
        elif line and not line.startswith(" "):
            group = value.strip() == ""
            if not commented and not group and key not in kubernetes:
                yield f"{key}: no comment"
            commented = commented and not group


def derived(default_manifest):
    """Files that are written from others."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    plurals = sorted(path.stem for path in (ROOT / "deploy/crds").glob("*.yaml"))
    return {
        CHART / "files/defaults.json": json.dumps(values, indent=1) + "\n",
        CHART / "files/crds.yaml": "# The kinds that the operator keeps; written by tests/helm/run.py --update.\n"
                                   + "".join(f"- {plural}\n" for plural in plurals),
        PLAIN: PLAIN_HEADER + default_manifest,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--report", type=pathlib.Path)
    arguments = parser.parse_args()
    program, lacking = renderer()
    if program is None:
        print(f"skip helm: there is no {lacking}")
        if arguments.report:
            arguments.report.write_text(json.dumps({"passed": 0, "failed": 0, "failures": []}))
        return 0
    if arguments.update:  # the templates read them
        for path, text in derived("").items():
            if path != PLAIN:
                path.write_text(text)
    cases = yaml.safe_load((HERE / "cases.yaml").read_text())
    results = render(program, [{"name": "default"}, *cases])
    if "error" in results["default"]:
        sys.exit(results["default"]["error"])
    default = {"manifest": manifest(results["default"]["files"]),
               "notes": results["default"]["files"]["templates/NOTES.txt"].splitlines()}
    wanted = {HERE / f"golden/{case['name']}.diff": golden_text(case, results[case["name"]], default) for case in cases
              if case.get("golden", True)}
    wanted |= derived(default["manifest"])
    if arguments.update:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in (HERE / "golden").glob("*"):
            if path not in wanted:
                path.unlink()

    tally = Tally()
    for path, text in wanted.items():
        present = path.read_text() if path.exists() else ""
        tally.check(str(path.relative_to(ROOT)), () if present == text else list(difflib.unified_diff(
            present.splitlines(), text.splitlines(), "as checked in", "as rendered", n=1, lineterm=""))[:40])
    tally.check("values are used, keys have values", unused_values())
    tally.check("values are documented", undocumented_values())
    for case in [{"name": "default"}, *cases]:
        result = results[case["name"]]
        if "error" in result:
            continue
        text = manifest(result["files"])
        tally.check(f"{case['name']}: objects", object_problems(text))
        config = config_of(text)
        if arguments.build and config and case.get("agent", "accepted") == "accepted":
            tally.check(f"{case['name']}: cilium-config, held against agent and operator",
                        check_config(arguments.build.resolve(), config))
    if arguments.report:
        arguments.report.write_text(json.dumps({"passed": tally.passed, "failed": len(tally.failures),
                                                "failures": [f"helm: {name}" for name in tally.failures]}))
    print(f"helm: {tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
