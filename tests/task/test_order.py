"""Several containers: in which order they start and end, and which are started again."""
import os
import time


def task(x, *containers, **more):
    """Containers as (name, command, extra members); all share /s and log to one file each."""
    spec = x.spec("true", **more)
    first = spec["containers"][0]
    spec["containers"] = []
    for name, command, extra in containers:
        spec["containers"].append(dict(first, name=name, command=["/bin/sh", "-c", command], log="%s-%s" % (first["log"], name),
                                       mounts=[{"type": "scratch", "name": "s", "target": "/s"}], **extra))
    return spec


def by_name(event):
    return {c["name"]: c for c in event["containers"]}


def test_stop_goes_backwards(x):
    """front waits for middle, middle for back: front ends first, back last; each ends when the one before has."""
    handler = "trap 'sleep 0.3; echo %s >> /s/order; exit 0' TERM; while :; do sleep 0.05; done"
    spec = task(x, ("back", handler % "back", {}),
                ("middle", handler % "middle", {"after": [{"container": "back", "condition": "START"}]}),
                ("front", handler % "front", {"after": [{"container": "middle", "condition": "START"}]}),
                outputs=[{"name": "o", "from": "s", "path": "", "form": "files", "when": "always"}])
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    time.sleep(0.3)  # the traps are set
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert [c["exit_code"] for c in event["containers"]] == [0, 0, 0], event
    with open(event["outputs"][0]["files"][0]["path"]) as f:
        assert f.read().split() == ["front", "middle", "back"]


def test_every_condition(x):
    """START, COMPLETE (whatever the exit code), SUCCESS and HEALTHY in one task."""
    health = {"command": ["CMD-SHELL", "test -f /s/ready"], "interval_ms": 100, "timeout_ms": 5000, "retries": 50, "start_period_ms": 0}
    after = lambda *pairs: {"after": [{"container": c, "condition": k} for c, k in pairs]}  # noqa: E731
    spec = task(x, ("starts", "sleep 0.3; touch /s/ready; exec sleep 60", {"essential": False, "health": health, "stop_timeout_ms": 100}),
                ("completes", "echo completes >> /s/o; exit 3", {"essential": False, **after(("starts", "START"))}),
                ("succeeds", "echo succeeds >> /s/o", {"essential": False, **after(("completes", "COMPLETE"))}),
                ("last", "cat /s/o; test -f /s/ready && echo healthy", after(("succeeds", "SUCCESS"), ("starts", "HEALTHY"))))
    event = x.run(spec)
    assert x.text(spec, 3).split() == ["completes", "succeeds", "healthy"], event
    assert {n: c["exit_code"] for n, c in by_name(event).items()} == {"starts": 137, "completes": 3, "succeeds": 0, "last": 0}


def test_a_dependency_that_takes_too_long(x):
    spec = task(x, ("slow", "sleep 60", {"essential": False, "start_timeout_ms": 300}),
                ("main", "true", {"after": [{"container": "slow", "condition": "COMPLETE"}]}))
    event = x.run(spec)
    assert event["reason"] == "start-failed" and "dependency [slow] for target [main] has timed out" in event["error"]
    assert by_name(event)["main"]["started_at"] is None and by_name(event)["slow"]["exit_code"] == 137


def test_a_check_that_fails(x):
    """Failures in the start period do not count; after `retries` it is unhealthy; a dependency on it is never met."""
    health = {"command": ["CMD", "/bin/false"], "interval_ms": 100, "timeout_ms": 2000, "retries": 2, "start_period_ms": 300}
    spec = task(x, ("db", "exec sleep 60", {"health": health, "stop_timeout_ms": 100}), report=True)
    x.submit(spec)
    for _ in range(200):
        told = [m["event"] for m in list(x.client.seen) if m["event"]["task"] == spec["id"] and m["event"]["type"] == "changed"]
        if told and told[-1]["containers"][0]["health"] == "UNHEALTHY":
            break
        time.sleep(0.05)
    assert told and told[-1]["containers"][0]["health"] == "UNHEALTHY"
    x.stop(spec["id"])
    assert x.client.wait(spec["id"], "stopped")["reason"] == "stop"


def test_restart(x):
    """It goes on in the same root until an exit code that is ignored; the task does not end before."""
    command = "n=$(cat /n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > /n; echo run $n; [ $n = 3 ] && exit 9; exit 4"
    spec = task(x, ("main", command, {"restart": {"period_ms": 0, "ignored": [9]}, "memory": 64 << 20, "cpu_quota": 0.5, "pids": 50}))
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["run 1", "run 2", "run 3"] and event["containers"][0]["exit_code"] == 9
    assert event["reason"] == "exited" and x.state(spec["id"])["containers"][0]["restarts"] == 2


def test_no_restart_before_the_period(x):
    spec = task(x, ("main", "echo once; exit 4", {"restart": {"period_ms": 60000}}))
    event = x.run(spec)
    assert x.text(spec) == "once" and event["containers"][0]["exit_code"] == 4


def test_a_stop_is_not_restarted(x):
    spec = task(x, ("main", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done", {"restart": {"period_ms": 0}}))
    x.submit(spec)
    while not os.path.exists(spec["containers"][0]["log"]) or "up" not in x.text(spec):
        time.sleep(0.02)
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert event["reason"] == "stop" and x.text(spec) == "up"


def test_names_and_resolvers(x):
    spec = x.spec("hostname; cat /etc/hostname; grep -v local /etc/hosts | tr '\\t' ' '; cat /etc/resolv.conf; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax",
                  hostname="web", hosts=[{"name": "db.internal", "ip": "10.1.2.3"}, {"name": "six", "ip": "fd00::1"}],
                  dns={"servers": ["10.0.0.2", "fd00::2"], "search": ["corp.example", "example"]}, sysctls={"net.core.somaxconn": "777", "kernel.msgmax": "9000"})
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["web", "web", "127.0.0.1 main web", "10.1.2.3 db.internal", "fd00::1 six", "nameserver 10.0.0.2", "nameserver fd00::2",
                                        "search corp.example example", "777", "9000"], event
    for change, text in (({"hosts": [{"name": "a b", "ip": "1.2.3.4"}]}, "no host name"), ({"hosts": [{"name": "a", "ip": "nowhere"}]}, "no address"),
                         ({"dns": {"servers": ["x\nnameserver 1.1.1.1"]}}, "no address"), ({"sysctls": {"kernel.panic": "1"}}, "not the container's own"),
                         ({"sysctls": {"net.core.somaxconn": "1"}, "network": "host"}, "not the container's own")):
        assert text in x.submit(x.spec("true", **change))["error"]["message"]


def test_init_reaps(x):
    """With init, PID 1 is the reaper: orphans do not stay as zombies, and TERM ends a program without a handler."""
    spec = x.spec("cat /proc/1/comm; (sleep 0.1 &); sleep 0.6; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l", init=True)
    x.run(spec)
    name, zombies = x.text(spec).split("\n")
    assert ("tini" in name or "catatonit" in name or name == "init") and zombies == "0"
    spec = x.spec(["sleep", "60"], init=True)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    time.sleep(0.2)
    x.stop(spec["id"])
    assert x.client.wait(spec["id"], "stopped", 20)["containers"][0]["exit_code"] == 143
