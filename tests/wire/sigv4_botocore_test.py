"""Requests signed by botocore's own signers, with seeded random paths, queries, headers and bodies, against the real server."""

import os
import random
import string
import urllib.parse

import pytest

pytest.importorskip("botocore")
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

from http_client import KEY, PROGRAM, SECRET, Server  # noqa: E402

if not os.path.exists(PROGRAM):
    pytest.skip(f"{PROGRAM} is not built", allow_module_level=True)

ALPHABET = string.ascii_letters + string.digits + "-_.~!*'();:@&=+$,/?#[] %\"<>\\^`{|}äß漢🦀"


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.stop()


def text(rng, most):
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, most)))


def random_request(rng, server, raw_path=False):
    path = "/" + text(rng, 30)
    quoted = urllib.parse.quote(path, safe="/~" if not raw_path else "/~!*'():@=$,")
    query = [(text(rng, 8), text(rng, 12) if rng.random() < 0.8 else "") for _ in range(rng.randint(0, 5))]
    url = f"http://{server.host}{quoted}"
    if query:
        url += "?" + "&".join(f"{urllib.parse.quote(n, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for n, v in query)
    headers = {"x-amz-meta-" + "".join(rng.choices(string.ascii_lowercase, k=5)): " a  b\tc " for _ in range(rng.randint(0, 4))}
    headers["content-type"] = rng.choice(["text/plain", "application/json; charset=UTF-8"])
    return url, headers


def send(server, request, body=b""):
    prepared = request.prepare()
    target = prepared.url.split(server.host, 1)[1]
    body = prepared.body or body
    return server.request(prepared.method, target, dict(prepared.headers.items()), body)


CREDENTIALS = [Credentials(KEY, SECRET), Credentials("ASIATEST", SECRET, "good-token")]


@pytest.mark.parametrize("seed", range(60))
def test_headers(server, seed):
    rng = random.Random(seed)
    for service, signer in (("s3", S3SigV4Auth), ("spooled", SigV4Auth)):
        url, headers = random_request(rng, server, raw_path=rng.random() < 0.3)
        method = rng.choice(["GET", "DELETE", "PUT"])
        body = rng.randbytes(rng.randint(0, 3000)) if method == "PUT" else b""
        request = AWSRequest(method, url, headers, body)
        signer(rng.choice(CREDENTIALS), service, rng.choice(["us-east-1", "eu-central-1"])).add_auth(request)
        status, answer_headers, answer = send(server, request)
        assert status == 200, (url, answer)


@pytest.mark.parametrize("seed", range(60))
def test_presigned(server, seed):
    rng = random.Random(1000 + seed)
    for service, signer in (("s3", S3SigV4QueryAuth), ("spooled", SigV4QueryAuth)):
        url, headers = random_request(rng, server)
        method = rng.choice(["GET", "PUT"])
        if service == "spooled" and "?" in url:
            # botocore parses and writes the query again here: names that occur once only.
            url = url.split("?")[0]
        body = rng.randbytes(500) if method == "PUT" and service == "s3" else b""
        request = AWSRequest(method, url, headers)
        signer(rng.choice(CREDENTIALS), service, "us-east-1", expires=rng.choice([1000, 604800])).add_auth(request)
        status, _, answer = send(server, request, body)
        assert status == 200, (request.url, answer)
        request.url += "&extra=1"
        assert send(server, request, body)[0] == 403


def test_clients(server):
    """Whole botocore clients, whatever they sign."""
    session = pytest.importorskip("botocore.session").get_session()

    def client(name, credentials=CREDENTIALS[0], **kwargs):
        return session.create_client(name, "us-east-1", endpoint_url=f"http://{server.host}", aws_access_key_id=credentials.access_key,
                                     aws_secret_access_key=credentials.secret_key, aws_session_token=credentials.token, **kwargs)

    for credentials in CREDENTIALS:
        assert client("sts", credentials).get_caller_identity()["Account"] == "123456789012"
        sagemaker = client("sagemaker", credentials)
        name = "c" + os.urandom(4).hex()
        sagemaker.create_experiment(ExperimentName=name)
        assert name in [e["ExperimentName"] for e in sagemaker.list_experiments()["ExperimentSummaries"]]
        assert sagemaker.describe_experiment(ExperimentName=name)["ExperimentName"] == name
        with pytest.raises(sagemaker.exceptions.ResourceInUse):
            sagemaker.create_experiment(ExperimentName=name)
        answer = client("sagemaker-runtime", credentials).invoke_endpoint(EndpointName="e", Body=b"1,2\n", ContentType="text/csv")
        assert (answer["Body"].read(), answer["ContentType"]) == (b"1,2\n", "text/csv")
        assert client("s3", credentials).put_object(Bucket="direct", Key="k ä/+.txt", Body=b"x" * 100000)["ResponseMetadata"][
            "HTTPHeaders"]["x-bytes"] == "100000"
    url = client("s3").generate_presigned_url("get_object", {"Bucket": "b", "Key": "a b/ä", "VersionId": "1&2"}, ExpiresIn=60)
    status, _, body = server.request("GET", url.split(server.host, 1)[1])
    assert status == 200 and "/b/a b/ä".encode() in body and b"versionId=1&2" in body
