#!/usr/bin/env python3
"""What `axoneme install --dry-run` prints is what Helm's engine makes of the chart, for every set of values of tests/helm/cases.yaml.

Usage: tests/deploy/install_test.py --build BUILD_DIR
Without Go and Sprig only the rendering with default values is compared, with deploy/kubernetes/axoneme.yaml.
"""
import argparse
import base64
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RECENT = "v1.30.0"  # what render.go takes where a case says nothing


def load_helm_tests():
    spec = importlib.util.spec_from_file_location("helm_tests", ROOT / "tests/helm/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_cli(program, case):
    """(manifests, error) of one case."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        yaml.safe_dump(case.get("values", {}), values)
        values.flush()
        command = [program, "install", "--dry-run", "--kube-version", case.get("kubeVersion", RECENT),
                   "-n", case.get("namespace", "kube-system"), "-f", values.name]
        for assignment in case.get("set", []):
            command += ["--set", assignment]
        done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout, done.stderr if done.returncode != 0 else ""


def objects_of(text):
    found = {}
    for item in yaml.safe_load_all(text):
        if item:
            if item["kind"] == "Secret":
                # Certificates that are made are different each time: what they are is helm_test.cpp's; here, whether they are there.
                item["data"] = {name: base64.b64decode(value).splitlines()[0].split()[0] for name, value in item["data"].items()}
            found[item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]] = item
    return found


def is_document(text):
    try:
        return isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return False


def differences(ours, wanted, path=""):
    if isinstance(ours, dict) and isinstance(wanted, dict):
        for key in sorted({*ours, *wanted}, key=str):
            if key not in ours:
                yield f"{path}.{key}: missing; Helm has {wanted[key]!r}"
            elif key not in wanted:
                yield f"{path}.{key}: {ours[key]!r}; Helm has none"
            else:
                yield from differences(ours[key], wanted[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(wanted, list) and len(ours) == len(wanted):
        for index, (one, other) in enumerate(zip(ours, wanted)):
            yield from differences(one, other, f"{path}[{index}]")
    elif isinstance(ours, str) and isinstance(wanted, str) and ours != wanted and is_document(ours) and is_document(wanted):
        # render.go indents the lists of a YAML text, which Helm does not.
        yield from differences(yaml.safe_load(ours), yaml.safe_load(wanted), f"{path} (YAML)")
    elif ours != wanted or type(ours) is not type(wanted):
        yield f"{path}: {ours!r}; Helm has {wanted!r}"


def problems_of(program, case, wanted, refusal):
    """wanted: Helm's manifests; refusal: what it says instead."""
    text, error = run_cli(program, case)
    if refusal or error:
        said = error.removeprefix("Error: ").strip()
        return [] if said == refusal.strip() else [f"refused with:\n{said}\nHelm's engine:\n{refusal}"]
    return list(differences(objects_of(text), objects_of(wanted)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    program = parser.parse_args().build.resolve() / "bin/axoneme"
    helm = load_helm_tests()
    outcome = {"default, plain manifests": problems_of(program, {}, helm.PLAIN.read_text(), "")}
    renderer, lacking = helm.renderer()
    if renderer is None:
        print(f"only the default values are compared: there is no {lacking}")
    else:
        cases = [{"name": "default"}, *yaml.safe_load((ROOT / "tests/helm/cases.yaml").read_text())]
        results = helm.render(renderer, cases)
        for case in cases:
            result = results[case["name"]]
            refusal = helm.golden_text(case, result, {}) if "error" in result else ""
            outcome[case["name"]] = problems_of(program, case, "" if refusal else helm.manifest(result["files"]), refusal)
    failed = {name: problems for name, problems in outcome.items() if problems}
    for name, problems in failed.items():
        print(f"FAIL install: {name}")
        print("\n".join(f"     {problem}" for problem in problems[:20]))
    print(f"install: {len(outcome) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
