"""Buckets and single objects: PUT, GET, HEAD, DELETE, metadata, ranges, conditions, checksums, tags, presigned URLs."""
import base64
import datetime
import hashlib
import os
import urllib.request
import uuid
import xml.etree.ElementTree as ET
import zlib

import pytest

from conftest import code_of, make_client

SMALL, LARGE = b"hello", os.urandom(700_001)


@pytest.mark.parametrize("body", [b"", SMALL, b"x" * 8192, b"y" * 8193, LARGE], ids=["empty", "small", "inline", "file", "large"])
def test_put_get(s3, bucket, body):
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"] and got["ContentLength"] == len(body) and got["ContentType"] == "binary/octet-stream"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == len(body) and head["ETag"] == put["ETag"]
    assert abs(head["LastModified"] - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=5)


@pytest.mark.parametrize("key", ["a", "a/b/c", "/lead", "a//b", "trail/", "ü/€/日本", "sp ace", "a+b", "a%2Fb", "a?b#c", "a&b=c;d", "..", "a/../b", "x" * 1024,
                                 "quote\"'<>&", "tab\tx", "\U0001F600", "~._-!*'()"])
def test_keys(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.put_object(Bucket=bucket, Key=key + "x" if len(key) < 1000 else "y", Body=b"other")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert key in [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert code_of(s3.get_object, Bucket=bucket, Key=key) == (404, "NoSuchKey")


def test_key_limits(s3, bucket, raw):
    assert code_of(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == (400, "KeyTooLongError")
    # no client could read a listing that has the like of a surrogate, an overlong form or what is beyond Unicode
    for path in ("%ff", "%c0%80", "%ed", "a%00b", "%ed%a0%80", "%e0%80%af", "%f0%80%80%af", "%f4%90%80%80"):
        status, _, body = raw.request("PUT", f"/{bucket}/{path}", body=b"x")
        assert status == 400 and b"<Code>InvalidURI</Code>" in body, (path, body)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_tags_are_text(s3, bucket, raw):
    """Tags that are no UTF-8 could be stored and never be read."""
    for tagging in ("a=%ff", "%ed%a0%80=1"):
        status, _, body = raw.request("PUT", f"/{bucket}/k", body=b"x", headers={"x-amz-tagging": tagging})
        assert status == 400 and b"<Code>InvalidTag</Code>" in body, (tagging, body)
    assert code_of(s3.head_object, Bucket=bucket, Key="k") == (404, "404")


def test_metadata_and_headers(s3, bucket):
    sent = dict(ContentType="text/csv; charset=utf-8", ContentEncoding="gzip", ContentDisposition='attachment; filename="a.csv"', ContentLanguage="de",
                CacheControl="max-age=60", Metadata={"one": "1", "Two-Words": "a b", "empty": ""})
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, Expires=datetime.datetime(2030, 1, 1), **sent)
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        for name in ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl"):
            assert got[name] == sent[name]
        assert got["Metadata"] == {"one": "1", "two-words": "a b", "empty": ""}
        assert "2030" in got["ResponseMetadata"]["HTTPHeaders"]["expires"]
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2048}) == (400, "MetadataTooLarge")


def test_response_overrides(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, ContentType="text/plain")
    got = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="image/png", ResponseContentDisposition="inline", ResponseCacheControl="no-cache")
    assert (got["ContentType"], got["ContentDisposition"], got["CacheControl"]) == ("image/png", "inline", "no-cache")


@pytest.mark.parametrize("body", [b"0123456789", LARGE], ids=["inline", "file"])
def test_ranges(s3, bucket, body):
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    size = len(body)
    for text, start, end in [("bytes=0-0", 0, 1), ("bytes=2-5", 2, 6), ("bytes=5-", 5, size), ("bytes=-3", size - 3, size), (f"bytes=-{size + 9}", 0, size),
                             (f"bytes=1-{size * 2}", 1, size)]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=text)
        assert got["Body"].read() == body[start:end]
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["ContentRange"] == f"bytes {start}-{end - 1}/{size}"
    for text in ("bytes=5-2", "junk", "bytes=0-1,4-5"):
        got = s3.get_object(Bucket=bucket, Key="k", Range=text)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200 and got["Body"].read() == body
    assert code_of(s3.get_object, Bucket=bucket, Key="k", Range=f"bytes={size}-") == (416, "InvalidRange")
    head = s3.head_object(Bucket=bucket, Key="k", Range="bytes=0-3")
    assert head["ContentLength"] == 4 and head["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_read_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=SMALL)["ETag"]
    past, future = datetime.datetime(2020, 1, 1), datetime.datetime(2040, 1, 1)
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["Body"].read() == SMALL
    assert code_of(s3.get_object, Bucket=bucket, Key="k", IfMatch='"x"') == (412, "PreconditionFailed")
    assert code_of(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)[0] == 304
    assert code_of(s3.head_object, Bucket=bucket, Key="k", IfNoneMatch=etag)[0] == 304
    assert s3.get_object(Bucket=bucket, Key="k", IfNoneMatch='"x"')["Body"].read() == SMALL
    assert s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=past)["Body"].read() == SMALL
    assert code_of(s3.get_object, Bucket=bucket, Key="k", IfUnmodifiedSince=past) == (412, "PreconditionFailed")
    assert s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=future)["Body"].read() == SMALL
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=past)["Body"].read() == SMALL
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert code_of(s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=modified)[0] == 304


def test_write_conditions(s3, bucket, raw):
    def put(key, **headers):
        return raw.request("PUT", f"/{bucket}/{key}", body=b"v", headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert put("k", if_none_match="*")[0] == 200
    status, _, body = put("k", if_none_match="*")
    assert status == 412 and b"<Code>PreconditionFailed</Code>" in body and b"<Condition>If-None-Match</Condition>" in body
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    assert put("k", if_match=etag)[0] == 200
    assert put("k", if_match='"0"')[0] == 412
    assert put("absent", if_match=etag)[0] == 404


def test_delete(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert code_of(s3.head_object, Bucket=bucket, Key="k")[0] == 404
    keys = [f"k{i}" for i in range(50)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    got = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys + ["absent"]]})
    assert sorted(d["Key"] for d in got["Deleted"]) == sorted(keys + ["absent"])
    s3.put_object(Bucket=bucket, Key="q", Body=b"")
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "q"}], "Quiet": True})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert code_of(s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": str(i)} for i in range(1001)]}) == (400, "MalformedXML")


def test_conditional_delete(s3, bucket, raw):
    """If-Match wants an object to be there: none, or a marker, is not."""
    def delete(etag, key="k"):
        status, _, body = raw.request("DELETE", f"/{bucket}/{key}", headers={"if-match": etag})
        return status, body.split(b"<Code>")[1].split(b"<")[0].decode() if body else ""
    assert delete("*") == (404, "NoSuchKey") and delete('"x"') == (404, "NoSuchKey")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    assert delete('"x"') == (412, "PreconditionFailed") and delete(etag) == (204, "")
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    xml = "<Delete>" + "".join(f"<Object><Key>{key}</Key><ETag>{tag}</ETag></Object>" for key, tag in (("k", "*"), ("absent", "*"), ("absent", etag))) + "</Delete>"
    _, _, body = raw.request("POST", f"/{bucket}", "delete=", xml.encode())
    assert body.count(b"<Deleted>") == 1 and body.count(b"<Code>NoSuchKey</Code>") == 2
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    assert delete("*") == (204, "") and delete("*") == (412, "PreconditionFailed")
    assert len(s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]) == 1


def test_part_of_an_empty_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert got["Body"].read() == b"" and "ContentRange" not in got


# ---- checksums ----

def b64(raw_bytes):
    return base64.b64encode(raw_bytes).decode()


SUMS = {
    "crc32": (b64(zlib.crc32(LARGE).to_bytes(4, "big")), "AAAAAA=="),
    "sha1": (b64(hashlib.sha1(LARGE).digest()), b64(b"\0" * 20)),
    "sha256": (b64(hashlib.sha256(LARGE).digest()), b64(b"\0" * 32)),
}


@pytest.mark.parametrize("algo", SUMS)
def test_checksum_header(raw, bucket, algo):
    good, bad = SUMS[algo]
    status, headers, _ = raw.request("PUT", f"/{bucket}/k", body=LARGE, headers={f"x-amz-checksum-{algo}": good})
    assert status == 200 and headers[f"x-amz-checksum-{algo}"] == good
    status, headers, _ = raw.request("GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert headers[f"x-amz-checksum-{algo}"] == good and headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert f"x-amz-checksum-{algo}" not in raw.request("GET", f"/{bucket}/k")[1]
    status, _, body = raw.request("PUT", f"/{bucket}/k2", body=LARGE, headers={f"x-amz-checksum-{algo}": bad})
    assert status == 400 and b"BadDigest" in body
    assert raw.request("HEAD", f"/{bucket}/k2")[0] == 404
    assert raw.request("PUT", f"/{bucket}/k2", body=LARGE, headers={f"x-amz-checksum-{algo}": "AA=="})[0] == 400
    two = {"x-amz-checksum-crc32": SUMS["crc32"][0], "x-amz-checksum-sha1": SUMS["sha1"][0]}
    assert raw.request("PUT", f"/{bucket}/k2", body=LARGE, headers=two)[0] == 400


def test_default_checksum(raw, bucket):
    status, headers, _ = raw.request("PUT", f"/{bucket}/k", body=b"123456789")
    assert headers["x-amz-checksum-crc64nvme"] == "rosUhgp5mIg="


def test_content_md5(raw, bucket):
    assert raw.request("PUT", f"/{bucket}/k", body=SMALL, headers={"content-md5": b64(hashlib.md5(SMALL).digest())})[0] == 200
    status, _, body = raw.request("PUT", f"/{bucket}/k", body=b"other", headers={"content-md5": b64(hashlib.md5(SMALL).digest())})
    assert status == 400 and b"<Code>BadDigest</Code>" in body
    status, _, body = raw.request("PUT", f"/{bucket}/k", body=b"other", headers={"content-md5": "zzz"})
    assert status == 400 and b"<Code>InvalidDigest</Code>" in body
    assert raw.request("GET", f"/{bucket}/k")[2] == SMALL


@pytest.mark.parametrize("size", [5, 9000, 300_000])
def test_trailing_checksum(raw, bucket, size):
    body = os.urandom(size)
    good = b64(zlib.crc32(body).to_bytes(4, "big"))

    def put(key, value):
        framed = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(body), body, value.encode())
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": "x-amz-checksum-crc32",
                   "x-amz-sdk-checksum-algorithm": "CRC32"}
        return raw.request("PUT", f"/{bucket}/{key}", body=framed, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert put("k", good)[0] == 200
    status, headers, got = raw.request("GET", f"/{bucket}/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got == body and headers["x-amz-checksum-crc32"] == good and "content-encoding" not in headers
    status, _, answer = put("bad", "AAAAAA==")
    assert status == 400 and b"BadDigest" in answer
    assert raw.request("GET", f"/{bucket}/bad")[0] == 404


def test_signed_payload_mismatch(raw, bucket):
    status, _, body = raw.request("PUT", f"/{bucket}/k", body=LARGE, payload=hashlib.sha256(b"other").hexdigest())
    assert status == 400 and b"XAmzContentSHA256Mismatch" in body
    assert raw.request("HEAD", f"/{bucket}/k")[0] == 404


# ---- tags ----

def test_object_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL, Tagging="b%20c=%2B%3A&a=1")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b c", "Value": "+:"}]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "x", "Value": "1"}, {"Key": "é", "Value": ""}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "x", "Value": "1"}, {"Key": "é", "Value": ""}]
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    assert code_of(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "x", "Value": "1"}] * 2}) == (400, "InvalidTag")
    assert code_of(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": str(i), "Value": ""} for i in range(11)]}) == (400, "BadRequest")
    assert code_of(s3.put_object_tagging, Bucket=bucket, Key="none", Tagging={"TagSet": []}) == (404, "NoSuchKey")
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == SMALL


def test_bucket_tags(s3, bucket):
    assert code_of(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "ml"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "ml"}]
    s3.delete_bucket_tagging(Bucket=bucket)
    assert code_of(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")


# ---- buckets ----

def test_bucket_life(accounts):
    s3, other = accounts
    name = "life-" + uuid.uuid4().hex[:12]
    assert code_of(s3.head_bucket, Bucket=name)[0] == 404
    s3.create_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)  # us-east-1: no error for the owner
    assert code_of(other.create_bucket, Bucket=name) == (409, "BucketAlreadyExists")
    assert code_of(other.list_objects_v2, Bucket=name) == (403, "AccessDenied")
    assert code_of(other.head_bucket, Bucket=name)[0] == 403
    assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert name not in [b["Name"] for b in other.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    s3.put_object(Bucket=name, Key="k", Body=b"")
    assert code_of(s3.delete_bucket, Bucket=name) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=name, Key="k")
    s3.create_multipart_upload(Bucket=name, Key="unfinished")
    s3.delete_bucket(Bucket=name)
    assert code_of(s3.list_objects_v2, Bucket=name) == (404, "NoSuchBucket")
    west = "west-" + uuid.uuid4().hex[:12]
    s3.create_bucket(Bucket=west, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    assert s3.get_bucket_location(Bucket=west)["LocationConstraint"] == "us-west-2"
    assert code_of(s3.create_bucket, Bucket=west, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}) == (409, "BucketAlreadyOwnedByYou")


def test_bad_bucket_names(raw):
    for name in ("ab", "Upper", "under_score", "-x-", "a..b", "192.168.0.1"):
        status, _, body = raw.request("PUT", f"/{name}")
        assert status == 400 and b"<Code>InvalidBucketName</Code>" in body, name


def test_expected_owner(s3, bucket):
    assert code_of(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner="999999999999")[0] == 403
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"", ExpectedBucketOwner="999999999999") == (403, "AccessDenied")


def test_list_buckets_pages(s3, raw):
    stem = "page" + uuid.uuid4().hex[:8]
    names = [f"{stem}-{i}" for i in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    seen, token = [], ""
    while True:
        root = ET.fromstring(raw.request("GET", "/", f"max-buckets=2&prefix={stem}" + (f"&continuation-token={token}" if token else ""))[2])
        ns = root.tag[:root.tag.index("}") + 1]
        page = [b.findtext(f"{ns}Name") for b in root.iter(f"{ns}Bucket")]
        assert 1 <= len(page) <= 2
        seen += page
        token = root.findtext(f"{ns}ContinuationToken")
        if not token:
            break
    assert seen == names


def test_errors_have_details(raw, bucket):
    status, headers, body = raw.request("GET", f"/{bucket}/no%20such")
    root = ET.fromstring(body)
    assert status == 404 and headers["content-type"] == "application/xml"
    assert (root.tag, root.findtext("Code"), root.findtext("Message"), root.findtext("Key")) == ("Error", "NoSuchKey", "The specified key does not exist.", "no such")
    assert root.findtext("RequestId") == headers["x-amz-request-id"] and root.findtext("HostId")
    root = ET.fromstring(raw.request("GET", "/no-such-bucket-here")[2])
    assert (root.findtext("Code"), root.findtext("BucketName")) == ("NoSuchBucket", "no-such-bucket-here")
    status, _, body = raw.request("PUT", f"/{bucket}", "website", b"{}")
    assert status == 501 and b"<Code>NotImplemented</Code>" in body and b"PutBucketWebsite" in body
    assert raw.request("GET", f"/{bucket}", "lifecycle")[0] == 404
    status, _, body = raw.request("POST", f"/{bucket}/k", body=b"x")
    assert status == 405 and b"MethodNotAllowed" in body
    assert raw.plain("GET", f"/{bucket}/k")[0] == 403
    status, _, body = raw.request("PUT", f"/{bucket}/k", body=b"x", headers={"x-amz-acl": "public-read"})
    assert status == 400 and b"AccessControlListNotSupported" in body
    status, _, body = raw.request("PUT", f"/{bucket}", "tagging", b"<Tagging>")
    assert status == 400 and b"MalformedXML" in body


def test_acl_is_the_owners(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="private")
    for acl in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        assert [g["Permission"] for g in acl["Grants"]] == ["FULL_CONTROL"]
        assert acl["Grants"][0]["Grantee"]["ID"] == acl["Owner"]["ID"]


def test_encryption_header_is_echoed(s3, bucket):
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"", ServerSideEncryption="AES256")["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    key = dict(SSECustomerAlgorithm="AES256", SSECustomerKey="0" * 32)
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"", **key) == (501, "NotImplemented")


# ---- presigned, virtual hosts, CORS ----

def test_presigned(s3, bucket):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b", "ContentType": "text/plain"}, ExpiresIn=60)
    request = urllib.request.Request(put, data=LARGE, method="PUT", headers={"Content-Type": "text/plain"})
    assert urllib.request.urlopen(request).status == 200
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b", "ResponseContentType": "x/y"}, ExpiresIn=60)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == LARGE and answer.headers["Content-Type"] == "x/y"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(get + "0")
    assert caught.value.code == 403


def test_virtual_host(endpoint, raw, bucket):
    for host in (f"{bucket}.s3.amazonaws.com", f"{bucket}.localhost:4566", f"{bucket}.s3.us-west-2.amazonaws.com"):
        status, _, _ = raw.request("PUT", "/in/host", body=host.encode(), headers={"host": host})
        assert status == 200
        assert raw.request("GET", f"/{bucket}/in/host")[2] == host.encode()
        assert b"in/host" in raw.request("GET", "/", headers={"host": host})[2]


def test_cors(s3, bucket, raw):
    assert code_of(s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")
    rules = [{"AllowedMethods": ["PUT", "GET"], "AllowedOrigins": ["https://*.example.org"], "AllowedHeaders": ["x-amz-*", "content-type"],
              "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 600}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
    ask = {"origin": "https://app.example.org", "access-control-request-method": "PUT", "access-control-request-headers": "X-Amz-Date, Content-Type"}
    status, headers, _ = raw.plain("OPTIONS", f"/{bucket}/k", headers=ask)
    assert status == 200 and headers["access-control-allow-origin"] == "https://app.example.org" and headers["access-control-max-age"] == "600"
    assert raw.plain("OPTIONS", f"/{bucket}/k", headers={**ask, "origin": "https://example.com"})[0] == 403
    assert raw.plain("OPTIONS", f"/{bucket}/k", headers={**ask, "access-control-request-method": "DELETE"})[0] == 403
    status, headers, _ = raw.request("PUT", f"/{bucket}/k", body=b"x", headers={"origin": "https://app.example.org"})
    assert headers["access-control-allow-origin"] == "https://app.example.org" and headers["access-control-expose-headers"] == "ETag"
    assert "access-control-allow-origin" not in raw.request("GET", f"/{bucket}/k", headers={"origin": "https://example.com"})[1]
    s3.delete_bucket_cors(Bucket=bucket)
    assert raw.plain("OPTIONS", f"/{bucket}/k", headers=ask)[0] == 403


def test_query_forms(raw, bucket):
    """`k` and `k=`, `/b` and `/b/` mean the same."""
    for path, query in ((f"/{bucket}", "location"), (f"/{bucket}/", "location="), (f"/{bucket}", "uploads"), (f"/{bucket}/", "uploads=")):
        status, _, body = raw.request("GET", path, query)
        assert status == 200 and (b"LocationConstraint" in body or b"ListMultipartUploadsResult" in body)


def test_old_and_new_client(endpoint, bucket):
    for config in ({"s3": {"payload_signing_enabled": True}}, {"s3": {"payload_signing_enabled": False}}, {"s3": {"addressing_style": "path"}}):
        client = make_client(endpoint, **config)
        client.put_object(Bucket=bucket, Key="k", Body=LARGE)
        assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == LARGE


def test_attributes_each_in_a_header_of_its_own(s3, bucket, raw):
    """As the AWS SDK for Go sends them."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    status, _, body = raw.request("GET", f"/{bucket}/k", "attributes", headers={"x-amz-object-attributes": ["ETag", "ObjectParts", "StorageClass", "ObjectSize"]})
    assert status == 200 and b"<ObjectSize>5</ObjectSize>" in body and b"<StorageClass>STANDARD</StorageClass>" in body and b"<ETag>" in body
    status, _, body = raw.request("GET", f"/{bucket}/k", "attributes", headers={"x-amz-object-attributes": ["ETag,StorageClass", "Checksum"]})
    assert status == 200 and b"<StorageClass>" in body and b"<ObjectSize>" not in body
