"""Lifecycle configurations of buckets: what S3 refuses, what it shows, and that objects really go."""

import datetime
import os
import re
import signal
import time

import pytest

from api import helpers
from api.identities import refused

UTC = datetime.timezone.utc
PAST = datetime.datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def bucket(quern):
    name = helpers.unique("aging")
    quern.client("s3").create_bucket(Bucket=name)
    return name


def rule(name="r", prefix="", **more):
    return {"ID": name, "Status": "Enabled", **({} if "Prefix" in more else {"Filter": {"Prefix": prefix}}), **more}


def put(s3, bucket, *rules, **more):
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **more)


def test_a_configuration_is_kept_and_shown(quern, bucket):
    helpers.needs(quern.client("s3"), "PutBucketLifecycleConfiguration", "TransitionDefaultMinimumObjectSize")
    s3 = quern.client("s3")
    assert refused(s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", 404, Bucket=bucket) == "The lifecycle configuration does not exist"
    rules = [rule("a", "logs/", Expiration={"Days": 90}, Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"}]),
             rule("b", Filter={"And": {"Prefix": "x", "Tags": [{"Key": "k", "Value": "v &<"}, {"Key": "l", "Value": ""}], "ObjectSizeGreaterThan": 0, "ObjectSizeLessThan": 500}},
                  NoncurrentVersionExpiration={"NoncurrentDays": 9, "NewerNoncurrentVersions": 3}, NoncurrentVersionTransitions=[{"NoncurrentDays": 8, "StorageClass": "GLACIER", "NewerNoncurrentVersions": 2}]),
             rule("c", Filter={}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}, Expiration={"ExpiredObjectDeleteMarker": True}),
             rule("d", Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Date": PAST}, Status="Disabled"),
             {"ID": "e", "Status": "Enabled", "Prefix": "old", "Transitions": [{"Date": PAST, "StorageClass": "DEEP_ARCHIVE"}]}]
    assert put(s3, bucket, *rules)["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    answer = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert answer["Rules"] == rules
    assert answer["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    put(s3, bucket, {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}, TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    answer = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert answer["Rules"][0].pop("ID") and answer["Rules"] == [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
    assert answer["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    put(s3, bucket, *[rule(f"r{n}", Expiration={"Days": 1}) for n in range(1000)])
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 1000
    assert s3.delete_bucket_lifecycle(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused(s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", 404, Bucket=bucket)
    refused(s3.put_bucket_lifecycle_configuration, "NoSuchBucket", 404, Bucket=helpers.unique("none"), LifecycleConfiguration={"Rules": rules})


def test_what_s3_refuses(quern, bucket):
    s3 = quern.client("s3")
    days = {"Expiration": {"Days": 5}}
    malformed = "The XML you provided was not well-formed or did not validate against our published schema"
    tag = {"Key": "k", "Value": "v"}
    cases = [([], "MalformedXML", malformed),
             ([rule(**days, Status="enabled")], "MalformedXML", malformed),
             ([rule(**days, Prefix="p", Filter={"Prefix": "p"})], "MalformedXML", malformed),
             ([{"Status": "Enabled", **days}], "MalformedXML", malformed),
             ([rule(Expiration={"Days": 5, "Date": PAST})], "MalformedXML", malformed),
             ([rule(Expiration={})], "MalformedXML", malformed),
             ([rule(**days, Filter={"Prefix": "p", "Tag": tag})], "MalformedXML", malformed),
             ([rule(**days, Filter={"And": {"Prefix": "p"}})], "MalformedXML", malformed),
             ([rule(Transitions=[{"Days": 5, "StorageClass": "COLD"}])], "MalformedXML", malformed),
             ([rule()], "InvalidRequest", "At least one action needs to be specified in a rule"),
             ([rule(**days), rule(**days)], "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule"),
             ([rule("x" * 256, **days)], "InvalidArgument", "ID length should not exceed allowed limit of 255"),
             ([rule(Expiration={"Days": 0})], "InvalidArgument", "'Days' for Expiration action must be a positive integer"),
             ([rule(Expiration={"Days": -3})], "InvalidArgument", "'Days' for Expiration action must be a positive integer"),
             ([rule(Expiration={"Date": PAST + datetime.timedelta(hours=1)})], "InvalidArgument", "'Date' must be at midnight GMT"),
             ([rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})], "InvalidArgument", "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"),
             ([rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})], "InvalidArgument", "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer"),
             ([rule(Transitions=[{"Days": 29, "StorageClass": "STANDARD_IA"}])], "InvalidArgument", "'Days' in Transition action must be greater than or equal to 30 for storageClass 'STANDARD_IA'"),
             ([rule(prefix="l/", Expiration={"Days": 30}, Transitions=[{"Days": 30, "StorageClass": "GLACIER"}])], "InvalidArgument",
              "'Days' in the Expiration action for filter '(prefix=l/)' must be greater than 'Days' in the Transition action"),
             ([rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}, {"Days": 2, "StorageClass": "GLACIER"}])], "InvalidRequest",
              "'StorageClass' must be different for 'Transition' actions in same 'Rule' with filter '(prefix=)'"),
             ([rule(Expiration={"Date": PAST}, Transitions=[{"Days": 1, "StorageClass": "GLACIER"}])], "InvalidRequest",
              "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for filter '(prefix=)'"),
             ([rule(**days, Filter={"And": {"Tags": [tag, tag]}})], "InvalidRequest", "Duplicate Tag Keys are not allowed."),
             ([rule(Filter={"Tag": tag}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})], "InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags."),
             ([rule(Filter={"Tag": tag}, Expiration={"ExpiredObjectDeleteMarker": True})], "InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags."),
             ([rule(**days, Filter={"And": {"ObjectSizeGreaterThan": 9, "ObjectSizeLessThan": 9}})], "InvalidRequest", "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."),
             ([rule(f"r{n}", **days) for n in range(1001)], "InvalidRequest", "The number of lifecycle rules must not exceed the allowed limit of 1000 rules")]
    if helpers.knows(s3, "PutBucketLifecycleConfiguration", "TransitionDefaultMinimumObjectSize"):
        refused(s3.put_bucket_lifecycle_configuration, "InvalidRequest", 400, Bucket=bucket, LifecycleConfiguration={"Rules": [rule(**days)]}, TransitionDefaultMinimumObjectSize="small")
    for rules, code, text in cases:
        assert refused(s3.put_bucket_lifecycle_configuration, code, 400, Bucket=bucket, LifecycleConfiguration={"Rules": rules}) == text, rules
    refused(s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", 404, Bucket=bucket)


def test_headers_tell_when_an_object_goes(quern, bucket):
    s3 = quern.client("s3")
    put(s3, bucket, rule("later on", "a/", Expiration={"Days": 10}), rule("sooner", "a/b/", Expiration={"Days": 3}), rule("up", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
        rule("tagged", Filter={"Tag": {"Key": "k +", "Value": "ü"}}, Expiration={"Days": 1}), rule("off", Status="Disabled", Expiration={"Days": 1}))

    def told(answer):
        found = re.fullmatch(r'expiry-date="(.*)", rule-id="(.*)"', answer["Expiration"])
        return datetime.datetime.strptime(found[1], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC), found[2]

    today = s3.put_object(Bucket=bucket, Key="x", Body=b"")["ResponseMetadata"]["HTTPHeaders"]
    assert "x-amz-expiration" not in today
    stored = s3.put_object(Bucket=bucket, Key="a/x", Body=b"1")
    head = s3.head_object(Bucket=bucket, Key="a/x")
    midnight = head["LastModified"].replace(hour=0, minute=0, second=0)
    assert told(stored) == told(head) == told(s3.get_object(Bucket=bucket, Key="a/x")) == (midnight + datetime.timedelta(days=11), "later%20on")
    assert told(s3.copy_object(Bucket=bucket, Key="a/b/x", CopySource={"Bucket": bucket, "Key": "x"}))[1] == "sooner"
    assert told(s3.put_object(Bucket=bucket, Key="t", Body=b"", Tagging="k%20%2B=%C3%BC&o=1"))[1] == "tagged"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")
    assert upload["AbortRuleId"] == "up" and upload["AbortDate"] == s3.list_parts(Bucket=bucket, Key="m", UploadId=upload["UploadId"])["AbortDate"]
    assert datetime.timedelta(days=2) < upload["AbortDate"] - datetime.datetime.now(UTC) <= datetime.timedelta(days=3)


def keys(s3, bucket):
    return [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(s3, bucket):
    page = s3.list_object_versions(Bucket=bucket)
    return sorted((v["Key"], v["IsLatest"], "marker") for v in page.get("DeleteMarkers", [])) + sorted((v["Key"], v["IsLatest"], v["Size"]) for v in page.get("Versions", []))


def test_objects_past_their_date_go(quern, bucket):
    """Many enough for several batches and pages."""
    s3 = quern.client("s3")
    for n in range(620):
        s3.put_object(Bucket=bucket, Key=f"old/{n:04}", Body=b"")
    s3.put_object(Bucket=bucket, Key="old/big", Body=b"x" * 20000)
    s3.put_object(Bucket=bucket, Key="old/tagged", Body=b"", Tagging="keep=no")
    s3.put_object(Bucket=bucket, Key="new", Body=b"")
    put(s3, bucket, rule("sized", Filter={"And": {"Prefix": "old/", "ObjectSizeGreaterThan": 19999}}, Expiration={"Date": PAST}),
        rule("tagged", Filter={"And": {"Prefix": "old/", "Tags": [{"Key": "keep", "Value": "no"}]}}, Expiration={"Date": PAST}),
        rule("tomorrow", "", Expiration={"Date": datetime.datetime(2100, 1, 1, tzinfo=UTC)}))
    quern.wait(lambda: not {"old/big", "old/tagged"} & set(keys(s3, bucket)))
    assert len(keys(s3, bucket)) == 621
    put(s3, bucket, rule("all", "old/", Expiration={"Date": PAST}))
    quern.wait(lambda: keys(s3, bucket) == ["new"])


def test_versions_get_markers(quern, bucket):
    s3 = quern.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    s3.put_object(Bucket=bucket, Key="k", Body=b"22")
    s3.delete_object(Bucket=bucket, Key="lone")
    put(s3, bucket, rule(Filter={"Prefix": "k"}, Expiration={"Date": PAST}))
    quern.wait(lambda: not keys(s3, bucket))
    assert versions(s3, bucket) == [("k", True, "marker"), ("lone", True, "marker"), ("k", False, 1), ("k", False, 2)]
    put(s3, bucket, rule(Expiration={"ExpiredObjectDeleteMarker": True}))
    quern.wait(lambda: len(versions(s3, bucket)) == 3)
    assert versions(s3, bucket) == [("k", True, "marker"), ("k", False, 1), ("k", False, 2)]


def test_classes_change(quern, bucket):
    s3 = quern.client("s3")
    s3.put_object(Bucket=bucket, Key="big", Body=b"x" * (128 << 10))
    s3.put_object(Bucket=bucket, Key="small", Body=b"x")
    s3.put_object(Bucket=bucket, Key="cold", Body=b"x" * (128 << 10), StorageClass="GLACIER_IR")
    put(s3, bucket, rule(Transitions=[{"Date": PAST, "StorageClass": "STANDARD_IA"}]))

    def classes():
        return {o["Key"]: o["StorageClass"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]}

    quern.wait(lambda: classes()["big"] == "STANDARD_IA")
    assert classes() == {"big": "STANDARD_IA", "small": "STANDARD", "cold": "GLACIER_IR"}
    put(s3, bucket, rule(Filter={"ObjectSizeGreaterThan": 0}, Transitions=[{"Date": PAST, "StorageClass": "GLACIER"}]))
    quern.wait(lambda: set(classes().values()) == {"GLACIER"})
    head = s3.head_object(Bucket=bucket, Key="small")
    assert head["StorageClass"] == "GLACIER" and s3.get_object(Bucket=bucket, Key="small")["Body"].read() == b"x"


def test_days_pass(own_quern):
    """With days of a second, and over a kill."""
    own_quern.down()
    own_quern.up("--wait-scale", str(1 / 86400))
    s3, name = own_quern.client("s3"), helpers.unique("aging")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    put(s3, name, rule("a", "a/", Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 1}), rule("b", "b/", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}),
        rule("m", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    for n in range(4):
        s3.put_object(Bucket=name, Key="a/x", Body=b"x" * n)
        s3.put_object(Bucket=name, Key="b/x", Body=b"x" * n)
    upload = s3.create_multipart_upload(Bucket=name, Key="m")["UploadId"]
    s3.upload_part(Bucket=name, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    os.kill(own_quern.pid(), signal.SIGKILL)
    time.sleep(0.3)
    own_quern.up("--wait-scale", str(1 / 86400))
    own_quern.wait(lambda: versions(s3, name) == [("b/x", False, 1), ("b/x", False, 2), ("b/x", True, 3)])
    own_quern.wait(lambda: not s3.list_multipart_uploads(Bucket=name).get("Uploads"))
    s3.put_object(Bucket=name, Key="a/y", Body=b"")
    own_quern.wait(lambda: [v[0] for v in versions(s3, name)] == ["b/x"] * 3)
