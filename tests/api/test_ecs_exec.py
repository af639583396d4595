"""ExecuteCommand: a shell in a container over the Session Manager's data channel, and containers with a terminal."""

from api import helpers
from api.test_ecs import awslogs, container, lines, output, register, run, running, stopped


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
