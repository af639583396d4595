"""What goes from the registry and what stays: deleted images, pushes that were given up, images that tasks use."""

import collections
import hashlib
import json
import os
import random as randomly
import threading
import time

import pytest

from api import ecs_images, helpers
from api.test_ecr import OCI_MANIFEST, Registry, digest


@pytest.fixture(scope="module")
def registry(quern):
    return Registry(quern)


@pytest.fixture
def repo(quern):
    name = helpers.unique("team/collect")
    quern.client("ecr").create_repository(repositoryName=name)
    return name


def prune(quern, *args):
    return json.loads(quern.cli("images", "prune", "--json", *args).stdout)


def layers_of(manifest):
    return [layer["digest"] for layer in json.loads(manifest)["layers"]]


def chains(digests):
    value = ""
    for name in digests:
        value = hashlib.sha256(f"{value} {name}".encode()).hexdigest()
        yield value


def test_an_image_takes_its_blobs_along(quern, registry, repo):
    one, shared = os.urandom(1000), os.urandom(1000)
    name, text = registry.push_image(repo, "v1", layers=(shared, one))
    registry.push_image(repo, "v2", layers=(shared,))
    quern.client("ecr").batch_delete_image(repositoryName=repo, imageIds=[{"imageDigest": name}])
    assert registry("HEAD", f"/v2/{repo}/blobs/{digest(one)}").status == 404
    assert registry("HEAD", f"/v2/{repo}/blobs/{digest(shared)}").status == 200


def test_a_blob_that_another_repository_mounted_stays(quern, registry, repo):
    other = helpers.unique("team/other")
    quern.client("ecr").create_repository(repositoryName=other)
    layer = os.urandom(1000)
    name, _ = registry.push_image(repo, "v1", layers=(layer,))
    assert registry("POST", f"/v2/{other}/blobs/uploads/?mount={digest(layer)}&from={repo}").status == 201
    quern.client("ecr").delete_repository(repositoryName=repo, force=True)
    prune(quern)
    assert registry("GET", f"/v2/{other}/blobs/{digest(layer)}").data == layer


def test_a_push_that_found_a_blob_can_count_on_it(quern, registry, repo):
    layer = os.urandom(1000)
    name, text = registry.push_image(repo, "v1", layers=(layer,))
    for blob in [json.loads(text)["config"]["digest"], *layers_of(text)]:
        assert registry("HEAD", f"/v2/{repo}/blobs/{blob}").status == 200
    quern.client("ecr").batch_delete_image(repositoryName=repo, imageIds=[{"imageDigest": name}])
    prune(quern)
    assert registry("PUT", f"/v2/{repo}/manifests/again", text, Content_Type=OCI_MANIFEST).status == 201
    # From here on the image alone keeps them.
    quern.client("ecr").batch_delete_image(repositoryName=repo, imageIds=[{"imageTag": "again"}])
    assert registry("HEAD", f"/v2/{repo}/blobs/{digest(layer)}").status == 404


def test_a_pull_that_read_the_manifest_finds_the_blobs(quern, registry, repo):
    layer = os.urandom(1000)
    name, _ = registry.push_image(repo, "v1", layers=(layer,))
    assert "lastRecordedPullTime" not in quern.client("ecr").describe_images(repositoryName=repo)["imageDetails"][0]
    assert registry("GET", f"/v2/{repo}/manifests/v1").status == 200
    quern.wait(lambda: "lastRecordedPullTime" in quern.client("ecr").describe_images(repositoryName=repo)["imageDetails"][0])
    quern.client("ecr").batch_delete_image(repositoryName=repo, imageIds=[{"imageDigest": name}])
    prune(quern)
    assert registry("GET", f"/v2/{repo}/manifests/v1").status == 404
    assert registry("GET", f"/v2/{repo}/blobs/{digest(layer)}").data == layer


def test_a_pull_counts_on_blobs_that_other_images_have_too(quern, registry, repo):
    layer = os.urandom(1000)
    ecr = quern.client("ecr")

    def delete(name):
        assert not ecr.batch_delete_image(repositoryName=repo, imageIds=[{"imageDigest": name}])["failures"]

    pulled, text = registry.push_image(repo, "v1", layers=(layer, b"one"))
    other, _ = registry.push_image(repo, "v2", layers=(layer, b"two"))
    assert registry("GET", f"/v2/{repo}/manifests/v1").status == 200
    delete(pulled)
    delete(other)  # the last image with the layer; nobody pulled this one
    prune(quern)
    assert registry("GET", f"/v2/{repo}/blobs/{digest(layer)}").data == layer
    assert registry("GET", f"/v2/{repo}/blobs/{digest(b'two')}").status == 404
    # A push that knew without a look that all is there does not take that away.
    assert registry("PUT", f"/v2/{repo}/manifests/again", text, Content_Type=OCI_MANIFEST).status == 201
    delete(pulled)
    assert registry("GET", f"/v2/{repo}/blobs/{digest(layer)}").data == layer


def test_pushes_that_were_given_up(own_quern):
    registry = Registry(own_quern)
    own_quern.client("ecr").create_repository(repositoryName="given/up")
    blob, kept = os.urandom(5000), os.urandom(700)
    registry.push_blob("given/up", blob)
    registry.push_image("given/up", "v1", layers=(kept,))
    upload = registry("POST", "/v2/given/up/blobs/uploads/").getheader("Location")
    assert registry("PATCH", upload, blob[:3000]).status == 202
    young = prune(own_quern)
    assert young["blobs"]["removed"] == 0 and young["uploads"]["removed"] == 0
    own_quern.cli("down")
    for table in ("ecr_link", "ecr_upload"):  # two hours later
        own_quern.sql(f"UPDATE {table} SET touched_ms = touched_ms - 7200000 WHERE touched_ms > 0")
    own_quern.cli("up")
    dry = prune(own_quern, "--dry-run")
    assert dry["dry"] and dry["blobs"] == {"removed": 1, "removed_bytes": 5000} and dry["uploads"] == {"removed": 1, "removed_bytes": 3000}
    assert registry("HEAD", f"/v2/given/up/blobs/{digest(kept)}").status == 200 and registry("GET", upload).status == 204
    out = own_quern.cli("images", "prune").stdout
    assert "blobs that no image refers to" in out and "given up" in out
    assert registry("GET", f"/v2/given/up/blobs/{digest(blob)}").status == 404 and registry("GET", upload).status == 404
    assert registry("GET", f"/v2/given/up/blobs/{digest(kept)}").data == kept
    # The same content can be pushed again at once, before the old file has gone.
    registry.push_image("given/up", "v2", layers=(blob,))
    assert registry("GET", f"/v2/given/up/blobs/{digest(blob)}").data == blob


def test_pushes_pulls_deletes_and_prunes_at_once(quern, registry):
    """A push that found a blob ends well, and a pull that read a manifest gets its blobs, whatever is deleted beside them."""
    repos = [helpers.unique("team/busy") for _ in range(2)]
    layers = [os.urandom(20000 + i) for i in range(6)]
    ecr = quern.client("ecr")
    for name in repos:
        ecr.create_repository(repositoryName=name)
    end, faults, counts = time.monotonic() + 3, [], collections.Counter()

    def push(random):
        name, chosen = random.choice(repos), random.sample(layers, 3)
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest(data) for data in chosen]}, "n": random.random()}).encode()
        for data in (*chosen, config):
            if registry("HEAD", f"/v2/{name}/blobs/{digest(data)}").status != 200:
                registry.push_blob(name, data)
        text = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
                           "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(data), "size": len(data)} for data in chosen]}).encode()
        answer = registry("PUT", f"/v2/{name}/manifests/t{random.randrange(4)}", text, Content_Type=OCI_MANIFEST)
        assert answer.status == 201, answer.data

    def pull(random):
        name = random.choice(repos)
        answer = registry("GET", f"/v2/{name}/manifests/t{random.randrange(4)}")
        if answer.status == 404:
            return
        manifest = json.loads(answer.data)
        for blob in (manifest["config"], *manifest["layers"]):
            got = registry("GET", f"/v2/{name}/blobs/{blob['digest']}")
            assert got.status == 200 and digest(got.data) == blob["digest"], (got.status, blob)

    def delete(random):
        name = random.choice(repos)
        listed = ecr.list_images(repositoryName=name)["imageIds"]
        if listed:
            ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": random.choice(listed)["imageDigest"]}])

    def prune_now(random):
        answer = registry("POST", "/v2/_quern/prune", b"")
        assert answer.status == 200, answer.data

    def work(what, seed):
        random = randomly.Random(seed)
        try:
            while (time.monotonic() < end or counts[what.__name__] < 5) and not faults:
                what(random)
                counts[what.__name__] += 1
        except Exception as fault:  # told below, by the test's own thread
            faults.append(f"{what.__name__}: {fault!r}")

    threads = [threading.Thread(target=work, args=(what, seed)) for seed, what in enumerate((push, push, pull, pull, delete, prune_now))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults
    assert all(counts[what] for what in ("push", "pull", "delete", "prune_now")), counts
    assert prune(quern)["uploads"]["removed"] == 0


def test_a_deleted_repository_leaves_no_uploads(quern, registry, repo):
    upload = registry("POST", f"/v2/{repo}/blobs/uploads/").getheader("Location")
    assert registry("PATCH", upload, b"x" * 100).status == 202
    quern.client("ecr").delete_repository(repositoryName=repo, force=True)
    quern.client("ecr").create_repository(repositoryName=repo)
    assert registry("GET", upload).status == 404


def test_tasks_keep_what_they_run_from(quern):
    """The image of a running task is deleted and pruned: the task goes on, and starts of others of the same image fail."""
    proof = ecs_images.layer({"proof": b"still here\n"})
    name = helpers.unique("team/running")
    uri = ecs_images.Registry(quern).push(name, "v1", [ecs_images.busybox_layer(), proof], Cmd=["sh"], Env=["PATH=/bin"])
    ecs = quern.client("ecs")
    ecs.register_task_definition(family=name.replace("/", "-"), containerDefinitions=[{"name": "main", "image": uri, "memory": 64, "stopTimeout": 2, "command": ["sleep", "300"]}])
    arn = ecs.run_task(taskDefinition=name.replace("/", "-"))["tasks"][0]["taskArn"]

    def describe():
        return ecs.describe_tasks(tasks=[arn])["tasks"][0]

    quern.wait(lambda: describe()["lastStatus"] == "RUNNING")
    top = list(chains(layers_of(quern.client("ecr").batch_get_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])["images"][0]["imageManifest"])))[-1]
    unpacked = os.path.join(quern.home, "layers", top)
    assert os.path.isdir(unpacked)
    quern.client("ecr").delete_repository(repositoryName=name, force=True)
    assert prune(quern)["layers"]["in_use"] >= 1
    assert prune(quern, "--all")["layers"]["in_use"] >= 1
    assert os.path.isdir(unpacked)
    assert quern.cli("exec", arn, "--", "cat", "/proof").stdout == "still here\n"
    again = ecs.run_task(taskDefinition=name.replace("/", "-"))["tasks"][0]["taskArn"]
    stopped = quern.wait(lambda: next((t for t in ecs.describe_tasks(tasks=[again])["tasks"] if t["lastStatus"] == "STOPPED"), None))
    assert "CannotPullContainerError" in stopped["stoppedReason"] + stopped["containers"][0].get("reason", ""), stopped
    ecs.stop_task(task=arn)
    quern.wait(lambda: describe()["lastStatus"] == "STOPPED")
    quern.wait(lambda: prune(quern) and not os.path.exists(unpacked))
