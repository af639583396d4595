"""The HTTP server with toy services (http_server.c): authentication, bodies, waiting, limits, damage, stop."""

import gzip
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from http_client import (EMPTY, PROGRAM, SECRET, Server, chunk_body, hmac_sha256, now, presign, read_response, sign,
                         signing_key, status_of)

if not os.path.exists(PROGRAM):
    pytest.skip(f"{PROGRAM} is not built", allow_module_level=True)


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    stats, err = s.stop()
    # Every upload that began was either ended or aborted, and nothing in the server complained.
    assert stats["begun"] == stats["ended"] + stats["aborted"], stats
    assert "answered twice" not in err and "never answered" not in err and "ERROR: " not in err, err[-3000:]


def code(body):
    text = body.decode()
    if text.startswith("{"):
        answer = json.loads(text)
        return answer["__type"], answer.get("message", answer.get("Message"))
    return re.search("<Code>(.*?)</Code>", text).group(1), re.search("<Message>(.*?)</Message>", text, re.S).group(1)


JSON = {"x-amz-target": "SageMaker.ListExperiments", "content-type": "application/x-amz-json-1.1"}


def call(server, op, arguments, **kwargs):
    headers = {"x-amz-target": "SageMaker." + op, "content-type": "application/x-amz-json-1.1", **kwargs.pop("headers", {})}
    body = kwargs.pop("body", json.dumps(arguments).encode())
    status, answer_headers, answer = server.signed("POST", "/", body, service="sagemaker", headers=headers, **kwargs)
    return status, answer_headers, answer


# ---- routing ----

def test_health(server):
    status, headers, body = server.request("GET", "/_quern/health")
    assert (status, json.loads(body)) == (200, {"status": "running"})
    status, headers, body = server.request("HEAD", "/_quern/health")
    assert (status, headers["Content-Length"], body) == (200, "20", b"")


def test_connections_of_this_machine_are_not_paced(server):
    """Whatever the system's congestion control is."""
    if not shutil.which("ss"):
        pytest.skip("ss (iproute2) is not installed")
    with socket.create_connection(("127.0.0.1", server.port)):
        shown = subprocess.run(["ss", "-Htin", "sport", "=", f":{server.port}"], capture_output=True, text=True, check=True).stdout
    assert " reno " in shown, shown


def test_unsigned_requests_go_where_they_are_claimed(server):
    status, headers, body = server.request("GET", "/v2/x", {"Authorization": "Basic QQ=="})
    assert (status, body, headers["WWW-Authenticate"]) == (401, b"Basic QQ==", 'Bearer realm="x"')
    status, headers, body = server.request("GET", "/some/key?a=1&b")
    assert status == 200 and b"anonymous=1" in body and b"a=1\nb=\n" in body
    status, headers, body = server.request("POST", "/", JSON, b"{}")
    assert (status, *code(body)) == (400, "MissingAuthenticationTokenException", "Missing Authentication Token")
    status, headers, body = server.request("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=GetCallerIdentity")
    assert (status, code(body)[0]) == (403, "MissingAuthenticationToken")


def test_unknown_service_operation_and_not_implemented(server):
    status, _, body = server.signed("POST", "/", b"{}", service="dynamodb")
    assert status == 501 and code(body) == ("NotImplementedException", "Quern has no service `dynamodb`.")
    status, headers, body = call(server, "CreateModel", {"ModelName": "m"})
    assert status == 501 and code(body) == ("NotImplementedException", "Quern does not implement sagemaker:CreateModel yet.")
    assert headers["x-amzn-RequestId"]
    status, _, body = call(server, "Nonsense", {})
    assert status == 400 and code(body)[0] == "UnknownOperationException"
    status, _, body = server.signed("POST", "/", b"Action=AssumeRole&Version=2011-06-15", service="sts",
                                    headers={"content-type": "application/x-www-form-urlencoded"})
    assert status == 501 and b"<ErrorResponse" in body and code(body)[0] == "NotImplementedException"


def test_services_that_share_a_scope(server):
    status, headers, body = server.signed("POST", "/endpoints/e/invocations", b"1,2", service="sagemaker",
                                          headers={"content-type": "text/csv"})
    assert (status, headers["Content-Type"], body) == (200, "text/csv", b"1,2")
    status, _, body = server.signed("PUT", "/BatchPutMetrics", b'{"TrialComponentName":"t","MetricData":[]}', service="sagemaker")
    assert status == 501 and code(body)[1] == "Quern does not implement sagemaker-metrics:BatchPutMetrics yet."


def test_operations(server):
    name = "exp-" + os.urandom(4).hex()
    assert call(server, "CreateExperiment", {"ExperimentName": name})[0] == 200
    status, _, body = call(server, "CreateExperiment", {"ExperimentName": name})
    assert status == 400 and code(body) == ("ResourceInUse", f"Experiment {name} exists.")
    status, headers, body = call(server, "ListExperiments", {})
    assert name in [e["ExperimentName"] for e in json.loads(body)["ExperimentSummaries"]]
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    status, _, body = call(server, "DescribeExperiment", {"ExperimentName": name})
    assert (status, json.loads(body)) == (200, {"ExperimentName": name})
    status, _, body = call(server, "DescribeExperiment", {"ExperimentName": "missing"})
    assert (status, code(body)[0]) == (400, "ResourceNotFound")
    status, _, body = call(server, "DescribeExperiment", {"ExperimentName": "!"})
    assert (status, code(body)[0]) == (400, "ValidationException") and "failed to satisfy constraint" in code(body)[1]
    status, _, body = call(server, "DeleteExperiment", {"ExperimentName": name})
    assert (status, code(body)[0]) == (500, "InternalFailure") and b"secret" not in body
    status, _, body = call(server, "ListExperiments", None, body=b"{nope")
    assert (status, code(body)[0]) == (400, "SerializationException")


def test_gzip_body(server):
    name = "exp-" + os.urandom(4).hex()
    body = gzip.compress(json.dumps({"ExperimentName": name}).encode())
    headers = {"content-encoding": "gzip"}
    assert call(server, "CreateExperiment", None, body=body, headers=headers)[0] == 200
    status, _, answer = call(server, "CreateExperiment", None, body=body[:-9], headers=headers)
    assert (status, code(answer)[0]) == (400, "SerializationException")
    bomb = gzip.compress(b" " * (64 << 20))
    status, _, answer = call(server, "CreateExperiment", None, body=bomb, headers=headers)
    assert (status, code(answer)[0]) == (413, "RequestEntityTooLargeException")
    status, _, answer = call(server, "CreateExperiment", None, body=body, headers={"content-encoding": "br"})
    assert status == 415


# ---- signatures ----

MISMATCH = "The request signature we calculated does not match the signature you provided."


def everyone(server, **kwargs):
    """The same fault as S3, json and query services word it: [(status, code, message)]."""
    answers = []
    for service, body, headers in (("s3", b"", {}), ("sagemaker", b"{}", JSON),
                                   ("sts", b"Action=GetCallerIdentity&Version=2011-06-15",
                                    {"content-type": "application/x-www-form-urlencoded"})):
        own = {**headers, **kwargs.get("headers", {})}
        rest = {k: v for k, v in kwargs.items() if k not in ("headers", "change")}
        target, signed_headers = sign(server.host, "GET" if service == "s3" else "POST", "/x" if service == "s3" else "/", body,
                                      service=service, headers=own, **rest)
        if "change" in kwargs:
            kwargs["change"](signed_headers)
        status, _, answer = server.request("GET" if service == "s3" else "POST", target, signed_headers, body)
        if status != 200:
            answers.append((status, *code(answer)))
        else:
            answers.append(200)
    return answers


def test_good_signatures(server):
    assert everyone(server) == [200, 200, 200]
    assert everyone(server, headers={"x-amz-meta-echo": "a   b"}) == [200, 200, 200]
    assert everyone(server, timestamp=now(-880)) == [200, 200, 200]
    assert everyone(server, timestamp=now(+880)) == [200, 200, 200]
    assert everyone(server, date_header="date") == [200, 200, 200]
    assert everyone(server, region="eu-north-1") == [200, 200, 200]
    assert everyone(server, key="ASIATEST", token="good-token") == [200, 200, 200]
    assert everyone(server, headers={"host": "sync-states.example.com:4566"}) == [200, 200, 200]


def test_no_region(server):
    """DuckDB and others sign for S3 over an empty region; the signature must hold over just that."""
    assert server.signed("GET", "/bucket/key", region="")[0] == 200
    assert server.request("GET", presign(server.host, "GET", "/bucket/key", region=""))[0] == 200
    for region, claimed in (("", "us-east-1"), ("us-east-1", "")):
        target, headers = sign(server.host, "GET", "/bucket/key", region=region)
        headers["authorization"] = headers["authorization"].replace(f"/{region}/s3/", f"/{claimed}/s3/")
        status, _, body = server.request("GET", target, headers)
        assert (status, code(body)[0]) == (403, "SignatureDoesNotMatch")
    status, _, body = server.signed("POST", "/", service="sts", region="", body=b"Action=GetCallerIdentity&Version=2011-06-15",
                                     headers={"content-type": "application/x-www-form-urlencoded"})
    assert (status, code(body)[0]) == (400, "IncompleteSignature")


def test_wrong_secret(server):
    s3, js, query = everyone(server, secret=SECRET + "x")
    assert s3[:2] == (403, "SignatureDoesNotMatch") and s3[2].startswith(MISMATCH)
    assert js[:2] == (400, "InvalidSignatureException") and js[2].startswith(MISMATCH)
    assert query[:2] == (403, "SignatureDoesNotMatch") and query[2].startswith(MISMATCH)


def test_unknown_and_broken_key(server):
    s3, js, query = everyone(server, key="AKIDNOBODY")
    assert s3 == (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    assert js == (400, "UnrecognizedClientException", "The security token included in the request is invalid.")
    assert query == (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    s3, js, query = everyone(server, key="AKIDBROKEN")
    assert s3[:2] == (500, "InternalError") and js[:2] == (500, "InternalFailure") and query[:2] == (500, "InternalFailure")


def test_tokens(server):
    for token in (None, "other-token"):
        s3, js, query = everyone(server, key="ASIATEST", token=token)
        assert s3[:2] == (400, "InvalidToken")
        assert js[:2] == (400, "UnrecognizedClientException") and query[:2] == (403, "InvalidClientTokenId")
    s3, js, query = everyone(server, key="ASIAOLD", token="t")
    assert s3[:2] == (400, "ExpiredToken") and js[:2] == (400, "ExpiredTokenException") and query[:2] == (403, "ExpiredToken")

    def replace(headers):
        headers["x-amz-security-token"] = "good-token"
    # A token that was not the signed one, though the key accepts it.
    assert [a[1] for a in everyone(server, key="ASIATEST", token="other", change=replace)] == [
        "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"]


def test_skewed_clock(server):
    s3, js, query = everyone(server, timestamp=now(-1000))
    assert s3 == (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
    assert js[:2] == (400, "InvalidSignatureException") and query[:2] == (403, "SignatureDoesNotMatch")
    for answer in (js, query):
        assert re.fullmatch(r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 15 min\.\)", answer[2])
    s3, js, query = everyone(server, timestamp=now(+1000))
    assert s3[1] == "RequestTimeTooSkewed"
    assert re.fullmatch(r"Signature not yet current: \S+Z is still later than \S+Z \(\S+Z \+ 15 min\.\)", js[2])


def test_altered_requests(server):
    def change(name, value):
        def apply(headers):
            headers[name] = value
        return apply
    wrong = ["SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"]
    assert [a[1] for a in everyone(server, headers={"x-amz-meta-echo": "1"}, change=change("x-amz-meta-echo", "2"))] == wrong
    assert [a[1] for a in everyone(server, change=change("host", "elsewhere"))] == wrong
    unsigned = everyone(server, change=change("x-amz-meta-more", "2"))
    assert unsigned[0] == (403, "AccessDenied", "There were headers present in the request which were not signed: x-amz-meta-more")
    assert [a[1] for a in unsigned[1:]] == wrong[1:]
    assert [a[1] for a in everyone(server, unsigned=("host",))] == ["AccessDenied", *wrong[1:]]
    status, _, body = server.request("GET", "/y", sign(server.host, "GET", "/x")[1])
    assert (status, code(body)[0]) == (403, "SignatureDoesNotMatch")
    status, _, body = server.request("GET", "/x?acl", sign(server.host, "GET", "/x")[1])
    assert (status, code(body)[0]) == (403, "SignatureDoesNotMatch")
    status, _, body = server.request("DELETE", "/x", sign(server.host, "GET", "/x")[1])
    assert (status, code(body)[0]) == (403, "SignatureDoesNotMatch")
    # A body other than the signed one.
    for service, headers in (("sagemaker", JSON), ("sagemaker", {**JSON, "x-amz-content-sha256": EMPTY})):
        status, _, body = server.signed("POST", "/", b"", service=service, headers=headers, send_body=b"{}")
        assert (status, code(body)[0]) == (400, "InvalidSignatureException")


def test_incomplete_headers(server):
    def cut(part):
        def apply(headers):
            headers["authorization"] = re.sub(part + r"=[^,]*(, )?", "", headers["authorization"]).rstrip(", ")
        return apply
    answers = everyone(server, change=cut("Signature"))
    assert [a[:2] for a in answers] == [(400, "AuthorizationHeaderMalformed"), (400, "IncompleteSignatureException"), (400, "IncompleteSignature")]
    assert answers[1][2] == "Authorization header requires 'Signature' parameter."

    def no_date(headers):
        del headers["x-amz-date"]
    assert [a[:2] for a in everyone(server, change=no_date)] == [
        (403, "AccessDenied"), (400, "IncompleteSignatureException"), (400, "IncompleteSignature")]

    def other_day(headers):
        headers["x-amz-date"] = "20200101T000000Z"
    answers = everyone(server, change=other_day)
    assert answers[1][2].startswith("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '")

    def version2(headers):
        headers["authorization"] = "AWS AKIDTEST:c2ln"
    status, _, body = server.request("GET", "/x", {"authorization": "AWS AKIDTEST:c2ln"})
    assert (status, code(body)[0]) == (400, "InvalidRequest") and "AWS4-HMAC-SHA256" in code(body)[1]
    # Two Authorization headers.
    target, headers = sign(server.host, "GET", "/x")
    status, _, body = server.request("GET", target, [*headers.items(), ("authorization", "AWS4-HMAC-SHA256 x")])
    assert status == 400


def test_presigned(server):
    def get(**kwargs):
        status, _, body = server.request(kwargs.pop("method", "GET"), presign(server.host, "GET", "/a%20b", **kwargs))
        return (status,) if status == 200 else (status, *code(body))
    assert get() == (200,)
    assert get(query=[("response-content-type", "a/b"), ("x", "ä &=")]) == (200,)
    assert get(key="ASIATEST", token="good-token") == (200,)
    assert get(timestamp=now(-3000), expires=3600) == (200,)
    assert get(timestamp=now(-4000), expires=3600) == (403, "AccessDenied", "Request has expired")
    assert get(timestamp=now(+1000)) == (403, "AccessDenied", "Request is not valid yet")
    assert get(expires=604801)[:2] == (400, "AuthorizationQueryParametersError")
    assert get(expires=-1)[2] == "X-Amz-Expires must be non-negative"
    assert get(expires="x")[2] == "X-Amz-Expires should be a number"
    assert get(expires=None)[1] == "AuthorizationQueryParametersError"
    assert get(secret="x")[:2] == (403, "SignatureDoesNotMatch")
    assert get(key="AKIDNOBODY")[:2] == (403, "InvalidAccessKeyId")
    url = presign(server.host, "GET", "/a")
    status, _, body = server.request("GET", url.replace("/a?", "/b?"))
    assert (status, code(body)[0]) == (403, "SignatureDoesNotMatch")
    status, _, body = server.request("GET", url, {"x-amz-acl": "public-read"})
    assert (status, code(body)[0]) == (403, "AccessDenied")
    status, _, body = server.request("GET", url.replace("Signature=", "Signature=00"))
    assert (status, code(body)[0]) == (403, "SignatureDoesNotMatch")
    # An 8 KiB key.
    long = "/" + "k%20" * 2700
    status, _, body = server.request("GET", presign(server.host, "GET", long))
    assert status == 200 and b"k k k" in body
    # Other services, presigned.
    url = presign(server.host, "GET", "/", service="sts", payload=EMPTY, query=[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")])
    status, _, body = server.request("GET", url)
    assert status == 200 and b"<Account>123456789012</Account>" in body


def test_form_policy(server):
    def post(policy="eyJ4IjoxfQ==", signed_policy=None, key="AKIDTEST", secret=SECRET, token=None, date=None, scope="s3/aws4_request"):
        date = date or now()
        signature = hmac_sha256(signing_key(date[:8], "us-east-1", "s3", secret), signed_policy or policy).hex()
        fields = {"policy": policy, "credential": f"{key}/{date[:8]}/us-east-1/{scope}", "form-date": date, "signature": signature}
        if token:
            fields["token"] = token
        status, _, body = server.request("GET", "/form", fields)
        return body.decode() if status == 200 else (status, code(body)[0])
    assert "who=AKIDTEST" in post() and "anonymous=0" in post()
    assert "who=ASIATEST" in post(key="ASIATEST", token="good-token")
    assert "who=AKIDTEST" in post(date=now(-86400 * 3))  # how long a form is good is the policy's matter
    assert post(signed_policy="eyJ4IjoyfQ==") == (403, "SignatureDoesNotMatch")
    assert post(secret="x") == (403, "SignatureDoesNotMatch")
    assert post(key="ASIATEST", token="bad") == (400, "InvalidToken")
    assert post(key="NOBODY") == (403, "InvalidAccessKeyId")
    assert post(scope="s3/aws3") == (400, "AuthorizationQueryParametersError")


# ---- bodies of raw services ----

def put(server, path, body, **kwargs):
    status, headers, answer = server.signed("PUT", path, body, **kwargs)
    return status, headers, answer


def stored(answer, body):
    status, headers, _ = answer
    return status == 200 and headers["x-sha256"] == hashlib.sha256(body).hexdigest() and headers["x-bytes"] == str(len(body))


@pytest.mark.parametrize("path", ["/direct", "/worker", "/slow"])
def test_put(server, path):
    body = os.urandom(300000)
    assert stored(put(server, path, body), body)
    assert stored(put(server, path, b""), b"")
    assert stored(put(server, path, body, payload="UNSIGNED-PAYLOAD"), body)
    status, _, answer = put(server, path, body, send_body=body[:-1] + bytes([body[-1] ^ 1]))
    assert (status, code(answer)[0]) == (400, "XAmzContentSHA256Mismatch")
    status, _, answer = put(server, path, body, payload="wrong")
    assert (status, code(answer)[0]) == (400, "InvalidArgument")
    status, _, answer = put(server, path, body, payload=hashlib.sha256(body).hexdigest(), send_payload=False)
    assert (status, code(answer)[0]) == (400, "InvalidRequest")
    assert code(answer)[1] == "Missing required header for this request: x-amz-content-sha256"


def chunked(data, pieces):
    """HTTP's own chunked coding around `data`, cut at odd places."""
    out = b""
    for i in range(0, len(data), pieces):
        piece = data[i:i + pieces]
        out += f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    return out + b"0\r\n\r\n"


@pytest.mark.parametrize("nested", [0, 61, 1000, 100000])
@pytest.mark.parametrize("path", ["/direct", "/slow"])
def test_aws_chunked(server, path, nested):
    data = os.urandom(150000)

    def send(kind, trailers, data=data, change=None, length=None, size=65536):
        seed = []
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(data) if length is None else length)}
        if trailers:
            headers["x-amz-trailer"] = ",".join(trailers)
        target, headers = sign(server.host, "PUT", path, payload=kind, headers=headers, out=seed)
        body = chunk_body(None if "UNSIGNED" in kind else seed[0], data, size, trailers)
        body = change(body) if change else body
        if nested:
            headers["transfer-encoding"] = "chunked"
            body = chunked(body, nested)
        return server.request("PUT", target, headers, body)

    crc = {"x-amz-checksum-crc32": "AAAAAA=="}
    signed, trailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    unsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert stored(send(signed, None), data)
    assert stored(send(signed, None, b""), b"")
    answer = send(trailer, crc)
    assert stored(answer, data) and answer[1]["x-crc32"] == "AAAAAA=="
    answer = send(unsigned, crc, size=len(data))
    assert stored(answer, data) and answer[1]["x-crc32"] == "AAAAAA=="

    def fault(*args, **kwargs):
        status, _, answer = send(*args, **kwargs)
        return status, code(answer)[0]

    def altered(body):
        return body[:70000] + bytes([body[70000] ^ 1]) + body[70001:]
    assert fault(signed, None, change=altered) == (403, "SignatureDoesNotMatch")
    assert fault(trailer, crc, change=lambda b: b.replace(b"AAAAAA==", b"AAAAAB==")) == (403, "SignatureDoesNotMatch")
    assert fault(trailer, crc, change=lambda b: re.sub(rb"x-amz-trailer-signature:.*\r\n", b"", b)) == (403, "SignatureDoesNotMatch")
    assert fault(signed, None, length=len(data) + 1) == (400, "IncompleteBody")
    assert fault(signed, None, length=len(data) - 1) == (400, "IncompleteBody")
    assert fault(unsigned, crc, change=lambda b: b[:-30]) == (400, "IncompleteBody")
    assert fault(unsigned, crc, size=4096) == (400, "InvalidChunkSizeError")
    # The chunks of another upload: right signatures, wrong seed.
    other = []
    sign(server.host, "PUT", path, payload=signed, headers={"x-amz-decoded-content-length": "1"}, out=other)
    assert fault(signed, None, change=lambda b: chunk_body(other[0], data)) == (403, "SignatureDoesNotMatch")


def test_missing_decoded_length(server):
    status, _, body = put(server, "/direct", b"0\r\n\r\n", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert (status, code(body)[0]) == (411, "MissingContentLength")


def test_body_hash_without_header(server):
    """A raw service other than S3: the hash of the body is signed but not sent."""
    body = os.urandom(200000)
    for path in ("/direct", "/worker", "/slow"):
        status, headers, _ = server.signed("PUT", path, body, service="spooled")
        assert (status, headers["x-sha256"]) == (200, hashlib.sha256(body).hexdigest())
    status, headers, answer = server.signed("PUT", "/refuse", body, service="spooled")
    assert (status, code(answer)[0]) == (409, "Refused")
    before = server.stats()["begun"]
    status, _, answer = server.signed("PUT", "/direct", body, service="spooled", send_body=body[:-1])
    assert (status, code(answer)[0]) == (403, "InvalidSignatureException")
    assert server.stats()["begun"] == before
    status, _, answer = server.signed("PUT", "/direct", body, service="spooled", headers={"content-length": str(17 << 20)}, send_body=b"")
    assert status == 413


def test_transfer_encoding_chunked_plain(server):
    body = os.urandom(100000)
    target, headers = sign(server.host, "PUT", "/direct", body)
    headers["transfer-encoding"] = "chunked"
    assert stored(server.request("PUT", target, headers, chunked(body, 777)), body)
    status, _, answer = call(server, "ListExperiments", None, body=b"{}")
    target, headers = sign(server.host, "POST", "/", b"{}", service="sagemaker", headers=JSON)
    headers["transfer-encoding"] = "chunked"
    assert server.request("POST", target, headers, chunked(b"{}", 1))[0] == 200


def test_expect_continue(server):
    body = os.urandom(50000)
    for path, first in (("/direct", 100), ("/refuse", 409)):
        target, headers = sign(server.host, "PUT", path, body)
        headers.update({"expect": "100-continue", "content-length": str(len(body))})
        with server.connect() as s:
            s.sendall(f"PUT {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode())
            head = s.recv(4096)
            assert status_of(head) == first
            if first == 100:
                s.sendall(body)
                assert status_of(read_response(s)) == 200
            else:
                assert b"Connection: close" in head
    # A wrong signature: no 100 either.
    target, headers = sign(server.host, "PUT", "/direct", body, secret="x")
    headers.update({"expect": "100-continue", "content-length": str(len(body))})
    with server.connect() as s:
        s.sendall(f"PUT {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode())
        assert status_of(s.recv(4096)) == 403


def raw_put(path, headers, length):
    lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    return f"PUT {path} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("path, secret, want", [("/refuse", SECRET, 409), ("/direct", "x", 403), ("/full", SECRET, 507)])
@pytest.mark.parametrize("size", [200000, 900000, 40 << 20])
def test_refused_while_sending(server, path, secret, want, size):
    """The client pushes its whole body without looking: it still gets the answer, not a reset."""
    target, headers = sign(server.host, "PUT", path, payload="UNSIGNED-PAYLOAD", secret=secret)
    with server.connect() as s:
        s.sendall(raw_put(target, headers, size))
        try:
            for _ in range(size // 50000):
                s.sendall(b"x" * 50000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_response(s)
        assert status_of(answer) == want, answer[:300]
        if size < 1 << 20:
            # The connection can go on.
            target, headers = sign(server.host, "GET", "/again")
            s.sendall(f"GET {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode())
            assert status_of(read_response(s)) == 200


def test_damaged_chunk_in_a_long_body_is_answered_at_once(server):
    seed = []
    data = os.urandom(1 << 20)
    headers = {"x-amz-decoded-content-length": str(100 << 20)}
    target, headers = sign(server.host, "PUT", "/direct", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", headers=headers, out=seed)
    body = bytearray(chunk_body(seed[0], data))
    body[1000] ^= 1
    with server.connect() as s:
        s.sendall(raw_put(target, headers, 101 << 20))
        s.sendall(bytes(body[:300000]))
        answer = read_response(s)
        assert status_of(answer) == 403 and b"SignatureDoesNotMatch" in answer


def test_clients_that_go_away(server):
    before = server.stats()
    for path in ("/direct", "/slow"):
        for _ in range(20):
            target, headers = sign(server.host, "PUT", path, payload="UNSIGNED-PAYLOAD")
            with server.connect() as s:
                s.sendall(raw_put(target, headers, 1000000))
                s.sendall(b"x" * 200000)
    after = server.wait_stats(lambda n: n["aborted"] >= before["aborted"] + 40)
    assert after["begun"] == before["begun"] + 40 and after["ended"] == before["ended"]
    # In the middle of a call that waits.
    for _ in range(20):
        target, headers = sign(server.host, "POST", "/", b'{"ExperimentName":"gone"}', service="sagemaker",
                               headers={**JSON, "x-amz-target": "SageMaker.DescribeExperiment", "content-length": "25"})
        with server.connect() as s:
            s.sendall(f"POST / HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode() +
                      b'{"ExperimentName":"gone"}')
            time.sleep(0.005)
    assert call(server, "DescribeExperiment", {"ExperimentName": "still"})[0] == 200


def test_big_upload_takes_little_memory(server):
    size = 1 << 30
    target, headers = sign(server.host, "PUT", "/direct", payload="UNSIGNED-PAYLOAD")
    block = os.urandom(1 << 20)
    want = hashlib.sha256()
    with server.connect() as s:
        s.sendall(raw_put(target, headers, size))
        for _ in range(size // len(block)):
            s.sendall(block)
            want.update(block)
        answer = read_response(s, 60)
    assert status_of(answer) == 200 and want.hexdigest().encode() in answer
    if not os.environ.get("QUERN_SANITIZED"):
        assert server.stats()["peak_kib"] < 32 * 1024


# ---- answers ----

def test_file_and_head(server):
    status, headers, body = server.signed("GET", "/file")
    with open(PROGRAM, "rb") as f:
        f.seek(1000)
        assert (status, body) == (206, f.read(100000))
    status, headers, body = server.signed("HEAD", "/file")
    assert (status, headers["Content-Length"], body) == (206, "100000", b"")
    status, headers, body = server.signed("HEAD", "/head")
    assert (status, headers["Content-Length"], headers["ETag"], body) == (200, "5368709120", '"e"', b"")
    status, headers, body = server.signed("GET", "/not-modified")
    assert (status, headers["ETag"], body) == (304, '"e"', b"")


def test_streams(server):
    done = server.stats()["stream_done"]
    assert server.signed("GET", "/ticks")[2] == b"".join(b"tick %d\n" % i for i in range(5))
    body = server.signed("GET", "/zeros")[2]
    assert len(body) == 64 << 20 and body.strip(b"z") == b""
    assert server.signed("HEAD", "/ticks")[2] == b""
    server.wait_stats(lambda n: n["stream_done"] == done + 3)
    # A client that leaves while the stream has nothing to say is noticed.
    target, headers = sign(server.host, "GET", "/slow-ticks")
    with server.connect() as s:
        s.sendall(f"GET {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode())
        assert status_of(s.recv(4096)) == 200
    server.wait_stats(lambda n: n["stream_done"] == done + 4)
    # And one that stops reading in the middle of a large one.
    target, headers = sign(server.host, "GET", "/zeros")
    with server.connect() as s:
        s.sendall(f"GET {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode())
        s.recv(100000)
    server.wait_stats(lambda n: n["stream_done"] == done + 5)


def test_no_header_injection(server):
    status, headers, body = server.signed("GET", "/x", headers={"x-amz-meta-echo": "a\tSet-Cookie: b"})
    assert status == 200 and headers["x-echo"] == "a Set-Cookie: b" and "Set-Cookie" not in headers


def test_keep_alive_and_pipelining(server):
    c = http.client.HTTPConnection("127.0.0.1", server.port)
    for i in range(5):
        assert server.signed("GET", f"/k{i}", connection=c)[0] == 200
        assert server.signed("PUT", "/direct", b"x" * 1000, connection=c)[0] == 200
        assert server.signed("PUT", "/direct", b"x" * 1000, connection=c, secret="x")[0] == 403
        assert server.signed("POST", "/", b'{"ExperimentName":"a"}', service="sagemaker", connection=c,
                             headers={**JSON, "x-amz-target": "SageMaker.DescribeExperiment"})[0] == 200
    local = c.sock.getsockname()
    assert server.signed("GET", "/last", connection=c)[0] == 200 and c.sock.getsockname() == local
    c.close()
    with server.connect() as s:
        request = ""
        for i in range(20):
            target, headers = sign(server.host, "GET", f"/p{i}")
            request += f"GET {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n"
        s.sendall(request.encode())
        data = b""
        while data.count(b"HTTP/1.1 200") < 20 or not data.rstrip().endswith(b"length=0"):
            piece = s.recv(65536)
            assert piece
            data += piece
        assert [int(n) for n in re.findall(rb"GET /p(\d+) who", data)] == list(range(20))


# ---- limits and damage ----

@pytest.mark.parametrize("request_text, want", [
    ("GET / HTTP/1.1\r\n\r\n", 400),  # no Host
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\nhello", 400),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nhello", 413),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("PUT /direct HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX-\x01: 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX-Y: 1\r2\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("G\x7fT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET nopath HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /" + "a" * 30000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("GET /" + "a" * 300000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("GET / HTTP/1.1\r\nHost: a\r\n" + "X-H: 1\r\n" * 300 + "\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: a\r\nX-H: " + "v" * 45000 + "\r\n\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: a\r\nX-H: " + "v" * 450000 + "\r\n\r\n", 431),
    ("GET http://a/direct/x?y HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
])
def test_damaged_requests(server, request_text, want):
    with server.connect() as s:
        try:
            s.sendall(request_text.encode("latin-1"))
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_response(s, 5)
        assert status_of(answer) == want, answer[:300]
    assert server.request("GET", "/_quern/health")[0] == 200


@pytest.mark.parametrize("seed", range(20))
def test_mutated_requests(server, seed):
    """Good requests with random damage: any answer or none, but the server lives and its next answer is right."""
    rng = random.Random(seed)
    out = []
    target, headers = sign(server.host, "PUT", "/direct?a=b", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", out=out,
                           headers={"x-amz-decoded-content-length": "20000"})
    chunks = chunk_body(out[0], b"d" * 20000, 10000)
    target2, headers2 = sign(server.host, "POST", "/", b'{"ExperimentName":"missing"}', service="sagemaker",
                             headers={**JSON, "x-amz-target": "SageMaker.DescribeExperiment"})
    good = [raw_put(target, headers, len(chunks)) + chunks,
            raw_put(target2, headers2, 28).replace(b"PUT", b"POST", 1) + b'{"ExperimentName":"missing"}',
            f"GET {presign(server.host, 'GET', '/zz')} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()]
    for _ in range(30):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(min(len(data), 1500))
            kind = rng.random()
            if kind < 0.4:
                data[at] = rng.choice([0, 10, 13, 32, 37, 38, 58, 59, 61, 128, 255, data[at] ^ 1])
            elif kind < 0.6:
                del data[at:at + rng.randint(1, 40)]
            elif kind < 0.8:
                data[at:at] = data[at:at + rng.randint(1, 200)]
            else:
                data[at:at] = rng.choice([b"\r\n", b"\r\n\r\n", b": ", b"%00", b"%", b"chunked", b"\r\nTransfer-Encoding: chunked",
                                          b"\r\nContent-Length: 3", b"HTTP/1.1", b";", b"//..//"])
        with server.connect() as s:
            try:
                s.sendall(bytes(data))
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            read_response(s, 0.05)
    assert server.signed("GET", "/alive")[0] == 200


def test_json_body_limits(server):
    target, headers = sign(server.host, "POST", "/", b"", service="sagemaker", headers=JSON)
    headers["content-length"] = str(17 << 20)
    status, _, body = server.request("POST", target, headers)
    assert (status, code(body)[0]) == (413, "RequestEntityTooLargeException")
    headers.pop("content-length")
    headers["transfer-encoding"] = "chunked"
    status, _, body = server.request("POST", target, headers, chunked(b" " * (17 << 20), 100000))
    assert (status, code(body)[0]) == (413, "RequestEntityTooLargeException")
    body = b'{"ExperimentName":"' + b"x" * (3 << 20) + b'"}'
    status, _, answer = call(server, "DescribeExperiment", None, body=body)
    assert (status, code(answer)[0]) == (400, "ValidationException")
    # A large body of an unknown key is refused before it is read.
    target, headers = sign(server.host, "POST", "/", b"", service="sagemaker", headers=JSON, key="AKIDNOBODY")
    headers.update({"content-length": str(8 << 20), "expect": "100-continue"})
    status, _, answer = server.request("POST", target, headers)
    assert (status, code(answer)[0]) == (400, "UnrecognizedClientException")


def test_many_at_once(server):
    """Commands, async calls, uploads and reads from 16 threads; each gets its own answer."""
    failures = []

    def work(n):
        try:
            c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            for i in range(15):
                name = f"t{n}-{i}-{os.urandom(3).hex()}"
                assert call(server, "CreateExperiment", {"ExperimentName": name}, connection=c)[0] == 200
                assert json.loads(call(server, "DescribeExperiment", {"ExperimentName": name}, connection=c)[2])["ExperimentName"] == name
                body = os.urandom(20000 + 1000 * i)
                assert stored(server.signed("PUT", "/slow" if i % 2 else "/worker", body, connection=c), body)
                assert f"/r{n}-{i} ".encode() in server.signed("GET", f"/r{n}-{i}", connection=c)[2]
        except Exception as e:  # noqa: BLE001
            failures.append(repr(e))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]


def test_thousands_of_requests_leave_nothing_behind(server):
    def burst(n):
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for i in range(n):
            server.signed("GET", "/x", connection=c)
            server.signed("PUT", "/direct", b"y" * 5000, connection=c)
            call(server, "ListExperiments", {"MaxResults": 5}, connection=c)
            call(server, "DescribeExperiment", {"ExperimentName": "!"}, connection=c)
        c.close()
    burst(200)
    before = server.stats()
    burst(700)
    after = server.wait_stats(lambda n: n["fds"] <= before["fds"])
    if not os.environ.get("QUERN_SANITIZED"):
        assert after["rss_kib"] < before["rss_kib"] + 1024


# ---- time ----

def test_idle_timeout_and_slow_uploads():
    server = Server(2)
    idle = server.connect()
    body = os.urandom(6000)
    target, headers = sign(server.host, "PUT", "/direct", body)
    started = time.monotonic()
    with server.connect() as s:
        s.sendall(raw_put(target, headers, len(body)))
        for i in range(0, 6000, 1000):
            s.sendall(body[i:i + 1000])
            time.sleep(0.7)
        assert status_of(read_response(s)) == 200
    assert time.monotonic() - started > 4
    assert idle.recv(10) == b""
    idle.close()
    server.stop()


def test_graceful_stop():
    server = Server()
    keep = server.connect()
    keep.sendall(b"GET /_quern/health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(read_response(keep)) == 200
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(call(server, "DescribeExperiment", {"ExperimentName": "a"})[0]))
    waiting.start()
    endless = server.connect()
    target, headers = sign(server.host, "PUT", "/direct", payload="UNSIGNED-PAYLOAD")
    endless.sendall(raw_put(target, headers, 1000000) + b"x" * 1000)
    stream = server.connect()
    target, headers = sign(server.host, "GET", "/slow-ticks")
    stream.sendall(f"GET {target} HTTP/1.1\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in headers.items())}\r\n".encode())
    time.sleep(0.03)
    server.wait_stats(lambda n: n["begun"] == 1)
    stats, err = server.stop()
    waiting.join()
    assert answers == [200]  # in time
    assert stats["begun"] == stats["aborted"] == 1 and stats["stream_done"] == 1, stats
    assert "ERROR: " not in err, err[-3000:]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
    for s in (keep, endless, stream):
        s.close()
