"""CopyObject: directives, conditions, and that no bytes move."""
import os

import pytest

from conftest import code_of, make_client


@pytest.fixture(params=[5, 300_000], ids=["inline", "file"])
def source(request, s3, bucket):
    body = os.urandom(request.param)
    s3.put_object(Bucket=bucket, Key="src/ä +", Body=body, ContentType="text/csv", Metadata={"a": "1"}, Tagging="t=1", CacheControl="no-cache")
    return bucket, "src/ä +", body


def test_copy(s3, source):
    bucket, key, body = source
    where = {"Bucket": bucket, "Key": key}
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=where)
    got = s3.get_object(Bucket=bucket, Key="plain")
    assert got["Body"].read() == body and got["ContentType"] == "text/csv" and got["Metadata"] == {"a": "1"} and got["CacheControl"] == "no-cache"
    assert s3.get_object_tagging(Bucket=bucket, Key="plain")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(Bucket=bucket, Key="new", CopySource=where, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="x/y", TaggingDirective="REPLACE", Tagging="u=2")
    got = s3.get_object(Bucket=bucket, Key="new")
    assert got["Body"].read() == body and got["ContentType"] == "x/y" and got["Metadata"] == {"b": "2"} and "CacheControl" not in got
    assert s3.get_object_tagging(Bucket=bucket, Key="new")["TagSet"] == [{"Key": "u", "Value": "2"}]
    s3.delete_object(Bucket=bucket, Key=key)
    assert s3.get_object(Bucket=bucket, Key="plain")["Body"].read() == body


def test_to_itself(s3, source):
    bucket, key, body = source
    where = {"Bucket": bucket, "Key": key}
    assert code_of(s3.copy_object, Bucket=bucket, Key=key, CopySource=where) == (400, "InvalidRequest")
    s3.copy_object(Bucket=bucket, Key=key, CopySource=where, MetadataDirective="REPLACE", Metadata={"c": "3"})
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == body and got["Metadata"] == {"c": "3"}


def test_conditions(s3, source):
    bucket, key, _ = source
    where = {"Bucket": bucket, "Key": key}
    etag = s3.head_object(Bucket=bucket, Key=key)["ETag"]
    s3.copy_object(Bucket=bucket, Key="a", CopySource=where, CopySourceIfMatch=etag)
    s3.copy_object(Bucket=bucket, Key="a", CopySource=where, CopySourceIfNoneMatch='"x"')
    assert code_of(s3.copy_object, Bucket=bucket, Key="a", CopySource=where, CopySourceIfMatch='"x"') == (412, "PreconditionFailed")
    assert code_of(s3.copy_object, Bucket=bucket, Key="a", CopySource=where, CopySourceIfNoneMatch=etag) == (412, "PreconditionFailed")


def test_refusals(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert code_of(s3.copy_object, Bucket=bucket, Key="a", CopySource={"Bucket": bucket, "Key": "none"}) == (404, "NoSuchKey")
    assert code_of(s3.copy_object, Bucket=bucket, Key="a", CopySource={"Bucket": "no-such-bucket-x", "Key": "k"}) == (404, "NoSuchBucket")
    assert code_of(s3.copy_object, Bucket=bucket, Key="a", CopySource="nothing")[0] == 400
    assert code_of(s3.copy_object, Bucket=bucket, Key="a", CopySource={"Bucket": bucket, "Key": "k"}, MetadataDirective="ODD") == (400, "InvalidArgument")


def test_new_checksum(raw, s3, source):
    bucket, key, body = source
    s3.copy_object(Bucket=bucket, Key="from", CopySource={"Bucket": bucket, "Key": key})
    status, _, answer = raw.request("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": f"/{bucket}/from", "x-amz-checksum-algorithm": "SHA256"})
    assert status == 200 and b"<ChecksumSHA256>" in answer
    _, headers, got = raw.request("GET", f"/{bucket}/to", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got == body and "x-amz-checksum-sha256" in headers


def test_no_bytes_move(own_server):
    s3 = make_client(own_server.url)
    s3.create_bucket(Bucket="shared")
    s3.put_object(Bucket="shared", Key="k", Body=os.urandom(1 << 20))
    for i in range(5):
        s3.copy_object(Bucket="shared", Key=f"copy{i}", CopySource={"Bucket": "shared", "Key": "k"})
    assert len(own_server.blobs()) == 1
