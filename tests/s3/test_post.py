"""POST of a browser's form, signed with version 4 and with version 2."""
import base64
import datetime
import hashlib
import hmac
import json
import os
import time

import pytest

BOUNDARY = "----form7MA4YWxk"


def form(fields, body=None, filename="f.bin", content_type="application/octet-stream", before=True):
    out = b""
    for name, value in fields.items():
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    if body is not None:
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'.encode() + body + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


def sign(raw, conditions, version=4, expires=600, key=None):
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=expires)
    amz = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    extra = {}
    if version == 4:
        extra = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{key or raw.key}/{amz[:8]}/us-east-1/s3/aws4_request", "x-amz-date": amz}
        conditions = conditions + [{k: v} for k, v in extra.items()]
    policy = base64.b64encode(json.dumps({"expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": conditions}).encode()).decode()
    if version == 4:
        extra["x-amz-signature"] = hmac.new(raw.signing_key(amz[:8]), policy.encode(), hashlib.sha256).hexdigest()
    else:
        extra = {"AWSAccessKeyId": key or raw.key, "signature": base64.b64encode(hmac.new(raw.secret.encode(), policy.encode(), hashlib.sha1).digest()).decode()}
    return {"policy": policy, **extra}


def send(raw, bucket, body):
    return raw.plain("POST", f"/{bucket}", body, {"content-type": f"multipart/form-data; boundary={BOUNDARY}"})


def common(bucket, prefix="user/"):
    return [{"bucket": bucket}, ["starts-with", "$key", prefix], ["content-length-range", 1, 1_000_000]]


@pytest.mark.parametrize("version", [4, 2])
@pytest.mark.parametrize("size", [10, 8192, 200_000])
def test_post(raw, s3, bucket, version, size):
    body = os.urandom(size)
    fields = {"key": "user/${filename}", "Content-Type": "text/csv", "x-amz-meta-a": "1", "tagging": "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"}
    conditions = common(bucket) + [{"content-type": "text/csv"}, ["starts-with", "$x-amz-meta-a", ""], ["starts-with", "$tagging", ""]]
    status, headers, answer = send(raw, bucket, form({**fields, **sign(raw, conditions, version)}, body, "dir\\sub/a b.csv"))
    assert status == 204, answer
    assert headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="user/a b.csv")
    assert got["Body"].read() == body and got["ContentType"] == "text/csv" and got["Metadata"] == {"a": "1"}
    assert s3.get_object_tagging(Bucket=bucket, Key="user/a b.csv")["TagSet"] == [{"Key": "k", "Value": "v"}]


def test_filename_is_under_the_policy(raw, s3, bucket):
    signed = sign(raw, common(bucket))
    assert send(raw, bucket, form({"key": "${filename}", **signed}, b"x", "user.txt"))[0] == 403
    assert send(raw, bucket, form({"key": "user/${filename}", "x-amz-checksum-crc32": "jNwWgw==", **signed}, b"x", "a"))[0] == 204
    assert b"BadDigest" in send(raw, bucket, form({"key": "user/b", "x-amz-checksum-crc32": "AAAAAA==", **signed}, b"x"))[2]


def test_boto3_makes_it(raw, s3, bucket):
    made = s3.generate_presigned_post(bucket, "user/x", Conditions=[["content-length-range", 1, 100]])
    assert send(raw, bucket, form(made["fields"], b"hello"))[0] == 204
    assert s3.get_object(Bucket=bucket, Key="user/x")["Body"].read() == b"hello"
    assert b"EntityTooLarge" in send(raw, bucket, form(made["fields"], b"x" * 101))[2]
    assert b"EntityTooSmall" in send(raw, bucket, form(made["fields"], b""))[2]


def test_answers(raw, bucket):
    def post(**fields):
        conditions = common(bucket) + [{k: v} for k, v in fields.items()]
        return send(raw, bucket, form({"key": "user/k", **fields, **sign(raw, conditions)}, b"x"))
    assert post(success_action_status="200")[0] == 200
    status, _, body = post(success_action_status="201")
    assert status == 201 and b"<PostResponse>" in body and b"<Key>user/k</Key>" in body
    assert post(success_action_status="777")[0] == 204
    status, headers, _ = post(success_action_redirect="https://example.org/done?x=1")
    assert status == 303 and headers["location"].startswith(f"https://example.org/done?x=1&bucket={bucket}&key=user/k&etag=%22")


def test_refusals(raw, s3, bucket):
    good = {"key": "user/k"}

    def post(fields, body=b"x", conditions=None, **kwargs):
        status, _, answer = send(raw, bucket, form({**fields, **sign(raw, conditions or common(bucket), **kwargs)}, body))
        return status, answer.split(b"<Code>")[1].split(b"<")[0].decode() if b"<Code>" in answer else ""
    assert post(good)[0] == 204
    assert post({"key": "other/k"}) == (403, "AccessDenied")
    assert post({**good, "Content-Type": "text/html"}) == (403, "AccessDenied")  # not in the policy
    assert post(good, expires=-5) == (403, "AccessDenied")
    assert post(good, conditions=[{"bucket": "another"}, ["starts-with", "$key", ""]]) == (403, "AccessDenied")
    assert post(good, key="QUERNNOSUCHKEY000000") == (403, "InvalidAccessKeyId")
    assert post({}) == (400, "InvalidArgument")
    assert post(good, body=None) == (400, "InvalidArgument")
    assert post({**good, "acl": "public-read"}, conditions=common(bucket) + [{"acl": "public-read"}]) == (400, "AccessControlListNotSupported")
    both = common(bucket) + [["content-length-range", 0, 2_000_000]]  # wider than the first: both must hold
    assert post(good, body=b"x" * 1_000_001, conditions=both) == (400, "EntityTooLarge")
    assert post(good, body=b"", conditions=both) == (400, "EntityTooSmall")
    signed = sign(raw, common(bucket))
    signed["x-amz-signature"] = "0" * 64
    assert b"SignatureDoesNotMatch" in send(raw, bucket, form({**good, **signed}, b"x"))[2]
    signed = sign(raw, common(bucket))
    signed["policy"] = base64.b64encode(b'{"expiration":"2099-01-01T00:00:00Z","conditions":[]}').decode()
    assert b"SignatureDoesNotMatch" in send(raw, bucket, form({**good, **signed}, b"x"))[2]
    assert send(raw, bucket, form(good, b"x"))[0] == 403  # no policy
    assert b"MalformedPOSTRequest" in send(raw, bucket, form({**good, **sign(raw, common(bucket))}, b"x")[:-10])[2]
    assert b"NoSuchBucket" in send(raw, "no-such-bucket-zz", form({**good, **sign(raw, common("no-such-bucket-zz"))}, b"x"))[2]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["user/k"]
