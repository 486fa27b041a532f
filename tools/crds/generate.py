#!/usr/bin/env python3
"""Writes deploy/crds/*.yaml from the kinds beside this file.

Usage: tools/crds/generate.py [--check]    --check writes nothing and fails when a file differs
"""
import pathlib
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import announce  # noqa: E402
import node  # noqa: E402
import policy  # noqa: E402

OUTPUT = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy/crds"
HEADER = "# Written by tools/crds/generate.py; change it there.\n"


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True  # kubectl takes anchors, but nobody reads them


def all_kinds():
    return policy.kinds() + node.kinds() + announce.kinds()


def text(crd):
    return HEADER + yaml.dump(crd, Dumper=Dumper, sort_keys=False, width=118, default_flow_style=False)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    wanted = {f"{crd['spec']['names']['plural']}.yaml": text(crd) for crd in all_kinds()}
    present = {path.name: path.read_text() for path in OUTPUT.glob("*.yaml")}
    different = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        for name in different:
            print(f"deploy/crds/{name}: not what tools/crds/generate.py writes")
        return 1 if different else 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in different:
        if name in wanted:
            (OUTPUT / name).write_text(wanted[name])
        else:
            (OUTPUT / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
