"""Runs commands, passes on what they print, and keeps the lines that tell why one failed.

DESIGN: output and errors share one pipe, so the log keeps their order. The report begins with the first line that names
a Python exception, as the toolkit of AWS does it, and is cut where a FailureReason would end anyway. SIGTERM goes on to
the command.
"""
import builtins
import os
import re
import shlex
import signal
import subprocess
import sys

from quern_toolkit import failure

PACKAGE, SCRIPT, COMMAND = "package", "script", "command"
KEPT_CHARACTERS = 4096

ERROR_NAME = re.compile("|".join(
    name for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
    and name not in ("SystemExit", "KeyboardInterrupt", "GeneratorExit") and not name.endswith("Warning")
) + "|Invalid requirement|ERROR: ")


def use_site_packages():
    """`train` starts without site packages; this brings them, and what PYTHONUSERBASE holds."""
    if sys.flags.no_site:
        import site

        site.main()


def entry_point_kind(code_dir, name):
    if name.endswith(".sh"):
        return COMMAND
    if os.path.exists(os.path.join(code_dir, "setup.py")):
        return PACKAGE
    return SCRIPT if name.endswith(".py") else COMMAND


def command_line(code_dir, name, arguments):
    """The command as executed."""
    kind = entry_point_kind(code_dir, name)
    if kind == PACKAGE:
        return [sys.executable, "-m", name[:-3] if name.endswith(".py") else name, *arguments]
    if kind == SCRIPT:
        return [sys.executable, name, *arguments]
    return ["/bin/sh", "-c", " ".join([f"./{shlex.quote(name)}", *map(shlex.quote, arguments)])]


class Report:
    """Collects the error lines of a command's output."""

    def __init__(self):
        self.lines = {}
        self.size = 0

    def look_at(self, line):
        text = line.decode("utf-8", "replace").strip(" :\r\n")
        if not text or self.size > KEPT_CHARACTERS or text in self.lines:
            return
        if self.lines or ERROR_NAME.search(text):
            self.lines[text] = None
            self.size += len(text)

    def text(self):
        return "\n ".join(self.lines)


def pass_on(stream, report):
    """Copies lines until the end of the stream; a line without an end is copied in pieces."""
    out = sys.stdout.buffer
    while True:
        line = stream.readline(65536)
        if not line:
            return
        out.write(line)
        out.flush()
        report.look_at(line)


def shell_exit_code(code):
    return 128 - code if code < 0 else code


def run(command, error_class=failure.ExecuteUserScriptError, cwd=None, flags=(), env=None):
    """Runs `command` plus `flags` (which the report leaves out); raises `error_class` unless it ends with 0."""
    try:
        child = subprocess.Popen([*command, *flags], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as e:
        raise error_class(command, 127, str(e)) from e
    previous = signal.signal(signal.SIGTERM, lambda signo, frame: child.send_signal(signo))
    report = Report()
    try:
        pass_on(child.stdout, report)
        code = shell_exit_code(child.wait())
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code:
        extra = "OutOfMemory: Process killed by SIGKILL (signal 9)" if code == 137 else None
        raise error_class(command, code, report.text(), extra)
