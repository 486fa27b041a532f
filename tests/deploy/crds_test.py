#!/usr/bin/env python3
"""deploy/crds: as generated, structural, taking what documentation and tests write, refusing what is wrong."""
import ast
import pathlib
import re
import subprocess
import sys
import unittest

import yaml

import crd_schema

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CRDS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy/crds").glob("*.yaml"))]
SCHEMAS = {(f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): version["schema"]["openAPIV3Schema"]
           for crd in CRDS for version in crd["spec"]["versions"]}

# Mistakes that tests make on purpose.
WRONG_ON_PURPOSE = {"src/model/json_test.cpp", "src/features/policy/translate_test.cpp from-world-to-role-public"}


def texts():
    """Whatever may hold manifests: blocks of documentation, strings of tests."""
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for block in re.finditer(r"```ya?ml\n(.*?)```", path.read_text(), re.S):
            yield path, block.group(1)
    for path in [*ROOT.glob("src/**/*.cpp"), *ROOT.glob("src/**/*.h"), *ROOT.glob("tests/**/*.cpp")]:
        for literal in re.finditer(r'R"(\w*)\((.*?)\)\1"', path.read_text(), re.S):
            yield path, literal.group(2)
    for path in ROOT.glob("tests/**/*.py"):
        for part in ast.walk(ast.parse(path.read_text())):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield path, part.value


def manifests():
    for path, text in texts():
        if "cilium.io/v" not in text:
            continue
        try:
            documents = list(yaml.safe_load_all(text))
        except yaml.YAMLError:
            continue  # pieces that are put together at run time
        for document in documents:
            if isinstance(document, dict) and (document.get("apiVersion"), document.get("kind")) in SCHEMAS:
                yield path.relative_to(ROOT), document


def errors_of(text):
    document = yaml.safe_load(text)
    return crd_schema.value_errors(SCHEMAS[document["apiVersion"], document["kind"]], document)


def policy(spec, kind="CiliumNetworkPolicy"):
    return errors_of(f"{{apiVersion: cilium.io/v2, kind: {kind}, metadata: {{name: p}}, spec: {spec}}}")


class Crds(unittest.TestCase):
    def test_files_are_what_the_generator_writes(self):
        done = subprocess.run([ROOT / "tools/crds/generate.py", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_structural(self):
        self.assertGreaterEqual(len(CRDS), 19)
        for crd in CRDS:
            self.assertEqual(crd_schema.crd_errors(crd), [])

    def test_client_side_apply_fits(self):
        # kubectl apply keeps the object in an annotation: at most 256 KiB of annotations.
        for path in (ROOT / "deploy/crds").glob("*.yaml"):
            self.assertLess(len(path.read_text()), 250_000, path.name)

    def test_manifests_of_documentation_and_tests(self):
        checked = 0
        for path, document in manifests():
            name = f"{path} {document['metadata']['name']}"
            errors = crd_schema.value_errors(SCHEMAS[document["apiVersion"], document["kind"]], document)
            if str(path) in WRONG_ON_PURPOSE or name in WRONG_ON_PURPOSE:
                continue
            self.assertEqual(errors, [], name)
            checked += 1
        self.assertGreaterEqual(checked, 15)

    def test_policies(self):
        accepted = [
            "{endpointSelector: {}, ingress: [{}]}",
            "{endpointSelector: {matchLabels: {'k8s:app': web}}, egress: [{toFQDNs: [{matchPattern: '*.example.org'}]}]}",
            "{endpointSelector: {}, ingressDeny: [{fromEntities: [world-ipv6]}]}",
            "{endpointSelector: {}, ingress: [{icmps: [{fields: [{type: 8}, {type: EchoRequest, family: IPv6}]}]}]}",
            "{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupRef: a}]}]}",
            "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: '80', endPort: 90}, {port: http, protocol: TCP}]}]}]}",
            "{endpointSelector: {}, ingress: [{toPorts: [{rules: {http: [{method: GET, path: /a}]}}]}]}",
            "{nodeSelector: {}, ingress: []}",
        ]
        refused = [
            "{endpointSelector: {}}",
            "{endpointSelector: {}, nodeSelector: {}, ingress: []}",
            "{ingress: []}",
            "{endpointSelector: {}, ingres: [{}], ingress: []}",
            "{endpointSelector: {}, ingress: [{fromEntities: [everybody]}]}",
            "{endpointSelector: {}, ingress: [{fromRequires: [{}]}]}",
            "{endpointSelector: {}, ingress: [{fromCIDR: [10.0.0.0]}]}",
            "{endpointSelector: {}, ingress: [{icmps: [{fields: [{type: '256'}]}]}]}",
            "{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]}]}",
            "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: 80}]}]}]}",
            "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: '80', endPort: 65536}]}]}]}",
            "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: 'a b'}]}]}",
            "{endpointSelector: {}, ingress: [{toPorts: [{rules: {http: [], dns: []}}]}]}",
            "{endpointSelector: {}, ingressDeny: [{authentication: {mode: required}}]}",
        ]
        for kind in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
            for spec in accepted:
                self.assertEqual(policy(spec, kind), [], spec)
            for spec in refused:
                self.assertNotEqual(policy(spec, kind), [], spec)

    def test_other_kinds(self):
        pool = "{apiVersion: cilium.io/v2alpha1, kind: CiliumPodIPPool, metadata: {name: p}, spec: {ipv4: %s}}"
        node = "{apiVersion: cilium.io/v2, kind: CiliumNodeConfig, metadata: {name: n}, spec: %s}"
        peer = "{apiVersion: cilium.io/v2, kind: CiliumBGPPeerConfig, metadata: {name: n}, spec: {timers: {holdTimeSeconds: %s}}}"
        accepted = [pool % "{cidrs: [10.0.0.0/16], maskSize: 27}", node % "{defaults: {debug: 'true'}, nodeSelector: {}}",
                    peer % 9]
        refused = [pool % "{cidrs: [], maskSize: 27}", pool % "{cidrs: [10.0.0.0/16], maskSize: 33}",
                   node % "{defaults: {debug: true}, nodeSelector: {}}", node % "{defaults: {}}", peer % 2]
        for text in accepted:
            self.assertEqual(errors_of(text), [], text)
        for text in refused:
            self.assertNotEqual(errors_of(text), [], text)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
