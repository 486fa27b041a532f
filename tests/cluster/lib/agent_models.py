"""The models of Cilium's agent API (api/v1/openapi.yaml of 1.19), and whether a document is one.

A stock client decodes an answer strictly: one member of another type, or a time or duration in another form, and it shows nothing at all.
"""
import pathlib
import re

TABLE = pathlib.Path(__file__).with_name("agent_models.txt")
TYPES = {"str": str, "int": int, "bool": bool, "num": (int, float)}
FORMATS = {"time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "dur": r"-?((\d+(\.\d+)?)(h|m|s|ms|us|µs|ns))+",
           "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"}


class _Reader:
    """Of the table's type expressions."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, word):
        while self.text[self.at:self.at + 1] == " ":
            self.at += 1
        found = self.text.startswith(word, self.at)
        self.at += len(word) if found else 0
        return found

    def until(self, stop):
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in stop:
            self.at += 1
        return self.text[start:self.at].strip()

    def need(self, word):
        if not self.take(word):
            raise ValueError(f"{self.text}: {word} expected at {self.at}")

    def type(self):
        if self.take("[]"):
            return "list", self.type()
        if self.take("map<str,"):
            inner = self.type()
            self.need(">")
            return "map", inner
        if self.take("("):
            values = self.until(")").split("|")
            self.need(")")
            return "one of", values
        if not self.take("{"):
            return "name", self.until(",}>")
        members = {}
        while not self.take("}"):
            name = self.until(":*")
            required = self.take("*")
            self.need(":")
            members[name] = required, self.type()
            self.take(",")
        return "object", members


def parse_type(text):
    return _Reader(text).type()


MODELS = dict((line.split(" ", 1)[0], parse_type(line.split(" ", 1)[1].removeprefix("= "))) for line in TABLE.read_text().splitlines() if line and line[0] != "#")


def problems(kind, value, path=""):
    """What is wrong with a document of that type, as "where: what". Members that no model has are extensions: clients skip them."""
    what, inner = kind
    if what == "name" and inner in MODELS:
        yield from problems(MODELS[inner], value, path)
    elif what == "name":
        base, _, form = inner.partition("@")
        if base == "any":
            return
        if not isinstance(value, TYPES[base]) or (base in ("int", "num") and isinstance(value, bool)):
            yield f"{path}: {value!r} is no {base}"
        elif form and not re.fullmatch(FORMATS[form], value):
            yield f"{path}: {value!r} is no {form}"
    elif what == "one of":
        if value not in inner:
            yield f"{path}: {value!r} is none of {', '.join(inner)}"
    elif value is None:
        return  # Go's zero value
    elif not isinstance(value, list if what == "list" else dict):
        yield f"{path}: {value!r} is no {what}"
    elif what == "list":
        for number, item in enumerate(value):
            yield from problems(inner, item, f"{path}[{number}]")
    elif what == "map":
        for key, item in value.items():
            yield from problems(inner, item, f"{path}.{key}")
    else:
        for name, (required, member) in inner.items():
            if value.get(name) is not None:
                yield from problems(member, value[name], f"{path}.{name}")
            elif required:
                yield f"{path}.{name} is missing"
