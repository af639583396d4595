"""aws-sdk:s3 from a state machine: members and errors as the AWS SDKs have them (developer guide; recorded cases), with boto3."""

import json

import pytest
from api import helpers

DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@pytest.fixture(scope="module")
def s3(quern):
    return quern.client("s3")


@pytest.fixture(scope="module")
def call(quern):
    """Calls an action in an execution: its output, or (error, cause)."""
    sfn = quern.client("stepfunctions")

    def run(action, **parameters):
        state = {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:s3:{action}", "Arguments": parameters, "End": True}
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "T", "States": {"T": state}})
        machine = sfn.create_state_machine(name=helpers.unique("s3"), definition=definition, roleArn=quern.role)["stateMachineArn"]
        arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        d = quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=arn)))
        return json.loads(d["output"]) if d["status"] == "SUCCEEDED" else (d["error"], d["cause"])

    return run


@pytest.fixture(scope="module")
def bucket(s3):
    name = helpers.unique("members")
    s3.create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize("value", ["text data", {"Dict": "Value"}, ["List", "Data"], False, "grüße 😀", None])
def test_put_writes_json(s3, call, bucket, value):
    out = call("putObject", Bucket=bucket, Key="put", Body=value)
    got = s3.get_object(Bucket=bucket, Key="put", ChecksumMode="ENABLED")
    body = got["Body"].read()
    assert json.loads(body) == value and got["ContentType"] == "text/plain; charset=UTF-8"
    assert out == {"ETag": got["ETag"], "ChecksumCRC32": got["ChecksumCRC32"], "ChecksumType": "FULL_OBJECT"}


def test_put_keeps_what_it_is_given(s3, call, bucket):
    out = call("putObject", Bucket=bucket, Key="told", Body="x", ContentType="application/json", CacheControl="no-store", Metadata={"Owner": "me"},
               ServerSideEncryption="aws:kms", BucketKeyEnabled=True, ChecksumAlgorithm="SHA256")
    got = s3.head_object(Bucket=bucket, Key="told", ChecksumMode="ENABLED")
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("application/json", "no-store", {"owner": "me"})
    assert out["ServerSideEncryption"] == "aws:kms" and out["BucketKeyEnabled"] is True and out["ChecksumSHA256"] == got["ChecksumSHA256"]
    read = call("getObject", Bucket=bucket, Key="told", ChecksumMode="ENABLED")
    assert read["Body"] == '"x"' and read["Metadata"] == {"owner": "me"} and read["ChecksumSHA256"] == got["ChecksumSHA256"]


def test_get_tells_all(s3, call, bucket):
    s3.put_object(Bucket=bucket, Key="get", Body=b"text data", Tagging="a=1&b=2", ContentEncoding="identity")
    out = call("getObject", Bucket=bucket, Key="get")
    assert out.pop("LastModified").endswith("Z")
    assert out == {"AcceptRanges": "bytes", "Body": "text data", "ContentEncoding": "identity", "ContentLength": 9, "ContentType": "binary/octet-stream",
                   "ETag": '"332eec544317a6d340b8e77da7fe54ad"', "Metadata": {}, "TagCount": 2}


def test_versions(s3, call):
    name = helpers.unique("versions")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    first = call("putObject", Bucket=name, Key="k", Body=1)["VersionId"]
    call("putObject", Bucket=name, Key="k", Body=2)
    old, new = call("getObject", Bucket=name, Key="k", VersionId=first), call("getObject", Bucket=name, Key="k")
    assert (old["Body"], old["VersionId"], new["Body"]) == ("1", first, "2")


def test_list_has_pages(s3, call):
    helpers.needs(s3, "PutObject", "IfMatch")  # as old: the kinds of checksums
    name = helpers.unique("list")
    s3.create_bucket(Bucket=name)
    for key in ("a/1", "a/2", "b/1", "c"):
        s3.put_object(Bucket=name, Key=key, Body=b"x")
    page = call("listObjectsV2", Bucket=name, MaxKeys=3)
    assert page["IsTruncated"] is True and page["KeyCount"] == 3 and [o["Key"] for o in page["Contents"]] == ["a/1", "a/2", "b/1"]
    rest = call("listObjectsV2", Bucket=name, ContinuationToken=page["NextContinuationToken"])
    assert rest["IsTruncated"] is False and [o["Key"] for o in rest["Contents"]] == ["c"]
    wanted = s3.list_objects_v2(Bucket=name, StartAfter="b")["Contents"][0]
    one = call("listObjectsV2", Bucket=name, StartAfter="b")["Contents"][0]
    assert {**one, "LastModified": 0} == {**wanted, "LastModified": 0}
    groups = call("listObjectsV2", Bucket=name, Delimiter="/")
    assert groups["CommonPrefixes"] == [{"Prefix": "a/"}, {"Prefix": "b/"}] and [o["Key"] for o in groups["Contents"]] == ["c"]
    assert call("listObjectsV2", Bucket=name, Prefix="b/")["Prefix"] == "b/"


@pytest.mark.parametrize("action, parameters, error, cause", [
    ("getObject", {"Key": "none"}, "S3.NoSuchKeyException", "The specified key does not exist. (Service: S3, Status Code: 404, Request ID: "),
    ("getObject", {"Key": "none", "Bucket": "no-such-bucket-here"}, "S3.NoSuchBucketException", "The specified bucket does not exist (Service: S3, Status Code: 404, "),
    ("putObject", {"Key": "k", "Bucket": "no-such-bucket-here", "Body": 1}, "S3.NoSuchBucketException", "The specified bucket does not exist (Service: S3, "),
    ("getObject", {"Key": "none", "Range": "bytes=0-1"}, "S3.NoSuchKeyException", "The specified key does not exist."),
    ("getObject", {"Bucket": None, "Key": "k"}, "S3.SdkClientException", "Parameter 'Bucket' must not be null"),
    ("getObject", {"Key": ""}, "S3.SdkClientException", "Key cannot be empty."),
    ("putObject", {"Key": "k", "Body": 1, "GrantRead": "x"}, "S3.S3Exception", "The bucket does not allow ACLs (Service: S3, Status Code: 400, "),
    ("headObject", {"Key": "none"}, "S3.NoSuchKeyException", "null (Service: S3, Status Code: 404, "),
    ("headBucket", {"Bucket": "no-such-bucket-here"}, "S3.NoSuchBucketException", "null (Service: S3, Status Code: 404, "),
    ("copyObject", {"Key": "k", "CopySource": "no-such-bucket-here/k"}, "S3.NoSuchBucketException", "The specified bucket does not exist"),
    ("abortMultipartUpload", {"Key": "k", "UploadId": "none"}, "S3.NoSuchUploadException", "The specified upload does not exist."),
    ("createBucket", {"Bucket": "No_Bucket"}, "S3.S3Exception", "The specified bucket is not valid."),
    ("getBucketPolicy", {}, "S3.S3Exception", "The bucket policy does not exist (Service: S3, Status Code: 404, "),
    ("putBucketWebsite", {"WebsiteConfiguration": {}}, "S3.S3Exception", "Quern does not implement PutBucketWebsite. (Service: S3, Status Code: 501, "),
    ("restoreObject", {"Key": "k"}, "S3.S3Exception", "Quern does not implement RestoreObject. (Service: S3, Status Code: 501, "),
    ("listObjectsV2", {"MaxKeys": "many"}, "S3.S3Exception", "The value of MaxKeys has an invalid format."),
    ("putObject", {"Key": "k", "Body": 1, "ServerSideEncryption": "rot13"}, "S3.S3Exception", "The encryption method specified is not supported"),
    ("putObject", {"Key": "k", "Body": 1, "ContentType": "a\nb"}, "S3.S3Exception", "A header must be text"),
    ("putObject", {"Key": "k" * 1025, "Body": 1}, "S3.S3Exception", "Your key is too long"),
    ("putObject", {"Key": "k", "Body": 1, "Metadata": {"m": "x" * 2100}}, "S3.S3Exception", "Your metadata headers exceed"),
    ("listObjectsV2", {"ContinuationToken": "!"}, "S3.S3Exception", "The continuation token provided is incorrect"),
    ("listObjectsV2", {"Bucket": "no-such-bucket-here"}, "S3.NoSuchBucketException", "The specified bucket does not exist"),
])
def test_errors(call, bucket, action, parameters, error, cause):
    out = call(action, **{"Bucket": bucket, **parameters})
    assert out[0] == error and out[1].startswith(cause), out


def test_body_that_is_no_text(s3, call, bucket):
    s3.put_object(Bucket=bucket, Key="binary", Body=b"\xff\xfe\x00")
    error, cause = call("getObject", Bucket=bucket, Key="binary")
    assert error == "S3.InvalidRequestException" and "not UTF-8" in cause
