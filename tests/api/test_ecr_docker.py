"""docker against the registry: log-in, build, push, pull, run, on a daemon of this test's own."""

import os
import subprocess
import tempfile
import time

import pytest

from api import ecs_images, helpers
from api.test_ecr import Registry
from api.test_ecr_clients import need, run, run_task


@pytest.fixture(scope="module")
def docker():
    """docker, asking a daemon with directories and a socket of its own, without bridge and firewall rules."""
    need("docker", "dockerd", "containerd", "runc")
    if os.geteuid() != 0:
        pytest.skip("dockerd wants root")
    with tempfile.TemporaryDirectory(prefix="qd-", dir="/tmp") as path:  # short: it holds sockets
        where = ["--data-root", f"{path}/data", "--exec-root", f"{path}/exec", "--pidfile", f"{path}/pid", "-H", f"unix://{path}/socket"]
        with open(f"{path}/log", "wb") as log:
            daemon = subprocess.Popen(["dockerd", *where, "--iptables=false", "--bridge=none"], stdout=log, stderr=log)
        try:
            client = ["docker", "--config", f"{path}/config", "-H", f"unix://{path}/socket"]
            until = time.monotonic() + 60
            while run(*client, "version", check=False).returncode != 0:
                if daemon.poll() is not None or time.monotonic() > until:
                    with open(f"{path}/log") as log:
                        pytest.skip("dockerd does not start here: " + log.read()[-300:])
                time.sleep(0.2)
            yield lambda *words, **kwargs: run(*client, *words, **kwargs)
        finally:
            daemon.terminate()
            daemon.wait(60)


@pytest.fixture
def repo(quern, docker):
    name = helpers.unique("team/docker")
    quern.client("ecr").create_repository(repositoryName=name)
    docker("login", "-u", "AWS", "--password-stdin", f"127.0.0.1:{quern.port}", input=Registry(quern).password)
    return name


def test_docker_push_pull_run(quern, docker, repo, tmp_path):
    image, second = (f"127.0.0.1:{quern.port}/{repo}:{tag}" for tag in ("one", "two"))
    (tmp_path / "layer.tar").write_bytes(ecs_images.busybox_layer()[0])
    docker("import", "-c", "ENV PATH=/bin", "-c", 'CMD ["echo", "from docker"]', tmp_path / "layer.tar", image)
    docker("push", image)
    assert run_task(quern, f"{repo}:one")[1] == "from docker"
    # A layer more, on one that the registry has.
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY words /words\nCMD cat /words\n")
    (tmp_path / "words").write_text("built by docker")
    docker("build", "--network", "none", "-t", second, tmp_path)
    assert "Layer already exists" in docker("push", second).stdout
    assert run_task(quern, f"{repo}:two")[1] == "built by docker"
    # Back from the registry alone, and run by docker.
    docker("rmi", image, second)
    assert second not in docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    docker("pull", second)
    done = docker("run", "--rm", "--network", "none", second, check=False)
    if done.returncode >= 125:
        pytest.skip("pushed and pulled; this host does not let docker run: " + done.stderr.strip()[-200:])
    assert done.stdout == "built by docker"


def test_docker_refusals(quern, docker, repo, tmp_path):
    host = f"127.0.0.1:{quern.port}"
    wrong = docker("login", "-u", "AWS", "--password-stdin", host, input="no such token", check=False)
    assert wrong.returncode != 0
    docker("login", "-u", "AWS", "--password-stdin", host, input=Registry(quern).password)
    missing = docker("pull", f"{host}/{repo}:missing", check=False)
    assert missing.returncode != 0 and "not found" in missing.stderr, missing.stderr
    (tmp_path / "layer.tar").write_bytes(ecs_images.busybox_layer()[0])
    docker("import", tmp_path / "layer.tar", f"{host}/{repo}-never-made:x")
    nowhere = docker("push", f"{host}/{repo}-never-made:x", check=False)
    assert nowhere.returncode != 0 and "does not exist" in nowhere.stderr, nowhere.stderr
