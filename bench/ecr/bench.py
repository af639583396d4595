#!/usr/bin/env python3
"""Measures the push and pull of an image of 200 MiB (4 layers that do not compress) beside Debian's docker-registry in one run.

    bench/ecr/bench.py QUERN [--mib 200] [--rounds 3] [--dir /tmp/ecr-bench]

Two clients: skopeo, whose own hashing is most of its time, and a bare one (curl, one connection, the whole layer in one PUT). The server's CPU time
is from /proc; peak memory is reset before each push. Quern's push is on disk when it is answered, docker-registry's is not.
"""
import argparse, hashlib, json, os, re, shutil, signal, socket, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from budgets import note  # noqa: E402

OCI = "application/vnd.oci.image"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def digest_of(path):
    return "sha256:" + subprocess.run(["openssl", "dgst", "-sha256", "-r", path], capture_output=True, text=True, check=True).stdout[:64]


def make_image(folder, mib):
    """An OCI layout; its layers are noise, never unpacked here."""
    blobs = os.path.join(folder, "blobs", "sha256")
    os.makedirs(blobs)

    def add(data):
        name = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, name), "wb") as f:
            f.write(data)
        return {"digest": "sha256:" + name, "size": len(data)}

    layers = []
    for _ in range(4):
        path = os.path.join(folder, "layer")
        with open(path, "wb") as f:
            for _ in range(mib // 4):
                f.write(os.urandom(1 << 20))
        name = digest_of(path)
        layers.append({"mediaType": f"{OCI}.layer.v1.tar+gzip", "digest": name, "size": os.path.getsize(path)})
        os.rename(path, os.path.join(blobs, name[7:]))
    config = {"mediaType": f"{OCI}.config.v1+json", **add(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]}}).encode())}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": layers}).encode()
    entry = {"mediaType": f"{OCI}.manifest.v1+json", **add(manifest), "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    for name, doc in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", {"schemaVersion": 2, "manifests": [entry]})):
        with open(os.path.join(folder, name), "w") as f:
            json.dump(doc, f)
    return [config, *layers], manifest


class Server:
    def __init__(self, name, pid, port, user):
        self.name, self.pid, self.port, self.user = name, pid, port, user

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def reset_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w") as f:
            f.write("5")

    def peak_mib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


def start_quern(program, work):
    home = os.path.join(work, "quern")
    os.makedirs(home, mode=0o755)
    env = dict(os.environ, QUERN_HOME=home, QUERN_PORT=str(free_port()))
    subprocess.run([program, "up"], env=env, check=True, stdout=subprocess.DEVNULL)
    env.update(json.loads(subprocess.run([program, "env", "--json"], env=env, capture_output=True, text=True, check=True).stdout))
    aws = ["aws", "--endpoint-url", env["AWS_ENDPOINT_URL"], "ecr"]
    subprocess.run([*aws, "create-repository", "--repository-name", "bench/0"], env=env, check=True, stdout=subprocess.DEVNULL)
    password = subprocess.run([*aws, "get-login-password"], env=env, capture_output=True, text=True, check=True).stdout.strip()
    with open(os.path.join(home, "run", "serve.pid")) as f:
        return Server("quern", int(f.read()), int(env["QUERN_PORT"]), "AWS:" + password), env


def start_registry(work):
    port = free_port()
    config = os.path.join(work, "registry.yml")
    with open(config, "w") as f:
        f.write(f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {work}/registry\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: x\n")
    child = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Server("docker-registry", child.pid, port, None), child


def curl(server, *args):
    user = ["-u", server.user] if server.user else []
    out = subprocess.run(["curl", "-sS", "-f", "-H", "Expect:", *user, *args], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{server.name}: curl {args}: {out.stderr}")
    return out.stdout


def bare_push(server, folder, blobs, manifest):
    base = f"http://127.0.0.1:{server.port}/v2/bench/0"
    for blob in blobs:
        location = re.search(r"(?im)^location: *(\S+)", curl(server, "-D", "-", "-o", "/dev/null", "-X", "POST", "-d", "", f"{base}/blobs/uploads/")).group(1)
        location = location if location.startswith("http") else f"http://127.0.0.1:{server.port}{location}"
        curl(server, "-o", "/dev/null", "-T", os.path.join(folder, "blobs", "sha256", blob["digest"][7:]), "-H", "Content-Type: application/octet-stream", f"{location}{'&' if '?' in location else '?'}digest={blob['digest']}")
    with open(os.path.join(folder, "manifest"), "wb") as f:
        f.write(manifest)
    curl(server, "-o", "/dev/null", "-X", "PUT", "--data-binary", "@" + os.path.join(folder, "manifest"), "-H", f"Content-Type: {OCI}.manifest.v1+json", f"{base}/manifests/latest")


def skopeo(server, source, target):
    creds = ([f"--{'dest' if target.startswith('docker') else 'src'}-creds={server.user}"] if server.user else [])
    out = subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *creds, source, target], capture_output=True, text=True, env=dict(os.environ, no_proxy="127.0.0.1", NO_PROXY="127.0.0.1"))
    if out.returncode:
        sys.exit(f"{server.name}: skopeo: {out.stderr}")


def measure(server, action):
    os.sync()
    server.reset_peak()
    cpu, start = server.cpu(), time.monotonic()
    action()
    return time.monotonic() - start, server.cpu() - cpu, server.peak_mib()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("quern")
    p.add_argument("--mib", type=int, default=200)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--dir", default="/tmp/ecr-bench")
    a = p.parse_args()
    for tool in ("docker-registry", "skopeo", "curl", "aws"):
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed")
            return
    program = os.path.abspath(a.quern)
    shutil.rmtree(a.dir, ignore_errors=True)
    os.makedirs(a.dir, mode=0o755)
    ours, env = start_quern(program, a.dir)
    theirs, child = start_registry(a.dir)
    best = {}
    try:
        time.sleep(0.5)
        for n in range(a.rounds):
            folder = os.path.join(a.dir, "image")
            for kind in ("push, bare client", "push, skopeo"):
                shutil.rmtree(folder, ignore_errors=True)  # new bytes each time: nothing is there yet
                blobs, manifest = make_image(folder, a.mib)
                for server in (ours, theirs) if n % 2 == 0 else (theirs, ours):
                    where = f"docker://127.0.0.1:{server.port}/bench/0:latest"
                    if kind.endswith("skopeo"):
                        result = measure(server, lambda: skopeo(server, f"oci:{folder}:latest", where))
                    else:
                        result = measure(server, lambda: bare_push(server, folder, blobs, manifest))
                    best.setdefault((kind, server.name), []).append(result)
            for server in (ours, theirs):
                out = os.path.join(a.dir, "out")
                shutil.rmtree(out, ignore_errors=True)
                result = measure(server, lambda: skopeo(server, f"docker://127.0.0.1:{server.port}/bench/0:latest", f"oci:{out}:latest"))
                best.setdefault(("pull, skopeo", server.name), []).append(result)
        print(f"{a.mib} MiB, best of {a.rounds} (server CPU and peak memory of the same run)")
        print(f"{'':<20}{'quern':<34}{'docker-registry':<34}ratio of time, CPU")
        for kind in ("push, bare client", "push, skopeo", "pull, skopeo"):
            rows = [min(best[kind, s.name]) for s in (ours, theirs)]
            texts = [f"{wall:.2f} s, CPU {cpu:.2f} s, {peak:.1f} MiB" for wall, cpu, peak in rows]
            if kind == "push, bare client":
                note("image push 200 MiB", 1.0, rows[0][0] * 200 / a.mib, "s", beside=f"docker-registry, no sync: {rows[1][0] * 200 / a.mib:.2f} s, ratio {rows[0][0] / rows[1][0]:.2f}")
                note("memory of it", 16, rows[0][2], "MiB", beside=f"docker-registry {rows[1][2]:.0f} MiB")
            print(f"{kind:<20}{texts[0]:<34}{texts[1]:<34}{rows[0][0] / rows[1][0]:.2f}, {rows[0][1] / max(rows[1][1], 0.01):.2f}")
    finally:
        subprocess.run([program, "down"], env=env, stdout=subprocess.DEVNULL)
        child.send_signal(signal.SIGTERM)
        child.wait()
        shutil.rmtree(a.dir, ignore_errors=True)


main()
