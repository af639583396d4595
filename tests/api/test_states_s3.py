"""aws-sdk:s3 from a state machine: members and errors as the AWS SDKs have them (developer guide; recorded cases), with boto3."""

import json
import re

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


# ---- the other operations: what they answer is what boto3 reads from the same answer over HTTP ----

def seen(answer):
    """boto3's answer as an SDK integration has it: times as text, nothing of HTTP, and none of the encoding that boto3 asks for."""
    if isinstance(answer, dict):
        return {k: seen(v) for k, v in answer.items() if k not in ("ResponseMetadata", "EncodingType") and v is not None}
    if isinstance(answer, list):
        return [seen(v) for v in answer]
    return answer.strftime("%Y-%m-%dT%H:%M:%SZ") if hasattr(answer, "strftime") else answer


def reads(s3, call, action, **parameters):
    """The action gives what boto3 gets."""
    method = re.sub("([A-Z][0-9]?)", lambda m: "_" + m[0].lower(), action)
    out = call(action, **parameters)
    assert out == seen(getattr(s3, method)(**parameters)), action
    return out


def test_buckets(s3, call):
    name = helpers.unique("acts")
    assert call("createBucket", Bucket=name) == {"Location": f"/{name}"}
    assert name in [b["Name"] for b in call("listBuckets")["Buckets"]] and call("headBucket", Bucket=name)["BucketRegion"] == "us-east-1"
    assert call("createBucket", Bucket=name) == {"Location": f"/{name}"}  # us-east-1's old way
    assert call("getBucketLocation", Bucket=name) == {}
    far = helpers.unique("far")
    call("createBucket", Bucket=far, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert call("getBucketLocation", Bucket=far) == {"LocationConstraint": "eu-west-1"}
    assert call("deleteBucket", Bucket=far) == {}
    s3.put_object(Bucket=name, Key="k", Body=b"")
    error, cause = call("deleteBucket", Bucket=name)
    assert error == "S3.S3Exception" and cause.startswith("The bucket you tried to delete is not empty (Service: S3, Status Code: 409, ")


SETTINGS = {
    "BucketTagging": {"Tagging": {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x +=:/@"}]}},
    "BucketCors": {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*"], "MaxAgeSeconds": 5}]}},
    "PublicAccessBlock": {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}},
    "BucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
    "BucketEncryption": {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}},
    "BucketVersioning": {"VersioningConfiguration": {"Status": "Enabled"}},
}


def test_settings(s3, call, bucket):
    name = helpers.unique("set")
    s3.create_bucket(Bucket=name)
    for setting, value in SETTINGS.items():
        assert call(f"put{setting}", Bucket=name, **value) == {}
        out = reads(s3, call, f"get{setting}", Bucket=name)
        wanted = next(iter(value.values()))
        assert out in (value, wanted), setting
        if setting != "BucketVersioning":
            assert call(f"delete{setting}", Bucket=name) == {}
    for thing in ("Acl", "RequestPayment", "Logging", "NotificationConfiguration"):
        reads(s3, call, f"getBucket{thing}", Bucket=name)


def test_objects(s3, call, bucket):
    helpers.needs(s3, "PutObject", "IfMatch")  # as old: the kinds of checksums
    s3.put_object(Bucket=bucket, Key="o/source key+1", Body=b"body", Metadata={"m": "1"}, ContentType="text/x")
    source = f"{bucket}/o/source%20key%2B1"
    copied = call("copyObject", Bucket=bucket, Key="o/copy ü", CopySource=source, ChecksumAlgorithm="SHA256")
    head = reads(s3, call, "headObject", Bucket=bucket, Key="o/copy ü", ChecksumMode="ENABLED")
    assert copied["CopyObjectResult"]["ETag"] == head["ETag"] and copied["CopyObjectResult"]["ChecksumSHA256"] == head["ChecksumSHA256"] and head["Metadata"] == {"m": "1"}
    part = call("getObject", Bucket=bucket, Key="o/copy ü", Range="bytes=1-2")
    assert (part["Body"], part["ContentRange"], part["ContentLength"]) == ("od", "bytes 1-2/4", 2)
    assert call("getObject", Bucket=bucket, Key="o/copy ü", IfNoneMatch=head["ETag"])[0] == "S3.S3Exception"
    assert call("getObject", Bucket=bucket, Key="o/copy ü", IfModifiedSince="2999-01-01T00:00:00Z")["Body"] == "body"
    assert call("putObjectTagging", Bucket=bucket, Key="o/copy ü", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]}) == {}
    assert reads(s3, call, "getObjectTagging", Bucket=bucket, Key="o/copy ü") == {"TagSet": [{"Key": "k", "Value": "v"}]}
    assert call("deleteObjectTagging", Bucket=bucket, Key="o/copy ü") == {}
    reads(s3, call, "getObjectAttributes", Bucket=bucket, Key="o/copy ü", ObjectAttributes=["ETag", "Checksum", "ObjectSize"])
    reads(s3, call, "getObjectAcl", Bucket=bucket, Key="o/copy ü")
    reads(s3, call, "listObjects", Bucket=bucket, Prefix="o/", Delimiter=" ")
    assert call("deleteObject", Bucket=bucket, Key="o/copy ü") == {}
    out = call("deleteObjects", Bucket=bucket, Delete={"Objects": [{"Key": "o/source key+1"}, {"Key": "o/none"}]})
    assert out == {"Deleted": [{"Key": "o/source key+1"}, {"Key": "o/none"}]}
    empty = call("listObjectsV2", Bucket=bucket, Prefix="o/")
    assert empty["KeyCount"] == 0 and "Contents" not in empty


def test_delete_markers(s3, call):
    helpers.needs(s3, "PutObject", "IfMatch")  # as old: the kinds of checksums
    name = helpers.unique("marks")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=name, Key="k", Body=b"1")
    marker = call("deleteObject", Bucket=name, Key="k")
    assert marker["DeleteMarker"] is True
    out = reads(s3, call, "listObjectVersions", Bucket=name)
    assert [m["VersionId"] for m in out["DeleteMarkers"]] == [marker["VersionId"]] and out["Versions"][0]["IsLatest"] is False
    assert call("getObject", Bucket=name, Key="k", VersionId=marker["VersionId"])[0] == "S3.S3Exception"


def test_multipart(s3, call, bucket):
    key = "multi/part"
    s3.put_object(Bucket=bucket, Key="five", Body=b"x" * (5 << 20))
    upload = call("createMultipartUpload", Bucket=bucket, Key=key, ContentType="text/y")["UploadId"]
    at = {"Bucket": bucket, "Key": key, "UploadId": upload}
    first = call("uploadPartCopy", PartNumber=1, CopySource=f"{bucket}/five", CopySourceRange=f"bytes=0-{(5 << 20) - 1}", **at)["CopyPartResult"]["ETag"]
    second = call("uploadPart", PartNumber=2, Body={"end": True}, **at)
    assert set(second) == {"ETag", "ChecksumCRC32"}
    listed = reads(s3, call, "listParts", **at)
    assert [(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [(1, 5 << 20), (2, 12)]
    reads(s3, call, "listMultipartUploads", Bucket=bucket, Prefix="multi/")
    out = call("completeMultipartUpload", MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second["ETag"]}]}, **at)
    assert out["ETag"].endswith('-2"') and (out["Bucket"], out["Key"]) == (bucket, key)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x" * (5 << 20) + b'{"end":true}'
    other = call("createMultipartUpload", Bucket=bucket, Key=key)["UploadId"]
    assert call("abortMultipartUpload", Bucket=bucket, Key=key, UploadId=other) == {}


def test_a_large_body(s3, call, bucket):
    """More than a row holds: it goes to a file, and comes from one."""
    text = "x" * 200000
    call("putObject", Bucket=bucket, Key="large", Body=text)
    assert call("getObject", Bucket=bucket, Key="large")["Body"] == json.dumps(text)


def test_the_role_decides(quern, s3, bucket):
    """What the machine's role may not do is S3's own refusal."""
    iam, sfn = quern.client("iam"), quern.client("stepfunctions")
    name, trust = helpers.unique("role"), {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/mine/*"}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))

    def put(key):
        state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "Parameters": {"Bucket": bucket, "Key": key, "Body": 1}, "End": True}
        machine = sfn.create_state_machine(name=helpers.unique("s3"), definition=json.dumps({"StartAt": "T", "States": {"T": state}}), roleArn=role)["stateMachineArn"]
        arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        return quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=arn)))

    assert put("mine/k")["status"] == "SUCCEEDED"
    refused = put("other/k")
    assert refused["error"] == "S3.S3Exception" and "s3:PutObject" in refused["cause"] and "(Service: S3, Status Code: 403, " in refused["cause"]


def test_written_once_over_kills(own_quern):
    """Each write makes one version, however often the daemon dies meanwhile."""
    q = own_quern
    s3 = q.client("s3")
    s3.create_bucket(Bucket="once")
    s3.put_bucket_versioning(Bucket="once", VersioningConfiguration={"Status": "Enabled"})

    def written():
        return [v["Key"] for v in q.client("s3").list_object_versions(Bucket="once").get("Versions", [])]

    task = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "Parameters": {"Bucket": "once", "Key.$": "States.Format('k{}', $)", "Body.$": "$"}}
    helpers.run_over_kills(q, {"T": {**task, "End": True}}, "T", 300, lambda: len(written()))
    assert sorted(written()) == sorted(f"k{n}" for n in range(300))


def test_what_policies_see_of_a_call_from_inside(quern, s3, bucket):
    """It comes from no address, and from nowhere that could be overheard."""
    iam, sfn, name = quern.client("iam"), quern.client("stepfunctions"), helpers.unique("role")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
    cases = {"all": ({"IpAddress": {"aws:SourceIp": ["0.0.0.0/0", "::/0"]}}, False), "other": ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True),
             "none": ({"Null": {"aws:SourceIp": "true"}}, True), "some": ({"Null": {"aws:SourceIp": "false"}}, False),
             "secure": ({"Bool": {"aws:SecureTransport": "true"}}, True), "open": ({"Bool": {"aws:SecureTransport": "false"}}, False)}
    statements = [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/inside-{key}", "Condition": condition}
                  for key, (condition, _) in cases.items()]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    machines = {}
    for key in cases:
        state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "Parameters": {"Bucket": bucket, "Key": f"inside-{key}", "Body": "x"}, "End": True}
        definition = json.dumps({"StartAt": "T", "States": {"T": state}})
        machine = sfn.create_state_machine(name=helpers.unique("s3"), definition=definition, roleArn=role)["stateMachineArn"]
        machines[key] = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    for key, (_, good) in cases.items():
        d = quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=machines[key])))
        assert (d["status"], d.get("error")) == (("SUCCEEDED", None) if good else ("FAILED", "S3.S3Exception")), (key, d)
