"""How a job reports its end: the failure and success files, and the errors that are the user's.

DESIGN: SageMaker shows the first 1024 characters of /opt/ml/output/failure as FailureReason, so the texts have the form
that AWS's training toolkit gives them: class, exit code, error message, command.
"""
import os
import sys
import time


class ClientError(Exception):
    """Something that the user can mend."""

    exit_code = 1


class CommandError(ClientError):
    """A command that failed. The subclass's name opens the report."""

    def __init__(self, command, exit_code, output="", extra=None):
        self.command = command
        self.exit_code = exit_code
        lines = [f"{type(self).__name__}:", f"ExitCode {exit_code}", f'ErrorMessage "{output}"']
        if extra:
            lines.append(f'ExtraInfo "{extra}"')
        lines.append(f'Command "{" ".join(command)}"')
        super().__init__("\n".join(lines))


class ExecuteUserScriptError(CommandError):
    """The user's script."""


class InstallModuleError(CommandError):
    """pip install of the user's package."""


class InstallRequirementsError(CommandError):
    """pip install -r requirements.txt."""


def log(level, message):
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    print(f"{stamp},{int(time.time() * 1000) % 1000:03} quern-toolkit {level:8} {message}", flush=True)


def info(message):
    log("INFO", message)


def error(message):
    log("ERROR", message)


def write_success(output_dir):
    info("Reporting training SUCCESS")
    os.makedirs(output_dir, exist_ok=True)
    with open(os.path.join(output_dir, "success"), "w", encoding="utf-8"):
        pass


def write_failure(output_dir, message):
    """Writes the failure file; one that a script left is kept."""
    error("Reporting training FAILURE")
    error(message)
    try:
        os.makedirs(output_dir, exist_ok=True)
        with open(os.path.join(output_dir, "failure"), "x", encoding="utf-8") as f:
            f.write(message)
    except FileExistsError:
        info("Failure file exists. Skipping creation....")
    except OSError as e:
        print(f"write failure file: {e}", file=sys.stderr)
