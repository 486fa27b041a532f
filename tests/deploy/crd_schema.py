"""Validation as the API server does it: the rules for structural schemas, and objects against a schema.

Of apiextensions.k8s.io/v1 what the CRDs of deploy/crds use; a keyword that is not known here is an error, not passed over.
"""
import ipaddress
import re

VALUE_KEYS = {"type", "description", "properties", "required", "items", "additionalProperties", "enum", "pattern", "format",
              "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default", "anyOf", "oneOf",
              "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
              "x-kubernetes-map-type", "x-kubernetes-validations"}
FORMATS = {"cidr", "ipv4", "date-time", "int32", "int64", "idn-hostname"}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}


def structural_errors(schema, where=""):
    """What breaks https://kubernetes.io/docs/…/custom-resource-definitions/#specifying-a-structural-schema."""
    errors = [f"{where}: unknown keyword {key}" for key in schema.keys() - VALUE_KEYS]
    int_or_string = schema.get("x-kubernetes-int-or-string")
    if int_or_string:
        if "type" in schema or schema.get("anyOf") != [{"type": "integer"}, {"type": "string"}]:
            errors.append(f"{where}: x-kubernetes-int-or-string needs exactly anyOf integer, string and no type")
    elif schema.get("type") not in TYPES:
        errors.append(f"{where}: type {schema.get('type')!r}")
    for junctor in () if int_or_string else ("anyOf", "oneOf"):
        for branch in schema.get(junctor, []):
            if branch.keys() - {"required"}:
                errors.append(f"{where}: {junctor} may only ask for fields here, has {sorted(branch)}")
            errors += [f"{where}: {junctor} asks for {field}, which is not a property"
                       for field in branch.get("required", []) if field not in schema.get("properties", {})]
    if "properties" in schema and "additionalProperties" in schema:
        errors.append(f"{where}: properties and additionalProperties exclude each other")
    if (schema.get("type") == "array") != ("items" in schema):
        errors.append(f"{where}: an array has items, and only an array")
    if schema.get("format", "int32") not in FORMATS:
        errors.append(f"{where}: unknown format {schema['format']}")
    errors += [f"{where}: requires {field}, which is not a property"
               for field in schema.get("required", []) if field not in schema.get("properties", {})]
    for key in schema.get("x-kubernetes-list-map-keys", []):
        item = schema["items"]
        if key not in item.get("required", []) and "default" not in item["properties"].get(key, {}):
            errors.append(f"{where}: list key {key} is neither required nor has a default")
    if "default" in schema:
        errors += value_errors(schema, schema["default"], where + " default")
    for name, child in schema.get("properties", {}).items():
        errors += structural_errors(child, f"{where}.{name}")
    if "items" in schema:
        errors += structural_errors(schema["items"], where + "[]")
    if "additionalProperties" in schema:
        errors += structural_errors(schema["additionalProperties"], where + ".*")
    return errors


def crd_errors(crd):
    """What the API server refuses in a CustomResourceDefinition as a whole."""
    spec, names = crd["spec"], crd["spec"]["names"]
    errors = []
    if crd["metadata"]["name"] != f"{names['plural']}.{spec['group']}":
        errors.append("metadata.name is not <plural>.<group>")
    if sum(version["storage"] for version in spec["versions"]) != 1:
        errors.append("exactly one version is stored")
    for version in spec["versions"]:
        where = f"{crd['metadata']['name']} {version['name']}"
        if "deprecationWarning" in version and (not version.get("deprecated") or len(version["deprecationWarning"]) > 256):
            errors.append(f"{where}: deprecationWarning needs deprecated and at most 256 characters")
        errors += structural_errors(version["schema"]["openAPIV3Schema"], where)
        for column in version.get("additionalPrinterColumns", []):
            if not column["jsonPath"].startswith(".") or column["type"] not in ("string", "integer", "boolean", "date"):
                errors.append(f"{where}: column {column}")
    return errors


def value_errors(schema, value, where=""):
    """What the API server refuses in a value, unknown fields included (kubectl asks for strict field validation)."""
    if schema.get("x-kubernetes-int-or-string"):
        return pattern_errors(schema, value, where) if isinstance(value, str) else (
            [] if isinstance(value, int) else [f"{where}: neither number nor string"])
    wanted = TYPES[schema["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        return [f"{where}: expected {schema['type']}, is {value!r}"]
    errors = pattern_errors(schema, value, where)
    if "enum" in schema and value not in schema["enum"]:
        errors.append(f"{where}: {value!r} is none of {schema['enum']}")
    for keyword, wrong in (("minimum", lambda limit: value < limit), ("maximum", lambda limit: value > limit),
                           ("minLength", lambda limit: len(value) < limit), ("maxLength", lambda limit: len(value) > limit),
                           ("minItems", lambda limit: len(value) < limit), ("maxItems", lambda limit: len(value) > limit)):
        if keyword in schema and wrong(schema[keyword]):
            errors.append(f"{where}: {keyword} {schema[keyword]}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            errors += value_errors(schema["items"], item, f"{where}[{index}]")
    if isinstance(value, dict):
        errors += object_errors(schema, value, where)
    return errors


def object_errors(schema, value, where):
    errors = [f"{where}: {field} is missing" for field in schema.get("required", []) if field not in value]
    for junctor, fits in (("anyOf", lambda count: count >= 1), ("oneOf", lambda count: count == 1)):
        if junctor in schema:
            count = sum(all(field in value for field in branch["required"]) for branch in schema[junctor])
            if not fits(count):
                errors.append(f"{where}: {junctor} {[branch['required'] for branch in schema[junctor]]}: {count} fit")
    if "properties" not in schema and "additionalProperties" not in schema:
        return errors  # metadata: the API server's own
    for name, item in value.items():
        child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        errors += value_errors(child, item, f"{where}.{name}") if child else [f"{where}: unknown field {name}"]
    return errors


def pattern_errors(schema, value, where):
    errors = []
    # Go's \PC is whatever is no control character.
    pattern = schema.get("pattern", "").replace(r"\PC", r"[^\x00-\x1f\x7f-\x9f]")
    if pattern and isinstance(value, str) and not re.search(pattern, value):
        errors.append(f"{where}: {value!r} does not fit {schema['pattern'][:60]}")
    try:
        if schema.get("format") == "cidr":
            ipaddress.ip_network(value, strict=False)
            if "/" not in value:
                raise ValueError("no prefix length")
        elif schema.get("format") == "ipv4":
            ipaddress.IPv4Address(value)
    except ValueError as error:
        errors.append(f"{where}: {error}")
    return errors
