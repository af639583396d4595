"""skopeo, buildah and podman against the registry: push, pull, run, other compressions, several platforms, deletes, syncs; and what other clients
(crane, oras, regctl, cosign) send, without them."""

import json
import os
import shutil
import subprocess
import tempfile

import pytest

from api import ecs_images, helpers
from api.test_ecr import OCI_MANIFEST, Registry, busybox_layout, digest

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def registry(quern):
    return Registry(quern)


@pytest.fixture
def repo(quern):
    name = helpers.unique("team/clients")
    quern.client("ecr").create_repository(repositoryName=name)
    return name


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")


def run(*command, check=True, **kwargs):
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith("AWS_")}
    done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, timeout=120, **kwargs)
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def skopeo(quern, registry):
    need("skopeo")

    def call(verb, *words, check=True):
        side = ["--src-tls-verify=false", "--dest-tls-verify=false", f"--src-creds=AWS:{registry.password}", f"--dest-creds=AWS:{registry.password}"]
        one = ["--tls-verify=false", f"--creds=AWS:{registry.password}"]
        return run("skopeo", "--insecure-policy", verb, *(side if verb in ("copy", "sync") else one), *words, check=check)

    return call


def where(quern, repo, tag):
    return f"docker://127.0.0.1:{quern.port}/{repo}:{tag}"


def run_task(quern, image):
    family = helpers.unique("family")
    ecs, logs = quern.client("ecs"), quern.client("logs")
    options = {"awslogs-group": family, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "x", "awslogs-create-group": "true"}
    ecs.register_task_definition(family=family, containerDefinitions=[{"name": "main", "image": image, "memory": 64, "logConfiguration": {"logDriver": "awslogs", "options": options}}])
    arn = ecs.run_task(taskDefinition=family)["tasks"][0]["taskArn"]
    task = quern.wait(lambda: next((t for t in ecs.describe_tasks(tasks=[arn])["tasks"] if t["lastStatus"] == "STOPPED"), None))
    if "exitCode" not in task["containers"][0]:
        return task, ""
    events = logs.filter_log_events(logGroupName=family)["events"]
    return task, "\n".join(e["message"] for e in events)


# ---- skopeo ----

def test_skopeo_other_repository_mounts(quern, registry, repo, skopeo, tmp_path):
    """The second repository gets the blobs without an upload."""
    busybox_layout(str(tmp_path / "in"))
    skopeo("copy", f"oci:{tmp_path}/in:latest", where(quern, repo, "v1"))
    other = helpers.unique("team/other")
    quern.client("ecr").create_repository(repositoryName=other)
    skopeo("copy", where(quern, repo, "v1"), where(quern, other, "v1"))
    assert json.loads(skopeo("list-tags", f"docker://127.0.0.1:{quern.port}/{other}").stdout)["Tags"] == ["v1"]
    inspected = json.loads(skopeo("inspect", where(quern, other, "v1")).stdout)
    assert inspected["Digest"] == quern.client("ecr").describe_images(repositoryName=repo)["imageDetails"][0]["imageDigest"]


@pytest.mark.parametrize("form", ["zstd", "zstd:chunked"])
def test_skopeo_zstd_runs(quern, repo, skopeo, tmp_path, form):
    """zstd:chunked has its table of contents in skippable frames behind the layer."""
    busybox_layout(str(tmp_path / "in"), repo.encode())
    # Unpacked on the way to a directory, packed anew on the way to the registry.
    run("skopeo", "--insecure-policy", "copy", "--dest-decompress", f"oci:{tmp_path}/in:latest", f"dir:{tmp_path}/plain")
    skopeo("copy", "--format", "oci", "--dest-compress-format", form, f"dir:{tmp_path}/plain", where(quern, repo, "v1"))
    manifest = json.loads(quern.client("ecr").batch_get_image(repositoryName=repo, imageIds=[{"imageTag": "v1"}])["images"][0]["imageManifest"])
    assert manifest["layers"][0]["mediaType"].endswith("zstd") and (form == "zstd") == ("annotations" not in manifest["layers"][0]), manifest
    task, text = run_task(quern, f"{repo}:v1")
    assert text == "hello from busybox", task.get("stoppedReason")


def test_skopeo_sync(quern, registry, repo, skopeo, tmp_path):
    """Every tag of a repository, to a folder and to another repository."""
    names = [registry.push_image(repo, tag, layers=(tag.encode(),))[0] for tag in ("v1", "v2")]
    other = helpers.unique("mirror")
    quern.client("ecr").create_repository(repositoryName=f"{other}/{repo.split('/')[-1]}")
    here = f"127.0.0.1:{quern.port}"
    skopeo("sync", "--src", "docker", "--dest", "dir", f"{here}/{repo}", tmp_path)
    assert {path.name.split(":")[1] for path in tmp_path.iterdir()} == {"v1", "v2"}
    skopeo("sync", "--src", "docker", "--dest", "docker", f"{here}/{repo}", f"{here}/{other}")
    details = quern.client("ecr").describe_images(repositoryName=f"{other}/{repo.split('/')[-1]}")["imageDetails"]
    assert {d["imageDigest"]: d["imageTags"] for d in details} == {names[0]: ["v1"], names[1]: ["v2"]}


def test_skopeo_delete(quern, repo, skopeo, tmp_path):
    busybox_layout(str(tmp_path / "in"))
    skopeo("copy", f"oci:{tmp_path}/in:latest", where(quern, repo, "v1"))
    skopeo("delete", where(quern, repo, "v1"))
    assert skopeo("inspect", where(quern, repo, "v1"), check=False).returncode != 0
    assert quern.client("ecr").describe_images(repositoryName=repo)["imageDetails"] == []


def test_several_platforms(quern, registry, repo, skopeo, tmp_path):
    """An index travels whole, and a task runs the image of this machine."""
    busybox = ecs_images.Registry(quern).push(repo, "amd64", [ecs_images.busybox_layer()], Cmd=["echo", "this machine's"], Env=["PATH=/bin"])
    assert busybox
    alien, alien_text = registry.push_image(repo, "alien", layers=(b"not for us",), config={"Cmd": ["/nothing"]})
    native = registry("GET", f"/v2/{repo}/manifests/amd64").data
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    other = "arm64" if machine == "amd64" else "amd64"
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": alien, "size": len(alien_text), "platform": {"os": "linux", "architecture": other}},
        {"mediaType": OCI_MANIFEST, "digest": digest(native), "size": len(native), "platform": {"os": "linux", "architecture": machine}}]}).encode()
    assert registry("PUT", f"/v2/{repo}/manifests/all", index, Content_Type=INDEX).status == 201
    skopeo("copy", "--all", where(quern, repo, "all"), f"oci:{tmp_path}/out:all")
    assert len(os.listdir(tmp_path / "out" / "blobs" / "sha256")) == 7
    copy = helpers.unique("team/copy")
    quern.client("ecr").create_repository(repositoryName=copy)
    skopeo("copy", "--all", f"oci:{tmp_path}/out:all", where(quern, copy, "all"))
    kept = registry("GET", f"/v2/{copy}/manifests/all").data
    assert [m["platform"]["architecture"] for m in json.loads(kept)["manifests"]] == [other, machine] and digest(native).encode() in kept
    assert run_task(quern, f"{copy}:all")[1] == "this machine's"
    # What an index refers to is not deleted from under it.
    answer = quern.client("ecr").batch_delete_image(repositoryName=copy, imageIds=[{"imageDigest": digest(native)}])
    assert answer["failures"][0]["failureCode"] == "ImageReferencedByManifestList" and digest(kept) in answer["failures"][0]["failureReason"]
    assert registry("GET", f"/v2/{copy}/manifests/{digest(native)}").status == 200


def test_platforms_that_do_not_fit(quern, registry, repo):
    """An index with attestations and higher variants, as docker buildx makes it; and one without anything for this machine."""
    image = ecs_images.Registry(quern).push(repo, "native", [ecs_images.busybox_layer()], Cmd=["echo", "the plain one"], Env=["PATH=/bin"])
    native = registry("GET", f"/v2/{repo}/manifests/native").data
    alien, alien_text = registry.push_image(repo, "alien", layers=(b"not for us",), config={"Cmd": ["/nothing"]})
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    lowest, higher = {"amd64": ("v1", "v3"), "arm64": ("v8", "v9")}[machine]

    def child(name, text, **platform):
        return {"mediaType": OCI_MANIFEST, "digest": name, "size": len(text), **({"platform": platform} if platform else {})}

    def push(tag, *children):
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
        assert registry("PUT", f"/v2/{repo}/manifests/{tag}", index, Content_Type=INDEX).status == 201

    foreign = [child(alien, alien_text, os="unknown", architecture="unknown"), child(alien, alien_text, os="windows", architecture=machine),
               child(alien, alien_text, os="linux", architecture=machine, variant=higher), child(alien, alien_text, os="linux", architecture="riscv64")]
    push("chosen", *foreign, child(alien, alien_text), child(digest(native), native, os="linux", architecture=machine, variant=lowest))
    assert image and run_task(quern, f"{repo}:chosen")[1] == "the plain one"
    push("nameless", *foreign, child(digest(native), native))
    assert run_task(quern, f"{repo}:nameless")[1] == "the plain one"
    push("none", *foreign)
    assert f"image Manifest does not contain descriptor matching platform 'linux/{machine}'" in run_task(quern, f"{repo}:none")[0]["stoppedReason"]


# ---- buildah, podman ----

@pytest.fixture
def built(quern, registry, repo, tmp_path):
    """An image that buildah made and pushed."""
    need("buildah")
    if os.geteuid() != 0:
        pytest.skip("buildah without root needs subordinate ids")
    busybox = ecs_images.busybox_layer()
    buildah = ["buildah", "--root", tmp_path / "b", "--runroot", tmp_path / "br", "--storage-driver", "vfs"]
    auth = ["--tls-verify=false", f"--creds=AWS:{registry.password}"]
    container = run(*buildah, "from", "scratch").stdout.strip()
    with open(tmp_path / "layer.tar", "wb") as f:
        f.write(busybox[0])
    run(*buildah, "add", container, tmp_path / "layer.tar", "/")
    run(*buildah, "config", "--cmd", 'sh -c "echo built by buildah"', "--env", "PATH=/bin", container)
    run(*buildah, "commit", "--format", "oci", container, "built:1")
    run(*buildah, "push", *auth, "built:1", where(quern, repo, "built"))
    yield f"{repo}:built"
    run(*buildah, "rm", "--all", check=False)


def test_buildah_push_pull_run(quern, registry, built, tmp_path):
    run("buildah", "--root", tmp_path / "b2", "--runroot", tmp_path / "b2r", "--storage-driver", "vfs", "pull", "--tls-verify=false", f"--creds=AWS:{registry.password}", where(quern, *built.split(":")))
    assert run_task(quern, built)[1] == "built by buildah"


@pytest.fixture
def short_path():
    """podman wants a short one."""
    with tempfile.TemporaryDirectory(prefix="qp-", dir="/tmp") as path:
        yield path


def test_podman_push_pull_run(quern, registry, built, tmp_path, short_path):
    need("podman")
    podman = ["podman", "--root", f"{short_path}/p", "--runroot", f"{short_path}/r", "--storage-driver", "vfs", "--cgroup-manager=cgroupfs", "--events-backend", "none"]
    image = f"127.0.0.1:{quern.port}/{built}"
    run(*podman, "login", "--tls-verify=false", "--authfile", tmp_path / "auth", "-u", "AWS", "--password-stdin", f"127.0.0.1:{quern.port}", input=registry.password)
    run(*podman, "pull", "-q", "--tls-verify=false", "--authfile", tmp_path / "auth", image)
    run(*podman, "tag", image, f"{image}-again")
    run(*podman, "push", "-q", "--tls-verify=false", "--authfile", tmp_path / "auth", f"{image}-again")
    assert registry("GET", f"/v2/{built.split(':')[0]}/manifests/built-again").status == 200
    if not shutil.which("runc"):
        pytest.skip("pushed and pulled; to run, podman here wants runc")
    # The limits: this host may not let podman raise them.
    done = run(*podman, "--runtime", "runc", "run", "--rm", "--network", "none", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000", "--cgroup-parent=/quern-test-podman", image, check=False)
    if done.returncode == 126 or "OCI permission denied" in done.stderr:
        pytest.skip("pushed and pulled; this host does not let podman run: " + done.stderr.strip()[-200:])
    assert done.stdout == "built by buildah\n", done.stderr


def test_buildah_manifest_list(quern, registry, built, tmp_path):
    buildah = ["buildah", "--root", tmp_path / "m", "--runroot", tmp_path / "mr", "--storage-driver", "vfs"]
    auth = ["--tls-verify=false", f"--creds=AWS:{registry.password}"]
    run(*buildah, "manifest", "create", "list")
    run(*buildah, "manifest", "add", *auth, "list", where(quern, *built.split(":")))
    run(*buildah, "manifest", "push", "--all", *auth, "list", where(quern, built.split(":")[0], "list"))
    assert json.loads(registry("GET", f"/v2/{built.split(':')[0]}/manifests/list").data)["manifests"]
    assert run_task(quern, built.split(":")[0] + ":list")[1] == "built by buildah"


def test_podman_search(quern, registry, repo, tmp_path):
    need("podman")
    run("podman", "login", "--tls-verify=false", "--authfile", tmp_path / "auth", "-u", "AWS", "--password-stdin", f"127.0.0.1:{quern.port}", input=registry.password)
    found = run("podman", "search", "--tls-verify=false", "--authfile", tmp_path / "auth", "--limit", "1000", f"127.0.0.1:{quern.port}/{repo}").stdout
    assert f"127.0.0.1:{quern.port}/{repo}\n" in found.replace(" ", ""), found


# ---- what needs no client ----

def test_catalog_in_pages(quern, registry):
    names = sorted(helpers.unique("team/catalog") for _ in range(3))
    for name in names:
        quern.client("ecr").create_repository(repositoryName=name)
    seen, path = [], "/v2/_catalog?n=2"
    while path:
        answer = registry("GET", path)
        page = json.loads(answer.data)["repositories"]
        assert len(page) <= 2
        seen += page
        link = answer.getheader("Link")
        path = link and link[link.index("<") + 1 : link.index(">")]
    assert seen == sorted(seen) and set(names) <= set(seen) == set(json.loads(registry("GET", "/v2/_catalog").data)["repositories"])
    assert registry("GET", "/v2/_catalog", auth=False).status == 401 and registry("GET", "/v2/_catalog?n=x").status == 405


def test_crane_streams_without_a_range(registry, repo):
    """Chunks of unknown length, one after the other; the manifest is looked for by tag first."""
    parts = [os.urandom(n) for n in (300000, 1, 70000)]
    data = b"".join(parts)
    location = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    for part in parts:
        answer = registry("PATCH", location, iter([part[: len(part) // 2], part[len(part) // 2 :]]), Content_Type="application/octet-stream")
        assert answer.status == 202, answer.data
        location = answer.getheader("Location")
    assert registry("PUT", f"{location}?digest={digest(data)}", b"").status == 201
    assert registry("HEAD", f"/v2/{repo}/manifests/v1").status == 404
    name, text = registry.push_image(repo, "v1", layers=(data,))
    head = registry("HEAD", f"/v2/{repo}/manifests/v1")
    assert (head.status, head.getheader("Docker-Content-Digest"), head.getheader("Content-Type"), head.getheader("Content-Length")) == (200, name, OCI_MANIFEST, str(len(text)))


def test_artifacts_as_oras_and_cosign_push_them(quern, registry, repo):
    """No image: an empty config, files as layers; and a signature under the tag sha256-<hex>.sig. They are kept, found, and not run."""
    files = [b"hello\n", os.urandom(5000)]
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": registry.push_blob(repo, b"{}"), "size": 2}
    layers = [{"mediaType": "application/octet-stream", "digest": registry.push_blob(repo, data), "size": len(data), "annotations": {"org.opencontainers.image.title": f"f{i}"}} for i, data in enumerate(files)]
    artifact = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x.files", "config": empty, "layers": layers}).encode()
    assert registry("PUT", f"/v2/{repo}/manifests/files", artifact, Content_Type=OCI_MANIFEST).status == 201
    signature = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": empty, "layers": [dict(layers[0], mediaType="application/vnd.dev.cosign.simplesigning.v1+json")]}).encode()
    tag = digest(artifact).replace(":", "-") + ".sig"
    assert registry("PUT", f"/v2/{repo}/manifests/{tag}", signature, Content_Type=OCI_MANIFEST).status == 201
    assert set(json.loads(registry("GET", f"/v2/{repo}/tags/list").data)["tags"]) == {"files", tag}
    assert [registry("GET", f"/v2/{repo}/blobs/{layer['digest']}").data for layer in layers] == files
    assert quern.client("ecr").describe_images(repositoryName=repo, imageIds=[{"imageTag": "files"}])["imageDetails"][0]["artifactMediaType"] == "application/x.files"
    assert "number of layers and diffIDs don't match: 2 != 0" in run_task(quern, f"{repo}:files")[0]["stoppedReason"]


def test_referrers_tag_schema(registry, repo):
    """Clients of registries without the referrers API keep an index under the tag <algorithm>-<hex>."""
    subject, _ = registry.push_image(repo, "v1")
    other, text = registry.push_image(repo, "sig", layers=(b"signature",))
    tag = subject.replace(":", "-")
    assert registry("GET", f"/v2/{repo}/manifests/{tag}").status == 404
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": OCI_MANIFEST, "digest": other, "size": len(text), "artifactType": "application/x.sig"}]}).encode()
    assert registry("PUT", f"/v2/{repo}/manifests/{tag}", index, Content_Type=INDEX).status == 201
    assert registry("GET", f"/v2/{repo}/manifests/{tag}").data == index


def test_an_image_of_sha512(quern, registry, repo):
    """Layers, config and manifest named by SHA-512, run as a task."""
    plain, packed = ecs_images.busybox_layer()
    config = json.dumps({"architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux", "config": {"Cmd": ["echo", "five hundred twelve"], "Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [digest(plain, "sha512")]}}).encode()
    for data in (packed, config):
        upload = registry("POST", f"/v2/{repo}/blobs/uploads/?digest-algorithm=sha512").getheader("Location")
        assert registry("PATCH", upload, data).status == 202
        assert registry("PUT", f"{upload}?digest={digest(data, 'sha512')}").status == 201
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config, "sha512"), "size": len(config)}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(packed, "sha512"), "size": len(packed)}]}).encode()
    name = digest(manifest, "sha512")
    assert registry("PUT", f"/v2/{repo}/manifests/{name}?tag=v1", manifest, Content_Type=OCI_MANIFEST).getheader("OCI-Tag") == "v1"
    for image in (f"{repo}:v1", f"{repo}@{name}"):
        assert run_task(quern, image)[1] == "five hundred twelve"
