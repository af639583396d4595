"""Fixtures for S3 tests with real clients.

With AWS_ENDPOINT_URL set, the tests run against that server with the credentials of the environment. Without it, and for tests that kill the server or
need a second account, they start the s3_server of the build directory (or QUERN_S3_SERVER).
"""
import glob
import hashlib
import hmac
import http.client
import os
import signal
import subprocess
import tempfile
import time
import urllib.parse
import uuid

import pytest

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402

from api.daemon import new_database  # noqa: E402

KEYS = [("QUERNTESTKEY00000001", "quern/test/secret/0000000000000000000001"),
        ("QUERNTESTKEY00000002", "quern/test/secret/0000000000000000000002")]
ROOT = os.path.join(os.path.dirname(__file__), "..", "..")


def server_binary():
    path = os.environ.get("QUERN_S3_SERVER") or os.path.join(ROOT, "build", "tests", "s3", "s3_server")
    return path if os.path.exists(path) else None


class Server:
    """A server of our own, which may be killed and started again on its data."""

    def __init__(self, directory):
        self.directory, self.port, self.process, self.env = directory, 0, None, dict(os.environ)
        if os.environ.get("QUERN_TEST_STORE") == "postgres":
            self.env["QUERN_STORE"] = new_database()

    def start(self):
        self.process = subprocess.Popen([server_binary(), self.directory, str(self.port)], stdout=subprocess.PIPE, text=True, env=self.env)
        line = self.process.stdout.readline()
        assert line.startswith("port "), line
        self.port = int(line.split()[1])
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def blobs(self):
        return [p for p in glob.glob(os.path.join(self.directory, "blobs", "*", "*", "*"))]


def keys_of(url, key=0):
    if url == os.environ.get("AWS_ENDPOINT_URL"):
        return os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return KEYS[key]


def make_client(url, key=0, **config):
    keys = keys_of(url, key)
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=keys[0], aws_secret_access_key=keys[1],
                        config=Config(retries={"max_attempts": 1}, **config))


@pytest.fixture(scope="session")
def endpoint():
    if os.environ.get("AWS_ENDPOINT_URL"):
        yield os.environ["AWS_ENDPOINT_URL"]
        return
    if not server_binary():
        pytest.skip("no s3_server was built")
    with tempfile.TemporaryDirectory() as directory:
        server = Server(directory).start()
        yield server.url
        server.stop()


@pytest.fixture()
def own_server(tmp_path):
    """A server that the test may kill."""
    if not server_binary():
        pytest.skip("no s3_server was built")
    server = Server(str(tmp_path / "data")).start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="session")
def s3(endpoint):
    return make_client(endpoint)


@pytest.fixture()
def accounts(own_server):
    """Clients of two accounts on one server."""
    return make_client(own_server.url), make_client(own_server.url, 1)


@pytest.fixture()
def bucket(s3):
    name = "test-" + uuid.uuid4().hex[:20]
    s3.create_bucket(Bucket=name)
    return name


def code_of(call, *args, **kwargs):
    """(status, code) of the error that a boto3 call must raise."""
    from botocore.exceptions import ClientError
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def each(value):
    return value if isinstance(value, list) else [value]


class Raw:
    """Signed requests byte for byte as the test wants them."""

    def __init__(self, endpoint):
        self.host = urllib.parse.urlsplit(endpoint).netloc
        self.key, self.secret = keys_of(endpoint)

    def signing_key(self, day):
        key = ("AWS4" + self.secret).encode()
        for piece in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
        return key

    def request(self, method, path, query="", body=b"", headers=None, payload="UNSIGNED-PAYLOAD"):
        """path and query as they go on the wire; a header that is a list is sent as often. Returns (status, headers, body)."""
        amz = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{amz[:8]}/us-east-1/s3/aws4_request"
        signed = {"host": self.host, "x-amz-date": amz, "x-amz-content-sha256": payload}
        signed.update({k.lower(): v for k, v in (headers or {}).items() if k.lower() != "content-length"})
        names = ";".join(sorted(signed))
        parts = sorted(p if "=" in p else p + "=" for p in query.split("&")) if query else []
        canonical = "\n".join([method, path, "&".join(parts)] + [f"{k}:{' '.join(','.join(each(signed[k])).split())}" for k in sorted(signed)] + ["", names, payload])
        text = f"AWS4-HMAC-SHA256\n{amz}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(self.signing_key(amz[:8]), text.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return self.plain(method, path + ("?" + query if query else ""), body, signed)

    def plain(self, method, target, body=b"", headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=120)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        headers = {k.lower(): v for k, v in (headers or {}).items()}
        headers.setdefault("host", self.host)
        if body or method in ("PUT", "POST"):
            headers.setdefault("content-length", str(len(body)))
        for name, values in headers.items():
            for value in each(values):
                connection.putheader(name, value)
        connection.endheaders()
        connection.send(body)
        response = connection.getresponse()
        result = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        connection.close()
        return result


@pytest.fixture(scope="session")
def raw(endpoint):
    return Raw(endpoint)
