"""quern images: images from installed packages, their layers, and the custom workflow that uses them."""

import json
import os
import subprocess
import sys

import pytest

from api import helpers

CUSTOM = os.path.join(os.path.dirname(helpers.ARTICLE.rstrip("/")), "custom")


def build(quern, name, *args, check=True):
    return quern.cli("images", "build", name, *args, "--json", check=check)


def manifest(quern, name, tag):
    return json.loads(quern.client("ecr").batch_get_image(repositoryName=name, imageIds=[{"imageTag": tag}])["images"][0]["imageManifest"])


@pytest.fixture(scope="module")
def python_image(quern):
    name = helpers.unique("team/python")
    out = build(quern, f"{name}:1", "--packages", "python3", "--env", "COLOUR=blue", "--entrypoint", '["python3", "-c"]')
    return name, json.loads(out.stdout)


def test_same_packages_same_image(quern, python_image, tmp_path):
    name, first = python_image
    again = build(quern, f"{name}:2", "--packages", "python3", "--env", "COLOUR=blue", "--entrypoint", '["python3", "-c"]')
    assert json.loads(again.stdout)["digest"] == first["digest"] and "as before" in again.stderr
    # Packed anew, it is the same, too.
    for record in os.listdir(os.path.join(quern.home, "run", "layers")):
        os.remove(os.path.join(quern.home, "run", "layers", record))
    anew = build(quern, f"{name}:3", "--packages", "python3", "--env", "COLOUR=blue", "--entrypoint", '["python3", "-c"]')
    assert json.loads(anew.stdout)["digest"] == first["digest"] and "as before" not in anew.stderr


def test_layers_share_nothing(quern, python_image, tmp_path):
    name, _ = python_image
    (tmp_path / "x.txt").write_text("added")
    build(quern, f"{name}:layers", "--packages", "python3", "--packages", "python3-six", "--add", f"{tmp_path}:/opt/here")
    layers = manifest(quern, name, "layers")["layers"]
    assert len(layers) == 3 and layers[0] == manifest(quern, name, "1")["layers"][0]
    assert layers[1]["size"] < layers[0]["size"] / 10


def test_runs_as_a_task(quern, python_image):
    name, _ = python_image
    program = "import os, ssl, sqlite3, sys; sys.exit(5 if os.environ['COLOUR'] == 'blue' and os.path.exists('/tmp') and not os.path.exists('/usr/share/doc/python3') else 6)"
    family = helpers.unique("family")
    ecs = quern.client("ecs")
    ecs.register_task_definition(family=family, containerDefinitions=[{"name": "main", "image": f"{name}:1", "memory": 128, "command": [program]}])
    arn = ecs.run_task(taskDefinition=family)["tasks"][0]["taskArn"]

    def probe():
        task = ecs.describe_tasks(tasks=[arn])["tasks"][0]
        return task if task["lastStatus"] == "STOPPED" else None

    assert quern.wait(probe)["containers"][0].get("exitCode") == 5


def test_what_is_not_installed(quern):
    result = build(quern, "team/none", "--packages", "no-such-package", check=False)
    assert result.returncode == 1 and "the package no-such-package is not installed" in result.stderr
    assert quern.cli("images", "build", "team/none", check=False).returncode == 2


def test_names(quern, tmp_path):
    """A name as it is printed, with the registry's host; names that cannot be; more packages than are taken."""
    (tmp_path / "x.txt").write_text("added")
    printed = f"127.0.0.1:{quern.port}/{helpers.unique('team/printed')}:v1"
    assert json.loads(build(quern, printed, "--add", f"{tmp_path}:/opt/here").stdout)["image"] == printed
    for name in ("Team/x", "team/x:", "team/x@sha256:" + "0" * 64, "--add"):
        assert build(quern, name, "--add", f"{tmp_path}:/opt/here", check=False).returncode == 2, name
    assert build(quern, "team/many", "--packages", ",".join(f"p{i}" for i in range(300)), check=False).returncode == 2


def test_list(quern, python_image):
    name, first = python_image
    rows = json.loads(quern.cli("images", "list", "--json").stdout)
    assert first["digest"] in [row["imageDigest"] for row in rows if row["repositoryName"] == name]
    assert name in quern.cli("images", "list").stdout


def test_custom_workflow(quern):
    """The article's pipeline and the custom workflow make the same model; a model that is too weak is not registered."""
    helpers.put_article_data(quern)
    environment = dict(quern.own, **quern.env)
    started = subprocess.run([sys.executable, os.path.join(helpers.ARTICLE, "start_json.py")], env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    execution, _ = helpers.finish(quern, started.stdout.strip().splitlines()[-1])
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    run = [sys.executable, os.path.join(CUSTOM, "run.py"), "--quern", quern.program]
    both = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert both.returncode == 0, both.stdout + both.stderr
    assert "the two models are equal, byte for byte" in both.stdout
    registered = len(quern.client("sagemaker").list_model_packages(ModelPackageGroupName="custom-models")["ModelPackageSummaryList"])
    assert registered == 1
    weak = subprocess.run([*run, "--maximum-rmse", "0.5"], env=environment, capture_output=True, text=True)
    assert weak.returncode == 1 and "ModelTooWeak: rmse " in weak.stdout, weak.stdout + weak.stderr
    assert len(quern.client("sagemaker").list_model_packages(ModelPackageGroupName="custom-models")["ModelPackageSummaryList"]) == 1
