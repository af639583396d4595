"""The OCI distribution specification's own conformance suite, version "dev" (all of 1.1 and what comes after it)."""

import os
import shutil
import socket
import subprocess

import pytest

from api import helpers


def test_conformance(quern, tmp_path):
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env["QUERN_PORT"] = str(port)
    done = subprocess.run([os.path.join(helpers.ROOT, "scripts", "oci-conformance"), quern.program, "dev"], env=env, capture_output=True, text=True, timeout=300)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(reversed(part.split()) for part in done.stdout.strip().splitlines()[-1].split(", "))
    assert int(counts["pass"]) > 500 and counts["fail"] == "0" and counts["skip"] == "0", counts
