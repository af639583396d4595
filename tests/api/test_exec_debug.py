"""quern exec and quern debug: shells in running containers, and in what failed ones left."""

import fcntl
import json
import os
import pty
import select
import stat
import struct
import subprocess
import termios
import time

import pytest

from api import ecs_images, helpers
from api.test_ecs import container, output, register, run, running, stopped


class Terminal:
    """A quern command on a terminal of its own."""

    def __init__(self, quern, *args, rows=33, columns=101):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([quern.program, *args], stdin=slave, stdout=slave, stderr=slave, env=quern.own, preexec_fn=own_terminal, close_fds=True)
        os.close(slave)
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, timeout=30):
        """Reads until `text` is there; forgets what came before its end."""
        end = time.time() + timeout
        while text not in self.seen:
            assert time.time() < end, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:
                    assert text in self.seen, f"no {text!r} in {self.seen!r}"
        self.seen = self.seen.split(text, 1)[1]

    def end(self):
        code = self.process.wait(30)
        os.close(self.master)
        return code


def stop(quern, arn):
    quern.client("ecs").stop_task(task=arn)
    stopped(quern, arn)


def test_exec_on_a_terminal(quern):
    """The command has a terminal of our size, follows when it changes, gets what is typed, and its exit status is ours."""
    arn = run(quern, register(quern, container(quern, "sleep 600", stopTimeout=1)))
    running(quern, arn)
    t = Terminal(quern, "exec", arn)
    t.type("busybox tty; busybox stty size\n")
    t.expect("/dev/pts/")
    t.expect("33 101")
    t.resize(40, 90)
    t.type("sleep 0.3; busybox stty size\n")
    t.expect("40 90")
    t.type("sleep 60\n")
    time.sleep(0.5)
    t.type("\x03")  # ends the program, not the shell
    t.type("echo still $((40 + 2)); exit 9\n")
    t.expect("still 42")
    assert t.end() == 9
    assert quern.cli("exec", arn, "--", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert quern.cli("exec", arn, "--", "cat", input="through a pipe\n").stdout == "through a pipe\n"
    assert quern.cli("exec", arn, "--", "sh", "-c", "busybox tty", check=False).stdout == "not a tty\n"
    assert "no-such-program" in quern.cli("exec", arn, "--", "/no-such-program", check=False).stderr
    assert "has no container other" in quern.cli("exec", arn, "-c", "other", check=False).stderr
    stop(quern, arn)


def kept(quern):
    return {one["task"]: one for one in json.loads(quern.cli("debug", "--json").stdout)}


def test_debug_of_a_failed_task(quern):
    """What the container wrote, removed and had in volumes is there, with its user, directory and environment."""
    shared = {"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]}
    script = "while [ ! -e /data/result ]; do sleep 0.05; done; echo evidence > /tmp/trace; exit 3"
    main = container(quern, script, user="worker", workingDirectory="/tmp", environment=[{"name": "PHASE", "value": "train"}], **shared)
    side = container(quern, "rm /bin/wget; echo half > /data/result; sleep 60", name="side", essential=False, stopTimeout=1, **shared)
    main["dependsOn"] = [{"containerName": "side", "condition": "START"}]
    arn = run(quern, register(quern, main, side, volumes=[{"name": "data"}]))
    task = stopped(quern, arn)
    ident = arn.rsplit("/", 1)[1]
    assert task["containers"][0]["exitCode"] == 3
    shell = lambda *args, **kwargs: quern.cli("debug", arn, *args, **kwargs)  # noqa: E731
    look = quern.wait(lambda: (lambda r: r.stdout if r.returncode == 0 else None)(shell("--", "sh", "-c", "cat /tmp/trace /data/result; id -u; pwd; echo $PHASE $FROM_IMAGE; hostname", check=False)))
    assert look.split("\n")[:6] == ["evidence", "half", "1234", "/tmp", "train yes", "main"]
    assert shell("-c", "side", "--", "sh", "-c", "ls /bin/wget /bin/sh", check=False).stdout.split() == ["/bin/sh"]
    assert shell("--", "sh", "-c", "exit 6", check=False).returncode == 6
    # what is written there is gone with the shell
    shell("-c", "side", "--", "sh", "-c", "echo changed > /data/result; echo changed > /tmp/trace; echo x > /bin/x")
    assert shell("-c", "side", "--", "sh", "-c", "cat /data/result; ls /bin/x /tmp/trace 2>/dev/null", check=False).stdout == "half\n"
    # it sees no network and none of the host's processes
    assert shell("--", "sh", "-c", "ls /sys/class/net; ls -d /proc/[0-9]* | busybox wc -l").stdout.split()[0] == "lo"
    assert kept(quern)[ident]["containers"].startswith("main: exit 3")
    assert ident in quern.cli("debug").stdout and "main: exit 3" in quern.cli("debug").stdout
    t = Terminal(quern, "debug", ident)
    t.type("busybox stty size; cat trace\n")
    t.expect("33 101")
    t.expect("evidence")
    t.resize(40, 90)
    t.type("sleep 0.3; busybox stty size; exit 4\n")
    t.expect("40 90")
    assert t.end() == 4


def test_nothing_stays_when_the_terminal_goes(quern):
    """A window that is closed ends the shell, and what the runtime started for it."""
    arn = stopped(quern, run(quern, register(quern, container(quern, "exit 3"))))["taskArn"]
    quern.wait(lambda: arn.rsplit("/", 1)[1] in kept(quern))
    alive = run(quern, register(quern, container(quern, "sleep 600", stopTimeout=1)))
    running(quern, alive)
    for command in (("debug", arn), ("exec", alive)):
        seconds = str(100000 + os.getpid())
        t = Terminal(quern, *command)
        t.type(f"echo in; sleep {seconds}\n")
        t.expect("in\r\n")
        sleeps = lambda: subprocess.run(["pgrep", "-fx", f"sleep {seconds}"], stdout=subprocess.PIPE).stdout  # noqa: B023, E731
        quern.wait(sleeps)
        os.close(t.master)
        t.process.wait(30)
        quern.wait(lambda: not sleeps())  # noqa: B023
    assert not subprocess.run(["pgrep", "-f", f"quern-debug-{t.process.pid}"], stdout=subprocess.PIPE).stdout
    stop(quern, alive)


def test_debug_names_what_it_cannot(quern):
    arn = run(quern, register(quern, container(quern, "sleep 600", stopTimeout=1)))
    running(quern, arn)
    assert "it runs, or it did not fail" in quern.cli("debug", arn, check=False).stderr
    stop(quern, arn)  # asked for: not a failure
    assert arn.rsplit("/", 1)[1] not in kept(quern)
    task, _ = output(quern, "exit 0")
    assert task["taskArn"].rsplit("/", 1)[1] not in kept(quern)
    assert "nothing is kept of `no-such-task`" in quern.cli("debug", "no-such-task", check=False).stderr
    assert "out of memory" not in quern.cli("debug", "--help").stdout and "Step Functions" in quern.cli("debug", "--help").stdout
    for shell in ("bash", "zsh", "fish"):
        assert "debug" in quern.cli("completion", shell).stdout


def complete(quern, *words):
    """What bash offers for the last of the words."""
    script = quern.cli("completion", "bash").stdout + "COMP_WORDS=(%s); COMP_CWORD=%d; _quern; echo ${COMPREPLY[@]}" % (" ".join("'%s'" % w for w in words), len(words) - 1)
    path = os.path.dirname(quern.program) + ":" + os.environ["PATH"]
    return subprocess.run(["bash", "-c", script], env=dict(quern.own, PATH=path), stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def test_completion(quern):
    """Commands, then the tasks that run (exec) or are kept (debug)."""
    arn = run(quern, register(quern, container(quern, "sleep 600", stopTimeout=1)))
    running(quern, arn)
    name = arn.rsplit("/", 1)[1]
    assert complete(quern, "quern", "de") == ["debug"] and {"exec", "env"} <= set(complete(quern, "quern", "e"))
    assert complete(quern, "quern", "exec", name[:12]) == [name] and name not in complete(quern, "quern", "debug", "")
    stop(quern, arn)
    assert complete(quern, "quern", "exec", name[:12]) == []
    failed = run(quern, register(quern, container(quern, "exit 3")))
    stopped(quern, failed)
    name = failed.rsplit("/", 1)[1]
    assert complete(quern, "quern", "debug", name[:12]) == [name]


def test_debug_of_a_program_that_could_not_start(quern):
    arn = run(quern, register(quern, {**container(quern), "command": ["/no/such/program"]}))
    stopped(quern, arn)
    assert quern.cli("debug", arn, "--", "sh", "-c", "ls /bin/sh; ls /no 2>&1", check=False).stdout.startswith("/bin/sh\n")


def test_exec_in_a_job(quern):
    ecs_images.push_busybox(quern)
    sagemaker, name = quern.client("sagemaker"), helpers.unique("job")
    sagemaker.create_processing_job(ProcessingJobName=name, RoleArn=quern.role, AppSpecification={"ImageUri": quern.busybox, "ContainerEntrypoint": ["sleep", "600"]},
                                    ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}})
    inside = quern.wait(lambda: (lambda r: r.stdout if r.returncode == 0 else None)(quern.cli("exec", name, "--", "sh", "-c", "echo $FROM_IMAGE; cat /opt/ml/config/processingjobconfig.json", check=False)))
    assert inside.startswith("yes\n") and name in inside
    sagemaker.stop_processing_job(ProcessingJobName=name)


def test_debug_of_a_job_and_a_state(quern):
    """The same for a SageMaker job by its name, and for a state of a Step Functions execution."""
    ecs_images.push_busybox(quern)
    name = helpers.unique("job")
    helpers.make_bucket(quern).put_object(Bucket="my-bucket", Key="debug-in/x", Body=b"input")
    inputs = [{"InputName": "data", "S3Input": {"S3Uri": "s3://my-bucket/debug-in", "LocalPath": "/opt/ml/processing/input", "S3DataType": "S3Prefix", "S3InputMode": "File"}}]
    quern.client("sagemaker").create_processing_job(ProcessingInputs=inputs, ProcessingJobName=name, RoleArn=quern.role, AppSpecification={"ImageUri": quern.busybox, "ContainerEntrypoint": ["sh", "-c", "cat /opt/ml/processing/input/x > /left; exit 4"]},
                                                    ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}})
    job = quern.wait(lambda: (lambda d: d if d["ProcessingJobStatus"] != "InProgress" else None)(quern.client("sagemaker").describe_processing_job(ProcessingJobName=name)))
    assert job["ProcessingJobStatus"] == "Failed"
    assert quern.cli("debug", name, "--", "cat", "/left").stdout == "input"
    assert quern.cli("debug", job["ProcessingJobArn"], "--", "sh", "-c", "cat /left; ls /opt/ml/processing/input").stdout == "input"
    definition = register(quern, container(quern, "echo from the state > /left; exit 5"))
    machine = {"StartAt": "Before", "States": {"Before": {"Type": "Pass", "Next": "Work"}, "Work": {
        "Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "Parameters": {"TaskDefinition": definition, "LaunchType": "EC2"}, "End": True}}}
    states = quern.client("stepfunctions")
    arn = states.create_state_machine(name=helpers.unique("machine"), definition=json.dumps(machine), roleArn=quern.role)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn, name=helpers.unique("run"))["executionArn"]
    done = quern.wait(lambda: (lambda d: d if d["status"] != "RUNNING" else None)(states.describe_execution(executionArn=execution)))
    assert done["status"] == "FAILED", done
    for which in (execution, execution.rsplit(":", 1)[1]):
        assert quern.cli("debug", which, "Work", "--", "cat", "/left").stdout == "from the state\n"
    assert "has run no task or job" in quern.cli("debug", execution, "Before", check=False).stderr
    assert "has not entered state" in quern.cli("debug", execution, "Nowhere", check=False).stderr


def test_debug_of_a_pipelines_step(quern):
    """By the execution's id or ARN and the step's name."""
    ecs_images.push_busybox(quern)
    sagemaker, name = quern.client("sagemaker"), helpers.unique("pipeline")
    arguments = {"ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}}, "RoleArn": quern.role,
                 "AppSpecification": {"ImageUri": quern.busybox, "ContainerEntrypoint": ["sh", "-c", "echo from the step > /left; exit 4"]}}
    definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": [{"Name": "Prepare", "Type": "Processing", "Arguments": arguments}]}
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=json.dumps(definition), RoleArn=quern.role, ClientRequestToken="t" * 32)
    execution = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    done = quern.wait(lambda: (lambda d: d if d["PipelineExecutionStatus"] not in ("Executing", "Stopping") else None)(sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)))
    assert done["PipelineExecutionStatus"] == "Failed"
    for which in (execution, execution.rsplit("/", 1)[1]):
        assert quern.cli("debug", which, "Prepare", "--", "cat", "/left").stdout == "from the step\n"
    assert "has no step `Other`" in quern.cli("debug", execution, "Other", check=False).stderr


def test_only_the_newest_are_kept(own_quern):
    quern = own_quern
    definition = register(quern, container(quern, "exit 1"))
    arns = []
    for _ in range(10):
        arns.append(run(quern, definition))
        stopped(quern, arns[-1])
    names = [a.rsplit("/", 1)[1] for a in arns]
    quern.wait(lambda: len(kept(quern)) <= 8)
    assert set(kept(quern)) <= set(names) and names[-1] in kept(quern)
    gone = [n for n in names if n not in kept(quern)]
    quern.wait(lambda: not any(os.path.exists(os.path.join(quern.home, "tasks", "ecs-" + n)) for n in gone))


def debugged(quern, name, *command):
    """The output of a command in what is left, when that is kept."""
    return quern.wait(lambda: (lambda r: r if r.returncode != 1 or "nothing is kept" not in r.stderr else None)(quern.cli("debug", name, "--", *command, check=False)))


def test_debug_keeps_devices_closed(quern):
    """A program that the container left could be the shell: no node of the machine's devices opens, neither one that is there nor one that it makes."""
    if quern.machine()["cgroup_mode"] == "none":
        pytest.skip("without control groups containers make no nodes at all")
    disk = os.stat(next(path for path in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0", "/dev/kmsg") if os.path.exists(path)))
    kind = "b" if stat.S_ISBLK(disk.st_mode) else "c"
    nodes = f"busybox mknod /node {kind} {os.major(disk.st_rdev)} {os.minor(disk.st_rdev)} &&"
    arn = run(quern, register(quern, container(quern, f"{nodes} exit 3", user="root")))
    assert stopped(quern, arn)["containers"][0]["exitCode"] == 3
    look = debugged(quern, arn, "sh", "-c", f"{nodes.replace('/node', '/tmp/other')} ls /node; for n in /node /tmp/other; do true < $n || echo closed; done; echo x > /dev/null && echo fine")
    assert look.stdout.split() == ["/node", "closed", "closed", "fine"], look
