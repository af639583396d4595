"""What a task definition can ask for beyond image and command: sizes, GPUs, names, order, ends, limits."""

import json
import os
import shutil
import signal
import stat
import time

import pytest
from botocore.exceptions import ClientError

from api import helpers
from api.daemon import Quern, program
from api.test_ecs import ROLE, VPC, awslogs, code_of, container, describe, lines, output, register, run, running, stopped

# Holds 300 MiB for some seconds: a writer whose reader does not read.
HOLD = "busybox mkfifo /f; sleep 4 < /f & exec dd if=/dev/zero of=/f bs=300M count=1"


def by_name(task):
    return {c["name"]: c for c in task["containers"]}


def text_of(quern, group, arn, name="main"):
    return lines(quern, group, f"p/{name}/" + arn.rsplit("/", 1)[1])


def test_memory_of_the_whole_task(quern):
    """Fargate's 512 MiB are for both containers together; the one that does not fit is told in AWS's words."""
    one = lambda name: {k: v for k, v in container(quern, HOLD, name=name, essential=False, stopTimeout=1).items() if k != "memory"}  # noqa: E731
    main = {k: v for k, v in container(quern, "sleep 6").items() if k != "memory"}
    definition = register(quern, main, one("a"), one("b"), requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512")
    task = stopped(quern, run(quern, definition, launchType="FARGATE", networkConfiguration=VPC))
    killed = [c for c in task["containers"] if c.get("reason") == "OutOfMemoryError: Container killed due to memory usage"]
    if quern.machine()["cgroup_mode"] == "none":
        pytest.skip("no control groups on this machine")
    assert killed and all(c["exitCode"] == 137 and c["name"] in "ab" for c in killed), task
    assert (task["cpu"], task["memory"], task["stopCode"]) == ("256", "512", "EssentialContainerExited")


def test_sizes_as_the_container_sees_them(quern):
    """Quota of the task, weight, hard and soft memory of the container."""
    if quern.machine()["cgroup_mode"] not in ("legacy", "hybrid"):
        pytest.skip("cgroup v1 only")
    see = "cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.shares memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes"
    task, text = output(quern, see, container={"memory": 96, "memoryReservation": 48, "cpu": 333}, definition={"cpu": "512", "memory": "200"})
    assert text == ["50000", "333", str(96 << 20), str(48 << 20)], task  # period 100 ms
    task, text = output(quern, see, container={"memory": 96, "cpu": 333}, definition={"cpu": "512", "memory": "200"},
                        overrides={"cpu": "256", "containerOverrides": [{"name": "main", "memory": 64, "cpu": 128}]})
    assert text[:3] == ["25000", "128", str(64 << 20)], task


# ---- GPUs ----

def fake_gpus(directory):
    """Two GPUs whose nodes are copies of /dev/null and /dev/full."""
    devices = []
    for i, minor in enumerate((3, 7)):
        node = os.path.join(directory, f"gpu{i}")
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        devices.append({"name": f"GPU-{i}", "containerEdits": {"env": [f"FAKE_GPU={i}"], "deviceNodes": [{"path": "/dev/fake", "hostPath": node}]}})
    library = os.path.join(directory, "libfake.so")
    with open(library, "w", encoding="ascii") as f:
        f.write("driver\n")
    spec = {"cdiVersion": "0.6.0", "kind": "fake.example/gpu", "devices": devices, "containerEdits": {"mounts": [{"hostPath": library, "containerPath": "/lib/libfake.so"}]}}
    with open(os.path.join(directory, "fake.json"), "w", encoding="ascii") as f:
        json.dump(spec, f)


@pytest.fixture
def gpu_quern(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("device nodes need root")
    tmp_path.chmod(0o755)
    fake_gpus(str(tmp_path))
    q = Quern(program())
    q.own["QUERN_CDI_DIRS"] = str(tmp_path)
    q.up()
    yield q
    q.down()
    shutil.rmtree(q.home, ignore_errors=True)


def test_gpus(gpu_quern):
    """Each task has its own; who finds none waits; who asks for more than there are fails."""
    quern = gpu_quern
    gpu = lambda n: {"resourceRequirements": [{"type": "GPU", "value": str(n)}]}  # noqa: E731
    group = helpers.unique("/ecs/gpu")
    script = "echo gpu $FAKE_GPU; cat /lib/libfake.so; stat -c %t:%T /dev/fake; sleep 600"
    definition = register(quern, container(quern, script, stopTimeout=1, logConfiguration=awslogs(group), **gpu(1)))
    first, second = run(quern, definition), run(quern, definition)
    running(quern, first), running(quern, second)
    ids = [quern.wait(lambda arn=arn: describe(quern, arn)["containers"][0].get("gpuIds")) for arn in (first, second)]
    assert sorted(sum(ids, [])) == ["GPU-0", "GPU-1"]
    mine = ids[0][0][-1]
    assert quern.wait(lambda: len(text_of(quern, group, first)) == 3 and text_of(quern, group, first)) == ["gpu " + mine, "driver", {"0": "1:3", "1": "1:7"}[mine]]
    third = run(quern, definition)
    time.sleep(1)
    assert describe(quern, third)["lastStatus"] == "PENDING"
    quern.client("ecs").stop_task(task=first)
    running(quern, third)
    assert quern.wait(lambda: describe(quern, third)["containers"][0].get("gpuIds")) == ids[0]
    answer = quern.client("ecs").run_task(taskDefinition=register(quern, container(quern, "true", **gpu(3))))
    assert answer["tasks"] == [] and answer["failures"][0]["reason"] == "RESOURCE:GPU"
    for arn in (second, third):
        quern.client("ecs").stop_task(task=arn)
        stopped(quern, arn)


def test_no_gpus(quern, tmp_path):
    gpu = {"resourceRequirements": [{"type": "GPU", "value": "1"}]}
    if quern.machine()["gpus"]:
        pytest.skip("this machine has GPUs")
    answer = quern.client("ecs").run_task(taskDefinition=register(quern, container(quern, "true", **gpu)))
    assert answer["tasks"] == [] and answer["failures"][0]["reason"] == "RESOURCE:GPU" and ":container-instance/" in answer["failures"][0]["arn"]
    code, message = code_of(register, quern, container(quern, "true", **gpu), requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512")
    assert code == "ClientException" and "Fargate does not support GPU" in message
    (tmp_path / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: &name nvidia.com/gpu\n")
    checks = json.loads(quern.cli("doctor", "--json", check=False, env=dict(quern.own, QUERN_CDI_DIRS=str(tmp_path))).stdout)
    one = [c for c in checks if c["check"] == "gpus"][0]
    assert not one["ok"] and "nvidia.yaml: line 2 column 7" in one["detail"] and "nvidia-ctk cdi generate" in one["fix"]


# ---- names, kernel parameters ----

def test_names_resolvers_and_kernel_parameters(quern):
    task, text = output(quern, "hostname; grep 10.9 /etc/hosts; cat /etc/resolv.conf /proc/sys/net/core/somaxconn", container={
        "hostname": "web-1", "extraHosts": [{"hostname": "db.internal", "ipAddress": "10.9.8.7"}], "dnsServers": ["10.0.0.2"], "dnsSearchDomains": ["a.example", "b.example"],
        "systemControls": [{"namespace": "net.core.somaxconn", "value": "321"}]}, definition={"networkMode": "bridge"})
    assert text == ["web-1", "10.9.8.7\tdb.internal", "nameserver 10.0.0.2", "search a.example b.example", "321"], task
    assert code_of(register, quern, container(quern, "true", hostname="x"), networkMode="awsvpc") == ("ClientException", "hostname is not supported on container when networkMode=awsvpc.")
    task, _ = output(quern, "true", container={"systemControls": [{"namespace": "kernel.panic", "value": "1"}]})
    assert task["stopCode"] == "TaskFailedToStart" and task["stoppedReason"].startswith("CannotCreateContainerError") and "kernel.panic" in task["stoppedReason"]


# ---- ports, links ----

def test_ranges_of_ports_and_udp(quern):
    """Published on loopback, with the bindings that AWS tells; one mapping per protocol."""
    helpers.needs(quern.client("ecs"), "DescribeServiceRevisions")  # as old: containerPortRange
    import socket

    script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7002))\nwhile True: s.sendto(*s.recvfrom(100))"
    echo = {"name": "main", "image": helpers.SKLEARN, "memory": 256, "entryPoint": ["python3", "-c"], "command": [script]}
    ports = [{"containerPortRange": "7001-7003", "protocol": "udp"}, {"containerPort": 7001}, {"containerPort": 9, "protocol": "udp"}]
    arn = run(quern, register(quern, dict(echo, portMappings=ports, stopTimeout=1), networkMode="bridge"))
    bindings = quern.wait(lambda: describe(quern, arn)["containers"][0].get("networkBindings"))
    assert [(b["protocol"], b.get("containerPortRange", b.get("containerPort"))) for b in bindings] == [("udp", "7001-7003"), ("tcp", 7001), ("udp", 9)]
    low, high = (int(n) for n in bindings[0]["hostPortRange"].split("-"))
    assert high == low + 2 and "hostPort" not in bindings[0] and bindings[1]["hostPort"] and bindings[2]["hostPort"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)

        def answer():
            s.sendto(b"ping", ("127.0.0.1", low + 1))
            try:
                return s.recv(100)
            except OSError:
                return None
        assert quern.wait(answer) == b"ping"
    quern.client("ecs").stop_task(task=arn)
    stopped(quern, arn)
    for bad in ({"containerPortRange": "5-4"}, {"containerPortRange": "1-x"}, {"containerPortRange": "1-200"}, {"containerPortRange": "1-2", "containerPort": 1}):
        assert code_of(register, quern, container(quern, "true", portMappings=[bad]))[0] == "ClientException"


def test_links(quern):
    side = container(quern, "sleep 100", name="side", essential=False, stopTimeout=1)
    group = helpers.unique("/ecs/links")
    main = container(quern, "grep side /etc/hosts", links=["side:db", "side"], logConfiguration=awslogs(group))
    arn = run(quern, register(quern, main, side, networkMode="bridge"))
    stopped(quern, arn)
    assert text_of(quern, group, arn)[0].split()[1:] == ["side", "db", "side"]
    assert code_of(register, quern, container(quern, "true", links=["none:db"]))[0] == "ClientException"
    assert code_of(register, quern, main, side, networkMode="awsvpc") == ("ClientException", "Links are not supported when networkMode=awsvpc.")


# ---- shared name spaces ----

FARGATE = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}


def test_processes_and_ipc_of_the_task(quern):
    """One container sees the other's process and its shared memory; a command of `quern exec` sees both."""
    group = helpers.unique("/ecs/share")
    script = "until grep -qs word /dev/shm/x; do sleep 0.1; done; cat /proc/1/comm; until grep -qs 'sleep.543[2]' /proc/[0-9]*/cmdline; do sleep 0.1; done; echo seen; until test -e /dev/shm/end; do sleep 0.1; done"
    side = container(quern, "echo word > /dev/shm/x; exec sleep 5432", name="side", essential=False, stopTimeout=100)
    definition = register(quern, container(quern, script, logConfiguration=awslogs(group)), side, pidMode="task", ipcMode="task")
    arn = run(quern, definition)
    quern.wait(lambda: text_of(quern, group, arn) == ["quern-pause", "seen"])
    assert quern.cli("exec", arn, "--", "sh", "-c", "cat /dev/shm/x; grep -qs 'sleep.543[2]' /proc/[0-9]*/cmdline && echo here; touch /dev/shm/end").stdout.split() == ["word", "here"]
    task = stopped(quern, arn)
    assert {c["name"]: c["exitCode"] for c in task["containers"]} == {"main": 0, "side": 143}, task  # not process 1: SIGTERM has its effect
    task, text = output(quern, "ls -d /dev/shm 2>&1 | sed 's/.*: //'", definition={"ipcMode": "none"})
    assert text == ["No such file or directory"], task


def test_modes_that_are_refused(quern):
    for mode in ("pidMode", "ipcMode"):
        definition = register(quern, container(quern, "true"), **{mode: "host"})
        assert code_of(run, quern, definition) == ("ClientException", f"{mode} 'host' is not offered here.")
    main = {k: v for k, v in container(quern, "true").items() if k != "memory"}
    assert code_of(register, quern, main, ipcMode="none", **FARGATE) == ("ClientException", "Tasks using the Fargate launch type do not support ipcMode.")
    assert code_of(register, quern, main, pidMode="host", **FARGATE) == ("ClientException", "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.")
    task, text = output(quern, "cat /proc/1/comm", definition=dict(FARGATE, pidMode="task", executionRoleArn=ROLE), launchType="FARGATE", networkConfiguration=VPC)
    assert text == ["quern-pause"], task
    task, _ = output(quern, "true", container={"linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"]}}}, definition={"pidMode": "task"})
    assert task["stopCode"] == "TaskFailedToStart" and "may not hold CAP_SYS_PTRACE" in task["stoppedReason"]


def test_restart_policy(quern):
    """How it restarts is shown in tests/task (the period is a minute at least); here what the API says of it."""
    fields = quern.client("ecs").meta.service_model.shape_for("ContainerDefinition").members
    if "restartPolicy" not in fields:
        pytest.skip("this botocore has no restartPolicy")
    policy = {"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60}
    task, text = output(quern, 'wget -qO- $ECS_CONTAINER_METADATA_URI_V4; echo; exit 5', container={"restartPolicy": policy})
    assert json.loads(text[0])["RestartCount"] == 0
    assert len(text) == 1 and task["containers"][0]["exitCode"] == 5  # it had not run for a minute
    definition = quern.client("ecs").describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
    assert definition["containerDefinitions"][0]["restartPolicy"] == policy
    code, message = code_of(register, quern, container(quern, "true", restartPolicy={"enabled": True, "restartAttemptPeriod": 59}))
    assert code == "ClientException" and "between 60 and 1800" in message


# ---- order and ends ----

def ready(quern, group, arn, *names):
    """Waits until each container has said so: its traps are set."""
    def said(name):
        try:
            return text_of(quern, group, arn, name)[:1] == ["ready"]
        except ClientError:
            return False
    quern.wait(lambda: all(said(name) for name in names))


def test_stop_goes_backwards(quern):
    """main depends on db: it is asked to end first, and db only when it has."""
    shared = {"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]}
    group = helpers.unique("/ecs/stop")
    db = container(quern, "trap 'cat /data/order; echo db; exit 0' TERM; echo ready; while :; do sleep 0.1; done", name="db", logConfiguration=awslogs(group), **shared)
    main = container(quern, "trap 'sleep 0.5; echo main > /data/order; exit 0' TERM; echo ready; while :; do sleep 0.1; done", logConfiguration=awslogs(group),
                     dependsOn=[{"containerName": "db", "condition": "START"}], **shared)
    arn = run(quern, register(quern, main, db, volumes=[{"name": "data"}]))
    ready(quern, group, arn, "db", "main")
    quern.client("ecs").stop_task(task=arn)
    task = stopped(quern, arn)
    assert text_of(quern, group, arn, "db") == ["ready", "main", "db"] and [c["exitCode"] for c in task["containers"]] == [0, 0], task


def test_start_timeout(quern):
    slow = container(quern, "sleep 60", name="slow", essential=False, startTimeout=2, stopTimeout=1)
    main = container(quern, "true", dependsOn=[{"containerName": "slow", "condition": "SUCCESS"}])
    task = stopped(quern, run(quern, register(quern, main, slow)))
    assert task["stopCode"] == "TaskFailedToStart" and "dependency [slow] for target [main] has timed out" in task["stoppedReason"]
    assert "startedAt" not in task and "exitCode" not in by_name(task)["main"]


def test_stop_timeout_and_init(quern):
    """A handler is waited for; who has none is killed when the time is over, unless init takes the signal."""
    group = helpers.unique("/ecs/ends")
    handler = container(quern, "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done", name="handler", logConfiguration=awslogs(group))
    deaf = container(quern, name="deaf", stopTimeout=2, command=["sleep", "600"])
    reaped = container(quern, "echo ready; exec sleep 600", name="reaped", logConfiguration=awslogs(group), linuxParameters={"initProcessEnabled": True})
    arn = run(quern, register(quern, handler, deaf, reaped))
    ready(quern, group, arn, "handler", "reaped")
    running(quern, arn)
    quern.client("ecs").stop_task(task=arn, reason="enough")
    task = stopped(quern, arn)
    assert {n: c["exitCode"] for n, c in by_name(task).items()} == {"handler": 7, "deaf": 137, "reaped": 143}, task
    assert text_of(quern, group, arn, "handler") == ["ready", "bye"] and (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["stoppingAt"] <= task["executionStoppedAt"] <= task["stoppedAt"] and task["pullStartedAt"] <= task["pullStoppedAt"] <= task["startedAt"]


def test_unhealthy(quern):
    """The worst essential container is the task's health; a task of its own goes on nevertheless. A command without CMD is one, too."""
    check = lambda command: {"healthCheck": {"command": ["CMD-SHELL", command], "interval": 5, "timeout": 2, "retries": 1}}  # noqa: E731
    bad, good = container(quern, "sleep 600", stopTimeout=1, **check("exit 1")), container(quern, "sleep 600", name="good", stopTimeout=1, healthCheck={"command": ["/bin/true"], "interval": 5})
    arn = run(quern, register(quern, bad, good))
    task = quern.wait(lambda: (lambda t: t if [c["healthStatus"] for c in t["containers"]] == ["UNHEALTHY", "HEALTHY"] else None)(describe(quern, arn)))
    assert task["healthStatus"] == "UNHEALTHY" and task["lastStatus"] == "RUNNING"
    quern.client("ecs").stop_task(task=arn)
    stopped(quern, arn)


def test_pull_error_is_the_containers_reason_too(quern):
    task = stopped(quern, run(quern, register(quern, {"name": "main", "image": "nowhere/nothing:9", "memory": 16}, container(quern, "true", name="side"))))
    assert task["containers"][0]["reason"] == task["stoppedReason"] and task["stoppedReason"].startswith("CannotPullContainerError: ")
    assert "reason" not in task["containers"][1] and all("exitCode" not in c and c["lastStatus"] == "STOPPED" for c in task["containers"])


# ---- limits that a host may forbid ----

def test_ulimits_and_capabilities(quern):
    """A limit above the machine's is cut, and the task says so; a capability that reaches the host is refused."""
    caps = "grep -E 'CapEff|CapBnd' /proc/self/status; ulimit -Hn"
    task, text = output(quern, caps, container={"ulimits": [{"name": "nofile", "softLimit": 1 << 30, "hardLimit": 1 << 30}],
                                                "linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"], "drop": ["CHOWN"]}}})
    effective = int(text[0].split()[1], 16)
    assert effective >> 19 & 1 and not effective & 1, text
    if int(text[2]) < 1 << 30:
        assert any("ulimit nofile cut to " + text[2] in a.get("value", "") for a in task["attributes"]), task["attributes"]
    task, text = output(quern, "true", container={"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}})
    assert task["stopCode"] == "TaskFailedToStart" and "CAP_SYS_ADMIN" in task["stoppedReason"]


# ---- inside and outside ----

def test_statistics(quern):
    """/stats and /task/stats in Docker's form: what the containers use now."""
    script = "for p in '' /stats /task/stats /task /nothing; do wget -qO- $ECS_CONTAINER_METADATA_URI_V4$p; echo; done"
    task, text = output(quern, script, definition={"taskRoleArn": ROLE})
    mine, stats, all_stats, whole = (json.loads(t) for t in text[:4])
    assert "404" in text[4], text
    assert stats["id"] == mine["DockerId"] and list(all_stats) == [mine["DockerId"]] and whole["Family"]
    assert stats["networks"]["eth0"]["rx_bytes"] > 0 and stats["cpu_stats"]["online_cpus"] >= 1
    if quern.machine()["cgroup_mode"] != "none":
        assert 0 < stats["memory_stats"]["usage"] <= stats["memory_stats"]["limit"] == 64 << 20
        assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0 and stats["pids_stats"]["current"] >= 1
        assert stats["cpu_stats"]["system_cpu_usage"] > stats["cpu_stats"]["cpu_usage"]["total_usage"]


def test_volumes(quern):
    """volumesFrom, volumes that stay (docker scope shared, EFS), and host paths, which are refused."""
    volumes = [{"name": "own"}, {"name": helpers.unique("kept"), "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": True}}, {"name": "efs", "efsVolumeConfiguration": {"fileSystemId": helpers.unique("fs-1")}}]
    points = [{"sourceVolume": v["name"], "containerPath": p} for v, p in zip(volumes, ("/own", "/kept", "/efs"))]
    group = helpers.unique("/ecs/volumes")
    script = "cat /kept/n /efs/n /own/n 2>/dev/null; for d in /own /kept /efs; do echo here$d > $d/n; done"
    writer = container(quern, script, logConfiguration=awslogs(group), mountPoints=points)
    reader = container(quern, "cat /own/n; echo x > /own/n || echo closed", name="reader", essential=False, volumesFrom=[{"sourceContainer": "main", "readOnly": True}],
                       dependsOn=[{"containerName": "first", "condition": "COMPLETE"}], logConfiguration=awslogs(group))
    first = container(quern, "echo first > /own/n", name="first", essential=False, volumesFrom=[{"sourceContainer": "main"}])
    writer["dependsOn"] = [{"containerName": "reader", "condition": "COMPLETE"}]
    definition = register(quern, writer, reader, first, volumes=volumes)
    arns = [run(quern, definition)]
    stopped(quern, arns[0])
    arns.append(run(quern, definition))
    stopped(quern, arns[1])
    assert text_of(quern, group, arns[0], "reader") == ["first", "sh: can't create /own/n: Read-only file system", "closed"]
    assert [text_of(quern, group, arn) for arn in arns] == [["first"], ["here/kept", "here/efs", "first"]]
    task = stopped(quern, run(quern, register(quern, container(quern, "true", mountPoints=[{"sourceVolume": "h", "containerPath": "/h"}]), volumes=[{"name": "h", "host": {"sourcePath": "/etc"}}])))
    assert task["stopCode"] == "TaskFailedToStart" and "must be a path below" in task["stoppedReason"]


def test_shared_memory_entry_point_and_refusals(quern):
    task, text = output(quern, None, container={"entryPoint": ["sh", "-c"], "command": ["busybox df -k /dev/shm | busybox tail -n 1; echo $0"], "linuxParameters": {"sharedMemorySize": 8}})
    assert text[0].split()[1] == "8192" and text[1] == "sh", task
    for change, word in (({"privileged": True}, "privileged mode"), ({"linuxParameters": {"devices": [{"hostPath": "/dev/sda"}]}}, "devices of the host"), ({"logConfiguration": {"logDriver": "splunk"}}, "splunk")):
        code, message = code_of(run, quern, register(quern, container(quern, "true", **change)))
        assert code == "ClientException" and word in message and "not offered here" in message


def test_who_asks_for_credentials(quern):
    """An id that nobody has is refused in the agent's words; tags are told only when asked for."""
    ask = "wget -qO- -S http://169.254.170.2/v2/credentials/%s 2>&1 | head -n 1; for p in task taskWithTags; do wget -qO- $ECS_CONTAINER_METADATA_URI_V4/$p; echo; done" % ("0" * 36)
    task, text = output(quern, ask, definition={"taskRoleArn": ROLE}, tags=[{"key": "team", "value": "ml"}])
    assert "400" in text[0], text
    plain, tagged = json.loads(text[-2]), json.loads(text[-1])
    assert "TaskTags" not in plain and tagged["TaskTags"] == {"team": "ml"} and tagged["TaskARN"] == task["taskArn"]


def test_tasks_lost_in_a_reboot(own_quern):
    """The machine restarts: every process is gone and the boot id is another. Tasks that had begun are lost."""
    quern = own_quern
    ran = run(quern, register(quern, container(quern, "sleep 600")))
    running(quern, ran)
    task_dir = os.path.join(quern.home, "tasks", "ecs-" + ran.rsplit("/", 1)[1], "exec")
    for role in ("serve", "executor"):
        os.kill(quern.pid(role), signal.SIGKILL)
    with open(os.path.join(task_dir, "state.json"), encoding="utf-8") as f:
        state = json.load(f)
    for pid in (state["pid"], state["containers"][0]["pid"]):
        os.kill(pid, signal.SIGKILL)
    with open(os.path.join(task_dir, "task.json"), encoding="utf-8") as f:
        recorded = json.load(f)
    recorded["launched"] = "00000000-0000-0000-0000-000000000000"
    with open(os.path.join(task_dir, "task.json"), "w", encoding="utf-8") as f:
        json.dump(recorded, f)
    quern.wait(lambda: not os.path.exists(f"/proc/{state['pid']}"))
    quern.up()
    task = stopped(quern, ran)
    assert task["stopCode"] == "InfrastructureHealth" and "lost" in task["stoppedReason"].lower() and "machine restarted" in task["stoppedReason"], task
    assert "exitCode" not in task["containers"][0] and task["startedAt"]
    assert stopped(quern, run(quern, register(quern, container(quern, "exit 3"))))["containers"][0]["exitCode"] == 3


def test_any_name_of_a_volume(quern):
    """Up to 255 characters, and it may begin with any of them; two containers share it by that name."""
    name = "_" + "v" * 254
    mount = {"mountPoints": [{"sourceVolume": name, "containerPath": "/shared"}]}
    writer = container(quern, "echo through > /shared/x", name="writer", essential=False, **mount)
    reader = container(quern, "grep -q through /shared/x", dependsOn=[{"containerName": "writer", "condition": "SUCCESS"}], **mount)
    assert stopped(quern, run(quern, register(quern, writer, reader, volumes=[{"name": "other"}, {"name": name}])))["containers"][1]["exitCode"] == 0
