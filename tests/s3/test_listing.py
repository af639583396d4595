"""ListObjects 1 and 2 against what a sorted list of keys says."""
import random
import uuid

import pytest

from conftest import code_of

KEYS = sorted(["a", "a/", "a/1", "a/2", "a/b/1", "a/b/2", "a.txt", "b/1", "b/2", "b", "c", "c//d", "c//e", "ä/1", "ä/2", "日/1", "z z", "z+z", "\U0001F600/x", "~",
               "d-e-f", "d-e-g", "d-f"] + [f"many/{i:04d}" for i in range(60)], key=lambda k: k.encode())


@pytest.fixture(scope="module")
def full(s3):
    name = "list-" + uuid.uuid4().hex[:16]
    s3.create_bucket(Bucket=name)
    for key in random.sample(KEYS, len(KEYS)):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def expected(prefix="", delimiter="", after=""):
    """Items in order: ("key", k) or ("group", p)."""
    out = []
    for key in KEYS:
        if not key.startswith(prefix) or (after and key.encode() <= after.encode()):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        item = ("group", key[:at + len(delimiter)]) if at >= 0 else ("key", key)
        if item[0] == "group" and item[1] == after:
            continue
        if item not in out:
            out.append(item)
    return out


def items(page):
    got = [("key", o["Key"]) for o in page.get("Contents", [])] + [("group", p["Prefix"]) for p in page.get("CommonPrefixes", [])]
    return sorted(got, key=lambda i: i[1].encode())


@pytest.mark.parametrize("prefix,delimiter", [("", ""), ("", "/"), ("a", ""), ("a/", "/"), ("a", "/"), ("many/", ""), ("c/", "/"), ("d", "-"), ("d-e", "-"), ("zzz", "/"),
                                              ("", "any"), ("many/00", "0"), ("日", "/"), ("", "//")])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_pages(s3, full, prefix, delimiter, size):
    want = expected(prefix, delimiter)
    seen, token, pages = [], None, 0
    while True:
        more = {"ContinuationToken": token} if token else {}
        page = s3.list_objects_v2(Bucket=full, Prefix=prefix, Delimiter=delimiter, MaxKeys=size, **more)
        assert page["KeyCount"] == len(items(page)) <= size
        seen += items(page)
        pages += 1
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            break
        assert page["KeyCount"] == size
        token = page["NextContinuationToken"]
    assert seen == want
    assert pages == max(1, -(-len(want) // size))


@pytest.mark.parametrize("prefix,delimiter,size", [("", "/", 3), ("", "", 10), ("a/", "/", 1)])
def test_version_1(s3, full, prefix, delimiter, size):
    seen, marker = [], ""
    while True:
        page = s3.list_objects(Bucket=full, Prefix=prefix, Delimiter=delimiter, MaxKeys=size, Marker=marker)
        assert page["Marker"] == marker
        seen += items(page)
        if not page["IsTruncated"]:
            break
        assert ("NextMarker" in page) == bool(delimiter)
        marker = page.get("NextMarker") or page["Contents"][-1]["Key"]
    assert seen == expected(prefix, delimiter)


@pytest.mark.parametrize("after", ["a/1", "a/1x", "0", "zzzz", "many/0010", "c//"])
def test_start_after(s3, full, after):
    assert items(s3.list_objects_v2(Bucket=full, StartAfter=after)) == expected(after=after)
    assert items(s3.list_objects(Bucket=full, Marker=after)) == expected(after=after)
    assert items(s3.list_objects_v2(Bucket=full, StartAfter=after, Delimiter="/")) == expected(delimiter="/", after=after)


def test_paginators(s3, full):
    for operation in ("list_objects", "list_objects_v2"):
        seen = []
        for page in s3.get_paginator(operation).paginate(Bucket=full, PaginationConfig={"PageSize": 7}):
            seen += [o["Key"] for o in page["Contents"]]
        assert seen == KEYS


def test_properties(s3, full):
    page = s3.list_objects_v2(Bucket=full, Prefix="a/1", FetchOwner=True)
    o = page["Contents"][0]
    assert o["Size"] == 3 and o["StorageClass"] == "STANDARD" and o["ETag"].startswith('"') and o["Owner"]["ID"]
    assert "Owner" not in s3.list_objects_v2(Bucket=full, Prefix="a/1")["Contents"][0]
    assert s3.list_objects_v2(Bucket=full, MaxKeys=0)["KeyCount"] == 0
    assert not s3.list_objects_v2(Bucket=full, MaxKeys=0)["IsTruncated"]
    assert s3.list_objects_v2(Bucket=full, MaxKeys=5000)["MaxKeys"] == 1000
    assert code_of(s3.list_objects_v2, Bucket=full, MaxKeys=-1) == (400, "InvalidArgument")
    assert code_of(s3.list_objects_v2, Bucket=full, ContinuationToken="!") == (400, "InvalidArgument")


def test_encoding(raw, full):
    body = raw.request("GET", f"/{full}", "encoding-type=url&list-type=2&prefix=z")[2]
    assert b"<Key>z%20z</Key>" in body and b"<Key>z%2Bz</Key>" in body and b"<EncodingType>url</EncodingType>" in body
    assert b"<Key>z z</Key>" in raw.request("GET", f"/{full}", "list-type=2&prefix=z")[2]
    assert raw.request("GET", f"/{full}", "encoding-type=x&list-type=2")[0] == 400


def test_large_groups_are_skipped(s3, bucket):
    for group in "xyz":
        for i in range(30):
            s3.put_object(Bucket=bucket, Key=f"{group}/{i}", Body=b"")
    s3.put_object(Bucket=bucket, Key="y0", Body=b"")
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert items(page) == [("group", "x/"), ("group", "y/"), ("key", "y0"), ("group", "z/")]
