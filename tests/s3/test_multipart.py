"""Multipart uploads: any order, sizes, re-uploads, copies, checksums; the finished object is one file."""
import base64
import binascii
import concurrent.futures
import datetime
import hashlib
import os
import zlib

import pytest

from api.helpers import needs
from conftest import code_of, make_client

MIB = 1 << 20
P = [os.urandom(5 * MIB) for _ in range(3)] + [os.urandom(123_457)]


def start(s3, bucket, key="k", **kwargs):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **kwargs)["UploadId"]


def part(s3, bucket, upload, number, body, key="k", **kwargs):
    return {"PartNumber": number, "ETag": s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **kwargs)["ETag"]}


def finish(s3, bucket, upload, parts, key="k", **kwargs):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **kwargs)


def etag_of(bodies):
    return '"%s-%d"' % (hashlib.md5(b"".join(hashlib.md5(b).digest() for b in bodies)).hexdigest(), len(bodies))


def read(s3, bucket, key="k"):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]], ids=["ascending", "mixed", "last first"])
def test_order(s3, bucket, order):
    upload = start(s3, bucket, ContentType="text/csv", Metadata={"a": "b"})
    parts = {}
    for i in order:
        parts[i] = part(s3, bucket, upload, i + 1, P[i])
    done = finish(s3, bucket, upload, [parts[i] for i in range(4)])
    assert done["ETag"] == etag_of(P)
    assert read(s3, bucket) == b"".join(P)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentType"] == "text/csv" and head["Metadata"] == {"a": "b"}
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_at_the_same_time(s3, bucket, endpoint):
    upload = start(s3, bucket)
    bodies = [os.urandom(5 * MIB) for _ in range(8)] + [b"end"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: part(make_client(endpoint), bucket, upload, i + 1, bodies[i]), range(len(bodies))))
    finish(s3, bucket, upload, parts)
    assert read(s3, bucket) == b"".join(bodies)


def test_upload_again(s3, bucket):
    """The last upload of a number counts, the first one's place stays untouched."""
    upload = start(s3, bucket)
    old = [part(s3, bucket, upload, i + 1, P[i]) for i in range(4)]
    new = [part(s3, bucket, upload, 2, P[0]), part(s3, bucket, upload, 4, b"x" * 200_000)]
    assert code_of(finish, s3, bucket, upload, old) == (400, "InvalidPart")
    finish(s3, bucket, upload, [old[0], new[0], old[2], new[1]])
    assert read(s3, bucket) == P[0] + P[0] + P[2] + b"x" * 200_000


def test_part_again_at_the_same_time(s3, bucket, endpoint):
    upload = start(s3, bucket)
    bodies = [bytes([i]) * (5 * MIB) for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda b: part(make_client(endpoint), bucket, upload, 1, b), bodies))
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert all(abs(p["LastModified"] - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(hours=1) for p in listed)
    assert len(listed) == 1
    finish(s3, bucket, upload, [{"PartNumber": 1, "ETag": listed[0]["ETag"]}])
    body = read(s3, bucket)
    assert body in bodies and f'"{hashlib.md5(body).hexdigest()}"' == listed[0]["ETag"]


def test_subset_and_gaps(s3, bucket):
    upload = start(s3, bucket)
    parts = [part(s3, bucket, upload, n, P[i]) for i, n in enumerate([3, 7, 10_000])]
    finish(s3, bucket, upload, [parts[0], parts[2]])
    assert read(s3, bucket) == P[0] + P[2]
    upload = start(s3, bucket)
    parts = [part(s3, bucket, upload, n + 1, P[n]) for n in range(3)]
    finish(s3, bucket, upload, parts[:2])  # a part that is not listed
    assert read(s3, bucket) == P[0] + P[1]


def test_odd_sizes(s3, bucket):
    bodies = [os.urandom(5 * MIB + n) for n in (0, 1000, 7, 500_000)] + [b"e"]
    upload = start(s3, bucket)
    parts = [part(s3, bucket, upload, i + 1, b) for i, b in enumerate(bodies)]
    finish(s3, bucket, upload, parts)
    assert read(s3, bucket) == b"".join(bodies)


def test_refusals(s3, bucket):
    upload = start(s3, bucket)
    parts = [part(s3, bucket, upload, 1, b"small"), part(s3, bucket, upload, 2, b"last")]
    assert code_of(finish, s3, bucket, upload, parts) == (400, "EntityTooSmall")
    assert code_of(finish, s3, bucket, upload, parts[::-1]) == (400, "InvalidPartOrder")
    assert code_of(finish, s3, bucket, upload, []) == (400, "MalformedXML")
    assert code_of(finish, s3, bucket, upload, [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]) == (400, "InvalidPart")
    assert code_of(finish, s3, bucket, upload, [{"PartNumber": 9, "ETag": parts[0]["ETag"]}]) == (400, "InvalidPart")
    assert code_of(finish, s3, bucket, "nope", parts) == (404, "NoSuchUpload")
    assert code_of(finish, s3, bucket, upload, parts, key="other") == (404, "NoSuchUpload")
    assert code_of(part, s3, bucket, upload, 0, b"") == (400, "InvalidArgument")
    assert code_of(part, s3, bucket, upload, 10_001, b"") == (400, "InvalidArgument")
    assert code_of(part, s3, bucket, "nope", 1, b"") == (404, "NoSuchUpload")
    finish(s3, bucket, upload, parts[:1])
    assert read(s3, bucket) == b"small"


def test_complete_again(s3, bucket):
    """A client that lost the answer asks again."""
    upload = start(s3, bucket)
    parts = [part(s3, bucket, upload, 1, P[0])]
    first = finish(s3, bucket, upload, parts)
    assert finish(s3, bucket, upload, parts)["ETag"] == first["ETag"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert code_of(finish, s3, bucket, upload, parts) == (404, "NoSuchUpload")


def test_abort(s3, bucket):
    upload = start(s3, bucket)
    part(s3, bucket, upload, 1, P[0])
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert code_of(s3.list_parts, Bucket=bucket, Key="k", UploadId=upload) == (404, "NoSuchUpload")
    assert code_of(part, s3, bucket, upload, 2, P[1]) == (404, "NoSuchUpload")
    assert code_of(s3.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=upload) == (404, "NoSuchUpload")
    assert code_of(s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_lists(s3, bucket):
    upload = start(s3, bucket)
    for n in (1, 2, 5, 9):
        part(s3, bucket, upload, n, b"x" * n)
    page = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=3)
    assert [p["PartNumber"] for p in page["Parts"]] == [1, 2, 5] and page["IsTruncated"] and page["NextPartNumberMarker"] == 5
    page = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, PartNumberMarker=5)
    assert [(p["PartNumber"], p["Size"]) for p in page["Parts"]] == [(9, 9)] and not page["IsTruncated"]
    uploads = {("k", upload)} | {(k, start(s3, bucket, k)) for k in ("a", "a/1", "a/2", "a", "b")}
    page = s3.list_multipart_uploads(Bucket=bucket)
    assert {(u["Key"], u["UploadId"]) for u in page["Uploads"]} == uploads
    assert [u["Key"] for u in page["Uploads"]] == sorted(k for k, _ in uploads)
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["a/"] and len(page["Uploads"]) == 4
    seen, key, uid = [], "", ""
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, KeyMarker=key, UploadIdMarker=uid)
        seen += [(u["Key"], u["UploadId"]) for u in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        key, uid = page["NextKeyMarker"], page["NextUploadIdMarker"]
    assert len(seen) == len(uploads) and set(seen) == uploads


@pytest.mark.parametrize("algo,kind", [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE")])
def test_checksums(raw, s3, bucket, algo, kind):
    name = f"x-amz-checksum-{algo.lower()}"
    status, headers, body = raw.request("POST", f"/{bucket}/k", "uploads", headers={"x-amz-checksum-algorithm": algo, "x-amz-checksum-type": kind})
    assert status == 200 and headers["x-amz-checksum-type"] == kind
    upload = body.split(b"<UploadId>")[1].split(b"<")[0].decode()
    sums, xml = [], ""
    for i, data in enumerate(P):
        status, headers, answer = raw.request("PUT", f"/{bucket}/k", f"partNumber={i + 1}&uploadId={upload}", data)
        assert status == 200, answer
        sums.append(base64.b64decode(headers[name]))
        xml += f"<Part><PartNumber>{i + 1}</PartNumber><ETag>{headers['etag']}</ETag><Checksum{algo}>{headers[name]}</Checksum{algo}></Part>"
    if algo == "SHA256":
        assert sums == [hashlib.sha256(p).digest() for p in P]
    status, _, answer = raw.request("POST", f"/{bucket}/k", f"uploadId={upload}", f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode())
    assert status == 200, answer
    _, headers, got = raw.request("GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got == b"".join(P) and headers["x-amz-checksum-type"] == kind
    if (algo, kind) == ("CRC32", "FULL_OBJECT"):
        assert headers[name] == base64.b64encode(zlib.crc32(got).to_bytes(4, "big")).decode()
    if (algo, kind) == ("CRC32", "COMPOSITE"):
        assert headers[name] == base64.b64encode(zlib.crc32(b"".join(sums)).to_bytes(4, "big")).decode() + "-4"
    if algo == "SHA256":
        assert headers[name] == base64.b64encode(hashlib.sha256(b"".join(sums)).digest()).decode() + "-4"
    _, headers, body = raw.request("GET", f"/{bucket}/k", "attributes", headers={"x-amz-object-attributes": "ETag,Checksum,ObjectParts,ObjectSize,StorageClass"})
    text = body.decode()
    assert f"<ObjectSize>{len(got)}</ObjectSize>" in text and "<PartsCount>4</PartsCount>" in text and text.count("<Part>") == 4
    assert f"<ChecksumType>{kind}</ChecksumType>" in text


def test_checksum_refusals(raw, bucket):
    for algo, kind in (("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD4", "COMPOSITE")):
        assert raw.request("POST", f"/{bucket}/k", "uploads", headers={"x-amz-checksum-algorithm": algo, "x-amz-checksum-type": kind})[0] == 400
    body = raw.request("POST", f"/{bucket}/k", "uploads", headers={"x-amz-checksum-algorithm": "SHA256"})[2]
    upload = body.split(b"<UploadId>")[1].split(b"<")[0].decode()
    wrong = {"x-amz-checksum-crc32": base64.b64encode(binascii.crc32(b"x").to_bytes(4, "big")).decode()}
    assert raw.request("PUT", f"/{bucket}/k", f"partNumber=1&uploadId={upload}", b"x", headers=wrong)[0] == 400


def test_checksum_of_the_whole(raw, s3, bucket):
    """The composite checksum, with the number of parts or without, and nothing else."""
    sums = [hashlib.sha256(p).digest() for p in P[:2]]
    whole = base64.b64encode(hashlib.sha256(b"".join(sums)).digest()).decode()
    for given, wanted in ((whole[:-1], 400), (whole[0], 400), (whole + "-3", 400), (whole + "-", 400), (whole, 200), (whole + "-2", 200)):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
        xml = ""
        for i, data in enumerate(P[:2]):
            headers = raw.request("PUT", f"/{bucket}/k", f"partNumber={i + 1}&uploadId={upload}", data)[1]
            xml += f"<Part><PartNumber>{i + 1}</PartNumber><ETag>{headers['etag']}</ETag><ChecksumSHA256>{headers['x-amz-checksum-sha256']}</ChecksumSHA256></Part>"
        status, _, answer = raw.request("POST", f"/{bucket}/k", f"uploadId={upload}", f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode(), headers={"x-amz-checksum-sha256": given})
        assert status == wanted, (given, answer)


def test_conditions(raw, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"there")
    upload = start(s3, bucket)
    etag = part(s3, bucket, upload, 1, P[0])["ETag"]
    xml = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>".encode()
    assert raw.request("POST", f"/{bucket}/k", f"uploadId={upload}", xml, headers={"if-none-match": "*"})[0] == 412
    assert raw.request("POST", f"/{bucket}/k", f"uploadId={upload}", xml, headers={"x-amz-mp-object-size": "7"})[0] == 400
    assert read(s3, bucket) == b"there"
    current = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    assert raw.request("POST", f"/{bucket}/k", f"uploadId={upload}", xml, headers={"if-match": current})[0] == 200
    assert read(s3, bucket) == P[0]


def test_part_number_reads(s3, bucket):
    upload = start(s3, bucket)
    finish(s3, bucket, upload, [part(s3, bucket, upload, i + 1, b) for i, b in enumerate(P)])
    for i, body in enumerate(P):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=i + 1)
        assert got["Body"].read() == body and got["PartsCount"] == 4 and got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert s3.head_object(Bucket=bucket, Key="k", PartNumber=i + 1)["ContentLength"] == len(body)
    assert code_of(s3.get_object, Bucket=bucket, Key="k", PartNumber=5)[0] == 416


def test_part_copy(s3, bucket):
    s3.put_object(Bucket=bucket, Key="src", Body=P[0] + P[1])
    s3.put_object(Bucket=bucket, Key="inline", Body=b"0123456789")
    upload = start(s3, bucket)

    def copy(number, source, **kwargs):
        done = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, CopySource={"Bucket": bucket, "Key": source}, **kwargs)
        return {"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]}
    parts = [copy(1, "src", CopySourceRange=f"bytes=100-{100 + 5 * MIB - 1}"), copy(2, "src"), copy(3, "inline", CopySourceRange="bytes=2-4")]
    finish(s3, bucket, upload, parts)
    whole = P[0] + P[1]
    assert read(s3, bucket) == whole[100:100 + 5 * MIB] + whole + b"234"
    upload = start(s3, bucket)
    for text in ("bytes=0-", "0-1", "bytes=3-1", "bytes=0-10"):
        assert code_of(copy, 1, "inline", CopySourceRange=text) == (400, "InvalidArgument")
    assert code_of(copy, 1, "absent") == (404, "NoSuchKey")
    assert code_of(copy, 1, "inline", CopySourceIfMatch='"x"') == (412, "PreconditionFailed")


def test_s3transfer(s3, bucket, tmp_path):
    path, back = tmp_path / "up", tmp_path / "down"
    path.write_bytes(os.urandom(37 * MIB + 11))
    s3.upload_file(str(path), bucket, "dir/file", ExtraArgs={"ContentType": "a/b"})
    assert s3.head_object(Bucket=bucket, Key="dir/file")["ETag"].endswith('-5"')
    s3.download_file(bucket, "dir/file", str(back))
    assert back.read_bytes() == path.read_bytes()
    s3.copy({"Bucket": bucket, "Key": "dir/file"}, bucket, "copied")
    assert read(s3, bucket, "copied") == path.read_bytes()
    with open(path, "rb") as f:
        s3.upload_fileobj(f, bucket, "from-object")
    assert s3.head_object(Bucket=bucket, Key="from-object")["ContentLength"] == path.stat().st_size


def test_one_file_without_a_copy(own_server):
    """Parts that arrive as SDKs send them stay where they were written."""
    s3 = make_client(own_server.url)
    s3.create_bucket(Bucket="one-file")
    upload = start(s3, "one-file")
    parts = [part(s3, "one-file", upload, i + 1, P[i]) for i in (0, 2, 1, 3)]
    before = {(os.stat(p).st_ino, os.stat(p).st_size) for p in own_server.blobs()}
    assert len(before) == 1
    finish(s3, "one-file", upload, sorted(parts, key=lambda x: x["PartNumber"]))
    assert {(os.stat(p).st_ino, os.stat(p).st_size) for p in own_server.blobs()} == {(next(iter(before))[0], sum(map(len, P)))}


def test_condition_and_a_delete_meanwhile(s3, bucket):
    """The object was deleted since the upload began: it can't be completed under a condition, and is begun anew."""
    needs(s3, "CompleteMultipartUpload", "IfNoneMatch")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    uploads = [start(s3, bucket) for _ in range(2)]
    parts = [[part(s3, bucket, upload, 1, b"y")] for upload in uploads]
    s3.delete_object(Bucket=bucket, Key="other")
    s3.delete_object(Bucket=bucket, Key="k")
    assert code_of(finish, s3, bucket, uploads[0], parts[0], IfNoneMatch="*") == (409, "ConditionalRequestConflict")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    assert code_of(finish, s3, bucket, uploads[0], parts[0], IfNoneMatch="*") == (412, "PreconditionFailed")
    assert code_of(finish, s3, bucket, uploads[0], parts[0], IfMatch=etag) == (409, "ConditionalRequestConflict")
    finish(s3, bucket, uploads[1], parts[1])  # without a condition it is no conflict
    assert read(s3, bucket) == b"y"
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=uploads[0])
    s3.delete_object(Bucket=bucket, Key="k")
    upload = start(s3, bucket)  # began after it
    s3.delete_object(Bucket=bucket, Key="k")  # of nothing
    finish(s3, bucket, upload, [part(s3, bucket, upload, 1, b"z")], IfNoneMatch="*")
    assert read(s3, bucket) == b"z"
