"""The way out of private networks: slirp4netns."""
import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading

import pytest

from harness import IMAGE
from test_network import python
from test_survival import wait_for

pytestmark = [pytest.mark.skipif(not shutil.which("slirp4netns"), reason="slirp4netns is not installed"),
              pytest.mark.skipif(not os.access("/dev/net/tun", os.R_OK | os.W_OK), reason="there is no /dev/net/tun")]
OUTSIDE = "198.51.100.77"  # RFC 5737: for documentation, so nobody's

TRY = """
import socket, sys
for at in sys.argv[1:]:
    host, port = at.split(":")
    try:
        s = socket.create_connection((host, int(port)), timeout=5)
        print(s.recv(100).decode())
    except OSError as e:
        print("closed")
"""


@pytest.fixture
def outside():
    """An address of this machine's that is not 127.0.0.1, and a server there that says hello."""
    if os.geteuid() != 0:
        pytest.skip("only root can give this machine an address more")
    subprocess.run(["ip", "address", "add", OUTSIDE + "/32", "dev", "lo"], check=True)
    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["ip", "address", "del", OUTSIDE + "/32", "dev", "lo"], check=True)
        ports = []
        for address in (OUTSIDE, "127.0.0.1"):
            server = stack.enter_context(socket.create_server((address, 0)))
            ports.append(server.getsockname()[1])
            threading.Thread(target=greet, args=(server,), daemon=True).start()
        yield ports


def greet(server):
    with contextlib.suppress(OSError):  # closed at the end
        while True:
            peer, _ = server.accept()
            peer.sendall(b"hello")
            peer.close()


def read(path):
    with contextlib.suppress(OSError), open(path) as f:
        return f.read()
    return ""


def fields(pid):
    return dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def translators(task):
    """The processes that are the way out of a task: children of its supervisor."""
    all_ = ((pid, fields(pid)) for pid in filter(str.isdigit, os.listdir("/proc")))
    return [(int(pid), f) for pid, f in all_ if f.get("Name") == "slirp4netns" and task in read(f"/proc/{f['PPid']}/cmdline")]


@pytest.mark.parametrize("containers", [1, 2])
@pytest.mark.parametrize("endpoints", [False, True])
def test_a_private_network_reaches_out(x, outside, containers, endpoints):
    out, inside = outside
    ways = [f"{OUTSIDE}:{out}", f"127.0.0.1:{inside}", f"10.200.255.2:{inside}"]
    spec = x.spec(python(TRY, *ways), network="private", egress=True, endpoints=endpoints)
    if containers == 2:
        spec["containers"].append(dict(spec["containers"][0], name="second", log=os.path.join(x.data, "logs", spec["id"] + "2")))
    event = x.run(spec, 60)
    for i in range(containers):
        assert x.text(spec, i).split("\n") == ["hello", "closed", "closed"], (event, x.text(spec, i))
    assert event["notes"] == []
    wait_for(lambda: not translators(spec["id"]))


def test_without_egress_there_is_none(x, outside):
    spec = x.spec(python(TRY, f"{OUTSIDE}:{outside[0]}"), network="private")
    x.run(spec)
    assert x.text(spec) == "closed"


def test_names_are_asked_of_the_machine(x):
    spec = x.spec(["/bin/sh", "-c", "cat /etc/resolv.conf"], network="private", egress=True)
    x.run(spec)
    assert x.text(spec) == "nameserver 10.200.255.3"
    spec = x.spec(["/bin/sh", "-c", "cat /etc/resolv.conf"], network="private", egress=True)
    spec["containers"][0]["dns"] = {"servers": ["192.0.2.53"], "search": ["example.org"]}
    x.run(spec)
    assert x.text(spec) == "nameserver 192.0.2.53\nsearch example.org"


def test_it_ends_with_its_supervisor(x):
    spec = x.spec(["/bin/sleep", "100"], network="private", egress=True, image=IMAGE)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    (pid, status), = translators(spec["id"])
    assert status["Seccomp"] == "2" and int(status["CapEff"], 16) & ~(1 << 10) == 0  # CAP_NET_BIND_SERVICE at most
    pidfd = os.pidfd_open(pid)
    os.kill(int(status["PPid"]), 9)
    assert select.select([pidfd], [], [], 20)[0], "it goes on without its supervisor"
    os.close(pidfd)
