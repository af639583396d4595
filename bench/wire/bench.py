"""Server CPU a request, beside its limits, in one run: nginx `return 200` and libmicrohttpd alone against signed calls through the wire layer.

Usage: bench.py <bench_server> [seconds a window]. Needs wrk; nginx is left out when it is not installed.
CPU time of the server process is what is compared (the client may be the bottleneck); the ratio is to libmicrohttpd alone.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "wire"))
from http_client import sign  # noqa: E402

PROGRAM = sys.argv[1]
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
ROUNDS = 3
TICK = os.sysconf("SC_CLK_TCK")
GOAL_US = 40

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from budgets import note  # noqa: E402


def pinned(core, command):
    return ["taskset", "-c", str(core), *command] if os.cpu_count() > 1 and shutil.which("taskset") else command


class BenchServer:
    def __init__(self, *args):
        self.process = subprocess.Popen(pinned(0, [PROGRAM, *args]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def cpu_us(self):
        self.process.stdin.write("cpu\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.communicate()


class Nginx:
    def __init__(self, directory):
        self.port = 18931
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000;
 client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u;
 scgi_temp_path {directory}/s;
 server {{ listen 127.0.0.1:{self.port}; location / {{ return 200 "{'x' * 90}"; }} }} }}""")
        self.process = subprocess.Popen(pinned(0, ["nginx", "-p", directory, "-c", path]), stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            children = f.read().split()
        if not children:
            sys.exit("bench.py: nginx did not start")
        self.worker = int(children[0])

    def cpu_us(self):
        with open(f"/proc/{self.worker}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1000000 // TICK

    def close(self):
        self.process.terminate()
        self.process.wait()


def script(directory, name, method, target, headers, body):
    path = os.path.join(directory, name + ".lua")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'wrk.method = "{method}"\n')
        for n, v in headers.items():
            if n == "host":
                continue  # wrk sends its own, which is the signed one
            f.write(f'wrk.headers["{n}"] = [[{v}]]\n')
        if body:
            f.write(f"wrk.body = [[{body.decode()}]]\n")
        f.write(f'wrk.path = "{target}"\n')
    return path


def load(port, lua, seconds, connections=64):
    out = subprocess.run(pinned(1, ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", lua, f"http://127.0.0.1:{port}/"]),
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(out)
    return int(re.search(r"(\d+) requests in", out).group(1)), float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def measure(directory, bare, quern, nginx):
    json_headers = {"content-type": "application/x-amz-json-1.1"}
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    host = f"127.0.0.1:{quern.port}"

    def signed(name, method, body, service, headers, key="AKIDROOT"):
        target, all_headers = sign(host, method, "/", body, service=service, headers=headers, key=key)
        return script(directory, name, method, target, all_headers, body)

    describe = {**json_headers, "x-amz-target": "SageMaker.DescribeExperiment"}
    update = {**json_headers, "x-amz-target": "SageMaker.UpdateExperiment"}
    body = b'{"ExperimentName":"bench"}'
    plain = script(directory, "plain", "POST", "/", json_headers, body)
    cases = [("libmicrohttpd alone", bare, plain)]
    if nginx:
        cases.append(("nginx return 200", nginx, script(directory, "get", "GET", "/", {}, b"")))
    cases += [
        ("quern: health", quern, script(directory, "health", "GET", "/_quern/health", {}, b"")),
        ("quern: s3 GET, signed", quern, signed("s3", "GET", b"", "s3", {})),
        ("quern: sts GetCallerIdentity", quern, signed("sts", "POST", b"Action=GetCallerIdentity&Version=2011-06-15", "sts", form)),
        ("quern: sagemaker Describe, store read", quern, signed("describe", "POST", body, "sagemaker", describe)),
        ("quern: the same, key read from the store", quern,
         signed("key", "POST", body, "sagemaker", describe, key="AKIDTEST")),
        ("quern: sagemaker Update, durable", quern, signed("update", "POST", body, "sagemaker", update)),
    ]
    best = {}
    for lua_name, server, lua in cases:
        load(server.port, lua, 1)
    for _ in range(ROUNDS):
        for name, server, lua in cases:
            before = server.cpu_us()
            count, rate = load(server.port, lua, SECONDS)
            cost = (server.cpu_us() - before) / count
            if name not in best or cost < best[name][0]:
                best[name] = (cost, rate)
    base = best["libmicrohttpd alone"][0]
    print(f"{'server CPU a request':42} {'us':>8} {'ratio':>7} {'req/s':>9}")
    for name, (cost, rate) in best.items():
        print(f"{name:42} {cost:8.1f} {cost / base:7.2f} {rate:9.0f}")
    cost = best["quern: sagemaker Describe, store read"][0]
    note("signed small read, server CPU", GOAL_US, cost, "us", beside=f"libmicrohttpd alone {base:.1f} us, ratio {cost / base:.2f}")
    print(f"goal for a signed small read: <= {GOAL_US} us: {'met' if cost <= GOAL_US else 'MISSED'} ({cost:.1f})")


def main():
    if not shutil.which("wrk"):
        sys.exit("bench.py: wrk is not installed")
    directory = tempfile.mkdtemp(prefix="quern-bench-")
    servers = []
    try:
        servers.append(BenchServer("bare"))
        servers.append(BenchServer("quern", "1", directory))
        if shutil.which("nginx"):
            servers.append(Nginx(directory))
        measure(directory, servers[0], servers[1], servers[2] if len(servers) > 2 else None)
    finally:
        for server in servers:
            server.close()
        shutil.rmtree(directory)


main()
