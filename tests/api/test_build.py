"""What a fresh machine needs before its first `make`: the product is built without the tests' packages."""
import os
import subprocess

import pytest

from api.daemon import ROOT


def test_the_product_is_built_without_tests():
    build = os.path.join(ROOT, "build")
    if not os.path.exists(os.path.join(build, "build.ninja")):
        pytest.skip("there is no build directory")
    inputs = subprocess.run(["ninja", "-C", build, "-t", "inputs", "product"], stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.splitlines()
    assert any(path.endswith("src/cli/main.c") for path in inputs)
    assert not [path for path in inputs if "tests/" in path or "bench/" in path]


def test_missing_packages_without_root(tmp_path):
    """Somebody who is not root and has no sudo is told what to install."""
    listed = tmp_path / "packages.txt"
    listed.write_text("some no-such-package-of-quern\n")
    script = tmp_path / "install-packages"
    with open(os.path.join(ROOT, "scripts", "install-packages"), encoding="utf-8") as f:
        script.write_text(f.read())
    (tmp_path / "bin").mkdir()
    for name in ("sh", "dirname", "awk", "dpkg-query", "grep"):
        (tmp_path / "bin" / name).symlink_to(subprocess.run(["which", name], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    told = subprocess.run(["/bin/sh", str(script), "some"], env={"PATH": str(tmp_path / "bin")}, stderr=subprocess.PIPE, text=True, timeout=60)
    assert told.returncode == 1 and "as root: apt-get install --no-install-recommends no-such-package-of-quern" in told.stderr, told.stderr
