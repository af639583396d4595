"""Nothing acknowledged is lost, nothing half-written shows: kill -9 under load, races on one key, disconnects, a full disk."""
import concurrent.futures
import hashlib
import os
import random
import socket
import subprocess
import threading
import time

import pytest

from conftest import Raw, Server, code_of, make_client, server_binary


def test_kill_under_load(own_server):
    """Writers note what was acknowledged; after kill -9 and restart all of it is there, whole, and each key is old or new."""
    s3 = make_client(own_server.url)
    s3.create_bucket(Bucket="crash")
    s3.put_bucket_versioning(Bucket="crash", VersioningConfiguration={"Status": "Enabled"})
    acknowledged, sent = {}, {}

    def body_of(seed, size):
        return (hashlib.sha256(str(seed).encode()).digest() * (size // 32 + 1))[:size]

    def write(worker, round_number, stop):
        client = make_client(own_server.url)
        rng = random.Random(f"{worker}-{round_number}")
        n = 0
        while not stop.is_set():
            key, size, n = f"k{worker}-{rng.randrange(5)}", rng.choice([10, 8000, 9000, 300_000]), n + 1
            body = body_of((worker, round_number, n), size)
            sent.setdefault(key, {})[hashlib.md5(body).hexdigest()] = body
            try:
                done = client.put_object(Bucket="crash", Key=key, Body=body)
                acknowledged[key, done["VersionId"]] = body
            except Exception:
                return
    for round_number in range(4):
        stop, before = threading.Event(), len(acknowledged)
        threads = [threading.Thread(target=write, args=(w, round_number, stop)) for w in range(6)]
        for t in threads:
            t.start()
        while len(acknowledged) < before + 15 and any(t.is_alive() for t in threads):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.6))
        own_server.kill()
        stop.set()
        for t in threads:
            t.join()
        own_server.start()
        s3 = make_client(own_server.url)
        assert len(acknowledged) >= before + 15
        for (key, version), body in random.sample(sorted(acknowledged.items()), min(150, len(acknowledged))):
            assert s3.get_object(Bucket="crash", Key=key, VersionId=version)["Body"].read() == body
        for page in s3.get_paginator("list_object_versions").paginate(Bucket="crash"):
            for v in page.get("Versions", []):
                assert v["ETag"].strip('"') in sent[v["Key"]]
                if random.random() < 0.1 or (v["Key"], v["VersionId"]) not in acknowledged:
                    body = s3.get_object(Bucket="crash", Key=v["Key"], VersionId=v["VersionId"])["Body"].read()
                    assert body == sent[v["Key"]][v["ETag"].strip('"')]


def test_upload_survives_a_crash(own_server):
    s3 = make_client(own_server.url)
    s3.create_bucket(Bucket="crash")
    bodies = [os.urandom(5 << 20) for _ in range(3)]
    upload = s3.create_multipart_upload(Bucket="crash", Key="k", Metadata={"a": "b"})["UploadId"]
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(Bucket="crash", Key="k", UploadId=upload, PartNumber=1, Body=bodies[0])["ETag"]}]

    def broken():  # a part that is on its way when the server dies
        try:
            make_client(own_server.url).upload_part(Bucket="crash", Key="k", UploadId=upload, PartNumber=2, Body=os.urandom(64 << 20))
        except Exception:
            pass
    t = threading.Thread(target=broken)
    t.start()
    time.sleep(0.15)
    own_server.kill()
    t.join()
    own_server.start()
    s3 = make_client(own_server.url)
    assert [p["PartNumber"] for p in s3.list_parts(Bucket="crash", Key="k", UploadId=upload).get("Parts", [])][0] == 1
    for n in (2, 3):
        parts.append({"PartNumber": n, "ETag": s3.upload_part(Bucket="crash", Key="k", UploadId=upload, PartNumber=n, Body=bodies[n - 1])["ETag"]})
    s3.complete_multipart_upload(Bucket="crash", Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket="crash", Key="k")
    assert got["Body"].read() == b"".join(bodies) and got["Metadata"] == {"a": "b"}


def test_conditional_writes_race(s3, bucket, endpoint):
    """Of many If-None-Match:* writers exactly one wins, with small bodies and large ones."""
    for size in (100, 100_000):
        key = f"lock-{size}"
        bodies = {i: bytes([i]) * size for i in range(16)}

        def put(i):
            raw = Raw(endpoint)
            return i, raw.request("PUT", f"/{bucket}/{key}", body=bodies[i], headers={"if-none-match": "*"})[0]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            results = list(pool.map(put, bodies))
        winners = [i for i, status in results if status == 200]
        assert len(winners) == 1 and {status for _, status in results} == {200, 412}
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == bodies[winners[0]]


def test_compare_and_swap(s3, bucket, endpoint):
    """If-Match makes increments by many clients add up."""
    s3.put_object(Bucket=bucket, Key="n", Body=b"0")

    def add(_):
        client, raw = make_client(endpoint), Raw(endpoint)
        while True:
            got = client.get_object(Bucket=bucket, Key="n")
            value = int(got["Body"].read()) + 1
            if raw.request("PUT", f"/{bucket}/n", body=str(value).encode(), headers={"if-match": got["ETag"]})[0] == 200:
                return
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert s3.get_object(Bucket=bucket, Key="n")["Body"].read() == b"40"


@pytest.mark.parametrize("size", [4000, 2_000_000])
def test_readers_see_one_version(s3, bucket, endpoint, size):
    bodies = [bytes([65 + i]) * (size + i) for i in range(4)]
    s3.put_object(Bucket=bucket, Key="k", Body=bodies[0])
    stop = threading.Event()

    def write():
        client = make_client(endpoint)
        while not stop.is_set():
            client.put_object(Bucket=bucket, Key="k", Body=random.choice(bodies))
    writers = [threading.Thread(target=write) for _ in range(2)]
    for t in writers:
        t.start()
    try:
        until, reads = time.time() + 1.5, 0
        while time.time() < until:
            got = s3.get_object(Bucket=bucket, Key="k")
            body = got["Body"].read()
            assert body in bodies and f'"{hashlib.md5(body).hexdigest()}"' == got["ETag"]
            reads += 1
        assert reads > 5
    finally:
        stop.set()
        for t in writers:
            t.join()


def test_client_goes_away(own_server):
    """A body that ends too early leaves no object and no file."""
    s3 = make_client(own_server.url)
    s3.create_bucket(Bucket="gone")
    raw = Raw(own_server.url)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "gone", "Key": "k"})
    target = url.split(raw.host)[1]
    for sent in (0, 5000, 600_000):
        with socket.create_connection(("127.0.0.1", own_server.port)) as s:
            s.sendall(f"PUT {target} HTTP/1.1\r\nHost: {raw.host}\r\nContent-Length: 1000000\r\n\r\n".encode() + b"x" * sent)
            time.sleep(0.1)
    time.sleep(0.3)
    assert code_of(s3.head_object, Bucket="gone", Key="k")[0] == 404
    assert own_server.blobs() == []
    s3.put_object(Bucket="gone", Key="k", Body=b"fine")


def test_refused_bodies_leave_nothing(own_server):
    s3, raw = make_client(own_server.url), Raw(own_server.url)
    s3.create_bucket(Bucket="refused")
    body = os.urandom(500_000)
    assert raw.request("PUT", "/refused/k", body=body, headers={"x-amz-checksum-crc32": "AAAAAA=="})[0] == 400
    assert raw.request("PUT", "/refused/k", body=body, payload=hashlib.sha256(b"").hexdigest())[0] == 400
    s3.put_object(Bucket="refused", Key="k", Body=b"")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # all bodies arrive, the transaction refuses seven or eight
        list(pool.map(lambda i: Raw(own_server.url).request("PUT", "/refused/race", body=body, headers={"if-none-match": "*"}), range(8)))
    deadline = time.time() + 10
    while len(own_server.blobs()) > 1 and time.time() < deadline:
        time.sleep(0.1)
    assert len(own_server.blobs()) == 1


@pytest.fixture()
def small_disk(tmp_path):
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(tmp_path)], capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    if not server_binary():
        pytest.skip("no s3_server was built")
    server = Server(str(tmp_path / "data")).start()
    yield server
    server.stop()
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_full_disk(small_disk):
    s3 = make_client(small_disk.url)
    s3.create_bucket(Bucket="full")
    s3.put_object(Bucket="full", Key="before", Body=b"b" * (8 << 20))
    assert code_of(s3.put_object, Bucket="full", Key="big", Body=b"x" * (80 << 20)) == (507, "InsufficientStorage")
    n = 0
    while True:  # until the reserve is reached
        try:
            s3.put_object(Bucket="full", Key=f"k{n}", Body=b"x" * (4 << 20))
            n += 1
        except Exception as error:
            assert error.response["Error"]["Code"] == "InsufficientStorage"
            break
    assert n > 3
    assert code_of(s3.put_object, Bucket="full", Key="before", Body=b"new" * 3_000_000) == (507, "InsufficientStorage")
    assert s3.get_object(Bucket="full", Key="before")["Body"].read() == b"b" * (8 << 20)
    for i in range(n):
        s3.delete_object(Bucket="full", Key=f"k{i}")  # deleting works on a full disk
    assert s3.list_objects_v2(Bucket="full")["KeyCount"] == 1
