"""A Python environment of the user's (local.json, python_env) in the built-in images, as images/assemble.sh puts them together."""
import json
import os
import pathlib
import subprocess
import zipfile

import harness
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
PIP = ["/usr/bin/python3", "-m", "pip"]
PROBE = """
import importlib.metadata, os, quern_probe, six, sys
paths = [p for p in sys.path if p in ("/opt/quern/local-python", "/usr/lib/python3/dist-packages")]
print(importlib.metadata.version("quern-probe"), quern_probe.answer(), six.origin, paths[0])
import sklearn
print(sklearn.__file__.startswith("/usr/lib/python3/dist-packages/"))
try:
    open("/opt/quern/local-python/quern_probe.py", "a")
except OSError as e:
    print(e.strerror)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    subprocess.run([str(ROOT / "images/assemble.sh"), str(folder), "/bin/true", "--no-packages"], check=True)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """site-packages with one package that Debian has not, installed from a wheel made here, and one that it has."""
    folder = tmp_path_factory.mktemp("env")
    site, wheel, info = folder / "site-packages", folder / "quern_probe-9.9-py3-none-any.whl", "quern_probe-9.9.dist-info"
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("quern_probe.py", "def answer():\n    return 42\n")
        z.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: quern-probe\nVersion: 9.9\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", f"quern_probe.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    pip = [*PIP, "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check", "--root-user-action=ignore", "--target", str(site), str(wheel)]
    if subprocess.run(pip, stderr=subprocess.DEVNULL).returncode:  # no pip here: a pure wheel is unpacked as it is
        with zipfile.ZipFile(wheel) as z:
            z.extractall(site)
    (site / "six.py").write_text("origin = 'the environment'\n")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return site


@pytest.fixture(scope="module")
def x(containers, images):
    executor = harness.Executor(images=str(images))
    yield executor
    executor.end()


def run(x):
    spec = x.spec(["/opt/quern/bin/python3", "-c", PROBE], image=SKLEARN)
    event = x.run(spec, 60)
    if event["error"] and "Debian packages that are not installed" in event["error"]:
        pytest.skip(event["error"])
    return event, spec


def test_environment_goes_before_debian(x, images, environment):
    (images / "local.json").write_text(json.dumps({"python_env": str(environment)}))
    event, spec = run(x)
    assert event["containers"][0]["exit_code"] == 0, x.text(spec)
    assert x.text(spec).splitlines() == ["9.9 42 the environment /opt/quern/local-python", "True", "Read-only file system"]


def test_without_it_debian_answers(x, images):
    (images / "local.json").unlink(missing_ok=True)
    event, spec = run(x)
    assert event["containers"][0]["exit_code"] == 1 and "No module named 'quern_probe'" in x.text(spec)


def test_environment_that_is_not_there(x, images):
    (images / "local.json").write_text(json.dumps({"python_env": "/nowhere/site-packages"}))
    event, _ = run(x)
    assert event["reason"] == "start-failed"
    assert event["error"] == f"CannotPullContainerError: `{images}/local.json`: python_env `/nowhere/site-packages` is no directory"
    os.unlink(images / "local.json")
