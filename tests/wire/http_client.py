"""Helpers for the HTTP tests: the test server, a small SigV4 signer of our own (so that each part can be made wrong), plain sockets."""

import datetime
import hashlib
import hmac
import http.client
import json
import os
import select
import socket
import subprocess
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("WIRE_TEST_SERVER", os.path.join(ROOT, "build", "tests", "wire", "http_server"))
KEY, SECRET = "AKIDTEST", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
EMPTY = hashlib.sha256(b"").hexdigest()


class Server:
    def __init__(self, *args):
        self.log = open(os.environ.get("WIRE_TEST_LOG", "/dev/null"), "a", encoding="utf-8")
        self.process = subprocess.Popen([PROGRAM, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the test server did not start: " + self.process.stderr.read())
        self.port = int(line)
        self.host = f"127.0.0.1:{self.port}"

    def stats(self):
        self.process.stdin.write("stats\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait_stats(self, check, seconds=120):
        """Statistics once `check` holds for them."""
        end = time.monotonic() + seconds
        while True:
            stats = self.stats()
            if check(stats) or time.monotonic() > end:
                assert check(stats), stats
                return stats
            time.sleep(0.02)

    def stop(self):
        """Asks for a graceful stop; returns (last statistics, standard error)."""
        out, err = self.process.communicate("stop\n", timeout=120)
        assert self.process.returncode == 0, err[-3000:]
        return json.loads(out.splitlines()[-1]), err

    def connect(self, timeout=120):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def request(self, method, target, headers=None, body=b"", connection=None):
        """One request with exactly these headers; returns (status, headers, body)."""
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        headers = list((headers or {}).items()) if isinstance(headers, (dict, type(None))) else list(headers)
        names = {n.lower() for n, _ in headers}
        if "host" not in names:
            headers.insert(0, ("Host", self.host))
        if body and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(body))))
        for name, value in headers:
            c.putheader(name, value)
        c.endheaders(body or None)
        r = c.getresponse()
        data = r.read()
        if not connection:
            c.close()
        return r.status, r.headers, data

    def signed(self, method, path, body=b"", **kwargs):
        connection = kwargs.pop("connection", None)
        send = kwargs.pop("send_body", body)
        target, headers = sign(self.host, method, path, body, **kwargs)
        return self.request(method, target, headers, send, connection)


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(date, region, service, secret=SECRET):
    key = hmac_sha256(("AWS4" + secret).encode(), date)
    for part in (region, service, "aws4_request"):
        key = hmac_sha256(key, part)
    return key


def now(offset=0):
    t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    return t.strftime("%Y%m%dT%H%M%SZ")


def quote(text, safe="-_.~"):
    return urllib.parse.quote(text, safe=safe)


def canonical_query(pairs):
    return "&".join(f"{n}={v}" for n, v in sorted((quote(n), quote(v)) for n, v in pairs))


class Signature:
    """What was signed: the seed for chunk signatures."""

    def __init__(self, key, timestamp, scope, signature):
        self.key, self.timestamp, self.scope, self.signature = key, timestamp, scope, signature


def sign(host, method, path, body=b"", service="s3", region="us-east-1", query=(), headers=None, payload=None, key=KEY, secret=SECRET,
         token=None, timestamp=None, unsigned=(), send_payload=None, out=None, date_header="x-amz-date", encode_twice=None):
    """Returns the request's target and headers. `path` is percent-encoded. payload: x-amz-content-sha256 (False: no such header)."""
    timestamp = timestamp or now()
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    if payload is None:
        payload = hashlib.sha256(body).hexdigest()
        send_payload = service == "s3" if send_payload is None else send_payload
    elif send_payload is None:
        send_payload = True
    all_headers = {"host": host, date_header: timestamp}
    if send_payload:
        all_headers["x-amz-content-sha256"] = payload
    if token:
        all_headers["x-amz-security-token"] = token
    all_headers.update({n.lower(): v for n, v in (headers or {}).items()})
    names = sorted(n for n in all_headers if n not in unsigned)
    lines = "".join(f"{n}:{' '.join(all_headers[n].split())}\n" for n in names)
    twice = service != "s3" if encode_twice is None else encode_twice
    canonical_path = quote(path, "-_.~/") if twice else path
    request = "\n".join([method, canonical_path, canonical_query(query), lines, ";".join(names), payload])
    text = "\n".join(["AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signing = signing_key(timestamp[:8], region, service, secret)
    signature = hmac_sha256(signing, text).hex()
    if out is not None:
        out.append(Signature(signing, timestamp, scope, signature))
    all_headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={';'.join(names)}, "
                                    f"Signature={signature}")
    target = path + ("?" + "&".join(f"{quote(n)}={quote(v)}" for n, v in query) if query else "")
    return target, all_headers


def presign(host, method, path, service="s3", region="us-east-1", expires=600, timestamp=None, query=(), payload="UNSIGNED-PAYLOAD", key=KEY,
            secret=SECRET, token=None):
    timestamp = timestamp or now()
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    pairs = list(query) + [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", f"{key}/{scope}"), ("X-Amz-Date", timestamp),
                           ("X-Amz-SignedHeaders", "host")]
    if expires is not None:
        pairs.append(("X-Amz-Expires", str(expires)))
    if token:
        pairs.append(("X-Amz-Security-Token", token))
    request = "\n".join([method, path, canonical_query(pairs), f"host:{host}\n", "host", payload])
    text = "\n".join(["AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac_sha256(signing_key(timestamp[:8], region, service, secret), text).hex()
    return path + "?" + "&".join(f"{quote(n)}={quote(v)}" for n, v in pairs) + "&X-Amz-Signature=" + signature


def chunk_body(seed, data, size=65536, trailers=None):
    """aws-chunked body, signed when `seed` (a Signature) is given."""
    previous = seed.signature if seed else None

    def chunk_signature(kind, *lines):
        nonlocal previous
        text = "\n".join(["AWS4-HMAC-SHA256-" + kind, seed.timestamp, seed.scope, previous, *lines])
        previous = hmac_sha256(seed.key, text).hex()
        return previous

    out = b""
    pieces = [data[i:i + size] for i in range(0, len(data), size)] + [b""]
    for piece in pieces:
        extension = ""
        if seed:
            extension = ";chunk-signature=" + chunk_signature("PAYLOAD", EMPTY, hashlib.sha256(piece).hexdigest())
        out += f"{len(piece):x}{extension}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    for name, value in (trailers or {}).items():
        out += f"{name}:{value}\r\n".encode()
    if trailers and seed:
        text = "".join(f"{n}:{v}\n" for n, v in trailers.items())
        out += f"x-amz-trailer-signature:{chunk_signature('TRAILER', hashlib.sha256(text.encode()).hexdigest())}\r\n".encode()
    return out + b"\r\n"


def read_response(sock, timeout=10):
    """Everything up to the end of one response (or of the connection)."""
    data = b""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        head, sep, body = data.partition(b"\r\n\r\n")
        if sep:
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), None)
            if length is not None and len(body) >= length:
                break
        if not select.select([sock], [], [], max(0, end - time.monotonic()))[0]:
            break
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            return data + b"<reset>"
        if not piece:
            break
        data += piece
    return data


def status_of(data):
    return int(data.split(b" ")[1]) if data.startswith(b"HTTP/1.1 ") else None
