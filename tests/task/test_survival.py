"""kill -9 of the executor, the daemon's connection, the supervisor; the queue."""
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import harness


def wait_for(check, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("did not happen within %d s" % seconds)


def start(x, command, **more):
    spec = x.spec(command, **more)
    assert x.submit(spec)["state"] == "live"
    x.client.wait(spec["id"], "started")
    time.sleep(0.2)  # a signal before a reaper is ready is lost, as with every PID 1
    return spec


def test_tasks_survive_a_killed_executor(own):
    x = own
    spec = start(x, "echo a; while [ ! -e /s/go ]; do sleep 0.05; done; echo b; exit 3", mounts=[{"type": "scratch", "name": "s", "target": "/s"}],
                 resources={"cpus": 1.0, "memory": 1 << 20})
    supervisor = x.state(spec["id"])["pid"]
    x.kill(9)
    time.sleep(0.3)
    x.start()
    assert x.client.wait(spec["id"], "started") and x.client.machine["cpus_free"] == x.client.machine["cpus"] - 1
    live = x.client.call(op="list")["tasks"]
    assert [t["task"] for t in live] == [spec["id"]] and live[0]["state"] == "running" and live[0]["containers"][0]["pid"] > 1
    assert x.state(spec["id"])["pid"] == supervisor
    open(os.path.join(x.task_dir(spec["id"]), "exec", "s", "s", "go"), "w").close()
    event = x.client.wait(spec["id"], "stopped")
    assert event["containers"][0]["exit_code"] == 3 and x.text(spec) == "a\nb"
    assert x.client.call(op="machine")["machine"]["cpus_free"] == x.client.machine["cpus"]


def test_a_task_that_ends_while_the_executor_is_away(own):
    x = own
    spec = start(x, "sleep 0.5; exit 5")
    x.kill(9)
    wait_for(lambda: x.state(spec["id"])["phase"] == "stopped")
    x.start()
    assert x.client.wait(spec["id"], "stopped")["containers"][0]["exit_code"] == 5


def test_stop_after_readoption(own):
    x = own
    spec = start(x, "exec sleep 100", init=True)
    x.kill(9)
    x.start()
    x.stop(spec["id"])
    assert x.client.wait(spec["id"], "stopped")["reason"] == "stop"


def test_the_result_is_told_until_it_is_forgotten(own):
    x = own
    spec = x.spec("exit 6")
    first = x.run(spec)
    for _ in range(2):  # the daemon died before it wrote the result down
        x.client.close()
        x.client = harness.Client(x.socket)
        assert x.client.wait(spec["id"], "stopped") == first
    x.kill(9)
    x.start()
    assert x.client.wait(spec["id"], "stopped") == first and x.client.seen[0]["owner"] == "job/x"
    x.client.call(op="forget", task=spec["id"])
    x.client.close()
    x.client = harness.Client(x.socket)
    x.run("true")
    assert spec["id"] not in [m["event"]["task"] for m in x.client.seen]


def test_a_start_is_idempotent(own):
    x = own
    spec = x.spec("echo once; sleep 0.5")
    states = [x.submit(spec)["state"] for _ in range(3)]
    x.client.wait(spec["id"], "stopped")
    assert states == ["live"] * 3 and x.submit(spec)["state"] == "stopped" and x.text(spec) == "once"
    x.kill(9)
    x.start()
    assert x.submit(spec)["state"] == "stopped"
    x.client.call(op="forget", task=spec["id"])
    x.kill(9)
    x.start()
    assert x.submit(spec)["state"] == "forgotten" and x.text(spec) == "once"


def test_killed_supervisor_is_lost_and_its_containers_die(own):
    x = own
    spec = start(x, "sleep 1000 & sleep 1000")
    state = x.state(spec["id"])
    container = state["containers"][0]["pid"]
    os.kill(state["pid"], 9)
    event = x.client.wait(spec["id"], "stopped")
    assert event["reason"] == "lost" and event["error"].startswith("TaskLost") and event["containers"][0]["exit_code"] is None
    assert event["started_at"] and event["containers"][0]["started_at"]
    wait_for(lambda: not alive(container))
    assert not [d for d, _, _ in os.walk("/sys/fs/cgroup") if spec["id"] in d]
    assert x.client.call(op="machine")["machine"]["cpus_free"] == x.client.machine["cpus"]


def test_the_machine_goes_down_in_order(own):
    x = own
    spec = start(x, "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for(lambda: os.path.exists(spec["containers"][0]["log"]) and x.text(spec) == "ready")
    os.kill(x.state(spec["id"])["pid"], 15)
    event = x.client.wait(spec["id"], "stopped")
    assert event["reason"] == "lost" and event["error"].startswith("TaskLost") and x.text(spec) == "ready\nsaved"


def test_supervisor_killed_while_the_executor_was_away(own):
    x = own
    spec = start(x, "sleep 1000")
    state = x.state(spec["id"])
    x.kill(9)
    os.kill(state["pid"], 9)
    time.sleep(0.1)
    x.start()
    assert x.client.wait(spec["id"], "stopped")["reason"] == "lost"
    wait_for(lambda: not alive(state["containers"][0]["pid"]))


def test_supervisor_killed_while_it_prepares(own):
    """What it forked ahead for the runtimes must not stay."""
    x = own
    spec = x.spec("sleep 1000")
    spec["containers"] += [dict(spec["containers"][0], name="c%d" % i, log=None) for i in range(20)]
    x.submit(spec)
    supervisor = wait_for(lambda: [p for p in children(x.process.pid) if title(p).endswith(spec["id"])])[0]
    wait_for(lambda: children(supervisor))
    below = children(supervisor)
    os.kill(supervisor, 9)
    x.client.wait(spec["id"], "stopped")
    wait_for(lambda: not [p for p in below if alive(p)])
    wait_for(lambda: not [d for d, _, _ in os.walk("/sys/fs/cgroup") if spec["id"] in d])


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def title(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_task_of_an_earlier_boot_is_lost_not_run_again(own):
    x = own
    spec = start(x, "echo ran; exec sleep 1000")
    wait_for(lambda: os.path.exists(spec["containers"][0]["log"]) and x.text(spec) == "ran")
    state = x.state(spec["id"])
    x.kill(9)
    os.kill(state["pid"], 9)
    os.kill(state["containers"][0]["pid"], 9)
    path = os.path.join(x.task_dir(spec["id"]), "exec", "task.json")
    with open(path) as f:
        text = f.read()
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()
    assert boot in text
    with open(path, "w") as f:
        f.write(text.replace(boot, "00000000-0000-0000-0000-000000000000"))
    os.unlink(os.path.join(x.task_dir(spec["id"]), "exec", "state.json"))  # not yet on disk when the power failed
    x.start()
    assert x.client.wait(spec["id"], "stopped")["reason"] == "lost" and x.text(spec) == "ran"


def test_accepted_but_not_forked(own):
    x = own
    spec = x.spec("echo ran")
    x.run(spec)
    exec_dir = os.path.join(x.task_dir(spec["id"]), "exec")
    supervisor = x.state(spec["id"])["pid"]
    wait_for(lambda: not alive(supervisor))
    x.kill(9)
    # As if the executor died between writing task.json and the fork: no supervisor, no state.
    for name in os.listdir(exec_dir):
        if name != "task.json":
            os.unlink(os.path.join(exec_dir, name))
    os.unlink(spec["containers"][0]["log"])
    x.start()
    assert x.client.wait(spec["id"], "stopped")["containers"][0]["exit_code"] == 0 and x.text(spec) == "ran"


def test_only_one_executor_a_data_directory(own):
    other = subprocess.run([harness.program(), "executor", "--socket", own.socket + "2", "--data", own.data, "--images", own.images],
                           stderr=subprocess.PIPE, timeout=20)
    assert other.returncode == 1 and b"does another executor run?" in other.stderr


# ---- the queue ----

def test_full_machine_queues_in_order(own):
    x = own
    cpus = x.client.machine["cpus"]
    first = start(x, "exec sleep 100", init=True, resources={"cpus": cpus})
    waiting = []
    for wanted in (cpus, 0.1, 0.1):  # small ones do not overtake the large one
        spec = x.spec("date +%s%N", resources={"cpus": wanted})
        assert x.submit(spec)["state"] == "queued"
        assert "CPUs" in x.client.wait(spec["id"], "queued")["reason"]
        waiting.append(spec)
    time.sleep(0.5)
    assert not [m for m in x.client.seen if m["event"]["type"] == "started" and m["event"]["task"] != first["id"]]
    x.kill(9)
    x.start()
    assert x.client.wait(waiting[0]["id"], "queued")
    x.stop(first["id"])
    ends = [x.client.wait(spec["id"], "stopped") for spec in waiting]
    assert all(e["containers"][0]["exit_code"] == 0 for e in ends)
    times = [int(x.text(spec)) for spec in waiting]
    assert times[0] < min(times[1:])


def test_memory_is_booked(own):
    x = own
    memory = x.client.machine["memory"]
    first = start(x, "exec sleep 100", init=True, resources={"memory": memory - (1 << 20)})
    second = x.spec("true", resources={"memory": 2 << 20})
    assert x.submit(second)["state"] == "queued"
    third = x.spec("true")
    x.submit(third)
    x.stop(third["id"])
    event = x.client.wait(third["id"], "stopped")
    assert event["reason"] == "stop" and event["started_at"] is None and event["containers"][0]["exit_code"] is None
    x.stop(first["id"])
    assert x.client.wait(second["id"], "stopped")["reason"] == "exited"


def test_many_at_once(own):
    x = own
    specs = [x.spec("echo %d" % i) for i in range(30)]
    for n in [x.client.send(op="start", owner="job/%s" % spec["id"], spec=spec) for spec in specs]:
        assert "state" in x.client.answer(n, 60)
    for i, spec in enumerate(specs):
        event = x.client.wait(spec["id"], "stopped", 60)
        assert event["containers"][0]["exit_code"] == 0 and x.text(spec) == str(i), event
    owners = {m["event"]["task"]: m["owner"] for m in x.client.seen}
    assert all(owners[spec["id"]] == "job/" + spec["id"] for spec in specs)


# ---- bad clients ----

def test_nonsense_on_the_socket(own):
    x = own
    for data in (b"\xff\xff\xff\xff", b"\0\0\0\5{{{{{", b"\0\0\0\2[]", b"\0\0\0\x0d{\"op\":\"what\"}", b"\0\0\0\x04null"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(x.socket)
        s.sendall(data)
        s.settimeout(0.2)
        try:
            s.recv(1000)
        except socket.timeout:
            pass
        s.close()
    assert x.run("exit 9")["containers"][0]["exit_code"] == 9


def test_strangers_may_not_connect(own):
    code = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ntry:\n s.connect(sys.argv[1])\n s.sendall(b'\\0\\0\\0\\x0d{\"op\":\"list\"}')\n"
            " print(s.recv(100))\nexcept OSError as e:\n print(type(e).__name__)")
    os.chmod(own.socket, 0o666)
    out = subprocess.run(["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", "/usr/bin/python3", "-c", code, own.socket],
                         stdout=subprocess.PIPE, text=True, timeout=20).stdout.strip()
    assert out in ("b''", "ConnectionResetError", "BrokenPipeError"), out


def supervisor_says(path, state):
    """In a supervisor's place: tells the executor this state; returns what ends it."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    held = []

    def serve():
        data = json.dumps({"state": state}).encode()
        held.append(server.accept()[0])
        held[0].sendall(struct.pack(">I", len(data)) + data)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def end():
        thread.join(20)
        for s in held + [server]:
            s.close()
    return end


def test_statistics_of_a_pid_that_is_another_process_now(own):
    """The process had that number once; what has it now began later, and its network is nobody's business."""
    x = own
    other = x.spec("exec sleep 1000", network="private", stop_timeout_ms=100)
    other["containers"].append(dict(other["containers"][0], name="side", log=None))
    x.submit(other)
    x.client.wait(other["id"], "started")
    networks = lambda: x.client.call(op="stats", task=other["id"])["stats"]["main"]["networks"]  # noqa: E731
    assert list(networks()) == ["eth0"]
    state = x.state(other["id"])
    state["containers"][0]["pid_start"] -= 1
    x.kill(9)
    ctl = os.path.join(x.task_dir(other["id"]), "exec", "ctl")
    os.unlink(ctl)
    end = supervisor_says(ctl, state)
    x.start()
    wait_for(lambda: networks() == {})
    os.kill(state["pid"], signal.SIGKILL)
    end()
    assert x.client.wait(other["id"], "stopped")["reason"] == "lost"
