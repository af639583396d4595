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
from api.daemon import Quern, free_port, program
from api.test_ecs import awslogs, container, register, run, running, stopped
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


def test_help_of_one_command(quern):
    assert quern.cli("help", "logs").stdout == quern.cli("logs", "--help").stdout
    assert quern.cli("help").stdout == quern.cli("--help").stdout
    assert quern.cli("help", "lgos", check=False).returncode == 2


def test_refusals(quern):
    for typed, meant in (("pss", "ps"), ("lgos", "logs"), ("dwon", "down"), ("image", "images")):
        unknown = quern.cli(typed, check=False)
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert f"`{typed}`; did you mean `quern {meant}`?" in unknown.stderr and "try: quern --help" in unknown.stderr, unknown
    unknown = quern.cli("frobnicate", check=False)
    assert unknown.returncode == 2 and "`frobnicate`" in unknown.stderr and "did you mean" not in unknown.stderr
    for name in ("ps", "logs", "exec", "env", "doctor", "api", "completion", "up", "down", "run", "debug", "images"):
        refused = quern.cli(name, "--no-such-option", check=False)
        assert refused.returncode == 2 and refused.stdout == "", (name, refused)
        assert "--no-such-option" in refused.stderr and f"usage: quern {name}" in refused.stderr and f"try: quern {name} --help" in refused.stderr, (name, refused)
    for name in ("logs", "exec", "run", "completion", "images"):
        missing = quern.cli(name, check=False)
        assert missing.returncode == 2 and missing.stderr.startswith(f"usage: quern {name}"), (name, missing)
    for args, told in ((["--data"], "--data wants a directory"), (["--dta", "/x", "ps"], "no option `--dta`"),
                       (["up", "--port", "x"], "a port is a number"), (["images", "build", "my/image:1", "--add", "x"], "`--add x`")):
        wrong = quern.cli(*args, check=False)
        assert wrong.returncode == 2 and told in wrong.stderr, (args, wrong)
    arn = f"arn:aws:sagemaker:us-east-1:{quern.account}:pipeline/none/execution/abcdefghijkl"
    told = quern.cli("logs", arn, check=False)
    assert told.returncode == 1 and f"'{arn}' does not exist" in told.stderr, told
    missing = quern.cli("logs", "nothing-of-this-name", check=False)
    assert missing.returncode == 1 and "nothing-of-this-name" in missing.stderr and "try: quern ps -a" in missing.stderr
    missing = quern.cli("run", "/no/such/script.py", check=False)
    assert missing.returncode == 1 and "/no/such/script.py" in missing.stderr and "No such file" in missing.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose programs the daemon's user cannot reach")
def test_installed_where_only_root_may_go():
    """The daemon is not root, yet finds what it starts: the JSONata worker."""
    helpers.needs_jsonata(program())
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
    never = {name: value for name, value in quern.own.items() if not name.startswith("AWS_")}
    never["QUERN_HOME"] = str(tmp_path / "never")
    down = dict(never, QUERN_HOME=str(tmp_path / "down"), QUERN_PORT=str(free_port()))
    (tmp_path / "down").mkdir()
    (tmp_path / "down" / "credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = s\n")
    for args in (["ps"], ["logs", "x"], ["images", "list"]):
        refused = quern.cli(*args, check=False, env=never)
        assert refused.returncode == 1 and refused.stdout == "" and "never started" in refused.stderr and "try: quern up" in refused.stderr, refused
        refused = quern.cli(*args, check=False, env=down)
        assert refused.returncode == 1 and refused.stdout == "" and "is not running" in refused.stderr and "try: quern up" in refused.stderr, refused
    told = quern.cli("env", env=down)
    assert "AKIA" in told.stdout and "not running" in told.stderr


def test_up_twice(quern):
    again = quern.cli("up")
    assert f"up already at {quern.endpoint}" in again.stderr
    assert quern.cli("up", "--port", str(quern.port)).returncode == 0
    other = quern.cli("up", "--port", str(free_port()), check=False)
    assert other.returncode == 1 and quern.endpoint in other.stderr and "try: quern down" in other.stderr


def test_port_taken(quern):
    """The refusal names the port and another one, and nothing of the failed start stays."""
    home = tempfile.mkdtemp(prefix="quern-test-", dir="/tmp")
    os.chmod(home, 0o755)
    taken = quern.cli("up", check=False, env={k: v for k, v in dict(quern.own, QUERN_HOME=home).items() if k != "QUERN_STORE"})
    assert taken.returncode == 1 and f"port {quern.port}" in taken.stderr and "try: quern up --port" in taken.stderr, taken
    assert not [name for name in os.listdir(os.path.join(home, "run")) if name.endswith(".pid")]
    shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_data_directory_of_another_user(quern):
    """Somebody else is told whose it is, and gets in with the environment that the owner gives."""
    place = tempfile.mkdtemp(dir="/tmp")
    os.chmod(place, 0o755)
    shutil.copy(program(), os.path.join(place, "quern"))
    stranger = {"PATH": os.environ["PATH"], "QUERN_HOME": quern.home, "HOME": place, "NO_COLOR": "1"}

    def cli(*args, **env):
        return subprocess.run([os.path.join(place, "quern"), *args], env={**stranger, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              user=12345, group=12345, extra_groups=[], cwd="/", timeout=60)

    closed = os.path.join(quern.home, "closed")
    os.mkdir(closed, 0o700)
    for args in (["up"], ["down"], ["ps"], ["env"]):
        refused = cli(*args, QUERN_HOME=closed)
        assert refused.returncode == 1 and "belongs to another user" in refused.stderr, (args, refused)
    keys = {name: value for name, value in quern.env.items() if name.startswith("AWS_")}
    assert cli("ps", "-a", **keys, QUERN_HOME=closed).stdout.startswith("ID ")
    assert cli("ps", "-a", **keys, QUERN_HOME=os.path.join(place, "none")).stdout.startswith("ID ")
    assert "SAGEMAKER_USER_CONFIG_OVERRIDE" not in json.loads(cli("env", "--json", **keys, QUERN_HOME=closed).stdout)
    given = quern.cli("env", "--json", env=dict(quern.own, SUDO_UID="12345")).stdout
    assert "SAGEMAKER_USER_CONFIG_OVERRIDE" not in json.loads(given) and quern.env["AWS_ACCESS_KEY_ID"] in given
    os.rmdir(closed)
    shutil.rmtree(place)


def test_json(quern):
    assert json.loads(quern.cli("env", "--json").stdout)["AWS_ENDPOINT_URL"] == quern.endpoint
    assert isinstance(json.loads(quern.cli("ps", "-a", "--json").stdout), list)
    checks = {one["check"]: one for one in json.loads(quern.cli("doctor", "--json", check=False).stdout)}
    assert {"runtime", "cgroups", "disk", "jsonata"} <= set(checks) and all(one["ok"] or one["fix"] for one in checks.values()), checks
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


def test_logs_of_a_failure(quern):
    """Behind the output, on stderr: why it failed, and how to look closer. Output alone is on stdout."""
    options = awslogs(helpers.unique("/ecs/cli"))
    definition = register(quern, container(quern, "echo about to fail; exit 7", logConfiguration=options))
    task = run(quern, definition)
    stopped(quern, task)
    shown = quern.cli("logs", task)
    name = task.rsplit("/", 1)[1]
    assert shown.stdout == "main | about to fail\n" and "`main`: exit code 7" in shown.stderr and f"try: quern debug {name}" in shown.stderr, shown
    sfn = quern.client("stepfunctions")
    states = {"StartAt": "Run", "States": {"Run": {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "End": True,
                                                   "Parameters": {"TaskDefinition": definition}}}}
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(states), roleArn=quern.role)["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine, name=helpers.unique("x"))["executionArn"].rsplit(":", 1)[1]
    shown = quern.cli("logs", "-f", execution)
    assert shown.stdout == "Run | about to fail\n" and "FAILED: States.TaskFailed" in shown.stderr, shown
    assert f"try: quern debug {execution} Run" in shown.stderr


def test_colours(quern, at_work):
    assert "\033[" in on_a_terminal(quern, "ps")
    assert "\033" not in on_a_terminal(quern, "ps", NO_COLOR="1")
    assert "\033" not in quern.cli("ps", env={k: v for k, v in quern.own.items() if k != "NO_COLOR"}).stdout


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_environment_of_a_shell(quern, shell, tmp_path):
    """The variables, and the function that tells an old aws CLI where Quern is."""
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    (tmp_path / "aws").write_text('#!/bin/sh\nfor word; do printf "<%s>" "$word"; done; echo\n')
    (tmp_path / "aws").chmod(0o755)
    take = "quern env --fish | source" if shell == "fish" else 'eval "$(quern env)"'
    script = f"{take}\necho $AWS_ENDPOINT_URL\naws s3 ls 's3://a b'\naws --endpoint-url http://x s3 ls\naws --endpoint-url=http://x s3 ls\n"
    path = os.pathsep.join([str(tmp_path), os.path.dirname(quern.program), os.environ["PATH"]])
    env = {**{k: v for k, v in quern.own.items() if not k.startswith("AWS_")}, "PATH": path, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    told = subprocess.run([shell, "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert told.stdout.splitlines() == [quern.endpoint, f"<--endpoint-url><{quern.endpoint}><s3><ls><s3://a b>", "<--endpoint-url><http://x><s3><ls>",
                                        "<--endpoint-url=http://x><s3><ls>"], told


COMPLETE = {
    "bash": 'source "$1"; shift; COMP_WORDS=(quern "$@"); COMP_CWORD=$#; _quern; echo "${COMPREPLY[@]}"',
    # the words that would be offered, without a line editor
    "zsh": 'compdef() { :; }; _describe() { for one in $all; do print -rn -- "${one%%:*} "; done; }; _files() { print -n FILES; }\n'
           'compadd() { shift; print -r -- $@; }; source "$1"; shift; words=(quern "$@"); CURRENT=$#words; _quern',
    "fish": 'source $argv[1]; complete -C"quern $argv[2..]" | string replace -r "\\t.*" "" | string join " "',
}


@pytest.mark.parametrize("shell", sorted(COMPLETE))
def test_completion(quern, at_work, shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    script = tmp_path / "completion"
    script.write_text(quern.cli("completion", shell).stdout)
    subprocess.run([shell, "-n", str(script)], check=True, timeout=30)

    def offers(*words):
        path = os.path.dirname(quern.program) + os.pathsep + os.environ["PATH"]
        command = [shell, "-c", COMPLETE[shell], *(["-"] if shell != "fish" else []), str(script), *words]
        env = dict(quern.own, PATH=path, HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60, env=env).stdout.split()
        return {word for word in told if word.startswith(words[-1])}

    execution, task = at_work
    assert set(commands(quern)) <= offers("")
    assert offers("do") == {"down", "doctor"}
    assert {"--port", "--bind", "--foreground"} <= offers("up", "--")
    assert offers("images", "") >= {"list", "build", "prune"}
    assert offers("completion", "") >= {"bash", "zsh", "fish"}
    assert offers("logs", "") >= {execution, task}
    assert task in offers("exec", "") or os.geteuid() != 0
