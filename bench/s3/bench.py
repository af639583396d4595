#!/usr/bin/env python3
"""Measures S3 beside nginx (DAV put, static get: no signature, no hash, no sync) in one run.

    bench/s3/bench.py <s3_server binary> [--seconds 4] [--dir /tmp/s3-bench] [--mib 256]

Needs wrk, curl and nginx with the DAV module. The load generator shares the machine's cores with the server.
Every request to S3 is signed (presigned URLs) and every PUT is on disk when it is answered.
"""
import argparse, hashlib, hmac, os, re, shutil, signal, subprocess, sys, time, urllib.parse

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from budgets import note  # noqa: E402

KEY, SECRET = "QUERNTESTKEY00000001", "quern/test/secret/0000000000000000000001"


def presign(method, host, path, now):
    """A SigV4 presigned path and query."""
    amz = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{amz[:8]}/us-east-1/s3/aws4_request"
    query = "&".join(f"{k}={urllib.parse.quote(v, safe='')}" for k, v in sorted({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{KEY}/{scope}", "X-Amz-Date": amz,
        "X-Amz-Expires": "86400", "X-Amz-SignedHeaders": "host"}.items()))
    canonical = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{amz}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET).encode()
    for piece in scope.split("/"):
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    return f"{path}?{query}&X-Amz-Signature={hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"


def wrk(base, method, paths, body, seconds, connections, work):
    lua = os.path.join(work, "wrk.lua")
    with open(os.path.join(work, "paths"), "w") as f:
        f.write("\n".join(paths))
    with open(lua, "w") as f:
        f.write(f"""
local all, n = {{}}, 0
local body = {"string.rep('x', %d)" % body if body else "nil"}
function init() for line in io.lines("{work}/paths") do all[#all + 1] = wrk.format("{method}", line, nil, body) end end
function request() n = n % #all + 1; return all[n] end
""")
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", lua, base], capture_output=True, text=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    p99 = re.search(r"99%\s+(\S+)", out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), (p99.group(1) if p99 else "?"), int(bad.group(1)) if bad else 0


def curl(args, size):
    best = 0.0
    for _ in range(4):
        out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-H", "Expect:"] + args, capture_output=True, text=True)
        status, seconds = out.stdout.split()
        if not status.startswith("2"):
            sys.exit(f"curl {args}: {out.stdout} {out.stderr}")
        best = max(best, size / float(seconds) / 1e6)
    return best


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_nginx(work, port):
    root = os.path.join(work, "nginx")
    os.makedirs(os.path.join(root, "data"), exist_ok=True)
    conf = os.path.join(root, "nginx.conf")
    with open(conf, "w") as f:
        f.write(f"""daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log; user root;
events {{ worker_connections 512; }}
http {{ access_log off; sendfile on; tcp_nopush on; client_max_body_size 0; keepalive_requests 1000000000; client_body_temp_path {root}/tmp;
server {{ listen 127.0.0.1:{port}; root {root}/data; dav_methods PUT; create_full_put_path on; open_file_cache max=2000; }} }}
""")
    return subprocess.Popen(["nginx", "-c", conf, "-p", root], stderr=subprocess.DEVNULL)


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("server")
    p.add_argument("--seconds", type=int, default=4)
    p.add_argument("--dir", default="/tmp/s3-bench")
    p.add_argument("--mib", type=int, default=256)
    p.add_argument("--port", type=int, default=45671)
    a = p.parse_args()
    shutil.rmtree(a.dir, ignore_errors=True)
    os.makedirs(a.dir)
    host, plain = f"127.0.0.1:{a.port}", f"127.0.0.1:{a.port + 1}"
    server = subprocess.Popen([a.server, os.path.join(a.dir, "data"), str(a.port)], stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    nginx = start_nginx(a.dir, a.port + 1)
    try:
        time.sleep(0.5)
        now = time.time()
        subprocess.run(["curl", "-sS", "-X", "PUT", f"http://{host}{presign('PUT', host, '/bench', now)}"], check=True)
        names = [f"/bench/key-{i:05d}" for i in range(2000)]
        rows = []
        for method, body in (("PUT", 4096), ("GET", 0)):
            paths = [presign(method, host, n, now) for n in names]
            os.sync()  # write-back of one phase is not measured in the next
            for c in (1, 32):
                before, client = cpu_s(server.pid), os.times()
                ours = wrk(f"http://{host}", method, paths, body, a.seconds, c, a.dir)
                after, n = os.times(), max(1, ours[0] * a.seconds)
                client = after.children_user + after.children_system - client.children_user - client.children_system
                cpu = f"processor a request: server {(cpu_s(server.pid) - before) * 1e6 / n:.0f}, client {client * 1e6 / n:.0f} us"
                theirs = wrk(f"http://{plain}", method, names, body, a.seconds, c, a.dir)
                rows.append((f"{method} 4 KiB c={c}", f"{ours[0]:.0f}/s (p99 {ours[1]}, {ours[2]} bad)", f"{theirs[0]:.0f}/s", ours[0] / theirs[0]))
                print(f"{method} 4 KiB c={c}: {cpu}", flush=True)
                if c == 32:
                    note(f"S3 4 KiB {'durable PUT' if body else 'GET'}, 32 connections", 5000 if body else 40000, ours[0], "/s", at_least=True,
                         beside=f"nginx {theirs[0]:.0f}/s, ratio {ours[0] / theirs[0]:.2f}; {cpu}")
        big = os.path.join(a.dir, "big")
        with open(big, "wb") as f:
            for _ in range(a.mib):
                f.write(os.urandom(1 << 20))
        size = a.mib << 20
        for method in ("PUT", "GET"):
            extra = ["-T", big] if method == "PUT" else []
            ours = curl(extra + [f"http://{host}{presign(method, host, '/bench/big', now)}"], size)
            theirs = curl(extra + [f"http://{plain}/bench/big"], size)
            if method == "PUT":
                note("S3 256 MiB PUT with MD5", 400, ours, "MB/s", at_least=True, beside=f"nginx {theirs:.0f} MB/s, ratio {ours / theirs:.2f}")
            else:
                note("S3 256 MiB GET", 0.9, ours / theirs, "of nginx", at_least=True, beside=f"{ours:.0f} and {theirs:.0f} MB/s")
            rows.append((f"{method} {a.mib} MiB", f"{ours:.0f} MB/s", f"{theirs:.0f} MB/s", ours / theirs))
        print(f"{'':<18}{'S3 (signed, durable)':<40}{'nginx':<16}ratio")
        for name, ours, theirs, ratio in rows:
            print(f"{name:<18}{ours:<40}{theirs:<16}{ratio:.2f}")
        print(f"peak memory of the server: {rss_kib(server.pid)} KiB")
    finally:
        for child in (server, nginx):
            child.send_signal(signal.SIGTERM)
            child.wait()


main()
