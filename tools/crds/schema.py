"""The vocabulary in which the CustomResourceDefinitions are written: JSON-schema nodes that obey Kubernetes' rules for
structural schemas (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/).

A node's first argument is its description. The keys of an object that end in "*" are required.
"""

GROUP = "cilium.io"
# Cilium's: its operators and ours write a CRD only over one with a lower version.
SCHEMA_VERSION_LABEL = "io.cilium.k8s.crd.schema.version"
SCHEMA_VERSION = "1.32.6"
# Ours, for corrections between two schema versions: only what Axoneme wrote is replaced for it.
REVISION_ANNOTATION = "axoneme.io/crd-revision"
REVISION = 2


def node(kind, text="", **rules):
    schema = {"description": text} if text else {}
    schema["type"] = kind
    schema.update(rules)
    return schema


def string(text="", **rules):
    return node("string", text, **rules)


def choice(text, *values, **rules):
    return node("string", text, enum=list(values), **rules)


def integer(text="", low=None, high=None, **rules):
    if low is not None:
        rules["minimum"] = low
    if high is not None:
        rules["maximum"] = high
    return node("integer", text, **rules)


def int32(text="", low=None, high=None, **rules):
    return integer(text, low, high, format="int32", **rules)


def int64(text="", low=None, high=None, **rules):
    return integer(text, low, high, format="int64", **rules)


def boolean(text="", **rules):
    return node("boolean", text, **rules)


def array(text, items, **rules):
    return node("array", text, items=items, **rules)


def named_list(text, items, **rules):
    """A list whose elements are told apart by their name."""
    return array(text, items, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}, **rules)


def strings(text="", **rules):
    return array(text, string(), **rules)


def mapping(text, values):
    return node("object", text, additionalProperties=values)


def labels(text=""):
    return mapping(text, string())


def obj(text, fields, **rules):
    schema = node("object", text, properties={key.rstrip("*"): value for key, value in fields.items()})
    required = [key[:-1] for key in fields if key.endswith("*")]
    if required:
        schema["required"] = required
    schema.update(rules)
    return schema


def one_of(*fields):
    """Exactly one of the fields is given."""
    return [{"required": [field]} for field in fields]


any_of = one_of  # at least one: the same list under another key


def rule(expression, message):
    """Common Expression Language; API servers before 1.25 leave it out."""
    return {"rule": expression, "message": message}


def rules(*all_rules):
    return {"x-kubernetes-validations": list(all_rules)}


DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


def cidr(text=""):
    return string(text, format="cidr")


def cidrs(text="", **more):
    return array(text, cidr(), **more)


def selector(text=""):
    requirement = obj("", {
        "key*": string("Key of the label"),
        "operator*": choice("", "In", "NotIn", "Exists", "DoesNotExist"),
        "values": array("For In and NotIn: at least one; for Exists and DoesNotExist: none", string(),
                        **{"x-kubernetes-list-type": "atomic"}),
    })
    value = string(maxLength=63, pattern="^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
    return obj(text, {
        "matchExpressions": array("All of them hold", requirement, **{"x-kubernetes-list-type": "atomic"}),
        "matchLabels": mapping("Labels with their values", value),
    }, **{"x-kubernetes-map-type": "atomic"})


def condition():
    """metav1.Condition"""
    return obj("", {
        "lastTransitionTime*": string("When status last changed", format="date-time"),
        "message*": string("For people", maxLength=32768),
        "observedGeneration": int64("metadata.generation that the condition speaks of", 0),
        "reason*": string("For programs", minLength=1, maxLength=1024,
                          pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
        "status*": choice("", "True", "False", "Unknown"),
        "type*": string("What the condition is about", maxLength=316,
                        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"),
    })


def conditions_status(text="What the operator found"):
    return obj(text, {"conditions": array("", condition(),
                                          **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})})


def column(name, path, kind="string", wide=False):
    """wide: shown by `kubectl get -o wide` alone."""
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": 1} if wide else {})}


AGE = column("Age", ".metadata.creationTimestamp", "date")


def crd(kind, plural, text, fields, *, scope="Cluster", short=(), categories=("cilium",), columns=(), status=False,
        versions=("v2",), unused=""):
    """One CustomResourceDefinition. The first version is stored; older ones are served and deprecated.

    unused: what this version of Axoneme lacks to act on objects of the kind: told to whoever writes one.
    """
    schema = obj(text, {"apiVersion": string(), "kind": string(), "metadata": {"type": "object"}, **fields})
    served = []
    for index, version in enumerate(versions):
        entry = {"name": version, "served": True, "storage": index == 0}
        if unused or index:
            entry["deprecated"] = True
        if unused:
            entry["deprecationWarning"] = f"{kind}: Axoneme does not act on it in this version ({unused})"
        elif index:
            entry["deprecationWarning"] = f"{GROUP}/{version} {kind} is deprecated; use {GROUP}/{versions[0]}"
        entry["schema"] = {"openAPIV3Schema": schema}
        if columns:
            entry["additionalPrinterColumns"] = list(columns)
        if status:
            entry["subresources"] = {"status": {}}
        served.append(entry)
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    if short:
        names["shortNames"] = list(short)
    if categories:
        names["categories"] = list(categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "labels": {SCHEMA_VERSION_LABEL: SCHEMA_VERSION},
            "annotations": {REVISION_ANNOTATION: str(REVISION)},
        },
        "spec": {"group": GROUP, "names": names, "scope": scope, "versions": served},
    }
