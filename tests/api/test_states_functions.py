"""Functions as tasks: by their ARN, with lambda:invoke, with a token, over a restart."""

import json

import pytest
from api import helpers
from api.test_lambda import create

DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
INVOKE = "arn:aws:states:::lambda:invoke"


def start(quern, state):
    sfn = quern.client("stepfunctions")
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps({"StartAt": "T", "States": {"T": dict(state, Type="Task", End=True)}}), roleArn=quern.role)
    return sfn, sfn.start_execution(stateMachineArn=machine["stateMachineArn"], input='{"x": 1}')["executionArn"]


def finish(quern, sfn, arn):
    return quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=arn)))


def run(quern, state):
    return finish(quern, *start(quern, state))


@pytest.mark.parametrize("given, payload", [({"a": [1]}, {"a": [1]}), (None, {}), ('"text"', "text"), ("[1, 2]", [1, 2])])
def test_invoke(quern, given, payload):
    """A text is the payload as it stands, null is none. The headers are those of Lambda's answer."""
    name = create(quern, quern.client("lambda"))
    d = run(quern, {"Resource": INVOKE, "Parameters": {"FunctionName": name, "Payload": given}})
    out = json.loads(d["output"])
    assert (out["Payload"], out["StatusCode"], out["ExecutedVersion"]) == (payload, 200, "$LATEST")
    headers = out["SdkHttpMetadata"]["HttpHeaders"]
    assert (headers["Content-Length"], headers["Content-Type"]) == (str(len(json.dumps(payload))), "application/json")
    assert out["SdkHttpMetadata"]["AllHttpHeaders"]["x-amzn-RequestId"] == [out["SdkResponseMetadata"]["RequestId"]]


def test_errors(quern):
    """The error is the exception's type; the cause Lambda's payload, by ARN as the runtime wrote it."""
    name = create(quern, quern.client("lambda"), "def handler(e, c):\n    raise KeyError('k')\n")
    arn = f"arn:aws:lambda:us-east-1:{quern.account}:function:{name}"
    by_arn, invoked = run(quern, {"Resource": arn}), run(quern, {"Resource": INVOKE, "Parameters": {"FunctionName": name}})
    assert by_arn["error"] == invoked["error"] == "KeyError"
    assert '"errorType": "KeyError"' in by_arn["cause"] and '"errorType":"KeyError"' in invoked["cause"]
    bad = run(quern, {"Resource": INVOKE, "Parameters": {"FunctionName": name, "Payload": "no json"}})
    assert bad["error"] == "Lambda.InvalidRequestContentException"


def test_token(quern):
    """The function sends its task's result itself."""
    code = "import boto3\ndef handler(e, c):\n    boto3.client('stepfunctions').send_task_success(taskToken=e['t'], output='\"sent\"')\n"
    name = create(quern, quern.client("lambda"), code, MemorySize=1769)
    d = run(quern, {"Resource": INVOKE + ".waitForTaskToken", "Parameters": {"FunctionName": name, "Payload": {"t.$": "$$.Task.Token"}}})
    assert (d["status"], d["output"]) == ("SUCCEEDED", '"sent"')


def test_restart_while_a_function_runs(own_quern):
    """A stop of the daemon is no failure of the task: the function is invoked again."""
    name = create(own_quern, own_quern.client("lambda"), "import time\ndef handler(e, c):\n    time.sleep(2)\n    return 'done'\n")
    sfn, arn = start(own_quern, {"Resource": f"arn:aws:lambda:us-east-1:{own_quern.account}:function:{name}"})
    own_quern.wait(lambda: any(e["type"] == "LambdaFunctionStarted" for e in sfn.get_execution_history(executionArn=arn)["events"]))
    own_quern.down()
    own_quern.up()
    sfn = own_quern.client("stepfunctions")
    d = finish(own_quern, sfn, arn)
    assert (d["status"], d["output"]) == ("SUCCEEDED", '"done"')
    types = [e["type"] for e in sfn.get_execution_history(executionArn=arn)["events"]]
    assert types.count("LambdaFunctionScheduled") == types.count("LambdaFunctionStarted") == types.count("LambdaFunctionSucceeded") == 1
