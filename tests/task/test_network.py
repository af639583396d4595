"""host, none, private."""
import http.server
import os
import socket
import threading
import time

import pytest

from harness import IMAGE

class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"x" * int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        size, total = int(self.headers["Content-Length"]), 0
        while total < size:
            total += len(self.rfile.read(min(65536, size - total)))
        body = str(total).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
api.daemon_threads = True
API_PORT = api.server_port
threading.Thread(target=api.serve_forever, daemon=True).start()

PEER = """
import socket, sys, time
me, names = socket.gethostname(), sys.argv[1:]
server = socket.create_server(("0.0.0.0", 7000))
for name in names:
    for _ in range(200):
        try:
            socket.create_connection((name, 7000), timeout=5).close()
            break
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit("no " + name)
print(me, *[socket.gethostbyname(n) for n in names])
time.sleep(1)
"""


def python(code, *args):
    return ["/usr/bin/python3", "-c", code, *args]


def test_none_has_no_way_out(x):
    spec = x.spec(python("""
import os, socket
print(sorted(os.listdir("/sys/class/net")), open("/proc/net/route").read().count("\\n"))
for at in (("127.0.0.1", %d), ("169.254.170.2", %d), ("10.0.0.1", 80)):
    try:
        socket.create_connection(at, timeout=2)
        print("reached", at)
    except OSError as e:
        print(type(e).__name__ if at[0] == "127.0.0.1" else "closed")
""" % (API_PORT, API_PORT)))
    x.run(spec)
    lines = x.text(spec).split("\n")
    assert "'lo'" in lines[0] and "eth" not in lines[0] and lines[1:] == ["ConnectionRefusedError", "closed", "closed"]


def test_host_reaches_the_api(x):
    spec = x.spec(python("import urllib.request as u; print(len(u.urlopen('http://127.0.0.1:%d/1000').read()))" % API_PORT), network="host")
    x.run(spec)
    assert x.text(spec) == "1000"


def test_private_names_resolve_between_three(x):
    spec = x.spec("", network="private")
    names = ["algo-1", "algo-2", "algo-3"]
    spec["containers"] = [{"name": name, "image": IMAGE, "essential": "on-failure", "command": python(PEER, *names),
                           "log": os.path.join(x.data, "logs", spec["id"] + name)} for name in names]
    event = x.run(spec, 60)
    assert [c["exit_code"] for c in event["containers"]] == [0, 0, 0], [x.text(spec, i) for i in range(3)]
    assert [x.text(spec, i) for i in range(3)] == ["%s 10.200.0.2 10.200.0.3 10.200.0.4" % name for name in names]
    with open("/proc/net/dev") as f:
        assert "br0" not in f.read()


@pytest.mark.parametrize("containers", [1, 2])
def test_private_reaches_the_api_and_nothing_else(x, containers):
    code = """
import socket, urllib.request as u
base = "http://169.254.170.2:%d/"
print(len(u.urlopen(base + "50000000").read()))
print(u.urlopen(u.Request(base, data=b"y" * 50000000, method="PUT")).read().decode())
for i in range(100):
    assert len(u.urlopen(base + "5").read()) == 5
for at in (("127.0.0.1", %d), ("%s", %d), ("1.1.1.1", 80)):
    try:
        socket.create_connection(at, timeout=2)
        print("reached", at)
    except OSError:
        print("closed")
""" % (API_PORT, API_PORT, host_address(), API_PORT)
    spec = x.spec(python(code), network="private")
    if containers == 2:
        spec["containers"].append(dict(spec["containers"][0], name="idle", essential=False, log=None, command=["/bin/sleep", "100"], stop_timeout_ms=100))
    event = x.run(spec, 60)
    assert event["containers"][0]["exit_code"] == 0, x.text(spec)
    assert x.text(spec).split("\n") == ["50000000", "50000000", "closed", "closed", "closed"]


def host_address():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.connect(("192.0.2.1", 9))
        return s.getsockname()[0]
    except OSError:
        return "192.0.2.1"
    finally:
        s.close()


def test_half_closed_connections(x):
    spec = x.spec(python("""
import socket
s = socket.create_connection(("169.254.170.2", %d))
s.sendall(b"PUT / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 10\\r\\n\\r\\n0123456789")
s.shutdown(socket.SHUT_WR)
data = b""
while (part := s.recv(1000)):
    data += part
print(data.decode().split("\\r\\n")[-1])
""" % API_PORT), network="private")
    x.run(spec)
    assert x.text(spec) == "10"


def test_two_private_tasks_do_not_meet(x):
    code = """
import socket, time
try:
    socket.create_server(("0.0.0.0", 7001))
    print("bound")
except OSError as e:
    print(e)
time.sleep(1)
"""
    specs = [x.spec(python(code), network="private") for _ in range(2)]
    for spec in specs:
        x.submit(spec)
    for spec in specs:
        x.client.wait(spec["id"], "stopped")
    assert [x.text(spec) for spec in specs] == ["bound", "bound"]


UDP = """
import socket, threading
def serve(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(b"%d %s" % (port, data), peer)
for port in (7001, 7002, 7003):
    threading.Thread(target=serve, args=(port,)).start()
tcp = socket.create_server(("0.0.0.0", 7003))
while True:
    c = tcp.accept()[0]
    c.sendall(b"tcp")
    c.close()
"""


def ask(port, data, sock=None):
    """The answer of a UDP port; asked again until its program listens."""
    s = sock or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    for _ in range(150):
        s.sendto(data, ("127.0.0.1", port))
        try:
            return s.recvfrom(65536)[0]
        except OSError:
            pass
    raise AssertionError("no answer of port %d" % port)


def bound(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_udp_and_ranges_are_published(x):
    ports = [{"container_port": 7001, "count": 2, "protocol": "udp"}, {"container_port": 7003, "protocol": "udp"}, {"container_port": 7001, "count": 3}]
    spec = x.spec(python(UDP), network="private", report=True, ports=ports, stop_timeout_ms=100)
    assert "error" not in x.submit(spec)
    x.client.wait(spec["id"], "started")
    told = x.state(spec["id"])["containers"][0]["ports"]
    assert [(p["container_port"], p["count"], p["protocol"]) for p in told] == [(7001, 2, "udp"), (7003, 1, "udp"), (7001, 3, "tcp")]
    udp, one, tcp = [p["host_port"] for p in told]
    assert [ask(udp, b"a"), ask(udp + 1, b"b"), ask(one, b"c")] == [b"7001 a", b"7002 b", b"7003 c"]
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for i, s in enumerate(clients):
        s.sendto(b"%d" % i, ("127.0.0.1", udp))
    for i, s in enumerate(clients):  # each gets its own answer, in whatever order they come
        s.settimeout(20)
        assert s.recvfrom(100)[0] == b"7001 %d" % i
    big = os.urandom(60000)
    assert ask(udp, big, clients[0]) == b"7001 " + big
    with socket.create_connection(("127.0.0.1", tcp + 2), timeout=20) as s:
        assert s.recv(10) == b"tcp"
    with socket.create_connection(("127.0.0.1", tcp), timeout=20) as s:  # nobody listens on 7001
        assert s.recv(10) == b""
    # the same ports again
    again = x.spec("sleep 5", network="private", ports=[{"container_port": 1, "host_port": udp - 1, "count": 2, "protocol": "udp"}])
    event = x.run(again)
    assert event["reason"] == "start-failed" and "127.0.0.1:%d failed: port is already allocated" % udp in event["error"]
    x.stop(spec["id"])
    x.client.wait(spec["id"], "stopped")
    assert any(not bound(udp) or time.sleep(0.05) for _ in range(200))  # given back soon after the end is told


def test_bad_ports_and_hosts(x):
    for bad in ({"ports": [{"container_port": 65535, "count": 2}]}, {"ports": [{"container_port": 1, "host_port": 65500, "count": 100}]},
                {"ports": [{"container_port": 1, "protocol": "sctp"}]}, {"hosts": [{"name": "x"}]}, {"hosts": [{"name": "x", "container": "none"}]},
                {"hosts": [{"name": "x", "container": "main", "ip": "10.0.0.1"}]}):
        assert x.submit(x.spec("true", network="private", **bad))["error"]["code"] == "ValidationException", bad


def test_other_names_of_containers(x):
    spec = x.spec("cat /etc/hosts", network="private", hosts=[{"name": "db", "container": "side"}, {"name": "store", "container": "side"}, {"name": "y", "ip": "10.9.8.7"}])
    spec["containers"].append(dict(spec["containers"][0], name="side", essential=False, log=None, hosts=[], command=["/bin/sleep", "100"], stop_timeout_ms=100))
    x.run(spec)
    assert x.text(spec).split("\n")[2:] == ["10.200.0.2\tmain", "10.200.0.3\tside db store", "10.9.8.7\ty"]
