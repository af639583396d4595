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
import socket
import subprocess
import tarfile
import time

import pytest
from botocore.exceptions import ClientError

from api import ecs_images, helpers

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


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def send_part(registry, method, path, length, part):
    """A request with some of its body, which the server has begun to read: the open connection."""
    connection = http.client.HTTPConnection("127.0.0.1", registry.quern.port, timeout=30)
    connection.putrequest(method, path)
    connection.putheader("Authorization", registry.auth)
    connection.putheader("Content-Length", str(length))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE
    connection.send(part)
    return connection


def test_a_broken_upload_goes_on_where_it_broke(quern, registry, repo):
    data = os.urandom((2 << 20) + 5)
    upload = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    done = 0
    for part in (300001, 1 << 20):
        connection = send_part(registry, "PATCH", upload, len(data) - done, data[done : done + part])
        # One writer at a time: the second is asked to wait.
        second = registry("PATCH", upload, b"")
        assert second.status == 429 and second.getheader("Retry-After") == "1"
        connection.close()
        done += part
        quern.wait(lambda: registry("GET", upload).getheader("Range") == f"0-{done - 1}")
    assert registry("PATCH", upload, data[done - 1 :], Content_Range=f"{done - 1}-{len(data) - 1}").status == 416
    assert registry("PUT", f"{upload}?digest={digest(data)}", data[done:]).status == 201
    assert registry("GET", f"/v2/{repo}/blobs/{digest(data)}").data == data


def test_a_digest_is_that_of_the_bytes(registry, repo):
    """Bytes of a request that failed do not count towards the digest of the next."""
    one, other, end = b"1" * (256 << 10), b"2" * (256 << 10), b"3" * (256 << 10)
    upload = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    assert registry("PUT", f"{upload}?digest={digest(b'no')}", one).status == 400
    answer = registry("PUT", f"{upload}?digest={digest(one + end)}", other + end)
    assert answer.status == 400 and json.loads(answer.data)["errors"][0]["code"] == "DIGEST_INVALID"
    assert registry("PUT", f"{upload}?digest={digest(other + end)}", other + end).status == 201
    assert registry("GET", f"/v2/{repo}/blobs/{digest(other + end)}").data == other + end


def test_what_breaks_off_leaves_nothing(own_quern):
    registry = Registry(own_quern)
    own_quern.client("ecr").create_repository(repositoryName="break/off")

    def files():
        return sum(len(names) for _, _, names in os.walk(os.path.join(own_quern.home, "blobs")))

    before = files()
    assert registry("POST", f"/v2/break/off/blobs/uploads/?digest={digest(b'other')}", b"bytes").status == 400
    connection = send_part(registry, "POST", f"/v2/break/off/blobs/uploads/?digest={digest(b'x')}", 1 << 20, b"x" * 300000)
    own_quern.wait(lambda: files() == before + 1)
    connection.close()
    own_quern.wait(lambda: files() == before)


def test_a_repository_goes_while_it_is_pushed_to(quern, registry, repo):
    ecr, data = quern.client("ecr"), os.urandom(1000)
    upload = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    connections = [send_part(registry, "PUT", f"{upload}?digest={digest(data)}", 1000, data[:500]), send_part(registry, "POST", f"/v2/{repo}/blobs/uploads/?digest={digest(data)}", 1000, data[:500])]
    ecr.delete_repository(repositoryName=repo)
    ecr.create_repository(repositoryName=repo)
    for connection in connections:
        connection.send(data[500:])
    # The upload went with the old repository; a push in one request ends in the new one.
    assert [c.getresponse().status for c in connections] == [404, 201]
    ecr.delete_repository(repositoryName=repo, force=True)
    assert registry("POST", f"/v2/{repo}/blobs/uploads/?digest={digest(data)}", data).status == 404


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
    _, text = registry.push_image(repo, "v1")
    _, other = registry.push_image(repo, "v2", layers=(b"changed",))
    answer = registry("PUT", f"/v2/{repo}/manifests/v1", other, Content_Type=OCI_MANIFEST)
    assert answer.status == 400 and json.loads(answer.data)["errors"][0]["code"] == "TAG_INVALID", answer.data
    assert registry("GET", f"/v2/{repo}/manifests/v1").data == text


def test_layers_through_the_api(quern, repo):
    ecr = quern.client("ecr")
    data = os.urandom(100000)
    upload = ecr.initiate_layer_upload(repositoryName=repo)["uploadId"]
    ecr.upload_layer_part(repositoryName=repo, uploadId=upload, partFirstByte=0, partLastByte=49999, layerPartBlob=data[:50000])
    with pytest.raises(ClientError) as error:
        ecr.upload_layer_part(repositoryName=repo, uploadId=upload, partFirstByte=60000, partLastByte=99999, layerPartBlob=data[60000:])
    assert error.value.response["Error"]["Code"] == "InvalidLayerPartException"
    empty = ecr.initiate_layer_upload(repositoryName=repo)["uploadId"]
    with pytest.raises(ClientError) as error:
        ecr.complete_layer_upload(repositoryName=repo, uploadId=empty, layerDigests=[digest(b"")])
    assert error.value.response["Error"]["Code"] == "EmptyUploadException"
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
    for scan in (quern.client("ecr").start_image_scan, quern.client("ecr").describe_image_scan_findings):
        with pytest.raises(ClientError) as error:
            scan(repositoryName=repo, imageId={"imageTag": "v2"})
        assert error.value.response["Error"]["Code"] == "ImageNotFoundException"


def test_another_account_has_no_registry_here(quern, registry, repo):
    ecr, other = quern.client("ecr"), "222222222222"
    assert ecr.describe_repositories(registryId=other)["repositories"] == []
    for call in (lambda: ecr.describe_repositories(registryId=other, repositoryNames=[repo]), lambda: ecr.list_images(registryId=other, repositoryName=repo)):
        with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
            call()
    with pytest.raises(ClientError) as error:
        ecr.create_repository(registryId=other, repositoryName=helpers.unique("r"))
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"


def busybox_layout(folder, mark=b""):
    """An OCI layout of a static busybox, made here. skopeo remembers layers from run to run: `mark` makes one of its own."""
    busybox = "/bin/busybox"
    if not os.path.exists("/usr/share/doc/busybox-static"):
        pytest.skip("busybox-static is not installed")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        with open(busybox, "rb") as f:
            data = f.read()
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(data), 0o755
        t.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("mark")
        info.size = len(mark)
        t.addfile(info, io.BytesIO(mark))
        for name in ("sh", "echo", "cat", "sleep"):
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            t.addfile(info)
        end = t.offset
    raw = tar.getvalue()[: end + 1024]  # as Go ends it: Debian's skopeo loses what comes behind when it makes zstd:chunked
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


# ---- what ECR's own API says ----

def pull_reason(quern, image):
    """Why a task of this image did not start."""
    family = helpers.unique("family")
    ecs = quern.client("ecs")
    ecs.register_task_definition(family=family, containerDefinitions=[{"name": "main", "image": image, "memory": 32}])
    arn = ecs.run_task(taskDefinition=family)["tasks"][0]["taskArn"]
    task = quern.wait(lambda: next((t for t in ecs.describe_tasks(tasks=[arn])["tasks"] if t["lastStatus"] == "STOPPED"), None))
    assert task["stopCode"] == "TaskFailedToStart", task
    return task["stoppedReason"]


def put_manifest(registry, repo, tag, layers, config=b"{}"):
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": registry.push_blob(repo, config), "size": len(config)}, "layers": layers}).encode()
    return registry("PUT", f"/v2/{repo}/manifests/{tag}", manifest, Content_Type=OCI_MANIFEST)


def test_manifest_bombs(quern, registry, repo):
    for body in (b"[" * 200000, b'{"layers":' * 5000, b'{"schemaVersion":2,"config":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b',"layers":[]}'):
        assert registry("PUT", f"/v2/{repo}/manifests/bomb", body, Content_Type=OCI_MANIFEST).status == 400
    assert registry("PUT", f"/v2/{repo}/manifests/bomb", b'{"a":"' + b"x" * (5 << 20) + b'"}', Content_Type=OCI_MANIFEST).status == 413
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": registry.push_blob(repo, b"x"), "size": (1 << 63) - 1}
    assert put_manifest(registry, repo, "many", [layer] * 5000).status == 400
    # Sizes are the blobs', whatever a manifest claims.
    assert put_manifest(registry, repo, "claims", [layer] * 3).status == 201
    assert quern.client("ecr").describe_images(repositoryName=repo)["imageDetails"][0]["imageSizeInBytes"] < 10000
    assert registry("GET", "/v2/").status == 200


def test_images_that_cannot_run(quern, registry, repo):
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": registry.push_blob(repo, b"x" * 1000), "size": 1000}
    tar, _ = ecs_images.layer({"file": b"text"})
    good = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": registry.push_blob(repo, tar), "size": len(tar)}

    def config_of(*diff_ids):
        return json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()

    cases = [("nolayers", [], b"{}", "it has no layers"), ("deep", [layer] * 128, b"{}", "more than 127 layers"), ("text", [layer], b"not json", "no JSON object"), ("list", [layer], b"[]", "no JSON object"),
             ("artifact", [layer], b"{}", "number of layers and diffIDs don't match: 1 != 0"), ("malformed", [layer], config_of("sha256:00"), "malformed diff id"),
             ("noise", [layer], config_of(layer["digest"]), f"failed to extract layer {layer['digest']}"),
             ("other", [good], config_of(layer["digest"]), f'wrong diff id calculated on extraction "{digest(tar)}"')]
    for tag, layers, config, why in cases:
        assert put_manifest(registry, repo, tag, layers, config).status == 201
        reason = pull_reason(quern, f"{repo}:{tag}")
        assert reason.startswith("CannotPullContainerError: ") and why in reason, reason
    assert "not found" in pull_reason(quern, f"{repo}:absent")


def test_mutability_with_exclusions(quern, registry, repo):
    ecr = quern.client("ecr")
    helpers.needs(ecr, "PutImageTagMutability", "imageTagMutabilityExclusionFilters")
    wildcard = [{"filterType": "WILDCARD", "filter": "dev-*"}, {"filterType": "WILDCARD", "filter": "*-latest"}]
    for setting, filters in (("IMMUTABLE", wildcard), ("IMMUTABLE_WITH_EXCLUSION", None), ("IMMUTABLE_WITH_EXCLUSION", [{"filterType": "WILDCARD", "filter": "a*b*c*"}])):
        with pytest.raises(ClientError) as error:
            ecr.put_image_tag_mutability(repositoryName=repo, imageTagMutability=setting, **({"imageTagMutabilityExclusionFilters": filters} if filters else {}))
        assert error.value.response["Error"]["Code"] == "InvalidParameterException"
    assert ecr.put_image_tag_mutability(repositoryName=repo, imageTagMutability="IMMUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=wildcard)["imageTagMutabilityExclusionFilters"] == wildcard
    assert ecr.describe_repositories(repositoryNames=[repo])["repositories"][0]["imageTagMutabilityExclusionFilters"] == wildcard

    def moves(tag):
        registry.push_image(repo, tag)
        try:
            registry.push_image(repo, tag, layers=(os.urandom(10),))
        except AssertionError as refused:
            assert "TAG_INVALID" in str(refused)
            return False
        return True

    assert [moves(tag) for tag in ("v1", "dev-1", "my-latest", "latest")] == [False, True, True, False]
    ecr.put_image_tag_mutability(repositoryName=repo, imageTagMutability="MUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=wildcard)
    assert [moves(tag) for tag in ("v2", "dev-2")] == [True, False]
    # The same tag on the same image is no change.
    ecr.put_image_tag_mutability(repositoryName=repo, imageTagMutability="IMMUTABLE")
    registry.push_image(repo, "same")
    registry.push_image(repo, "same")


def test_referrers_of_the_api(quern, registry, repo):
    helpers.needs(quern.client("ecr"), "ListImageReferrers")
    subject, text = registry.push_image(repo, "v1")
    config = registry.push_blob(repo, b"{}")
    names = []
    for i in range(5):
        artifact = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": f"application/x.{'sig' if i % 2 else 'sbom'}", "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2}, "layers": [], "annotations": {"n": str(i)}, "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": len(text)}}).encode()
        names.append(digest(artifact))
        assert registry("PUT", f"/v2/{repo}/manifests/{names[-1]}", artifact, Content_Type=OCI_MANIFEST).status == 201
    ecr = quern.client("ecr")
    ask = {"repositoryName": repo, "subjectId": {"imageDigest": subject}}
    first = ecr.list_image_referrers(**ask, maxResults=3)
    rest = ecr.list_image_referrers(**ask, maxResults=3, nextToken=first["nextToken"])
    assert [r["digest"] for r in first["referrers"] + rest["referrers"]] == names and "nextToken" not in rest
    assert first["referrers"][1]["annotations"] == {"n": "1"} and first["referrers"][1]["artifactStatus"] == "ACTIVE"
    signatures = ecr.list_image_referrers(**ask, filter={"artifactTypes": ["application/x.sig"]})["referrers"]
    assert [r["digest"] for r in signatures] == [names[1], names[3]]
    assert ecr.list_image_referrers(**ask, filter={"artifactStatus": "ARCHIVED"})["referrers"] == []
    detail = ecr.describe_images(repositoryName=repo, imageIds=[{"imageDigest": names[0]}])["imageDetails"][0]
    assert detail["subjectManifestDigest"] == subject and detail["artifactMediaType"] == "application/x.sbom" and detail["imageStatus"] == "ACTIVE"


def test_pages_and_batch_errors(quern, registry, repo):
    ecr = quern.client("ecr")
    pushed = [registry.push_image(repo, f"t{i}", layers=(f"{i}".encode(),))[0] for i in range(5)]
    assert [d["imageDigest"] for page in ecr.get_paginator("describe_images").paginate(repositoryName=repo, PaginationConfig={"PageSize": 2}) for d in page["imageDetails"]] == pushed
    assert [i["imageTag"] for page in ecr.get_paginator("list_images").paginate(repositoryName=repo, PaginationConfig={"PageSize": 2}) for i in page["imageIds"]] == [f"t{i}" for i in range(5)]
    wrong = [{"imageTag": "none"}, {"imageDigest": "sha256:00"}, {"imageTag": "t0", "imageDigest": pushed[1]}]
    codes = ["ImageNotFound", "InvalidImageDigest", "ImageTagDoesNotMatchDigest"]
    for call in (ecr.batch_get_image, ecr.batch_delete_image):
        assert [f["failureCode"] for f in call(repositoryName=repo, imageIds=wrong)["failures"]] == codes
    assert len(ecr.list_images(repositoryName=repo)["imageIds"]) == 5
    with pytest.raises(ClientError) as error:
        ecr.list_images(repositoryName=repo, registryId="111122223333")
    assert error.value.response["Error"]["Code"] == "RepositoryNotFoundException" and "111122223333" in str(error.value)


def test_what_the_model_does_not_say(quern, registry, repo):
    ecr = quern.client("ecr")
    config = registry.push_blob(repo, b"{}")
    manifest = {"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}, "layers": []}
    with pytest.raises(ClientError) as error:
        ecr.put_image(repositoryName=repo, imageManifest=json.dumps(manifest), imageTag="v1")
    assert "image manifest mediatype not provided in manifest or parameter" in str(error.value)
    ecr.put_image(repositoryName=repo, imageManifest=json.dumps(manifest), imageManifestMediaType=OCI_MANIFEST, imageTag="v1")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
    for bad in ({}, {"Statement": []}, {"Statement": [{"Effect": "Allow"}]}, {"Statement": [dict(statement, Effect="Maybe")]}):
        with pytest.raises(ClientError) as error:
            ecr.set_repository_policy(repositoryName=repo, policyText=json.dumps(bad))
        assert "Invalid repository policy provided" in str(error.value)
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ecr.set_repository_policy(repositoryName=repo, policyText=text)
    assert ecr.get_repository_policy(repositoryName=repo)["policyText"] == text


# ---- lifecycle: the examples of ECR's documentation ----

def expire(quern, repo, *rules):
    """The first tags (or digests) that the policy would expire, by rule."""
    ecr = quern.client("ecr")
    document = json.dumps({"rules": [{"rulePriority": i + 1, "selection": rule, "action": {"type": "expire"}} for i, rule in enumerate(rules)]})
    ecr.start_lifecycle_policy_preview(repositoryName=repo, lifecyclePolicyText=document)
    return sorted((r["appliedRulePriority"], r["imageTags"][0] if r.get("imageTags") else r["imageDigest"]) for r in ecr.get_lifecycle_policy_preview(repositoryName=repo)["previewResults"])


def tagged(prefix, count, kind="tagPrefixList"):
    return {"tagStatus": "tagged", kind: [prefix], "countType": "imageCountMoreThan", "countNumber": count}


def push_tags(registry, repo, *images):
    for tags in images:
        name, text = registry.push_image(repo, tags[0], layers=(os.urandom(8),))
        for tag in tags[1:]:
            assert registry("PUT", f"/v2/{repo}/manifests/{tag}", text, Content_Type=OCI_MANIFEST).status == 201
        time.sleep(0.002)


def test_lifecycle_rules_see_each_other(quern, registry, repo):
    push_tags(registry, repo, ["beta-1", "prod-1"], ["beta-2", "prod-2"], ["beta-3"])
    assert expire(quern, repo, tagged("prod", 1), tagged("beta", 1)) == [(1, "beta-1")]
    assert expire(quern, repo, tagged("beta", 1), tagged("prod", 1)) == [(1, "beta-1"), (1, "beta-2")]
    assert expire(quern, repo, tagged("*-2", 1, "tagPatternList"), {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}) == [(2, "beta-1")]
    # All prefixes of a list must be there.
    assert expire(quern, repo, {"tagStatus": "tagged", "tagPrefixList": ["beta", "prod"], "countType": "imageCountMoreThan", "countNumber": 1}) == [(1, "beta-1")]


def test_lifecycle_any_after_tags(quern, registry, repo):
    push_tags(registry, repo, ["alpha-1"], ["beta-1"], ["alpha-2"], ["git-sha1"], ["last"])
    assert expire(quern, repo, tagged("alpha", 1), {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}) == [(1, "alpha-1"), (2, "beta-1"), (2, "git-sha1")]


def test_lifecycle_policies_that_are_refused(quern, repo):
    age = {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}
    untagged = {"tagStatus": "untagged", **age}
    bad = [
        [{"tagStatus": "untagged", "countType": "sinceImagePushed", "countNumber": 1}],
        [{"tagStatus": "untagged", "countType": "imageCountMoreThan", "countUnit": "days", "countNumber": 1}],
        [{"tagStatus": "untagged", "tagPrefixList": ["x"], **age}],
        [{"tagStatus": "tagged", **age}],
        [{"tagStatus": "tagged", "tagPatternList": ["*a*b*c*d*"], **age}],
        [{"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 0}],
        [untagged, untagged],
        [tagged("a", 1), tagged("a", 2)],
        [{"tagStatus": "any", **age}, untagged],
        [{"tagStatus": "any", "storageClass": "archive", **age}],
        [{"tagStatus": "any", "countType": "sinceImageTransitioned", "countUnit": "days", "countNumber": 1}],
    ]
    for rules in bad:
        with pytest.raises(ClientError) as error:
            expire(quern, repo, *rules)
        assert "Lifecycle policy validation failure" in str(error.value), rules
    policy = json.dumps({"rules": [{"rulePriority": 1, "selection": untagged, "action": {"type": "expire"}}]})
    quern.client("ecr").put_lifecycle_policy(repositoryName=repo, lifecyclePolicyText=policy)
    got = quern.client("ecr").get_lifecycle_policy(repositoryName=repo)
    assert got["lifecyclePolicyText"] == policy and got["lastEvaluatedAt"].timestamp() == 0
    assert expire(quern, repo, tagged("a", 1), untagged, {"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 1}) == []


def test_lifecycle_ages_indexes_and_artifacts(own_quern):
    """Days pass in the database: what is old goes with its artifacts, what an index needs stays; the keeper does it."""
    
    quern = own_quern
    registry, ecr, repo = Registry(quern), own_quern.client("ecr"), "life/cycle"
    ecr.create_repository(repositoryName=repo)
    old, text = registry.push_image(repo, "old", layers=(b"old",))
    config = registry.push_blob(repo, b"{}")
    artifact = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x.sig", "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2}, "layers": [], "subject": {"mediaType": OCI_MANIFEST, "digest": old, "size": len(text)}}).encode()
    registry("PUT", f"/v2/{repo}/manifests/{digest(artifact)}", artifact, Content_Type=OCI_MANIFEST)
    child, child_text = registry.push_image(repo, "child", layers=(b"child",))
    index = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"mediaType": OCI_MANIFEST, "digest": child, "size": len(child_text)}]}).encode()
    assert registry("PUT", f"/v2/{repo}/manifests/kept-index", index, Content_Type="application/vnd.oci.image.index.v1+json").status == 201
    registry.push_image(repo, "pulled", layers=(b"pulled",))
    assert registry("GET", f"/v2/{repo}/manifests/pulled").status == 200
    quern.wait(lambda: "lastRecordedPullTime" in ecr.describe_images(repositoryName=repo, imageIds=[{"imageTag": "pulled"}])["imageDetails"][0])
    policy = {"rules": [{"rulePriority": 1, "selection": tagged("kept", 9), "action": {"type": "expire"}},
                        {"rulePriority": 2, "selection": {"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 7}, "action": {"type": "expire"}}]}
    ecr.put_lifecycle_policy(repositoryName=repo, lifecyclePolicyText=json.dumps(policy))
    # Another repository, with more images than go in one transaction.
    ecr.create_repository(repositoryName="life/many")
    ecr.put_lifecycle_policy(repositoryName="life/many", lifecyclePolicyText=json.dumps({"rules": [{"rulePriority": 1, "selection": tagged("dev", 3), "action": {"type": "expire"}}]}))
    quern.cli("down")
    many = [digest(b"%d" % i) for i in range(130)]
    rows = ", ".join(f"('life/many', '{name}', '{OCI_MANIFEST}', '{{}}', {1700000000000 + i}, 2)" for i, name in enumerate(many))
    tags = ", ".join(f"('life/many', 'dev-{i}', '{name}')" for i, name in enumerate(many))
    quern.sql(f"""
        UPDATE ecr_image SET pushed_ms = pushed_ms - 8 * 86400000;
        INSERT INTO ecr_image(repo, digest, media_type, body, pushed_ms, size) VALUES {rows};
        INSERT INTO ecr_tag(repo, tag, digest) VALUES {tags};
        UPDATE engine_timer SET at_ms = 1 WHERE actor IN (SELECT num FROM engine_actor WHERE id = 'ecr/keeper');
    """)
    quern.cli("up")
    quern.wait(lambda: registry("HEAD", f"/v2/{repo}/manifests/old").status == 404)
    assert registry("HEAD", f"/v2/{repo}/manifests/{digest(artifact)}").status == 404
    for name in (repo, "life/many"):
        quern.wait(lambda name=name: ecr.get_lifecycle_policy(repositoryName=name)["lastEvaluatedAt"].timestamp() > 1e9)
    assert {i["imageTag"] for i in ecr.list_images(repositoryName="life/many")["imageIds"]} == {"dev-127", "dev-128", "dev-129"}
    assert {t for d in ecr.describe_images(repositoryName=repo)["imageDetails"] for t in d.get("imageTags", [])} == {"child", "kept-index", "pulled"}
