"""The quern command: help, refusals, exit codes, --json, colours, completion, and what ps lists."""
import json
import os
import pty
import re
import shutil
import subprocess
import tempfile

import pytest

from api import helpers
from api.daemon import Quern, program
from api.test_ecs import awslogs, container, register, run, running
from api.test_lambda import create

STATE_MACHINE = json.dumps({"StartAt": "Sit", "States": {"Sit": {"Type": "Wait", "Seconds": 600, "End": True}}})


def commands(quern):
    names = re.findall(r"^  ([a-z]+) ", quern.cli("--help").stdout, re.M)
    assert {"up", "down", "env", "run", "ps", "logs", "exec", "doctor", "completion"} <= set(names)
    return names


def test_help(quern):
    for name in commands(quern):
        text = quern.cli(name, "--help").stdout
        assert text.startswith(f"usage: quern {name}") and len(text.split("\n\n")[1]) > 10, text


def test_refusals(quern):
    unknown = quern.cli("pss", check=False)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "`pss`" in unknown.stderr and "try: quern --help" in unknown.stderr
    for name in ("ps", "logs", "exec", "env", "doctor", "api", "completion", "up"):
        refused = quern.cli(name, "--no-such-option", check=False)
        assert refused.returncode == 2 and refused.stdout == "" and refused.stderr.startswith("usage: quern " + name), (name, refused)
    missing = quern.cli("logs", "nothing-of-this-name", check=False)
    assert missing.returncode == 1 and "nothing-of-this-name" in missing.stderr and "try: quern ps -a" in missing.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose programs the daemon's user cannot reach")
def test_installed_where_only_root_may_go():
    """The daemon is not root, yet finds what it starts: the JSONata worker."""
    place = tempfile.mkdtemp(dir="/tmp")
    dist = os.path.dirname(os.path.dirname(program()))
    for part in ("bin", "libexec/quern/quern-jsonata", "libexec/quern/jsonata"):
        os.makedirs(os.path.dirname(os.path.join(place, part)), exist_ok=True)
        subprocess.run(["cp", "-r", os.path.join(dist, part), os.path.join(place, part)], check=True)
    quern = Quern(os.path.join(place, "bin", "quern"))
    quern.up()
    try:
        sfn = quern.client("stepfunctions")
        states = {"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "Output": "{% 40 + 2 %}", "End": True}}}
        machine = sfn.create_state_machine(name="m", roleArn=quern.role, definition=json.dumps(states))["stateMachineArn"]
        arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        ended = quern.wait(lambda: (lambda d: d["status"] != "RUNNING" and d)(sfn.describe_execution(executionArn=arn)))
        assert ended.get("output") == "42", ended
    finally:
        quern.down()
        shutil.rmtree(quern.home)
        shutil.rmtree(place)


def test_without_a_daemon(quern, tmp_path):
    env = dict(quern.own, QUERN_HOME=str(tmp_path))
    for args in (["ps"], ["logs", "x"]):
        refused = quern.cli(*args, check=False, env=env)
        assert refused.returncode == 1 and refused.stdout == "" and "try: quern up" in refused.stderr, refused


def test_json(quern):
    assert json.loads(quern.cli("env", "--json").stdout)["AWS_ENDPOINT_URL"] == quern.endpoint
    assert isinstance(json.loads(quern.cli("ps", "-a", "--json").stdout), list)
    assert json.loads(quern.cli("doctor", "--json", check=False).stdout)
    assert json.loads(quern.cli("api", "--json").stdout)


def on_a_terminal(quern, *args, **env):
    """What the command writes to a terminal."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in quern.own.items() if k != "NO_COLOR"}
    process = subprocess.Popen([quern.program, *args], stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm", **env})
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0, text
    return text.decode()


@pytest.fixture(scope="module")
def at_work(quern):
    """A state machine's execution and an ECS task, both running: (execution's name, task's id)."""
    sfn = quern.client("stepfunctions")
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=STATE_MACHINE, roleArn=quern.role)["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine, name=helpers.unique("x"))["executionArn"]
    task = run(quern, register(quern, container(quern, "echo at work; sleep 600", logConfiguration=awslogs(helpers.unique("/ecs/cli")))))
    running(quern, task)
    yield execution.rsplit(":", 1)[1], task.rsplit("/", 1)[1]
    sfn.stop_execution(executionArn=execution)
    quern.client("ecs").stop_task(task=task)


def test_ps(quern, at_work):
    execution, task = at_work
    rows = {line.split()[0]: line for line in quern.cli("ps").stdout.splitlines()}
    assert "state machine" in rows[execution] and "RUNNING" in rows[execution]
    assert re.search(r"task +family\S+:1 +RUNNING .* main$", rows[task].rstrip()), rows[task]
    kinds = {(e["Kind"], e.get("name") or e.get("taskArn", "").rsplit("/", 1)[-1]) for e in json.loads(quern.cli("ps", "--json").stdout)}
    assert {("state machine", execution), ("task", task)} <= kinds


def test_logs_of_a_task(quern, at_work):
    _, task = at_work
    assert quern.wait(lambda: quern.cli("logs", task).stdout) == "main | at work\n"
    assert quern.cli("logs", task, "main").stdout == "main | at work\n"
    refused = quern.cli("logs", task, "other", check=False)
    assert refused.returncode == 1 and "no container `other`" in refused.stderr


def test_logs_of_a_state_machine(quern):
    """Each line is headed with its state: an ECS task's, a function's (not those of calls before the execution)."""
    task = register(quern, container(quern, "echo from the task", logConfiguration=awslogs(helpers.unique("/ecs/cli"))))
    functions = quern.client("lambda")
    function = create(quern, functions, "def handler(event, context):\n    print('called by', event['by'])\n")
    functions.invoke(FunctionName=function, Payload=b'{"by": "somebody else"}')
    states = {"StartAt": "Run", "States": {
        "Run": {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "Parameters": {"TaskDefinition": task}, "ResultPath": None, "Next": "Call"},
        "Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": function, "Payload": {"by": "the state"}}, "End": True}}}
    sfn = quern.client("stepfunctions")
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(states), roleArn=quern.role)["stateMachineArn"]
    arn = sfn.start_execution(stateMachineArn=machine, name=helpers.unique("x"))["executionArn"]
    name = arn.rsplit(":", 1)[1]
    lines = quern.cli("logs", "-f", name).stdout.splitlines()
    assert sfn.describe_execution(executionArn=arn)["status"] == "SUCCEEDED"
    assert lines[0] == "Run | from the task" and "Call | called by the state" in lines and "somebody else" not in "".join(lines), lines
    assert quern.cli("logs", arn, "Run").stdout == "Run | from the task\n"
    refused = quern.cli("logs", name, "Jump", check=False)
    assert refused.returncode == 1 and "not entered state `Jump`" in refused.stderr


def test_colours(quern, at_work):
    assert "\033[" in on_a_terminal(quern, "ps")
    assert "\033" not in on_a_terminal(quern, "ps", NO_COLOR="1")
    assert "\033" not in quern.cli("ps", env={k: v for k, v in quern.own.items() if k != "NO_COLOR"}).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(quern, shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    script = tmp_path / "completion"
    script.write_text(quern.cli("completion", shell).stdout)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=30)
    for name in commands(quern):
        assert re.search(rf"\b{name}\b", script.read_text()), name
    if shell == "bash":
        asked = 'source "$1"; COMP_WORDS=(quern do); COMP_CWORD=1; _quern; echo "${COMPREPLY[@]}"'
        assert subprocess.run(["bash", "-c", asked, "-", str(script)], capture_output=True, text=True, timeout=30).stdout.split() == ["down", "doctor"]
