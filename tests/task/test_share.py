"""Containers of one task that share processes or IPC."""
import os
import signal

import pytest

from harness import IMAGE

SHARED = {"shared_pid": True}


def both(x, first, second, first_more=None, second_more=None, **task):
    """A task of `main` and `side`, whose logs are text(spec) and text(spec, 1)."""
    spec = x.spec(first, **(first_more or {}))
    spec.update(task)
    spec["containers"].append(dict({"name": "side", "image": IMAGE, "essential": False, "command": ["/bin/sh", "-c", second], "stop_timeout_ms": 2000,
                                    "log": os.path.join(x.data, "logs", spec["id"] + "-side")}, **(second_more or {})))
    return spec


def test_processes_are_seen_and_signalled(x):
    spec = both(x, """
tr '\\0' ' ' < /proc/1/cmdline | sed 's/ *$//'; echo; cat /proc/1/comm; echo $(( $$ > 1 ))
until pgrep -f '^sleep 0.1234' > /dev/null; do :; done; pkill -USR1 -f '[s]ide-was-here'  # its handler is there now
while pgrep -f '[s]ide-was-here' > /dev/null; do sleep 0.02; done
for f in root/. environ mem; do head -c 1 /proc/1/$f; done 2>&1 | sed 's/.*: //'; ls /proc/1/fd
kill -9 1; echo alive""", "trap 'echo got; exit 7' USR1; : side-was-here; while :; do sleep 0.1234; done", **SHARED)
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["quern pause", "quern-pause", "1"] + ["Permission denied"] * 3 + ["alive"], event
    assert x.text(spec, 1) == "got"
    assert [c["exit_code"] for c in event["containers"]] == [0, 7]


def test_not_shared_unless_asked(x):
    spec = both(x, "echo $$; ls /proc/*/comm | grep -c .; ipcs -m | grep -c '^0x' || true", "sleep 100", second_more={"stop_timeout_ms": 100})
    x.run(spec)
    assert x.text(spec).split("\n")[0] == "1" and x.text(spec).split("\n")[2] == "0"


def test_what_a_container_leaves_ends_with_it(x):
    """Its own orphans, though they share the PID name space with a container that goes on; zombies are reaped."""
    if x.client.machine["cgroup_mode"] == "none":
        pytest.skip("no control groups: what is left ends with the task")
    spec = both(x, """
until pgrep -f '^sleep 4711' > /dev/null; do sleep 0.02; done; echo seen
while pgrep -f '^sleep 4711' > /dev/null; do sleep 0.02; done; echo gone
ps -e -o stat= | grep -c Z""", "(sleep 4711 &); until false; do sleep 0.2; break; done; (sleep 0.01 &); sleep 0.5", **SHARED)
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["seen", "gone", "0"], event
    assert event["containers"][1]["exit_code"] == 0 and event["reason"] == "exited"


def test_stop_signal_ends_a_program_without_a_handler(x):
    """It is not process 1, so SIGTERM has its effect: no grace period is waited out."""
    spec = both(x, "exec sleep 1000", "exec sleep 1000", {"stop_timeout_ms": 600000}, {"stop_timeout_ms": 600000}, **SHARED)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert [c["signal"] for c in event["containers"]] == [signal.SIGTERM] * 2 and event["reason"] == "stop"


def test_a_container_is_started_again_in_the_same_name_space(x):
    spec = both(x, "until test $(pgrep -f -c '[a]gain-and-again') = 0 -a -e /tmp/x; do touch /tmp/x; sleep 0.3; done; sleep 0.5",
                "echo $(cat /proc/1/comm) again-and-again; sleep 0.2; exit 3", None, {"restart": {"period_ms": 0, "ignored": []}}, report=True, **SHARED)
    x.run(spec)
    lines = x.text(spec, 1).split("\n")
    assert len(lines) > 1 and set(lines) == {"quern-pause again-and-again"}


def test_health_checks_and_ends(x):
    """A check runs in the shared name space; the supervisor's death ends all containers."""
    spec = both(x, "sleep 1000", "sleep 1000", {"health": {"command": ["CMD-SHELL", "test $(cat /proc/1/comm) = quern-pause"], "interval_ms": 100, "timeout_ms": 5000, "retries": 1, "start_period_ms": 0}},
                report=True, **SHARED)
    assert "error" not in x.submit(spec)
    x.client.wait(spec["id"], "started")
    for _ in range(200):
        event = x.client.wait(spec["id"], "changed")
        if x.state(spec["id"])["containers"][0].get("health") == "HEALTHY":
            break
        x.client.seen[:] = [m for m in x.client.seen if m["event"] is not event]
    state = x.state(spec["id"])
    assert state["containers"][0]["health"] == "HEALTHY"
    os.kill(state["pid"], signal.SIGKILL)
    assert x.client.wait(spec["id"], "stopped")["reason"] == "lost"
    for c in state["containers"]:
        for _ in range(500):
            if not os.path.exists("/proc/%d" % c["pid"]):
                break
            signal.sigtimedwait([], 0.02)
        assert not os.path.exists("/proc/%d" % c["pid"])


def test_tracing_is_refused(x):
    spec = x.spec("true", capabilities={"add": ["SYS_PTRACE"]})
    assert "error" not in x.submit(dict(spec, id=x.new_id()))
    answer = x.submit(dict(spec, **SHARED))
    assert "may not hold CAP_SYS_PTRACE where containers share a PID name space" in answer["error"]["message"]


MAKE = "ipcmk -M 4096 > /dev/null; echo hello > /dev/shm/word; stat -f -c '%b %S' /dev/shm | awk '{print $1 * $2}'"
LOOK = "until test -s /dev/shm/word; do sleep 0.02; done; cat /dev/shm/word; ipcs -m | grep -c '^0x'; cat /proc/sys/kernel/shmmni; ls -d /dev/mqueue"


def test_ipc_of_the_task(x):
    spec = both(x, LOOK, MAKE + "; sleep 1000", {"shm": 8 << 20}, {"shm": 16 << 20, "stop_timeout_ms": 100, "sysctls": {"kernel.shmmni": "77"}}, ipc="task")
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["hello", "1", "77", "/dev/mqueue"], event
    assert x.text(spec, 1) == str(16 << 20)


def test_ipc_of_nobody(x):
    spec = both(x, "ls -d /dev/shm 2>&1 | sed 's/.*: //'; ipcs -m | grep -c '^0x'", "ipcmk -M 4096; sleep 1000", None, {"stop_timeout_ms": 100}, ipc="none")
    x.run(spec)
    assert x.text(spec).split("\n") == ["No such file or directory", "0"]


def test_both_with_a_user(x):
    spec = both(x, "until test -s /dev/shm/word; do sleep 0.02; done; cat /dev/shm/word /proc/1/comm; id -u", "echo hi > /dev/shm/word; sleep 1000",
                {"user": "1000:1000"}, {"user": "1000:1000", "stop_timeout_ms": 100}, ipc="task", **SHARED)
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["hi", "quern-pause", "1000"], event
