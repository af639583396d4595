import os
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402

RUNTIMES = [name for name in ("crun", "runc") if shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")]


def why_not():
    if not RUNTIMES:
        return "neither crun nor runc is installed"
    if os.geteuid() != 0:
        return "not root (test_rootless.py runs)"
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        return "no mount namespaces here"
    return None


WHY_NOT = why_not()


@pytest.fixture(scope="module")
def containers():
    """For tests with an executor of their own: skips where containers cannot run."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)


@pytest.fixture(scope="module", params=RUNTIMES or ["none"])
def x(request):
    """An executor on each runtime."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    executor = harness.Executor(runtime=request.param, api_port=getattr(request.module, "API_PORT", 0))
    yield executor
    executor.end()


@pytest.fixture
def own():
    """An executor that the test may kill."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    executor = harness.Executor()
    yield executor
    executor.end()
