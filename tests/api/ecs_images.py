"""Small images for ECS tests, pushed to the Quern's own registry with the ECR API: busybox and layers made here."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import urllib.request

import pytest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files, compress=True):
    """A tar layer from {path: bytes | ("link", target) | ("hard", target) | ("dir", mode) | ("node",) | (bytes, mode)}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, what in files.items():
            info = tarfile.TarInfo(path)
            data = None
            if isinstance(what, bytes):
                what = (what, 0o644)
            if what[0] == "link":
                info.type, info.linkname = tarfile.SYMTYPE, what[1]
            elif what[0] == "hard":
                info.type, info.linkname = tarfile.LNKTYPE, what[1]
            elif what[0] == "dir":
                info.type, info.mode = tarfile.DIRTYPE, what[1]
            elif what[0] == "node":
                info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
            else:
                data, info.mode = what
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    plain = out.getvalue()
    return plain, gzip.compress(plain, 1) if compress else plain


def busybox_layer():
    for path in ("/usr/bin/busybox", "/bin/busybox"):
        if os.path.exists(path):
            break
    else:
        pytest.skip("busybox-static is not installed")
    with open(path, "rb") as f:
        program = f.read()
    files = {"bin": ("dir", 0o755), "bin/busybox": (program, 0o755), "tmp": ("dir", 0o1777), "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nworker:x:1234:2345::/home/worker:/bin/sh\n",
             "etc/group": b"root:x:0:\nworkers:x:2345:\nothers:x:3456:worker\n", "root": ("dir", 0o700)}
    for tool in "sh cat echo ls sleep id true false env wget nc head stat mkdir chmod test kill grep touch hostname httpd dd pwd rm seq".split():
        files["bin/" + tool] = ("link", "busybox")
    return layer(files)


class Registry:
    def __init__(self, quern):
        self.quern = quern
        token = quern.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        self.headers = {"Authorization": "Basic " + token}

    def call(self, method, path, data=None, **headers):
        request = urllib.request.Request(path if path.startswith("http") else self.quern.endpoint + path, data=data, method=method, headers={**self.headers, **headers})
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)

    def blob(self, repo, data):
        location = self.call("POST", f"/v2/{repo}/blobs/uploads/", b"").headers["Location"]
        self.call("PUT", f"{location}{'&' if '?' in location else '?'}digest={sha(data)}", data, **{"Content-Type": "application/octet-stream"})
        return {"digest": sha(data), "size": len(data)}

    def push(self, repo, tag, layers, **config):
        """layers: (plain, packed) pairs. Returns the image's URI."""
        ecr = self.quern.client("ecr")
        try:
            ecr.create_repository(repositoryName=repo)
        except ecr.exceptions.RepositoryAlreadyExistsException:
            pass
        document = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": [sha(plain) for plain, _ in layers]}}
        text = json.dumps(document).encode()
        kinds = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}
        entries = [{"mediaType": "application/vnd.oci.image.layer.v1.tar" + kinds.get(packed[:2], ""), **self.blob(repo, packed)} for _, packed in layers]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self.blob(repo, text)}, "layers": entries}
        self.call("PUT", f"/v2/{repo}/manifests/{tag}", json.dumps(manifest).encode(), **{"Content-Type": MANIFEST})
        return f"{self.quern.account}.dkr.ecr.us-east-1.amazonaws.com/{repo}:{tag}"


def push_busybox(quern):
    if not hasattr(quern, "busybox"):
        quern.busybox = Registry(quern).push("busybox", "latest", [busybox_layer()], Cmd=["sh"], Env=["PATH=/bin", "FROM_IMAGE=yes"])
    return quern.busybox
