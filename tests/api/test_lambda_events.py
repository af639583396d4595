"""Lambda's asynchronous invocations: their retries, what is refused around them; CPUs by memory."""

import glob
import os
import re
import time

import pytest
from api.test_lambda import create, invoke, refused

FAILS = "def handler(e, c):\n    raise ValueError('no')\n"


def attempts(quern, name):
    """The request ids of the function's runs, in their order, and when each began."""
    logs = quern.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="START")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    found = [(re.match(r"START RequestId: (\S+)", e["message"]), e["timestamp"]) for e in events]
    return [(m[1], at) for m, at in found if m]


@pytest.fixture
def quick_quern(own_quern):
    """Pauses are a hundredth."""
    own_quern.down()
    own_quern.up("--wait-scale", "0.01")
    return own_quern


def test_event_is_tried_three_times(quick_quern):
    """Twice more after a function's error, after one and two minutes, each under the same request id; then it is dropped."""
    client = quick_quern.client("lambda")
    name = create(quick_quern, client, FAILS)
    assert client.invoke(FunctionName=name, InvocationType="Event", Payload="{}")["StatusCode"] == 202
    runs = quick_quern.wait(lambda: (lambda r: len(r) == 3 and r)(attempts(quick_quern, name)))
    assert len({run for run, _ in runs}) == 1
    # the times are those at which the lines were read, a little after they were written
    assert runs[1][1] - runs[0][1] >= 500 and runs[2][1] - runs[1][1] >= 1000
    time.sleep(2)  # longer than any pause before another one
    assert len(attempts(quick_quern, name)) == 3


def test_event_that_succeeds_runs_once(quick_quern):
    client = quick_quern.client("lambda")
    name = create(quick_quern, client)
    for bad in (b'"\xff"', b'"\\u12"'):
        refused("InvalidRequestContentException", 400, client.invoke, FunctionName=name, InvocationType="Event", Payload=bad)
    client.invoke(FunctionName=name, InvocationType="Event", Payload="{}")
    quick_quern.wait(lambda: attempts(quick_quern, name))
    time.sleep(1)
    assert len(attempts(quick_quern, name)) == 1


def test_destinations_are_refused(quern):
    """Where failed events would go is not built: said so, in the function's configuration and as an operation."""
    client = quern.client("lambda")
    message = refused("InvalidParameterValueException", 400, create, quern=quern, client=client, DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"})
    assert message == "Quern does not support DeadLetterConfig.TargetArn of a function yet"
    name = create(quern, client)
    refused("NotImplementedException", 501, client.put_function_event_invoke_config, FunctionName=name,
            DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}})


@pytest.mark.parametrize("field, value", [("FileSystemConfigs", [{"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0", "LocalMountPath": "/mnt/x"}]), ("KMSKeyArn", "arn:aws:kms:us-east-1:000000000000:key/x"), ("CodeSigningConfigArn", "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-01234567890abcdef")])
def test_unsupported_fields(quern, field, value):
    message = refused("InvalidParameterValueException", 400, create, quern=quern, client=quern.client("lambda"), **{field: value})
    assert message == f"Quern does not support {field} of a function yet"


def cpu_limits(task):
    """CPUs that the groups of lambda workers may use, in cgroup v2 or v1."""
    for path in glob.glob(f"/sys/fs/cgroup/quern/{task}/**/cpu.max", recursive=True):
        yield path, open(path, encoding="ascii").read().split()
    for path in glob.glob(f"/sys/fs/cgroup/cpu*/quern/{task}/**/cpu.cfs_quota_us", recursive=True):
        yield path, [open(os.path.join(os.path.dirname(path), "cpu.cfs_" + name), encoding="ascii").read() for name in ("quota_us", "period_us")]


def test_cpu_limit(quern):
    """1,769 MB are one CPU. Where the machine has no control groups for tasks, nothing limits them."""
    if quern.machine()["cgroup_mode"] == "none":
        pytest.skip("no control groups on this machine")
    client = quern.client("lambda")
    before = {path for path, _ in cpu_limits("lw-*")}
    invoke(client, create(quern, client, "def handler(e, c):\n    return 1\n", MemorySize=1769))
    after = [limit for path, limit in cpu_limits("lw-*") if path not in before]
    assert any(limit[0] != "max" and abs(int(limit[0]) / int(limit[1]) - 1) < 0.01 for limit in after), after
