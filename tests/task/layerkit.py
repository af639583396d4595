"""Archives as registries keep them, and specs of tasks that use them."""
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zlib

import pytest

BUSYBOX = next((p for p in ("/usr/bin/busybox", "/bin/busybox") if os.path.exists(p)), None)


def entry(name, data=None, kind=None, link="", mode=0o644, uid=0, gid=0, pax=None, major=1, minor=3):
    """One member: (header, bytes)."""
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.linkname = mode, uid, gid, link
    info.type = kind or (tarfile.REGTYPE if data is not None else tarfile.DIRTYPE)
    info.devmajor, info.devminor = major, minor
    info.size = len(data or b"")
    info.pax_headers = pax or {}
    return info, data


def tar(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def busybox():
    """The lowest layer of every image here: a static shell."""
    if not BUSYBOX:
        pytest.skip("busybox-static is not installed")
    with open(BUSYBOX, "rb") as f:
        program = f.read()
    tools = "sh cat echo ls sleep id stat test mkdir touch rm find wc dd readlink head".split()
    return tar(entry("bin", mode=0o755), entry("bin/busybox", program, mode=0o755), entry("tmp", mode=0o1777), entry("etc", mode=0o755),
               *(entry("bin/" + tool, kind=tarfile.SYMTYPE, link="busybox") for tool in tools))


class Images:
    """A blob store of an executor's data directory."""

    def __init__(self, x, owner=None):
        self.x, self.owner, self.count = x, owner, 0
        self.dir = os.path.join(x.data, "layer-blobs")
        os.makedirs(self.dir, exist_ok=True)
        self.base = self.blob(gzip.compress(busybox(), 1))

    def blob(self, data, diff_id=None):
        """`data`: an archive, or (archive, diff id)."""
        if isinstance(data, tuple):
            data, diff_id = data
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = os.path.join(self.dir, digest[7:31])
        with open(path, "wb") as f:
            f.write(data)
        if self.owner is not None:
            os.chown(path, self.owner, self.owner)
            os.chown(self.dir, self.owner, self.owner)
        return {"digest": digest, "path": path, "diff_id": diff_id or diff_id_of(data)}

    def spec(self, layers, command, **more):
        """A task on busybox and these archives."""
        self.count += 1
        chain = [self.base, *(self.blob(data) for data in layers)]
        spec = self.x.spec(["/bin/sh", "-c", command], **more)
        spec["containers"][0]["image"] = "team/app:%d" % self.count
        spec["containers"][0]["rootfs"] = {"digest": chain[-1]["digest"], "config": {"config": {"Env": ["PATH=/bin"]}}, "layers": chain}
        return spec

    def run(self, layers, command, **more):
        """(event, output)"""
        spec = self.spec(layers, command, **more)
        event = self.x.run(spec, timeout=60)
        return event, self.x.text(spec) if os.path.exists(spec["containers"][0]["log"]) else ""


def chain(*digests):
    value = ""
    for digest in digests:
        value = hashlib.sha256(("%s %s" % (value, digest)).encode()).hexdigest()
    return value


def zstd(data, *options):
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def diff_id_of(data, algorithm="sha256"):
    """The digest of what an archive holds; of the archive itself where it cannot be read."""
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            data = zstd(data, "-d")
    except (OSError, EOFError, zlib.error, subprocess.CalledProcessError):
        pass
    return "%s:%s" % (algorithm, hashlib.new(algorithm, data).hexdigest())
