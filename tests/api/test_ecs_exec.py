"""ExecuteCommand: a shell in a container over the Session Manager's data channel, and containers with a terminal."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import urllib.error
import urllib.request

import pytest

from api import helpers
from api.data_channel import FLAG, OUTPUT, SIZE, Session, pack
from api.identities import User, allow
from api.test_ecs import awslogs, code_of, container, describe, lines, output, register, run, running, stopped


# ---- pseudoTerminal, interactive ----

def test_pseudo_terminal(quern):
    """The program has a tty for all three; its output is in the log, lines ended as a terminal ends them."""
    script = 'for fd in 0 1 2; do test -t $fd && echo "$fd tty"; done; tty; echo "$TERM"; printf last'
    task, text = output(quern, script, container={"pseudoTerminal": True})
    assert text == ["0 tty\r", "1 tty\r", "2 tty\r", text[3], "xterm\r", "last"] and text[3].startswith("/dev/"), task
    assert task["containers"][0]["exitCode"] == 0
    task, text = output(quern, script)
    assert text[0] == "not a tty" and "tty" not in "".join(text[1:]), task


def test_pseudo_terminal_without_a_log_and_in_volume(quern):
    """A terminal that nobody reads holds no program up, and one that writes much loses nothing."""
    arn = run(quern, register(quern, container(quern, "seq 200000 > /dev/tty; exit 3", pseudoTerminal=True)))
    assert stopped(quern, arn)["containers"][0]["exitCode"] == 3
    task, text = output(quern, "seq 9000", container={"pseudoTerminal": True})
    assert "".join(text) == "".join(f"{n}\r" for n in range(1, 9001)), task


def test_interactive(quern):
    """stdin is open and silent: who reads it waits, where /dev/null ends at once."""
    script = "exec 3<&0; (cat <&3; echo ended) & sleep 1; echo waited; kill $! 2>/dev/null"
    assert output(quern, script, container={"interactive": True})[1] == ["waited"]
    assert output(quern, script)[1] == ["ended", "waited"]
    group = helpers.unique("/ecs/test")
    arn = run(quern, register(quern, container(quern, None, command=["cat"], interactive=True, stopTimeout=1, logConfiguration=awslogs(group))))
    assert running(quern, arn)
    quern.client("ecs").stop_task(task=arn)
    assert stopped(quern, arn)["containers"][0]["exitCode"] == 137 and lines(quern, group, "p/main/" + arn.rsplit("/", 1)[1]) == []


# ---- ExecuteCommand ----

@pytest.fixture(scope="module")
def task(quern):
    """A task with a shell to be had in it."""
    arn = run(quern, register(quern, container(quern, "exec sleep 1000", user="1000", environment=[{"name": "OWN", "value": "yes"}], stopTimeout=1)), enableExecuteCommand=True)
    running(quern, arn)
    yield arn
    quern.client("ecs").stop_task(task=arn)
    stopped(quern, arn)


def execute(quern, arn, command="sh", **kwargs):
    return quern.client("ecs").execute_command(task=arn, command=command, interactive=True, **kwargs)["session"]


def test_shell(quern, task):
    answer = quern.client("ecs").execute_command(task=task, command="sh", interactive=True, container="main")
    told = describe(quern, task)
    assert (answer["taskArn"], answer["clusterArn"], answer["containerName"], answer["interactive"]) == (task, told["clusterArn"], "main", True)
    assert answer["containerArn"] == told["containers"][0]["containerArn"] and answer["session"]["sessionId"].startswith("ecs-execute-command-")
    agent = told["containers"][0]["managedAgents"][0]
    assert (agent["name"], agent["lastStatus"]) == ("ExecuteCommandAgent", "RUNNING") and agent["lastStartedAt"] >= told["createdAt"]
    s = Session(answer["session"])
    s.size(cols=91, rows=33)
    s.type('tty && echo "u$(id -u) $OWN $TERM $(hostname)"\r')
    assert "/dev/pts/" in s.expect("u0 yes xterm-256color main\r\n")
    s.type("stty size\r")
    s.expect("33 91\r")
    s.size(cols=120, rows=44)
    s.type("sleep 100\r")
    s.expect("sleep 100\r\n")
    s.type("\x03")  # the terminal makes a signal of it
    s.type("stty size; echo $?\r")
    s.expect("44 120\r\n0\r\n")
    s.until(lambda: not s.unacknowledged)
    s.type("exit\r")
    s.end()
    assert s.farewell["SessionId"] == answer["session"]["sessionId"] and s.farewell["Output"] == "" and s.ws.closed == 1000


def test_words_of_a_command(quern, task):
    s = Session(execute(quern, task, """sh -c 'echo "a  b" "$0"' c\\ d"""))
    assert s.end() == "a  b c d\r\n"
    assert Session(execute(quern, task, "absent")).end().count("absent") >= 1
    code, message = code_of(execute, quern, task, "echo 'a")
    assert code == "InvalidParameterException" and "quotation mark" in message


def test_much_output_and_lost_messages(quern, task):
    """What a client throws away comes again, in order, and a slow one holds the program up instead of filling memory."""
    s = Session(execute(quern, task, "seq 60000"), handshake=False)
    s.ignore = {1, 2, 9, 100}
    text = s.end()
    assert text == "".join(f"{n}\r\n" for n in range(1, 60001))
    s = Session(execute(quern, task, "sh -c 'i=0; while echo $i > /tmp/at; do i=$((i+1)); head -c 65536 /dev/zero; done'"))
    s.expect("\0" * 10000)
    last = quern.wait(lambda: stands_still(quern, task))
    assert 0 < last < 100  # of 64 KiB each
    s.close()
    assert quern.wait(lambda: processes(quern, task) == ["sleep"])


def inside(quern, arn, *command):
    return quern.cli("exec", arn.rsplit("/", 1)[1], "--", *command).stdout


def processes(quern, arn):
    """Names of what runs in the container, but for who looks and what has ended (the first process reaps nobody)."""
    rows = inside(quern, arn, "sh", "-c", "exec busybox ps -o stat,comm").splitlines()[1:]
    return [name for stat, name in (row.split(None, 1) for row in rows) if name not in ("busybox", "ps") and stat[0] != "Z"]


def stands_still(quern, arn):
    one = inside(quern, arn, "cat", "/tmp/at")
    time.sleep(1)
    two = inside(quern, arn, "cat", "/tmp/at")
    return int(one) if one == two else None


def test_who_closes_ends_the_shell(quern, task):
    """Also one that heeds no hang-up."""
    s = Session(execute(quern, task, """sh -c 'trap "" HUP; echo here; while :; do sleep 1; done'"""))
    s.expect("here")
    assert "sh" in processes(quern, task)
    s.close()
    assert quern.wait(lambda: processes(quern, task) == ["sleep"])
    s = Session(execute(quern, task, "cat"))
    s.put(FLAG, (2).to_bytes(4, "big"))
    s.end()
    assert quern.wait(lambda: processes(quern, task) == ["sleep"])


def test_tokens(quern, task):
    """Each opens one session, once; without one there is none."""
    offer = execute(quern, task, "echo opened")
    bad = Session(offer, token="x" * 88, handshake=False)
    assert not bad.step() and bad.ws.closed == 1008
    other = execute(quern, task, "echo other")
    bad = Session({**offer, "tokenValue": other["tokenValue"]}, handshake=False)
    assert not bad.step() and bad.ws.closed == 1008
    assert Session(offer).end() == "opened\r\n"
    bad = Session(offer, handshake=False)
    assert not bad.step() and bad.ws.closed == 1008
    assert Session(other).end() == "other\r\n"
    with pytest.raises(urllib.error.HTTPError) as info:
        urllib.request.urlopen(offer["streamUrl"].replace("ws://", "http://"))
    assert info.value.code == 426


def test_nonsense_is_dropped(quern, task):
    s = Session(execute(quern, task, "cat"))
    for data in (b"", b"x", b"\0" * 119, b"\xff" * 500, pack("input_stream_data", b"bad\r", OUTPUT, s.sequence, digest=b"\0" * 32), pack("acknowledge", b"{", flags=3),
                 pack("acknowledge", b'{"AcknowledgedMessageSequenceNumber": 1e300}'), pack("input_stream_data", b"[]", SIZE, -1), pack("input_stream_data", b"early\r", OUTPUT, s.sequence + 5)):
        s.ws.send(2, data)
    s.ws.send(9, b"ping")
    s.type("good\r")
    assert s.expect("good\r\ngood\r\n") == ""
    s.ws.send(2, b"\0" * 100000)  # larger than any message
    s.until(lambda: s.ws.closed is not None or not s.step())
    assert s.ws.closed in (0, 1009)


def test_the_end_of_the_task_is_the_end_of_the_session(quern):
    arn = run(quern, register(quern, container(quern, "exec sleep 1000", stopTimeout=1)), enableExecuteCommand=True)
    running(quern, arn)
    s = Session(execute(quern, arn))
    s.type("echo up\r")
    s.expect("\r\nup\r\n")
    late = execute(quern, arn)
    quern.client("ecs").stop_task(task=arn)
    s.end()
    task = stopped(quern, arn)
    assert task["containers"][0]["managedAgents"][0]["lastStatus"] == "STOPPED"
    s = Session(late)
    s.end()
    assert "is stopped" in s.farewell["Output"]
    code, message = code_of(execute, quern, arn)
    assert code == "InvalidParameterException" and "agent isn’t running" in message


def test_what_is_refused(quern, task):
    ecs = quern.client("ecs")
    closed = run(quern, register(quern, container(quern, "exec sleep 1000", stopTimeout=1)))
    running(quern, closed)
    assert "managedAgents" not in describe(quern, closed)["containers"][0]
    code, message = code_of(execute, quern, closed)
    assert code == "InvalidParameterException" and "execute command was not enabled when the task was run" in message
    ecs.stop_task(task=closed)
    assert code_of(ecs.execute_command, task=task, command="sh", interactive=False) == ("InvalidParameterException", "Interactive is the only mode supported currently.")
    assert code_of(execute, quern, task, container="absent")[0] == "InvalidParameterException"
    assert code_of(execute, quern, "0" * 32)[0] == "InvalidParameterException"
    assert code_of(execute, quern, task, cluster="absent")[0] == "ClusterNotFoundException"
    stopped(quern, closed)


def test_who_may(quern, task):
    """A policy says who gets a token, and for which task; the token is all that the socket asks for."""
    user = User(quern, allow("ecs:ExecuteCommand", task.rsplit("/", 1)[0] + "/" + "0" * 32))
    code, message = code_of(user.client("ecs").execute_command, task=task, command="id -u", interactive=True)
    assert code == "AccessDeniedException" and "ecs:ExecuteCommand" in message
    user.put(allow("ecs:ExecuteCommand", task))
    assert Session(user.client("ecs").execute_command(task=task, command="id -u", interactive=True)["session"]).end() == "0\r\n"


def ended(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_restart_says_goodbye(own_quern):
    q = own_quern
    arn = run(q, register(q, container(q, "exec sleep 1000", stopTimeout=1)), enableExecuteCommand=True)
    running(q, arn)
    s = Session(execute(q, arn))
    s.type("echo up\r")
    s.expect("\r\nup\r\n")
    pid = q.pid()
    os.kill(pid, signal.SIGTERM)
    s.end()
    assert "stopped" in s.farewell["Output"] and s.ws.closed == 1001
    q.wait(lambda: not os.path.exists(f"/proc/{pid}") or ended(pid))
    q.up()
    assert q.wait(lambda: processes(q, arn) == ["sleep"])
    assert Session(execute(q, arn, "echo again")).end() == "again\r\n"


# ---- the real plugin ----

def plugin():
    found = os.environ.get("QUERN_TEST_SSM_PLUGIN") or shutil.which("session-manager-plugin")
    if not found:
        pytest.skip("no session-manager-plugin: name one in QUERN_TEST_SSM_PLUGIN, or put it in PATH")
    return found


def test_with_the_aws_cli(quern, task):
    """aws ecs execute-command on a terminal of ours: typing, a resize, ctrl-C, the end."""
    directory = os.path.dirname(plugin())
    aws = shutil.which("aws") or pytest.skip("no aws CLI")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 91, 0, 0))
    env = {**os.environ, "PATH": directory + os.pathsep + os.environ["PATH"], "TERM": "xterm"}
    child = subprocess.Popen([aws, "ecs", "execute-command", "--task", task, "--container", "main", "--interactive", "--command", "/bin/sh"],
                             stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    text = b""

    def expect(wanted):
        nonlocal text
        while wanted.encode() not in text:
            assert select.select([master], [], [], 60)[0], text
            try:
                text += os.read(master, 65536)
            except OSError:
                pytest.fail(text.decode())
        text = text.split(wanted.encode(), 1)[1]

    expect("Starting session with SessionId: ecs-execute-command-")
    expect("# ")
    os.write(master, b'echo "u$(id -u) $OWN"\r')
    expect("u0 yes\r")
    os.write(master, b"for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 1; done\r")
    expect("33 91\r")
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 120, 0, 0))
    expect("44 120\r")
    os.write(master, b"\x03")
    expect("# ")
    os.write(master, b"seq 5000\r")
    expect("\n4999\r")
    expect("\n5000\r")
    os.write(master, b"exit\r")
    expect("Exiting session with sessionId: ecs-execute-command-")
    assert child.wait(60) == 0
    os.close(master)
    assert quern.wait(lambda: processes(quern, task) == ["sleep"])
