#!/usr/bin/env python3
"""Generates src/wire/models_*.c, the AWS service models as constant C tables, from the installed botocore.

    tools/models.py            write the tables
    tools/models.py --check    compare with the committed tables: exit 0 same, 1 different, 77 botocore absent
    tools/models.py --stats    sizes of the tables

The layout is described in src/wire/model_tables.h.
"""
import argparse
import os
import sys

SERVICES = """sagemaker sagemaker-runtime sagemaker-featurestore-runtime sagemaker-metrics s3 sts iam logs cloudwatch
ecr ecs stepfunctions lambda sqs scheduler events ssm secretsmanager application-autoscaling""".split()
# Served by nobody here: requests are answered by name, and TestState checks mocks of their answers.
SERVICES += ["kms", "dynamodb", "sns"]
# Enum values in the order of AWS's validation text, where it was recorded; else the model's order.
ENUM_ORDER = {("stepfunctions", "ExecutionStatus"): "SUCCEEDED TIMED_OUT PENDING_REDRIVE ABORTED FAILED RUNNING".split()}

# A service that speaks a second protocol with the same shapes gets a second row in the index.
ALSO_QUERY = {"cloudwatch": "cloudwatch-query"}

TYPES = {
    "structure": "MT_STRUCTURE", "list": "MT_LIST", "map": "MT_MAP", "string": "MT_STRING", "character": "MT_STRING",
    "integer": "MT_INTEGER", "long": "MT_LONG", "float": "MT_FLOAT", "double": "MT_DOUBLE", "boolean": "MT_BOOLEAN",
    "timestamp": "MT_TIMESTAMP", "blob": "MT_BLOB",
}
TYPE_VALUES = {name: value for value, name in enumerate(
    "MT_STRUCTURE MT_LIST MT_MAP MT_STRING MT_INTEGER MT_LONG MT_FLOAT MT_DOUBLE MT_BOOLEAN MT_TIMESTAMP MT_BLOB".split())}
PROTOCOLS = {"json": "MODEL_JSON", "rest-json": "MODEL_REST_JSON", "query": "MODEL_QUERY", "rest-xml": "MODEL_REST_XML"}
LOCATIONS = {None: 0, "header": 1, "headers": 2, "uri": 3, "querystring": 4, "statusCode": 5}
PAYLOAD = 6
SENSITIVE, STREAMING, DOCUMENT, UNION, EVENTSTREAM, HAS_PAYLOAD, NO_MAX, NO_MIN = (1 << n for n in range(8))
REQUIRED, FLATTENED, JSONVALUE, IDEMPOTENCY, ATTRIBUTE = (1 << n for n in range(5))
MILLIONTHS = 1000000
TIME_FORMATS = {None: 0, "iso8601": 32, "unixTimestamp": 64, "rfc822": 96}


class Pool:
    """Strings, each once, by offset. Offset 0 is the empty string."""

    def __init__(self):
        self.offsets, self.order, self.size = {}, [], 0
        self.add("")

    def add(self, text):
        text = text or ""
        if text not in self.offsets:
            self.offsets[text] = self.size
            self.order.append(text)
            self.size += len(text.encode()) + 1
        return self.offsets[text]


def c_literal(text):
    out = []
    for byte in text.encode():
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "?":
            out.append("\\?")  # no trigraphs
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append("\\%03o" % byte)
    return '"' + "".join(out) + '\\0"'


class Tables:
    """The rows of one service."""

    def __init__(self, name, model, index):
        self.name, self.model, self.index = name, model, index
        self.meta = model["metadata"]
        self.rest = pick_protocol(self.meta).startswith("rest")
        self.pool = Pool()
        self.shapes, self.members, self.enums, self.limits, self.faults, self.ops, self.op_errors = ([] for _ in range(7))
        self.limit_rows = {}
        self.names = sorted(self.reachable(), key=lambda n: n.encode())
        self.number = {n: i for i, n in enumerate(self.names)}
        for shape_name in self.names:
            self.add_shape(shape_name)
        for op_name in sorted(model["operations"], key=lambda n: n.encode()):
            self.add_op(model["operations"][op_name])

    def reachable(self):
        """Shapes that operations use, and every error."""
        todo, seen = [], set()
        for op in self.model["operations"].values():
            todo += [op[k]["shape"] for k in ("input", "output") if k in op]
            todo += [e["shape"] for e in op.get("errors", [])]
        todo += [n for n, s in self.model["shapes"].items() if s.get("exception") or "error" in s]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            shape = self.model["shapes"][name]
            todo += [m["shape"] for m in shape.get("members", {}).values()]
            todo += [shape[k]["shape"] for k in ("member", "key", "value") if k in shape]
        return seen

    def add_member(self, owner, name, ref):
        shape = self.model["shapes"][ref["shape"]]
        flags = 0
        if name in owner.get("required", ()):
            flags |= REQUIRED
        if ref.get("flattened", shape.get("flattened")):
            flags |= FLATTENED
        if ref.get("jsonvalue"):
            flags |= JSONVALUE
        if ref.get("idempotencyToken"):
            flags |= IDEMPOTENCY
        if ref.get("xmlAttribute"):
            flags |= ATTRIBUTE
        flags |= TIME_FORMATS[ref.get("timestampFormat", shape.get("timestampFormat"))]
        location = LOCATIONS[ref.get("location")] if self.rest else 0
        if self.rest and owner.get("payload") == name:
            location = PAYLOAD
        wire = ref.get("locationName", shape.get("locationName") if shape["type"] != "structure" else None)
        self.members.append((self.pool.add(name), self.pool.add(wire) if wire and wire != name else 0,
                             self.number[ref["shape"]], location, flags))

    def add_limit(self, shape):
        low, high = shape.get("min"), shape.get("max")
        if low is None and high is None:
            return 0, 0
        unit = MILLIONTHS if TYPES[shape["type"]] in ("MT_FLOAT", "MT_DOUBLE") else 1
        low, high = (None if v is None else v * unit for v in (low, high))
        for value in (low, high):
            if value is not None and (value != int(value) or abs(value) > 2**63 - 1):
                raise SystemExit(f"{self.name}: a limit that does not fit: {value}")
        flags = (NO_MAX if high is None else 0) | (NO_MIN if low is None else 0)
        row = (int(low or 0), int(high or 0))
        if row not in self.limit_rows:
            self.limits.append(row)
            self.limit_rows[row] = len(self.limits)
        return self.limit_rows[row], flags

    def add_fault(self, name, shape):
        if not shape.get("exception") and "error" not in shape:
            return 0
        error = shape.get("error", {})
        code = error.get("code")
        server = bool(shape.get("fault")) or error.get("httpStatusCode", 400) >= 500
        self.faults.append((self.pool.add(code) if code and code != name else 0, error.get("httpStatusCode", 0), int(server)))
        return len(self.faults)

    def add_shape(self, name):
        shape = self.model["shapes"][name]
        kind = TYPES[shape["type"]]
        limit, flags = self.add_limit(shape)
        for key, bit in (("sensitive", SENSITIVE), ("streaming", STREAMING), ("document", DOCUMENT), ("union", UNION),
                         ("eventstream", EVENTSTREAM), ("payload", HAS_PAYLOAD)):
            if shape.get(key):
                flags |= bit
        first, count = len(self.members), 0
        if kind == "MT_STRUCTURE":
            for member, ref in shape.get("members", {}).items():
                self.add_member(shape, member, ref)
            count = len(shape.get("members", {}))
        elif kind == "MT_LIST":
            self.add_member(shape, "member", shape["member"])
            count = 1
        elif kind == "MT_MAP":
            self.add_member(shape, "key", shape["key"])
            self.add_member(shape, "value", shape["value"])
            count = 2
        elif shape.get("enum"):
            values = ENUM_ORDER.get((self.name, name), shape["enum"])
            if sorted(values) != sorted(shape["enum"]):
                raise SystemExit(f"{self.name}: {name} has other values than ENUM_ORDER")
            first, count = len(self.enums), len(values)
            self.enums += [self.pool.add(v) for v in values]
        else:
            first = 0
        self.shapes.append((self.pool.add(name), first, self.pool.add(shape.get("pattern")), count, limit,
                            TYPE_VALUES[kind], flags, self.add_fault(name, shape)))

    def add_op(self, op):
        errors = [self.number[e["shape"]] for e in op.get("errors", [])]
        first = len(self.op_errors)
        self.op_errors += errors
        http, text = op["http"], self.pool.add
        ref = lambda key: self.number[op[key]["shape"]] + 1 if key in op else 0
        self.ops.append((text(op["name"]), text(http["method"]), text(http["requestUri"]),
                         text(op.get("endpoint", {}).get("hostPrefix")), text(op.get("output", {}).get("resultWrapper")),
                         text(op.get("input", {}).get("locationName")), self.index, ref("input"), ref("output"),
                         http.get("responseCode", 0), first, len(errors)))


def pick_protocol(meta):
    for protocol in PROTOCOLS:
        if protocol in meta.get("protocols", [meta["protocol"]]):
            return protocol
    raise SystemExit(f"no protocol of {meta['serviceId']} is known: {meta['protocols']}")


def rows(out, ctype, name, table, per_line):
    out.append(f"static const {ctype} {name}[] = {{")
    texts = ["{%s}" % ",".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in table] or ["0"]
    if not table and ctype.startswith("struct"):
        texts = ["{0}"]
    for at in range(0, len(texts), per_line):
        out.append(",".join(texts[at:at + per_line]) + ",")
    out.append("};")


def c_name(service):
    return service.replace("-", "_")


def service_rows(t, ident, protocol):
    """The struct model_service initialiser."""
    meta, text = t.meta, t.pool.add
    fields = [
        ("name", text(ident)), ("protocol", PROTOCOLS[protocol]), ("target_prefix", text(meta.get("targetPrefix"))),
        ("json_version", text(meta.get("jsonVersion", "1.0" if protocol == "json" else ""))),
        ("endpoint_prefix", text(meta["endpointPrefix"])),
        ("signing_name", text(meta.get("signingName") or meta["endpointPrefix"])),
        ("xml_namespace", text(meta.get("xmlNamespace"))), ("api_version", text(meta["apiVersion"])),
        ("service_id", text(meta["serviceId"])), ("query_compatible", int("awsQueryCompatible" in meta)),
    ]
    return [f"const struct model_service model_{c_name(ident)} = {{",
            "\t.pool = pool, .shapes = shapes, .members = members, .enums = enums, .limits = limits, .faults = faults,",
            "\t.ops = ops, .op_errors = op_errors, .shape_count = %d, .op_count = %d," % (len(t.shapes), len(t.ops)),
            "\t" + ", ".join(f".{k} = {v}" for k, v in fields) + ",", "};"]


def header(what, version):
    return [f"/* {what} - generated by tools/models.py from botocore {version}. Do not edit. */", "/* clang-format off */"]


def generate(session_version, load):
    """{file name: text}."""
    files, index = {}, []
    for name in SERVICES:
        model = load(name)
        t = Tables(name, model, len(index))
        index.append(name)
        variants = service_rows(t, name, pick_protocol(t.meta))
        also = ALSO_QUERY.get(name)
        if also:
            variants += service_rows(t, also, "query")
        out = header(f"models_{c_name(name)}.c: {t.meta['serviceId']} {t.meta['apiVersion']}", session_version)
        out.append('#include "wire/model_tables.h"')
        out.append(f"extern const struct model_service model_{c_name(name)};")
        if also:
            out.append(f"extern const struct model_service model_{c_name(also)};")
        out.append("static const char pool[] =")
        line = ""
        for text in t.pool.order:
            literal = c_literal(text)
            if line and len(line) + len(literal) > 160:
                out.append(line)
                line = ""
            line += literal
        out.append(line + ";")
        rows(out, "struct model_shape", "shapes", t.shapes, 8)
        rows(out, "struct model_member", "members", t.members, 10)
        rows(out, "uint32_t", "enums", t.enums, 24)
        rows(out, "struct model_limit", "limits", t.limits, 16)
        rows(out, "struct model_fault", "faults", t.faults, 16)
        rows(out, "struct model_op", "ops", t.ops, 4)
        rows(out, "uint16_t", "op_errors", t.op_errors, 24)
        files[f"models_{c_name(name)}.c"] = "\n".join(out + variants) + "\n"
        check_ranges(t)
    everything = index + [ALSO_QUERY[n] for n in index if n in ALSO_QUERY]
    out = header("models_index.c: the services", session_version) + ['#include "wire/model_tables.h"']
    out += [f"extern const struct model_service model_{c_name(n)};" for n in everything]
    out.append("const struct model_service *const model_services[] = {")
    out += [f"\t&model_{c_name(n)}," for n in everything] + ["\tNULL,", "};"]
    files["models_index.c"] = "\n".join(out) + "\n"
    return files


def check_ranges(t):
    small = max(len(t.shapes), len(t.limits), len(t.faults), len(t.op_errors), max((s[3] for s in t.shapes), default=0))
    if small >= 65535:
        raise SystemExit(f"{t.name}: a table has too many rows for 16 bits")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--stats", action="store_true", help="print sizes")
    parser.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "wire"))
    args = parser.parse_args()
    try:
        import botocore
        import botocore.loaders
    except ImportError:
        print("tools/models.py: botocore is not installed, nothing compared" if args.check else
              "tools/models.py: botocore is needed", file=sys.stderr)
        return 77 if args.check else 1
    loader = botocore.loaders.Loader()
    files = generate(botocore.__version__, lambda name: loader.load_service_model(name, "service-2"))
    if args.stats:
        print("\n".join(f"{len(text):8d} {name}" for name, text in files.items()))
        print(f"{sum(map(len, files.values())):8d} together")
        return 0
    different = []
    for name, text in files.items():
        path = os.path.join(args.out, name)
        try:
            with open(path, encoding="utf-8") as f:
                old = f.read()
        except FileNotFoundError:
            old = None
        if old == text:
            continue
        different.append(name)
        if not args.check:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
    if args.check and different:
        committed = committed_version(args.out)
        print(f"differ from botocore {botocore.__version__} (committed: {committed}): {' '.join(different)}")
        return 1
    print(f"botocore {botocore.__version__}: {'same' if args.check or not different else 'written ' + ' '.join(different)}")
    return 0


def committed_version(folder):
    try:
        with open(os.path.join(folder, "models_index.c"), encoding="utf-8") as f:
            return f.readline().split("botocore ", 1)[1].split(". ")[0]
    except (OSError, IndexError):
        return "none"


if __name__ == "__main__":
    sys.exit(main())
