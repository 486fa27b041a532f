#!/usr/bin/env python3
"""Tests of check_layers.py on small trees made for the purpose."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_layers  # noqa: E402

RULES = """
base:
model:     base
maps:      base bpf/api
io:        model base
features:  maps io model base
app:       features base
bpf/api:
bpf/lib:   bpf/api
bpf/hooks: bpf/lib bpf/api
@peers features: types.h
@pure features/*/desired.*: base model maps
"""


def problems(files, rules=RULES):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return check_layers.check(root, check_layers.Rules(rules))[1]


class CheckLayers(unittest.TestCase):
    def assert_refused(self, file, include):
        found = problems({file: f'#include <vector>\n#include "{include}"\n'})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{file}:2:"), found)

    def assert_permitted(self, file, include):
        self.assertEqual(problems({file: f'#include "{include}"\n'}), [])

    def test_downward_edges_are_permitted_and_upward_ones_refused(self):
        self.assert_permitted("src/io/a.cpp", "model/x.h")
        self.assert_refused("src/model/a.cpp", "io/x.h")
        self.assert_refused("src/base/a.h", "model/x.h")

    def test_nobody_includes_app(self):
        self.assert_refused("src/features/a/a.cpp", "app/cli/x.h")

    def test_a_feature_sees_another_only_through_its_types(self):
        self.assert_permitted("src/features/a/module.cpp", "features/b/types.h")
        self.assert_refused("src/features/a/module.cpp", "features/b/writer.h")
        self.assert_permitted("src/features/a/module.cpp", "features/a/writer.h")

    def test_desired_state_is_pure(self):
        self.assert_permitted("src/features/a/desired.cpp", "maps/x.h")
        self.assert_permitted("src/features/a/desired.cpp", "features/a/desired.h")
        self.assert_permitted("src/features/a/desired.h", "features/b/types.h")
        self.assert_refused("src/features/a/desired.cpp", "io/store.h")
        self.assert_permitted("src/features/a/module.cpp", "io/store.h")

    def test_bpf_is_layered_and_sees_no_cpp(self):
        self.assert_permitted("bpf/hooks/pod.bpf.c", "bpf/lib/ct.h")
        self.assert_refused("bpf/lib/ct.h", "bpf/hooks/x.h")
        self.assert_refused("bpf/api/x.h", "bpf/lib/ct.h")
        self.assert_permitted("src/maps/a.cpp", "bpf/api/x.h")
        self.assert_refused("src/io/a.cpp", "bpf/api/x.h")

    def test_paths_with_dots_cannot_go_around_the_rules(self):
        self.assert_refused("src/model/a.cpp", "../io/x.h")

    def test_unusable_rules_are_refused(self):
        for text in ("base: model\nmodel: base\n", "base: nothing-there\n", "base\n", "base:\nbase:\n"):
            with self.assertRaises(ValueError):
                check_layers.Rules(text)


if __name__ == "__main__":
    unittest.main()
