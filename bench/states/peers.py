"""The peers of bench.py: MiniStack (PyPI) as another Step Functions, Restate (npm) as another durable engine.

They are looked for in $BENCH_PEERS (default .venv-peers): a Python environment with `ministack`, and node_modules with @restatedev/restate-server and
@restatedev/restate-sdk. What is not there is None, and the caller says so."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.abspath(os.environ.get("BENCH_PEERS", os.path.join(HERE, "..", "..", ".venv-peers")))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url, data=None, seconds=30, **headers):
    """The body of the first answer within the time, or None."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            request = urllib.request.Request(url, data=data, headers=headers)
            with urllib.request.urlopen(request, timeout=10) as r:
                return r.read()
        except urllib.error.HTTPError as e:
            return e.read()
        except OSError:
            time.sleep(0.1)
    return None


def listens(port, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.1)
    return False


class MiniStack:
    name = "MiniStack"

    def __init__(self, program):
        self.home = tempfile.mkdtemp(prefix="quern-bench-")
        self.port = free_port()
        env = dict(os.environ, GATEWAY_PORT=str(self.port), HOME=self.home, IOT_MTLS_ENABLED="0", LOG_LEVEL="ERROR")
        with open(os.path.join(self.home, "log"), "wb") as log:
            self.process = subprocess.Popen([program], env=env, cwd=self.home, stdout=log, stderr=log)
        self.pid = self.process.pid
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.keys = ("test", "test")
        self.ok = answers(self.endpoint + "/_ministack/health") is not None

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)


class Restate:
    def __init__(self, modules):
        self.home = tempfile.mkdtemp(prefix="quern-bench-")
        self.ingress, admin, node, service = (free_port() for _ in range(4))
        env = dict(os.environ, RESTATE_BASE_DIR=self.home, RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{self.ingress}", RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{admin}",
                   RESTATE_BIND_ADDRESS=f"127.0.0.1:{node}", RESTATE_ADVERTISED_ADDRESS=f"http://127.0.0.1:{node}", RESTATE_DISABLE_TELEMETRY="true", RESTATE_LOG_FILTER="error",
                   DO_NOT_TRACK="1")
        self.processes = [
            subprocess.Popen(["node", os.path.join(modules, ".bin", "restate-server")], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True),
            subprocess.Popen(["node", os.path.join(HERE, "restate_service.mjs"), os.path.dirname(modules), str(service)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True),
        ]
        self.ok = answers(f"http://127.0.0.1:{admin}/health") is not None and listens(service)
        if self.ok:
            wanted = json.dumps({"uri": f"http://127.0.0.1:{service}", "force": True}).encode()
            answers(f"http://127.0.0.1:{admin}/deployments", wanted, **{"content-type": "application/json"})
            self.ok = self.run(1) is not None

    def run(self, n):
        """Milliseconds of one call of n steps, or None."""
        begin = time.perf_counter()
        body = answers(f"http://127.0.0.1:{self.ingress}/chain/run", str(n).encode(), **{"content-type": "application/json"})
        return (time.perf_counter() - begin) * 1000 if body == str(n).encode() else None

    def close(self):
        for p in self.processes:
            os.killpg(p.pid, 15)
            p.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)


def started(peer, what):
    if peer.ok:
        return peer
    peer.close()
    print(f"{what}: installed, but it did not start here; left out")
    return None


def ministack():
    program = os.path.join(PEERS, "bin", "ministack")
    program = program if os.path.exists(program) else shutil.which("ministack")
    if not program:
        print(f"MiniStack: not installed (pip install ministack into {PEERS}); left out")
        return None
    return started(MiniStack(program), "MiniStack")


def restate():
    modules = os.path.join(PEERS, "node_modules")
    if not shutil.which("node") or not os.path.exists(os.path.join(modules, "@restatedev", "restate-sdk")) or not os.path.exists(os.path.join(modules, ".bin", "restate-server")):
        print(f"Restate: not installed (npm install --prefix {PEERS} @restatedev/restate-server @restatedev/restate-sdk); left out")
        return None
    return started(Restate(modules), "Restate")
