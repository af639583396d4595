"""What the images give to Python programs: the endpoint shim, the pinned SDK, the declaration of the images."""
import json
import os
import re
import subprocess

import pytest
from image_job import ROOT
from test_toolkit import KEYS, Bucket, bucket  # noqa: F401

SHIM = ROOT / "images/python/endpoint_shim"
LIST_AND_GET = """
import boto3
s3 = boto3.client("s3")
print(s3.meta.endpoint_url)
print(s3.get_object(Bucket="b", Key="k")["Body"].read().decode())
print(boto3.client("sts").meta.endpoint_url)
"""


def run(code, path, **env):
    out = subprocess.run(["/usr/bin/python3", "-c", code], env={**KEYS, "PATH": os.environ["PATH"],
                                                               "PYTHONPATH": str(path), **env},
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    return out.stdout.splitlines()


def sdk_paths():
    packages = os.environ.get("QUERN_PYTHON_PACKAGES", ROOT / "images/python/packages")
    return [pytest.param(SHIM, id="shim"),
            pytest.param(packages, id="packages", marks=pytest.mark.skipif(
                not os.path.isdir(packages), reason="the pinned SDK is not installed (QUERN_PYTHON_PACKAGES)"))]


@pytest.fixture
def old_or_new():
    pytest.importorskip("boto3")


@pytest.mark.parametrize("path", sdk_paths())
def test_endpoint_for_all(old_or_new, bucket, path):  # noqa: F811
    Bucket.objects["/b/k"] = b"content"
    assert run(LIST_AND_GET, path, AWS_ENDPOINT_URL=bucket) == [bucket, "content", bucket]
    assert "/s3/aws4_request" in Bucket.requests[0][3]


@pytest.mark.parametrize("path", sdk_paths())
def test_endpoint_for_one_service(old_or_new, bucket, path):  # noqa: F811
    Bucket.objects["/b/k"] = b"content"
    out = run(LIST_AND_GET, path, AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_ENDPOINT_URL_S3=bucket)
    assert out == [bucket, "content", "http://127.0.0.1:1"]


@pytest.mark.parametrize("path", sdk_paths())
def test_explicit_endpoint_and_ignoring(old_or_new, path):
    code = "import boto3\nprint(boto3.client('s3', endpoint_url='http://127.0.0.1:2').meta.endpoint_url)\n"
    assert run(code, path, AWS_ENDPOINT_URL="http://127.0.0.1:1") == ["http://127.0.0.1:2"]
    code = "import boto3\nprint(boto3.client('sts').meta.endpoint_url)\n"
    out = run(code, path, AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert "amazonaws.com" in out[0]


@pytest.mark.parametrize("path", sdk_paths())
def test_without_the_variable_nothing_changes(old_or_new, path):
    out = run("import boto3\nprint(boto3.client('sqs').meta.endpoint_url)\n", path)
    assert "amazonaws.com" in out[0]


def test_service_name_with_a_blank(old_or_new):
    code = "import boto3\nprint(boto3.client('ecr-public').meta.endpoint_url)\n"
    assert run(code, SHIM, AWS_ENDPOINT_URL_ECR_PUBLIC="http://127.0.0.1:3") == ["http://127.0.0.1:3"]


def test_shim_lets_another_sitecustomize_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('other')\n")
    assert run("pass", f"{SHIM}:{tmp_path}") == ["other"]


def test_requirements_are_pinned():
    lines = [s for s in (ROOT / "images/python/requirements.txt").read_text().splitlines() if not s.startswith("#")]
    for name, digest in zip(lines[::2], lines[1::2]):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+ \\", name)
        assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", digest)
    assert len(lines) == 14


def test_images_json():
    d = json.loads((ROOT / "images/images.json").read_text())
    assert d["version"] == 1
    built = {"bin/quern-xgboost", "python/packages"}
    mounts = [*d["layout"]["mounts"], *d["layout"]["python_mounts"]]
    for image in d["images"]:
        mounts += image["mounts"]
        assert set(image) == {"name", "repositories", "tags", "mounts", "env", "tag_env", "entrypoints",
                              "default_command", "debian_packages"}
        if not image["name"].startswith("lambda-"):
            assert image["entrypoints"]["train"][0].startswith("/opt/quern/bin/")
    for m in mounts:
        assert m["to"].startswith("/opt/quern/")
        assert m["from"] in built or (ROOT / "images" / m["from"]).exists()
    names = [r for image in d["images"] for r in image["repositories"]]
    assert names == ["sagemaker-scikit-learn", "sagemaker-xgboost", "xgboost", "quern-lambda-python", "quern-lambda-nodejs", "quern-lambda-provided"]
    readme = (ROOT / "images/README.md").read_text()
    for key in [*d["layout"], *d["images"][0]]:
        assert f"{key}" in readme, key


@pytest.mark.parametrize("tag,pickle", [("1", True), ("latest", True), ("1-cpu-py3", True), ("0.90-2-cpu-py3", True),
                                        ("1.0-1", True), ("1.2-2", True), ("1.3-1", False), ("1.7-1", False),
                                        ("1.5-1-cpu-py3", False), ("3.0-5", False)])
def test_old_tags_write_pickles(tag, pickle):
    import fnmatch

    d = json.loads((ROOT / "images/images.json").read_text())
    xgboost = d["images"][1]
    hit = any(fnmatch.fnmatchcase(tag, p) for e in xgboost["tag_env"] for p in e["tags"])
    assert hit == pickle


def test_assembled_directory_has_all_that_is_mounted(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    target = tmp_path / "images"
    for _ in range(2):
        subprocess.run([ROOT / "images/assemble.sh", target, program, "--no-packages"], check=True)
    d = json.loads((target / "images.json").read_text())
    mounts = [*d["layout"]["mounts"], d["layout"]["python_mounts"][1]]
    for m in [*mounts, *(m for image in d["images"] for m in image["mounts"])]:
        assert (target / m["from"]).exists(), m
    assert os.access(target / "toolkit/train", os.X_OK) and os.access(target / "bin/quern-xgboost", os.X_OK)
