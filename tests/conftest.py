"""Starts one real Quern for the whole run, in a data directory of its own below /tmp, and gives boto3 clients for it."""

import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from api.daemon import start_quern  # noqa: E402


def open_files(pid):
    """The files that a process holds (connections aside: clients keep theirs)."""
    found = []
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    except (PermissionError, FileNotFoundError):  # another user's process, and we are not root; closed meanwhile
        pass
    return [name for name in found if name.startswith("/")]


@pytest.fixture(scope="session")
def quern():
    """One Quern for the whole run. Its environment is also set in os.environ for tests that read it there."""
    q = start_quern()
    before = dict(os.environ)
    os.environ.update(q.env)
    yield q
    os.environ.clear()
    os.environ.update(before)
    held = open_files(q.pid())
    q.down()
    assert len(held) < 100, held  # a leak for each request would be hundreds
    shutil.rmtree(q.home, ignore_errors=True)


@pytest.fixture
def own_quern():
    """A Quern of the test's own, for tests that kill or fill it."""
    q = start_quern()
    yield q
    q.down()
    shutil.rmtree(q.home, ignore_errors=True)
