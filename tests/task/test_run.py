"""What a container is given, how it ends, and what is told about it."""
import json
import os
import time

import pytest

from harness import IMAGE


SANITIZED = pytest.mark.skipif("QUERN_SANITIZED" in os.environ, reason="sanitizers keep freed memory")


def only(event):
    return event["containers"][0]


def test_exit_code_and_environment_from_zero(x):
    os.environ["QUERN_TEST_SECRET"] = "leaks"
    spec = x.spec("env; id -u; hostname; pwd; exit 42", env={"A": "1 2", "PATH": "/usr/bin:/bin"})
    event = x.run(spec)
    assert (only(event)["exit_code"], only(event)["signal"], event["reason"], event["error"]) == (42, None, "exited", None)
    lines = x.text(spec).split("\n")
    assert {"A=1 2", "PATH=/usr/bin:/bin", "HOME=/root", "HOSTNAME=main", "LANG=C.UTF-8", "WHICH=any"} <= set(lines)
    assert lines[-3:] == ["0", "main", "/"]
    assert "leaks" not in x.text(spec) and "http_proxy" not in x.text(spec)


def test_times_and_usage(x):
    spec = x.spec(["/usr/bin/python3", "-c", "x = bytearray(50 << 20)\nfor i in range(5000000): pass"])
    before = time.time() * 1000
    event = x.run(spec)
    c = only(event)
    started = x.client.wait(spec["id"], "started")
    assert before <= c["started_at"] <= c["finished_at"] <= time.time() * 1000 and event["started_at"] == started["at"]
    if x.client.machine["cgroup_mode"] != "none":
        assert 50 << 20 < c["memory_peak"] < 200 << 20 and 20 < c["cpu_ms"] < 20000


def test_killed_by_signal(x):
    c = only(x.run(x.spec(["/usr/bin/python3", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"], init=True)))
    assert c["exit_code"] == 134
    # The first process of a container ignores what it does not handle; SIGKILL from outside is told as a signal.
    spec = x.spec("sleep 30")
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    os.kill([t for t in x.client.call(op="list")["tasks"] if t["task"] == spec["id"]][0]["containers"][0]["pid"], 9)
    c = only(x.client.wait(spec["id"], "stopped"))
    assert (c["exit_code"], c["signal"], c["oom"]) == (137, 9, False)


def test_default_command_and_entrypoint(x):
    spec = x.spec(None)
    spec["containers"][0]["command"] = None
    x.run(spec)
    assert x.text(spec) == "default"
    spec = x.spec(["b", "c"], entrypoint=["/bin/echo", "a"])
    x.run(spec)
    assert x.text(spec) == "a b c"


def test_tag_decides_environment(x):
    spec = x.spec("echo $WHICH", image="localhost:5000/team/test:2.1-cpu")
    x.run(spec)
    assert x.text(spec) == "two"


@pytest.mark.parametrize("command,error", [
    (["/bin/not-there"], "CannotStartContainerError"), (["/etc/passwd"], "CannotStartContainerError")])
def test_program_that_cannot_run(x, command, error):
    event = x.run(x.spec(command))
    assert event["reason"] == "start-failed" and event["error"].startswith(error + ": ")
    assert only(event)["exit_code"] is None and only(event)["error"] == event["error"]
    assert event["started_at"] is None


@pytest.mark.parametrize("image,text", [
    ("000000000000.dkr.ecr.us-east-1.amazonaws.com/nothing:1", "nothing:1: not found"),
    ("x.example/poor-image", "no-such-package-at-all"), ("UPPER CASE", "invalid reference format")])
def test_image_that_cannot_be_had(x, image, text):
    event = x.run(x.spec("true", image=image))
    assert event["reason"] == "start-failed" and event["error"].startswith("CannotPullContainerError: ") and text in event["error"]


def test_first_of_several_containers_fails_to_start(x):
    spec = x.spec("sleep 20")
    second = dict(spec["containers"][0], name="other", command=["/bin/not-there"], log=None)
    spec["containers"].append(second)
    event = x.run(spec)
    assert event["reason"] == "start-failed" and event["containers"][0]["exit_code"] != 0  # it did not sleep to its end
    assert event["containers"][1]["error"]


def test_second_image_cannot_be_had(x):
    spec = x.spec("sleep 20")
    for name in ("b", "c"):
        spec["containers"].append(dict(spec["containers"][0], name=name, log=None, image="no/such"))
    event = x.run(spec, 15)
    assert event["error"].startswith("CannotPullContainerError") and all(c["started_at"] is None for c in event["containers"])


# ---- limits ----

def limits(x):
    if x.client.machine["cgroup_mode"] == "none":
        pytest.skip("no cgroups on this machine: limits are not enforced")


def test_oom_is_told_from_a_kill(x):
    limits(x)
    event = x.run(x.spec(["/usr/bin/python3", "-c", "x = bytearray(300 << 20)"], memory=64 << 20))
    assert (only(event)["exit_code"], only(event)["signal"], only(event)["oom"]) == (137, 9, True)


def test_oom_of_a_child(x):
    limits(x)
    spec = x.spec("/usr/bin/python3 -c 'x = bytearray(300 << 20)'; echo $?; exit 3", memory=64 << 20)
    event = x.run(spec)
    assert (only(event)["exit_code"], only(event)["oom"], x.text(spec)) == (3, True, "Killed\n137") or \
        (only(event)["exit_code"], only(event)["oom"], x.text(spec)) == (3, True, "137")


def test_cpu_quota(x):
    limits(x)
    spec = x.spec(["/usr/bin/python3", "-c", "import time\nend = time.time() + 2\nwhile time.time() < end: pass"], cpu_quota=0.2)
    c = only(x.run(spec))
    wall = c["finished_at"] - c["started_at"]
    assert c["cpu_ms"] / wall < 0.3


def test_task_limits(x):
    """The containers of a task share its memory and CPUs; the one that asks for more memory than there is is told."""
    limits(x)
    hog = ["/usr/bin/python3", "-c", "import time\nx = bytearray(70 << 20)\ntime.sleep(1)\nprint('held')"]
    spec = x.spec(hog, limits={"memory": 100 << 20, "cpus": 0.5, "cpu_shares": 512})
    event = x.run(spec)
    assert only(event)["exit_code"] == 0 and x.text(spec) == "held", event
    spec["containers"].append(dict(spec["containers"][0], name="second", log=spec["containers"][0]["log"] + "2"))
    spec["id"] = x.new_id()
    event = x.run(spec)
    assert sorted(c["exit_code"] == 137 and c["oom"] for c in event["containers"]) in ([False, True], [True, True]), event
    burn = ["/usr/bin/python3", "-c", "import time\nend = time.time() + 1.5\nwhile time.time() < end: pass"]
    spec = x.spec(burn, limits={"cpus": 0.25})
    spec["containers"].append(dict(spec["containers"][0], name="second", log=None))
    event = x.run(spec)
    wall = max(c["finished_at"] for c in event["containers"]) - min(c["started_at"] for c in event["containers"])
    assert sum(c["cpu_ms"] for c in event["containers"]) / wall < 0.45
    for _ in range(100):  # they go after the end is told
        if not [d for d, _, _ in os.walk("/sys/fs/cgroup") if spec["id"] in d]:
            break
        time.sleep(0.05)
    assert not [d for d, _, _ in os.walk("/sys/fs/cgroup") if spec["id"] in d]


def test_tree_of_version_2():
    """As on a machine with v2 alone: groups are made, killed in one write and removed. Where its controllers belong to v1 (a hybrid machine) limits are
    not enforced, and the executor says so; where they are free, they are."""
    import shutil

    import harness

    if os.geteuid() != 0 or not shutil.which("runc"):
        pytest.skip("needs root and runc (crun's device rules need CAP_SYS_RESOURCE there, which containers lack)")
    prefix = ["unshare", "-m", "sh", "-c", "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"", "sh"]
    try:
        x = harness.Executor(runtime="runc", prefix=prefix)
    except RuntimeError as e:
        pytest.skip("no cgroup2 here: %s" % e)
    try:
        assert x.client.machine["cgroup_mode"] == "unified"
        spec = x.spec("(sleep 1000 &); grep -c quern /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs; exec sleep 1000", limits={"memory": 100 << 20, "cpus": 0.5}, memory=64 << 20, cpu_quota=0.5, pids=50, stop_timeout_ms=100)
        x.submit(spec)
        x.client.wait(spec["id"], "started")
        with open("/proc/%d/cgroup" % x.state(spec["id"])["containers"][0]["pid"]) as f:
            assert "0::/quern/%s/main" % spec["id"] in f.read()
        stats = x.client.call(op="stats", task=spec["id"])["stats"]["main"]
        assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0
        x.stop(spec["id"])
        assert only(x.client.wait(spec["id"], "stopped"))["exit_code"] == 137
        assert "/sys/fs/cgroup/cgroup.procs" in x.text(spec)
        if not any("controllers are missing" in note for note in x.client.machine["notes"]):
            assert only(x.run(x.spec(["/usr/bin/python3", "-c", "x = bytearray(300 << 20)"], limits={"memory": 64 << 20})))["oom"]
    finally:
        x.end()


def test_shares_and_soft_memory(x):
    if x.client.machine["cgroup_mode"] not in ("legacy", "hybrid"):
        pytest.skip("cgroup v1 only")
    spec = x.spec("cd /sys/fs/cgroup; cat cpu/cpu.shares memory/memory.soft_limit_in_bytes memory/memory.limit_in_bytes", cpu_shares=333, memory_reservation=48 << 20, memory=96 << 20)
    x.run(spec)
    assert x.text(spec).split("\n") == ["333", str(48 << 20), str(96 << 20)]


def test_pids(x):
    limits(x)
    spec = x.spec("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done; echo all", pids=10, init=True)
    ended = only(x.run(spec))
    assert ended["exit_code"] != 0 and "all" not in x.text(spec), (ended, x.text(spec))


def test_no_more_processes_than_one(x, request):
    limits(x)
    if "runc" in request.node.callspec.id:
        pytest.skip("runc's own threads count, too, until the container's process begins")
    assert only(x.run(x.spec("exit 3", pids=1)))["exit_code"] == 3


def test_container_sees_its_limits(x):
    if x.client.machine["cgroup_mode"] not in ("legacy", "hybrid"):
        pytest.skip("cgroup v1 only")
    spec = x.spec("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory/memory.limit_in_bytes; "
                  "echo 1 2>/dev/null > /sys/fs/cgroup/cpu/cpu.cfs_quota_us || echo closed", cpu_quota=1.5, memory=128 << 20)
    x.run(spec)
    assert x.text(spec).split("\n") == ["150000", str(128 << 20), "closed"]


def test_shm_and_tmpfs_size(x):
    spec = x.spec("df -k --output=size /dev/shm /cache | tail -2 | tr -d ' '", shm=256 << 20,
                  mounts=[{"type": "tmpfs", "target": "/cache", "size": 4 << 20}])
    x.run(spec)
    assert x.text(spec).split("\n") == [str(256 << 10), str(4 << 10)]


def test_ulimit_above_the_machine_is_cut_with_a_note(x):
    spec = x.spec("ulimit -Hn; ulimit -Sn", ulimits=[{"name": "nofile", "soft": 1 << 40, "hard": 1 << 40}])
    event = x.run(spec)
    hard, soft = x.text(spec).split("\n")
    assert hard == soft and any("ulimit nofile cut to " + hard in note for note in event["notes"])


def test_larger_than_the_machine_is_scaled_down(x):
    event = x.run(x.spec("true", resources={"cpus": 4096, "memory": 1 << 45}, cpu_quota=4096, memory=1 << 45))
    text = json.dumps(event["notes"])
    assert only(event)["exit_code"] == 0 and "task scaled down to" in text and "container main scaled down to" in text


# ---- isolation ----

def test_what_a_container_may_not(x):
    spec = x.spec("; ".join([
        "mount -t tmpfs none /mnt 2>/dev/null && echo mounted", "unshare -U true 2>/dev/null && echo unshared",
        "unshare -m true 2>/dev/null && echo unshared-m", "hostname other 2>/dev/null && echo renamed",
        "echo 1 2>/dev/null > /proc/sys/kernel/panic && echo sysctl", "mknod /tmp/vda b 8 0 2>/dev/null && cat /tmp/vda 2>/dev/null && echo disk",
        "cat /proc/kcore 2>/dev/null | head -c 1 | grep -q . && echo kcore", "ls /proc | grep -c '^[0-9]'",
        "grep -E 'NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t'", "ls -d /home/* /work /root/.ssh /etc/shadow 2>/dev/null"]))
    x.run(spec)
    lines = x.text(spec).split("\n")
    assert int(lines[0]) < 8 and lines[1:] == ["NoNewPrivs:1", "Seccomp:2"]


def capability(x, name, **more):
    spec = x.spec("grep CapEff /proc/self/status | cut -f2", **more)
    x.run(spec)
    return bool(int(x.text(spec), 16) >> {"NET_RAW": 13, "SYS_PTRACE": 19, "CHOWN": 0, "SYS_ADMIN": 21, "NET_ADMIN": 12}[name] & 1)


def test_capabilities(x):
    assert capability(x, "CHOWN") and not capability(x, "SYS_ADMIN") and not capability(x, "SYS_PTRACE")
    assert capability(x, "SYS_PTRACE", capabilities={"add": ["SYS_PTRACE"]})
    assert not capability(x, "CHOWN", capabilities={"drop": ["ALL"]})
    assert capability(x, "NET_RAW") and not capability(x, "NET_RAW", network="host")
    assert not capability(x, "CHOWN", user="1000:1000")


def test_user(x):
    spec = x.spec("id -u; id -g; touch /scratch/file && stat -c %u /scratch/file; echo $HOME; touch /usr/x 2>/dev/null || echo no; echo to-stdout > /dev/stdout", user="1000:100",
                  mounts=[{"type": "scratch", "name": "s", "target": "/scratch"}])
    x.run(spec)
    assert x.text(spec).split("\n") == ["1000", "100", "1000", "/home", "no", "to-stdout"]
    spec = x.spec("id -u", user="www-data")
    x.run(spec)
    assert x.text(spec) == "33"
    assert "unable to find user nosuch" in x.run(x.spec("true", user="nosuch"))["error"]


def test_root_is_writable_and_private(x):
    spec = x.spec("echo a > /usr/local/quern-test-file && echo b > /etc/quern-test && rm /usr/bin/env && ls /usr/local/quern-test-file")
    assert only(x.run(spec))["exit_code"] == 0
    assert os.path.exists("/usr/bin/env") and not os.path.exists("/usr/local/quern-test-file")
    spec = x.spec("ls /usr/bin/env")
    assert only(x.run(spec))["exit_code"] == 0


def test_readonly_root(x):
    spec = x.spec("for d in / /usr /etc; do touch $d/x 2>/dev/null && echo wrote $d; done; touch /work/x /dev/shm/x && echo ok", readonly_root=True,
                  mounts=[{"type": "scratch", "name": "s", "target": "/work"}])
    x.run(spec)
    assert x.text(spec) == "ok"


@pytest.mark.parametrize("change,text", [
    ({"capabilities": {"add": ["SYS_ADMIN"]}}, "may not hold CAP_SYS_ADMIN"),
    ({"capabilities": {"add": ["NET_ADMIN"]}, "network": "host"}, "CAP_NET_ADMIN with network"),
    ({"mounts": [{"type": "bind", "source": "/etc", "target": "/x"}]}, "must be a path below"),
    ({"mounts": [{"type": "scratch", "name": "s", "target": "/proc/x"}]}, "must not be in /proc"),
    ({"files": [{"path": "/a/../etc/passwd", "text": ""}]}, "absolute path without"),
    ({"log": "/var/log/x"}, "must be a path below"), ({"id": "../x"}, "must match [a-z0-9-]{1,128}"),
    ({"stop_signal": "SIGNONE"}, "is not a signal"), ({"user": "0;id"}, "must be `uid[:gid]`")])
def test_specs_that_are_refused(x, change, text):
    answer = x.submit(x.spec("true", **change))
    assert answer["error"]["code"] == "ValidationException" and text in answer["error"]["message"]


def test_no_path_into_the_executors_own_files(x):
    for path in ("tasks", "tasks/.exec", "tasks/some-task", "tasks/some-task/exec/x"):
        mount = {"type": "bind", "source": os.path.join(x.data, path), "target": "/x", "readonly": False}
        answer = x.submit(x.spec("true", mounts=[mount]))
        assert "executor's own directory" in answer["error"]["message"], path


# ---- logs ----

def test_log_is_ordered_and_stamped(x):
    spec = x.spec("for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done; printf 'tail\\rmore'")
    before = int(time.time() * 1000)
    x.run(spec)
    records = x.records(spec)
    assert [text for _, text in records] == [s % i for i in range(1, 6) for s in ("out%d", "err%d")] + ["tail\rmore"]
    stamps = [ms for ms, _ in records]
    assert stamps == sorted(stamps) and before <= stamps[0] and stamps[-1] <= time.time() * 1000


def test_log_is_live(x):
    spec = x.spec("echo first; sleep 20")
    x.submit(spec)
    for _ in range(200):
        if os.path.exists(spec["containers"][0]["log"]) and "first" in x.text(spec):
            break
        time.sleep(0.05)
    assert x.text(spec) == "first"
    x.stop(spec["id"])
    x.client.wait(spec["id"], "stopped")


def test_long_lines_become_several_records(x):
    spec = x.spec(["/usr/bin/python3", "-c", "print('x' * 600000); print('end', end='')"])
    x.run(spec)
    assert [len(text) for _, text in x.records(spec)] == [262144, 262144, 600000 - 2 * 262144, 3]


@SANITIZED
def test_much_output_in_flat_memory(x):
    spec = x.spec("head -c 59850000 /dev/zero | tr '\\0' 'a' | fold -w 63; echo; echo done")
    x.submit(spec)
    peak = 0
    while not any(e["event"]["type"] == "stopped" and e["event"]["task"] == spec["id"] for e in list(x.client.seen)):
        try:
            pid = x.state(spec["id"])["pid"]
            with open("/proc/%d/status" % pid) as f:
                peak = max([peak] + [int(line.split()[1]) for line in f if line.startswith("VmRSS")])
        except (OSError, ValueError):
            pass
        time.sleep(0.02)
    with open(spec["containers"][0]["log"], "rb") as f:
        data = f.read()
    assert data.endswith(b" done\n") and data.count(b"\n") == 950001
    assert 0 < peak < 16 << 10, "RSS %d KiB" % peak


def test_log_appends_and_is_not_followed_through_links(x):
    spec = x.spec("echo two")
    log = spec["containers"][0]["log"]
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "w") as f:
        f.write("1 one\n")
    x.run(spec)
    assert x.text(spec) == "one\ntwo"
    for make in (os.symlink, os.link):
        victim = os.path.join(x.data, "victim")
        with open(victim, "w") as f:
            f.write("")
        spec = x.spec("echo three")
        make(victim, spec["containers"][0]["log"])
        event = x.run(spec)
        assert event["reason"] == "start-failed" and os.path.getsize(victim) == 0


# ---- the end ----

def test_stop_runs_the_handler(x):
    spec = x.spec("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    while not os.path.exists(spec["containers"][0]["log"]) or "ready" not in x.text(spec):
        time.sleep(0.02)
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert (event["reason"], only(event)["exit_code"], x.text(spec)) == ("stop", 7, "ready\nbye")


LATE_HANDLER = """
import os, signal, time
print("up", flush=True)
time.sleep(%s)
signal.signal(signal.SIGTERM, lambda *args: os._exit(7))
while True:
    time.sleep(0.02)
"""


def test_stop_waits_for_the_handler(x):
    """The kernel drops a signal that PID 1 has no handler for: one that comes early is held until there is one."""
    spec = x.spec(["python3", "-Sc", LATE_HANDLER % 1.5], stop_timeout_ms=60000)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    while not os.path.exists(spec["containers"][0]["log"]) or "up" not in x.text(spec):
        time.sleep(0.02)
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert (event["reason"], only(event)["exit_code"]) == ("stop", 7)


@pytest.mark.parametrize("command,init,code", [(["python3", "-Sc", LATE_HANDLER % 0], False, 7), (["sleep", "600"], True, 143)], ids=["handler", "init"])
def test_stop_at_any_moment(x, command, init, code):
    """Just before, just after, and while its program starts: nobody waits out the grace."""
    if init and not os.path.exists("/usr/bin/tini-static"):
        pytest.skip("tini is not installed")
    for pause in (0, 0.02, 0.05, 0.1, "started", "started", "started", "started"):
        spec = x.spec(command, init=init, stop_timeout_ms=60000)
        x.submit(spec)
        if pause == "started":
            x.client.wait(spec["id"], "started")
        else:
            time.sleep(pause)
        x.stop(spec["id"])
        event = x.client.wait(spec["id"], "stopped")
        ran = only(event)["started_at"] is not None
        assert event["reason"] == "stop" and event["error"] is None and only(event)["exit_code"] == (code if ran else None), (pause, event)
        assert ran or pause != "started"


def test_stop_is_sent_once(x):
    """An init that waits for signals passes each on; one that handles them counts them."""
    count = "import signal, time\nn = []\nsignal.signal(signal.SIGTERM, lambda *args: n.append(1))\nprint('ready', flush=True)\nend = time.monotonic() + 2\nwhile time.monotonic() < end: time.sleep(0.02)\nprint('signals', len(n))"
    for init in (True, False) if os.path.exists("/usr/bin/tini-static") else (False,):
        spec = x.spec(["python3", "-Sc", count], init=init, stop_timeout_ms=60000)
        x.submit(spec)
        x.client.wait(spec["id"], "started")
        while not os.path.exists(spec["containers"][0]["log"]) or "ready" not in x.text(spec):
            time.sleep(0.02)
        x.stop(spec["id"])
        x.client.wait(spec["id"], "stopped")
        assert x.text(spec).split("\n")[-1] == "signals 1", x.text(spec)


def test_stop_kills_after_the_grace(x):
    spec = x.spec("trap '' TERM; echo ready; sleep 60 & wait; sleep 60", stop_timeout_ms=700)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    started = time.time()
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert event["reason"] == "stop" and only(event)["signal"] == 9 and only(event)["exit_code"] == 137
    assert time.time() - started > 0.6 and not only(event)["oom"]


def test_own_stop_signal(x):
    spec = x.spec("trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done", stop_signal="SIGUSR1")
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    while not os.path.exists(spec["containers"][0]["log"]) or "ready" not in x.text(spec):
        time.sleep(0.02)
    x.stop(spec["id"])
    assert only(x.client.wait(spec["id"], "stopped"))["exit_code"] == 5


def test_max_runtime(x):
    event = x.run(x.spec("exec sleep 600", max_runtime_ms=500, stop_timeout_ms=60000, init=True))
    assert event["reason"] == "timeout" and only(event)["exit_code"] == 143


def test_essential_container_ends_the_others(x):
    spec = x.spec("sleep 0.3; exit 4")
    log = spec["containers"][0]["log"] + "-2"
    spec["containers"].append({"name": "side", "image": IMAGE, "command": ["/bin/sh", "-c", "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done"],
                               "essential": False, "log": log})
    event = x.run(spec)
    assert event["reason"] == "exited" and [c["exit_code"] for c in event["containers"]] == [4, 0] and x.text(spec, 1) == "asked"


def test_on_failure_containers_end_together_only_when_one_fails(x):
    def pair(first, second):
        spec = x.spec(first, essential="on-failure", stop_timeout_ms=500)
        spec["containers"].append(dict(spec["containers"][0], name="second", log=None, command=["/bin/sh", "-c", second]))
        return x.run(spec)
    assert [c["exit_code"] for c in pair("exit 0", "sleep 1; exit 0")["containers"]] == [0, 0]
    codes = [c["exit_code"] for c in pair("sleep 0.2; exit 3", "sleep 30")["containers"]]
    assert codes[0] == 3 and codes[1] == 137


def test_init_reaps_and_passes_signals(x):
    if not os.path.exists("/usr/bin/tini-static"):
        pytest.skip("tini is not installed")
    spec = x.spec("exec sleep 60", init=True)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    time.sleep(0.3)
    x.stop(spec["id"])
    assert only(x.client.wait(spec["id"], "stopped"))["exit_code"] == 143


def test_nothing_is_left(x):
    spec = x.spec("touch /tmp/x; sleep 1000 & true")
    x.run(spec)
    for _ in range(100):
        left = [d for d, _, _ in os.walk("/sys/fs/cgroup") if spec["id"] in d]
        trees = [n for n in ("s", "u") if os.path.exists(os.path.join(x.task_dir(spec["id"]), "exec", n))]
        if not left and not trees:
            break
        time.sleep(0.05)
    assert not left and not trees
    with open("/proc/self/mountinfo") as f:
        assert spec["id"] not in f.read()
    assert x.client.call(op="forget", task=spec["id"]).get("ok")
    for _ in range(100):
        if not os.path.exists(x.task_dir(spec["id"])):
            break
        time.sleep(0.05)
    assert not os.path.exists(x.task_dir(spec["id"]))
    assert x.submit(spec)["state"] == "forgotten"  # a late repetition does not run it again
