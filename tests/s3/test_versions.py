"""Versioning: every operation with versions, delete markers, suspension, ListObjectVersions."""
import pytest

from conftest import code_of


@pytest.fixture()
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def put(s3, bucket, body, key="k"):
    return s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def listed(s3, bucket, **kwargs):
    """(key, version, latest, is marker) in the order of the listing."""
    out = []
    page = s3.list_object_versions(Bucket=bucket, **kwargs)
    for kind in ("Versions", "DeleteMarkers"):
        out += [(v["Key"], v["VersionId"], v["IsLatest"], kind == "DeleteMarkers") for v in page.get(kind, [])]
    return sorted(out, key=lambda v: v[0]), page


def test_configuration(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"")
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    assert code_of(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Odd"}) == (400, "MalformedXML")


@pytest.mark.parametrize("size", [3, 20_000])
def test_versions_of_a_key(s3, versioned, size):
    bodies = [bytes([65 + i]) * size for i in range(4)]
    ids = [put(s3, versioned, b) for b in bodies]
    assert len(set(ids)) == 4
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == bodies[3]
    for version, body in zip(ids, bodies):
        got = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
        assert got["Body"].read() == body and got["VersionId"] == version
        assert s3.head_object(Bucket=versioned, Key="k", VersionId=version)["ContentLength"] == size
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[3])  # the current one: the one before shows
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == ids[2]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[0])
    assert code_of(s3.get_object, Bucket=versioned, Key="k", VersionId=ids[0]) == (404, "NoSuchVersion")
    assert [v[1] for v in listed(s3, versioned)[0]] == [ids[2], ids[1]]
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 1
    assert code_of(s3.delete_bucket, Bucket=versioned) == (409, "BucketNotEmpty")


def test_delete_markers(s3, versioned):
    first = put(s3, versioned, b"1")
    gone = s3.delete_object(Bucket=versioned, Key="k")
    assert gone["DeleteMarker"] and gone["VersionId"] != first
    assert code_of(s3.get_object, Bucket=versioned, Key="k") == (404, "NoSuchKey")
    with pytest.raises(Exception) as caught:
        s3.get_object(Bucket=versioned, Key="k")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert code_of(s3.get_object, Bucket=versioned, Key="k", VersionId=gone["VersionId"]) == (405, "MethodNotAllowed")
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=first)["Body"].read() == b"1"
    entries, _ = listed(s3, versioned)
    assert ("k", gone["VersionId"], True, True) in entries and ("k", first, False, False) in entries
    again = s3.delete_object(Bucket=versioned, Key="k", VersionId=gone["VersionId"])
    assert again["DeleteMarker"] and again["VersionId"] == gone["VersionId"]
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"1"
    many = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}, {"Key": "k", "VersionId": first}]})["Deleted"]
    assert many[0]["DeleteMarker"] and many[0]["DeleteMarkerVersionId"] and many[1]["VersionId"] == first


def test_suspended(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = put(s3, bucket, b"kept")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"before"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"null again")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"null again"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=kept)["Body"].read() == b"kept"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert gone["DeleteMarker"] and gone["VersionId"] == "null"
    assert [(v[1], v[2], v[3]) for v in listed(s3, bucket)[0]] in ([(kept, False, False), ("null", True, True)], [("null", True, True), (kept, False, False)])
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_list_pages(s3, versioned):
    want = []
    for key in ("a", "b/1", "b/2", "c"):
        ids = [put(s3, versioned, b"x", key) for _ in range(5)]
        want += [(key, v) for v in reversed(ids)]
    for size in (1, 2, 3, 7, 100):
        seen, marker = [], {}
        while True:
            page = s3.list_object_versions(Bucket=versioned, MaxKeys=size, **marker)
            seen += [(v["Key"], v["VersionId"]) for v in page.get("Versions", [])]
            if not page["IsTruncated"]:
                break
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        assert seen == want
    page = s3.list_object_versions(Bucket=versioned, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["b/"] and len(page["Versions"]) == 10
    assert [v["VersionId"] for v in s3.list_object_versions(Bucket=versioned, KeyMarker="a", VersionIdMarker=want[1][1])["Versions"]][:3] == [v for _, v in want[2:5]]
    assert {v["IsLatest"] for v in s3.list_object_versions(Bucket=versioned, KeyMarker="a", VersionIdMarker=want[1][1], MaxKeys=3)["Versions"]} == {False}


def test_delete_while_listing(s3, versioned):
    """The usual loop that empties a bucket: each page is deleted before the next is asked for."""
    for i in range(25):
        put(s3, versioned, b"x", "k" if i % 2 else f"k{i}")
    marker = {}
    while True:
        page = s3.list_object_versions(Bucket=versioned, MaxKeys=4, **marker)
        s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in page.get("Versions", [])]})
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert "Versions" not in s3.list_object_versions(Bucket=versioned)
    s3.delete_bucket(Bucket=versioned)


def test_tags_and_copy_of_versions(s3, versioned):
    first, second = put(s3, versioned, b"1"), put(s3, versioned, b"2")
    s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == []
    done = s3.copy_object(Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first})
    assert done["CopySourceVersionId"] == first and done["VersionId"] not in (first, second)
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"1"
    assert code_of(s3.get_object, Bucket=versioned, Key="k", VersionId="x" * 32) == (404, "NoSuchVersion")
    assert code_of(s3.get_object, Bucket=versioned, Key="k", VersionId="bad!") == (400, "InvalidArgument")
