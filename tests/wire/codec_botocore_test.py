"""The codecs against botocore itself: what botocore writes we read as it was meant, what we write botocore reads back.

Each operation of each service is tried with seeded random values of its shapes: all members once, some members once.
With another botocore than the tables were generated from, only what both know is tried.
"""

import base64
import datetime
import json
import math
import os
import random
import string
import subprocess
import sys

import pytest

botocore = pytest.importorskip("botocore")
import botocore.exceptions  # noqa: E402
import botocore.loaders  # noqa: E402
import botocore.model  # noqa: E402
import botocore.parsers  # noqa: E402
import botocore.serialize  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.environ.get("CODEC_TOOL", os.path.join(ROOT, "build", "tests", "wire", "codec_tool"))
UTC = datetime.timezone.utc


if not os.path.exists(TOOL):
    pytest.skip(f"{TOOL} is not built", allow_module_level=True)

# service, protocol, name of the model in the tables
SPOKEN = [(n, p, m) for n, p, m in (
    [(n, "json", n) for n in "sagemaker logs cloudwatch ecr ecs stepfunctions sqs events ssm secretsmanager application-autoscaling kms dynamodb".split()]
    + [(n, "query", n) for n in ("sts", "iam")] + [("cloudwatch", "query", "cloudwatch-query")]
    + [(n, "rest-json", n) for n in "sagemaker-runtime sagemaker-featurestore-runtime sagemaker-metrics lambda scheduler".split()]
    + [("s3", "rest-xml", "s3")])]


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, **line):
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def tool():
    t = Tool()
    yield t
    t.process.stdin.close()
    t.process.wait()


def committed_version():
    with open(os.path.join(ROOT, "src", "wire", "models_index.c"), encoding="utf-8") as f:
        return f.readline().split("botocore ", 1)[1].split(". ")[0]


def model(service, protocol):
    try:
        m = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"), service)
    except botocore.exceptions.UnknownServiceError:
        pytest.skip(f"this botocore has no {service}")
    if protocol not in m.metadata.get("protocols", [m.metadata["protocol"]]):
        pytest.skip(f"this botocore does not speak {protocol} with {service}")
    return m


class Values:
    """Random values of shapes: `params` as botocore takes them, `normal` as the codecs' normal form."""

    def __init__(self, seed, everything, tables, text=True):
        self.random, self.everything, self.known = random.Random(seed), everything, tables["shapes"]
        self.alphabet = string.ascii_letters + string.digits + " -_.:/+=&%<>\"'é€" if text else string.ascii_letters + string.digits

    def string(self, shape, plain=False):
        if shape.enum:
            return self.random.choice(shape.enum)
        alphabet = string.ascii_letters + string.digits if plain else self.alphabet
        low = min(max(int(shape.metadata.get("min", 1) or 1), 1), 40)
        return "".join(self.random.choice(alphabet) for _ in range(low + self.random.randrange(8))).strip() or "x"

    def make(self, shape, depth=0, plain=False, format=None):
        """(params, normal)"""
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, depth)
        if kind == "list":
            pairs = [self.make(shape.member, depth + 1, plain) for _ in range(self.random.randrange(1, 3))]
            return [p for p, _ in pairs], [n for _, n in pairs]
        if kind == "map":
            params, normal = {}, {}
            for _ in range(self.random.randrange(1, 3)):
                key = self.string(shape.key, plain)
                params[key], normal[key] = self.make(shape.value, depth + 1, plain)
            return params, normal
        if kind == "timestamp":
            seconds = self.random.randrange(10**9, 2 * 10**9)
            return datetime.datetime.fromtimestamp(seconds, UTC), seconds
        if kind == "blob":
            raw = self.random.randbytes(self.random.randrange(1, 20))
            return raw, base64.b64encode(raw).decode()
        if kind in ("integer", "long"):
            low = int(shape.metadata.get("min", 0))
            n = low + self.random.randrange(3)
            return n, n
        if kind in ("float", "double"):
            d = self.random.choice([0.5, 1.0, 0.1, 12345.678, 1e-7])
            return d, d
        if kind == "boolean":
            b = self.random.random() < 0.5
            return b, b
        text = self.string(shape, plain)
        return text, text

    def structure(self, shape, depth):
        params, normal = {}, {}
        if shape.is_document_type:
            return {"any": [1, None, "x"]}, {"any": [1, None, "x"]}
        members = [(n, s) for n, s in shape.members.items() if not nothing_inside(s) and n in self.known.get(shape.name, ())]
        if shape.is_tagged_union and members:
            members = [self.random.choice(members)]
        for name, member in members:
            required = name in shape.required_members or (depth == 0 and member.serialization.get("location") == "uri")
            deep = depth > 5 and not required
            if deep or depth > 12 or not (required or self.everything or self.random.random() < 0.4):
                continue
            if shape_is_stream(member):
                continue
            plain = member.serialization.get("location") in ("header", "headers", "uri", "querystring")
            params[name], normal[name] = self.make(member, depth + 1, plain)
        if not params and depth > 0 and members:  # the query protocol cannot say "empty"
            name, member = members[0]
            if not shape_is_stream(member):
                params[name], normal[name] = self.make(member, depth + 1)
        return params, normal


def nothing_inside(shape):
    return shape.type_name == "structure" and not shape.members and not shape.is_document_type


def shape_is_stream(shape):
    return bool(shape.serialization.get("eventstream") or getattr(shape, "is_eventstream", False))


def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=1e-12)
    return type(a) is type(b) and a == b


def request_of(serialized):
    """The request line of the tool from botocore's serialised dict."""
    path, _, fixed = serialized["url_path"].partition("?")
    query = [p.partition("=")[::2] for p in fixed.split("&") if p]
    arguments = serialized.get("query_string") or {}
    for name, value in arguments.items() if isinstance(arguments, dict) else arguments:
        for one in value if isinstance(value, list) else [value]:
            query.append((name, one if isinstance(one, str) else str(one)))
    body = serialized["body"]
    headers = {k: v for k, v in serialized["headers"].items()}
    if isinstance(body, dict):
        import urllib.parse

        body = urllib.parse.urlencode(body, doseq=True)
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    if isinstance(body, str):
        body = body.encode()
    if hasattr(body, "read"):
        body = body.read()
    return {"method": serialized["method"], "path": path, "query": query, "headers": list(headers.items()),
            "body": base64.b64encode(body or b"").decode()}


def operations(service_model, tables):
    for name in service_model.operation_names:
        op = service_model.operation_model(name)
        shapes = [s.name for s in (op.input_shape, op.output_shape) if s]
        if name in tables["ops"] and all(s in tables["shapes"] for s in shapes):
            yield name, op


def same_route(service_model, op, other):
    """S3 has old and new operations on one method and URI; nobody can tell them apart."""
    return other in service_model.operation_names and service_model.operation_model(other).http == op.http


@pytest.mark.parametrize("service,protocol,table", SPOKEN)
def test_botocore_request_decodes(tool, service, protocol, table):
    m, tables = model(service, protocol), tool(do="tables", service=table)
    serializer = botocore.serialize.create_serializer(protocol, include_validation=False)
    wrong, done = [], 0
    for name, op in operations(m, tables):
        for everything in (True, False):
            if name == "PutBucketNotification" or op.has_event_stream_input:
                continue  # that one has two members of one element name
            params, normal = {}, {}
            if op.input_shape:
                params, normal = Values(f"{name}{everything}", everything, tables).structure(op.input_shape, 0)
            request = request_of(serializer.serialize_to_request(params, op))
            answer = tool(do="decode", service=service, **request)
            done += 1
            if answer.get("op") != name and same_route(m, op, answer.get("op")):
                continue
            # botocore sends "{}" for an absent payload structure.
            payload = op.input_shape and op.input_shape.serialization.get("payload")
            if payload and payload not in normal and answer.get("in", {}).get(payload) == {}:
                del answer["in"][payload]
            if answer.get("op") != name:
                wrong.append((name, "op", answer, request["method"], request["path"], request["query"]))
            elif not same(answer["in"], normal):
                wrong.append((name, "in", answer["in"], normal))
    assert done > 0
    assert not wrong, f"{len(wrong)} of {done}: {wrong[:3]}"


def parse(protocol, op, answer):
    headers = {k: v for k, v in answer["headers"]}
    from botocore.awsrequest import HeadersDict

    response = {"status_code": answer["status"], "headers": HeadersDict(headers), "body": base64.b64decode(answer["body"]),
                "context": {"operation_name": op.name}}
    shape = op.output_shape
    if shape.serialization.get("payload") and shape.members[shape.serialization["payload"]].type_name == "blob":
        response["body"] = b""  # a client hands the stream through; compared below
    return botocore.parsers.create_parser(protocol).parse(response, shape)


def normal_of(shape, value):
    """botocore's parsed value as the normal form."""
    kind = shape.type_name
    if kind == "structure":
        if shape.is_document_type:
            return value
        return {k: normal_of(shape.members[k], v) for k, v in value.items() if k in shape.members}
    if kind == "list":
        return [normal_of(shape.member, v) for v in value]
    if kind == "map":
        return {k: normal_of(shape.value, v) for k, v in value.items()}
    if kind == "timestamp":
        return int(value.timestamp()) if value.microsecond == 0 else value.timestamp()
    if kind == "blob":
        raw = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else value.read()
        return base64.b64encode(raw).decode()
    return value


@pytest.mark.parametrize("service,protocol,table", SPOKEN)
def test_botocore_parses_answer(tool, service, protocol, table):
    m, tables = model(service, protocol), tool(do="tables", service=table)
    wrong, done = [], 0
    for name, op in operations(m, tables):
        if not op.output_shape or op.has_event_stream_output or name == "GetBucketNotification":
            continue  # that one has two members of one element name
        for everything in (True, False):
            _, normal = Values(f"out{name}{everything}", everything, tables).structure(op.output_shape, 0)
            for key, member in op.output_shape.members.items():
                if member.serialization.get("location") == "statusCode" and key in normal:
                    normal[key] = 200
            answer = tool(do="encode", service=table, op=name, out=normal)
            done += 1
            if "fault" in answer:
                wrong.append((name, answer))
                continue
            try:
                parsed = parse(protocol, op, answer)
            except Exception as e:  # the parser's own exception is the finding
                wrong.append((name, repr(e), answer))
                continue
            parsed.pop("ResponseMetadata", None)
            for key, member in op.output_shape.members.items():
                if member.serialization.get("location") == "statusCode":
                    parsed.setdefault(key, normal.get(key)) if key in normal else parsed.pop(key, None)
            back = normal_of(op.output_shape, parsed)
            payload = op.output_shape.serialization.get("payload")
            if payload and op.output_shape.members[payload].type_name == "blob" and payload in normal:
                back[payload] = answer["body"]
            # What botocore fills in for absent flattened lists and maps is no difference.
            back = {k: v for k, v in back.items() if k in normal or v not in ([], {}, "", "application/octet-stream")}
            if not same(back, normal):
                wrong.append((name, back, normal))
    assert done > 0
    assert not wrong, f"{len(wrong)} of {done}: {wrong[:3]}"


@pytest.mark.parametrize("service,protocol,table", SPOKEN)
def test_botocore_parses_errors(tool, service, protocol, table):
    m = model(service, protocol)
    if botocore.__version__ != committed_version():
        pytest.skip(f"the codes are from botocore {committed_version()}, here is {botocore.__version__}")
    parser = botocore.parsers.create_parser(protocol)
    from botocore.awsrequest import HeadersDict

    tables = tool(do="tables", service=table)
    for shape in [s for s in m.error_shapes if s.name in tables["shapes"]] + [None]:
        name = shape.name if shape else "NobodyDeclaresThisException"
        text = f"Text with <angle>, \"quotes\" & 'é' of {name}\nline two"
        answer = tool(do="error", service=table, code=name, message=text)
        raw = m.shape_for(name)._shape_model if shape else {}
        error = raw.get("error", {})
        want_status = error.get("httpStatusCode", 500 if raw.get("fault") else 400)
        assert answer["status"] == want_status, name
        response = {"status_code": answer["status"], "headers": HeadersDict(dict(answer["headers"])),
                    "body": base64.b64decode(answer["body"]), "context": {"operation_name": "X"}}
        parsed = parser.parse(response, None)
        assert parsed["Error"]["Message"] == text
        code = error.get("code", name)
        compatible = "awsQueryCompatible" in m.metadata
        assert parsed["Error"]["Code"] == (code if protocol in ("query", "rest-xml") or compatible else name)
        if shape:  # the query code is understood as well
            again = tool(do="error", service=table, code=code, message=text)
            assert again["status"] == want_status


def test_golden_requests_decode(tool):
    """Requests captured from the real SDK, when they are there."""
    folder = os.environ.get("QUERN_GOLDEN", os.path.join(ROOT, "..", "shared", "reference", "wire"))
    if not os.path.isdir(folder):
        pytest.skip("no captured requests here")
    scopes = {"sagemaker": ["sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime", "sagemaker-metrics"],
              "monitoring": ["cloudwatch"], "states": ["stepfunctions"]}
    wrong, done = [], 0
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".jsonl"):
            continue
        for text in open(os.path.join(folder, name), encoding="utf-8"):
            line = json.loads(text)
            if "m" not in line or line["svc"] in (None, "s3"):
                continue
            path, _, query = line["path"].partition("?")
            headers = dict(line["hdr"])
            if line["tgt"]:
                headers["X-Amz-Target"] = line["tgt"]
            import urllib.parse

            request = {"method": line["m"], "path": path, "query": urllib.parse.parse_qsl(query, keep_blank_values=True),
                       "headers": list(headers.items()), "body": base64.b64encode((line["body"] or "").encode()).decode()}
            answers = [tool(do="decode", service=s, **request) for s in scopes.get(line["svc"], [line["svc"]])]
            good = [a for a in answers if "op" in a]
            done += 1
            if not good or "invalid" in good[0]:
                wrong.append((line["svc"], line["tgt"], line["path"], good or answers))
    assert done > 0
    assert not wrong, f"{len(wrong)} of {done}: {wrong[:5]}"


def test_every_pattern_is_understood(tool):
    answer = tool(do="patterns")
    assert answer["all"] > 500 and answer["unknown"] == []


def test_tables_are_what_the_script_writes():
    if botocore.__version__ != committed_version():
        pytest.skip(f"tables are from botocore {committed_version()}, here is {botocore.__version__}")
    result = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "models.py"), "--check"], stdout=subprocess.PIPE, text=True)
    assert result.returncode == 0, result.stdout
