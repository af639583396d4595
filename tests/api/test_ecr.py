"""ECR: the API with boto3, the distribution protocol with plain HTTP and skopeo."""

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from botocore.exceptions import ClientError

from api import helpers

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Registry:
    """A bare client of the distribution protocol."""

    def __init__(self, quern):
        self.quern = quern
        token = quern.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        self.auth = "Basic " + token
        self.password = base64.b64decode(token).decode().split(":", 1)[1]

    def __call__(self, method, path, body=None, auth=True, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.quern.port, timeout=30)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if auth:
            headers["Authorization"] = self.auth
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        answer.data = answer.read()
        connection.close()
        return answer

    def push_blob(self, repo, data):
        answer = self("POST", f"/v2/{repo}/blobs/uploads/?digest={digest(data)}", data)
        assert answer.status == 201, answer.data
        return digest(data)

    def push_image(self, repo, tag, layers=(b"layer",), **extra):
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}, **extra}).encode()
        descriptors = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": self.push_blob(repo, x), "size": len(x)} for x in layers]
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.push_blob(repo, config), "size": len(config)}, "layers": descriptors}
        text = json.dumps(manifest).encode()
        answer = self("PUT", f"/v2/{repo}/manifests/{tag}", text, Content_Type=OCI_MANIFEST)
        assert answer.status == 201, answer.data
        return answer.getheader("Docker-Content-Digest"), text


@pytest.fixture(scope="module")
def registry(quern):
    return Registry(quern)


@pytest.fixture
def repo(quern):
    name = helpers.unique("team/app")
    quern.client("ecr").create_repository(repositoryName=name)
    return name


def test_authentication(quern, registry):
    answer = registry("GET", "/v2/", auth=False)
    assert answer.status == 401 and answer.getheader("Www-Authenticate").startswith("Basic realm=")
    assert registry("GET", "/v2/").status == 200
    bad = http.client.HTTPConnection("127.0.0.1", quern.port)
    bad.request("GET", "/v2/", headers={"Authorization": "Basic " + base64.b64encode(b"AWS:wrong").decode()})
    assert bad.getresponse().status == 401


def test_unknown_repository(registry):
    answer = registry("GET", "/v2/no/such/tags/list")
    assert answer.status == 404 and json.loads(answer.data)["errors"][0]["code"] == "NAME_UNKNOWN"


def test_chunks_in_order_and_resumed(registry, repo):
    data = os.urandom(3 << 20)
    upload = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    first = registry("PATCH", upload, data[: 1 << 20], Content_Range=f"0-{(1 << 20) - 1}")
    assert first.status == 202 and first.getheader("Range") == f"0-{(1 << 20) - 1}"
    gap = registry("PATCH", upload, data[2 << 20 :], Content_Range=f"{2 << 20}-{len(data) - 1}")
    assert gap.status == 416
    status = registry("GET", upload)
    assert status.status == 204 and status.getheader("Range") == f"0-{(1 << 20) - 1}"
    assert registry("PATCH", upload, data[1 << 20 : 2 << 20], Content_Range=f"{1 << 20}-{(2 << 20) - 1}").status == 202
    wrong = registry("PUT", f"{upload}?digest={digest(b'other')}", data[2 << 20 :])
    assert wrong.status == 400 and json.loads(wrong.data)["errors"][0]["code"] == "DIGEST_INVALID"
    assert registry("HEAD", f"/v2/{repo}/blobs/{digest(data)}").status == 404


def test_upload_survives_kill(own_quern):
    registry = Registry(own_quern)
    own_quern.client("ecr").create_repository(repositoryName="kill/me")
    data = os.urandom(1 << 20)
    upload = registry("POST", "/v2/kill/me/blobs/uploads/").getheader("Location")
    assert registry("PATCH", upload, data[:500000]).status == 202
    os.kill(own_quern.pid("serve"), signal.SIGKILL)
    time.sleep(0.3)
    own_quern.cli("up")
    assert registry("GET", upload).getheader("Range") == "0-499999"
    assert registry("PUT", f"{upload}?digest={digest(data)}", data[500000:]).status == 201
    assert registry("GET", f"/v2/kill/me/blobs/{digest(data)}").data == data


def test_sha512_range_mount_delete(quern, registry, repo):
    data = b"0123456789" * 1000
    name = digest(data, "sha512")
    upload = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    assert registry("PUT", f"{upload}?digest={name}", data).status == 201
    part = registry("GET", f"/v2/{repo}/blobs/{name}", Range="bytes=10-19")
    assert part.status == 206 and part.data == b"0123456789" and part.getheader("Content-Range") == "bytes 10-19/10000"
    assert registry("GET", f"/v2/{repo}/blobs/{name}", Range="bytes=10000-").status == 416
    other = helpers.unique("other")
    quern.client("ecr").create_repository(repositoryName=other)
    assert registry("POST", f"/v2/{other}/blobs/uploads/?mount={name}&from={repo}").status == 201
    assert registry("DELETE", f"/v2/{repo}/blobs/{name}").status == 202
    assert registry("HEAD", f"/v2/{repo}/blobs/{name}").status == 404
    assert registry("GET", f"/v2/{other}/blobs/{name}").data == data


def test_manifest_needs_its_blobs(registry, repo):
    manifest = json.dumps({"schemaVersion": 2, "config": {"mediaType": "x/y", "digest": digest(b"no"), "size": 2}, "layers": []}).encode()
    answer = registry("PUT", f"/v2/{repo}/manifests/v1", manifest, Content_Type=OCI_MANIFEST)
    assert answer.status == 404 and json.loads(answer.data)["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    assert registry("PUT", f"/v2/{repo}/manifests/v1", b"{not json", Content_Type=OCI_MANIFEST).status == 400
    assert json.loads(registry("GET", f"/v2/{repo}/tags/list").data)["tags"] == []


def test_api_sees_what_was_pushed(quern, registry, repo):
    ecr = quern.client("ecr")
    name, text = registry.push_image(repo, "v1")
    registry.push_image(repo, "v2", layers=(b"one", b"two"))
    assert json.loads(registry("GET", f"/v2/{repo}/tags/list?n=1").data)["tags"] == ["v1"]
    got = ecr.batch_get_image(repositoryName=repo, imageIds=[{"imageTag": "v1"}, {"imageTag": "none"}])
    assert got["images"][0]["imageManifest"] == text.decode() and got["images"][0]["imageId"]["imageDigest"] == name
    assert got["failures"][0]["failureCode"] == "ImageNotFound"
    assert {i["imageTag"] for i in ecr.list_images(repositoryName=repo)["imageIds"]} == {"v1", "v2"}
    detail = ecr.describe_images(repositoryName=repo, imageIds=[{"imageTag": "v1"}])["imageDetails"][0]
    assert detail["imageTags"] == ["v1"] and detail["imageSizeInBytes"] > len(text)
    with pytest.raises(ClientError) as error:
        ecr.put_image(repositoryName=repo, imageManifest=text.decode(), imageTag="v1")
    assert error.value.response["Error"]["Code"] == "ImageAlreadyExistsException"
    with pytest.raises(ClientError) as error:
        ecr.delete_repository(repositoryName=repo)
    assert error.value.response["Error"]["Code"] == "RepositoryNotEmptyException"
    ecr.batch_delete_image(repositoryName=repo, imageIds=[{"imageTag": "v1"}])
    assert registry("GET", f"/v2/{repo}/manifests/v1").status == 404
    ecr.delete_repository(repositoryName=repo, force=True)


def test_immutable_tags(quern, registry, repo):
    quern.client("ecr").put_image_tag_mutability(repositoryName=repo, imageTagMutability="IMMUTABLE")
    registry.push_image(repo, "v1")
    with pytest.raises(AssertionError):
        registry.push_image(repo, "v1", layers=(b"changed",))


def test_layers_through_the_api(quern, repo):
    ecr = quern.client("ecr")
    data = os.urandom(100000)
    upload = ecr.initiate_layer_upload(repositoryName=repo)["uploadId"]
    ecr.upload_layer_part(repositoryName=repo, uploadId=upload, partFirstByte=0, partLastByte=49999, layerPartBlob=data[:50000])
    with pytest.raises(ClientError) as error:
        ecr.upload_layer_part(repositoryName=repo, uploadId=upload, partFirstByte=60000, partLastByte=99999, layerPartBlob=data[60000:])
    assert error.value.response["Error"]["Code"] == "InvalidLayerPartException"
    ecr.upload_layer_part(repositoryName=repo, uploadId=upload, partFirstByte=50000, partLastByte=99999, layerPartBlob=data[50000:])
    assert ecr.complete_layer_upload(repositoryName=repo, uploadId=upload, layerDigests=[digest(data)])["layerDigest"] == digest(data)
    layers = ecr.batch_check_layer_availability(repositoryName=repo, layerDigests=[digest(data), digest(b"none")])["layers"]
    assert [x["layerAvailability"] for x in layers] == ["AVAILABLE", "UNAVAILABLE"]


def test_referrers(registry, repo):
    subject, text = registry.push_image(repo, "v1")
    config = b"{}"
    registry.push_blob(repo, config)
    artifact = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x.signature", "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(config), "size": 2}, "layers": [], "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": len(text)}}).encode()
    answer = registry("PUT", f"/v2/{repo}/manifests/{digest(artifact)}", artifact, Content_Type=OCI_MANIFEST)
    assert answer.status == 201 and answer.getheader("OCI-Subject") == subject
    index = json.loads(registry("GET", f"/v2/{repo}/referrers/{subject}?artifactType=application/x.signature").data)
    assert [m["digest"] for m in index["manifests"]] == [digest(artifact)]
    assert json.loads(registry("GET", f"/v2/{repo}/referrers/{subject}?artifactType=x").data)["manifests"] == []


def test_lifecycle_preview(quern, registry, repo):
    ecr = quern.client("ecr")
    for i in range(3):
        registry.push_image(repo, f"dev-{i}", layers=(f"layer {i}".encode(),))
    registry.push_image(repo, "prod-1", layers=(b"prod",))
    rule = {"rulePriority": 1, "selection": {"tagStatus": "tagged", "tagPrefixList": ["dev-"], "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}
    ecr.put_lifecycle_policy(repositoryName=repo, lifecyclePolicyText=json.dumps({"rules": [rule]}))
    ecr.start_lifecycle_policy_preview(repositoryName=repo)
    preview = ecr.get_lifecycle_policy_preview(repositoryName=repo)
    assert preview["summary"]["expiringImageTotalCount"] == 2
    assert {r["imageTags"][0] for r in preview["previewResults"]} == {"dev-0", "dev-1"}
    with pytest.raises(ClientError) as error:
        ecr.put_lifecycle_policy(repositoryName=repo, lifecyclePolicyText='{"rules": []}' + ' ' * 100)
    assert error.value.response["Error"]["Code"] == "InvalidParameterException"


def test_scanning_says_that_it_is_unsupported(quern, registry, repo):
    registry.push_image(repo, "v1")
    with pytest.raises(ClientError) as error:
        quern.client("ecr").start_image_scan(repositoryName=repo, imageId={"imageTag": "v1"})
    assert "does not scan" in str(error.value)


def busybox_layout(folder):
    """An OCI layout of a static busybox, made here."""
    busybox = "/bin/busybox"
    if not os.path.exists(busybox) or b"statically" not in subprocess.run(["file", busybox], capture_output=True).stdout and not os.path.exists("/usr/share/doc/busybox-static"):
        pytest.skip("busybox-static is not installed")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        with open(busybox, "rb") as f:
            data = f.read()
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(data), 0o755
        t.addfile(info, io.BytesIO(data))
        for name in ("sh", "echo", "cat", "sleep"):
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            t.addfile(info)
    raw = tar.getvalue()
    packed = gzip.compress(raw)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh", "-c", "echo hello from busybox"]}, "rootfs": {"type": "layers", "diff_ids": [digest(raw)]}}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(packed), "size": len(packed)}]}).encode()
    os.makedirs(os.path.join(folder, "blobs", "sha256"))
    for data in (packed, config, manifest):
        with open(os.path.join(folder, "blobs", "sha256", digest(data)[7:]), "wb") as f:
            f.write(data)
    for name, doc in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", {"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": digest(manifest), "size": len(manifest), "annotations": {"org.opencontainers.image.ref.name": "latest"}}]})):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            json.dump(doc, f)


def test_skopeo_push_and_pull(quern, registry, repo, tmp_path):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    source, target = tmp_path / "in", tmp_path / "out"
    busybox_layout(str(source))
    where = f"docker://127.0.0.1:{quern.port}/{repo}:v1"
    env = dict(os.environ, no_proxy="127.0.0.1")
    push = subprocess.run(["skopeo", "copy", "--dest-tls-verify=false", f"--dest-creds=AWS:{registry.password}", f"oci:{source}:latest", where], env=env, capture_output=True, text=True)
    assert push.returncode == 0, push.stderr
    pull = subprocess.run(["skopeo", "copy", "--src-tls-verify=false", f"--src-creds=AWS:{registry.password}", where, f"oci:{target}:latest"], env=env, capture_output=True, text=True)
    assert pull.returncode == 0, pull.stderr
    assert sorted(os.listdir(source / "blobs" / "sha256")) == sorted(os.listdir(target / "blobs" / "sha256"))
