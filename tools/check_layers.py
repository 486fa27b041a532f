#!/usr/bin/env python3
"""Checks every #include "…" of the tree against src/layers.txt.

Usage: tools/check_layers.py [ROOT]
Prints one line per forbidden include (file:line: reason) and exits 1 if there is any, 2 if the rules are unusable.
"""
import fnmatch
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
SUFFIXES = {".h", ".c", ".cpp"}


class Rules:
    def __init__(self, text):
        self.edges, self.peers, self.pure = {}, {}, []
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.split("#", 1)[0].strip()
            if not line:
                continue
            left, colon, right = line.partition(":")
            if not colon:
                raise ValueError(f"layers.txt:{number}: expected 'FOLDER: FOLDER…', got '{line}'")
            words = left.split()
            if words[0] == "@peers" and len(words) == 2:
                self.peers[words[1]] = right.split()
            elif words[0] == "@pure" and len(words) == 2:
                self.pure.append((words[1], right.split()))
            elif len(words) == 1 and not words[0].startswith("@"):
                if words[0] in self.edges:
                    raise ValueError(f"layers.txt:{number}: '{words[0]}' is listed twice")
                self.edges[words[0]] = right.split()
            else:
                raise ValueError(f"layers.txt:{number}: '{left.strip()}' is neither a folder nor @peers or @pure")
        known = set(self.edges)
        for folder, allowed in self.edges.items():
            for name in allowed:
                if name not in known:
                    raise ValueError(f"layers.txt: '{folder}' names '{name}', which has no line of its own")
        self.check_cycles()

    def check_cycles(self):
        state = {}

        def visit(folder, path):
            if state.get(folder) == "done":
                return
            if folder in path:
                raise ValueError("layers.txt: a cycle: " + " -> ".join(path[path.index(folder):] + [folder]))
            for name in self.edges[folder]:
                visit(name, path + [folder])
            state[folder] = "done"

        for folder in self.edges:
            visit(folder, [])

    def layer_of(self, path):
        """The longest folder with a line that holds the path, or None."""
        best = None
        for folder in self.edges:
            if path.startswith(folder + "/") and (best is None or len(folder) > len(best)):
                best = folder
        return best

    def verdict(self, source, included):
        """None when `source` may include `included` (both relative, without src/), else the reason."""
        source_dir = source.rpartition("/")[0]
        for pattern, allowed in self.pure:
            if fnmatch.fnmatch(source, pattern):
                beside = included.rpartition("/")[0] == source_dir
                if not beside and not any(included.startswith(folder + "/") for folder in allowed):
                    if not self.is_peer_interface(source, included):
                        return f"{pattern} is pure: only {', '.join(allowed)} and its own folder"
        for parent, names in self.peers.items():
            mine, theirs = self.child_of(parent, source), self.child_of(parent, included)
            if mine and theirs and mine != theirs:
                if included.rpartition("/")[2] in names:
                    return None
                what = " or ".join(names) if names else "nothing"
                return f"of {parent}/{theirs}, {parent}/{mine} may see {what}"
        layer, target = self.layer_of(source), self.layer_of(included)
        if layer is None or target is None:
            return None  # a file without a layer, or a header found elsewhere
        if layer == target:
            return None
        allowed = self.edges[layer]
        if target in allowed or any(target.startswith(folder + "/") for folder in allowed):
            return None
        if target.startswith(layer + "/") or layer.startswith(target + "/"):
            return None  # a folder with a line of its own and its parent
        return f"{layer} may include {', '.join(allowed) or 'nothing else'}"

    def is_peer_interface(self, source, included):
        return any(self.child_of(parent, source) and self.child_of(parent, included)
                   and included.rpartition("/")[2] in names for parent, names in self.peers.items())

    @staticmethod
    def child_of(parent, path):
        if not path.startswith(parent + "/"):
            return None
        rest = path[len(parent) + 1:]
        return rest.split("/", 1)[0] if "/" in rest else None


def normal(path):
    return path[4:] if path.startswith("src/") else path


def check(root, rules):
    problems, files = [], 0
    for top in ("src", "bpf", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            files += 1
            relative = path.relative_to(root).as_posix()
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                found = INCLUDE.match(line)
                if not found:
                    continue
                included = found.group(1)
                if "/" not in included and (path.parent / included).exists():
                    continue  # a neighbour
                if ".." in included.split("/"):
                    problems.append(f"{relative}:{number}: '{included}': write includes from the root, not with '..'")
                    continue
                reason = rules.verdict(normal(relative), normal(included))
                if reason:
                    problems.append(f"{relative}:{number}: '{included}': {reason}")
    return files, problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    try:
        rules = Rules((root / "src" / "layers.txt").read_text())
    except (OSError, ValueError) as error:
        print(f"check_layers: {error}", file=sys.stderr)
        return 2
    files, problems = check(root, rules)
    for problem in problems:
        print(problem)
    print(f"check_layers: {files} files, {len(problems)} forbidden includes")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
