"""Definitions as engineers have written them for AWS: forms that no document names, but that deployed machines use."""

import json

import pytest
from botocore.config import Config

from api import helpers


@pytest.fixture(scope="module")
def sfn(quern):
    return quern.client("stepfunctions")


def machine(quern, sfn, states, **more):
    definition = {"StartAt": next(iter(states)), "States": states, **more}
    return sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=quern.role)["stateMachineArn"]


def refusal(quern, sfn, states, **more):
    with pytest.raises(sfn.exceptions.InvalidDefinition) as caught:
        machine(quern, sfn, states, **more)
    return str(caught.value)


def run(quern, sfn, states, value):
    arn = sfn.start_execution(stateMachineArn=machine(quern, sfn, states), input=json.dumps(value))["executionArn"]

    def probe():
        d = sfn.describe_execution(executionArn=arn)
        return d if d["status"] != "RUNNING" else None

    d = quern.wait(probe)
    assert d["status"] == "SUCCEEDED", d
    return json.loads(d["output"])


def test_a_dot_before_a_bracket(quern, sfn):
    """`$.[0].body` is how a batch of a queue is read."""
    template = {"body.$": "States.StringToJson($.[0].body)", "state.$": "$[1].list.[0].state", "two.$": "$.[*].['n', 'm']", "big.$": "$.[?(@.n > 1)].n", "name.$": "$$.State.Name "}
    value = [{"body": '{"a": 1}', "n": 1, "m": 2}, {"list": [{"state": "ready"}], "n": 3, "m": 4}]
    assert run(quern, sfn, {"P": {"Type": "Pass", "Parameters": template, "End": True}}, value) == {
        "body": {"a": 1},
        "state": "ready",
        "two": [{"n": 1, "m": 2}, {"n": 3, "m": 4}],
        "big": [3],
        "name": "P",
    }
    for bad in ("$.", "$.a.", "$.[", "$.[]", "$...a"):
        assert "must be a valid JSONPath" in refusal(quern, sfn, {"P": {"Type": "Pass", "Parameters": {"x.$": bad}, "End": True}})


def test_an_integration_with_region_and_account(quern, sfn):
    """Templates write arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:aws-sdk:..."""
    call = {"Type": "Task", "Resource": "arn:aws:states:us-east-1:123456789012:aws-sdk:sfn:listStateMachines", "Parameters": {}, "ResultSelector": {"names.$": "$.StateMachines[*].Name"}, "End": True}
    assert any(name.startswith("m-") for name in run(quern, sfn, {"T": call}, {})["names"])
    for bad in ("arn:aws:states:us-east-1:123456789012:stateMachine:m", "arn:aws:states:us-east-1::aws-sdk:sfn:listStateMachines"):
        assert "Value is not a valid resource ARN" in refusal(quern, sfn, {"T": {**call, "Resource": bad}})


def test_a_job_of_a_service_that_is_not_here(quern, sfn):
    """A real run names it; TestState needs no service where the result is given."""
    job = {"Type": "Task", "Resource": "arn:aws:states:::glue:startJobRun.sync", "Parameters": {"JobName": "j"}, "ResultPath": "$.job", "End": True}
    arn = sfn.start_execution(stateMachineArn=machine(quern, sfn, {"J": job}))["executionArn"]
    d = quern.wait(lambda: (lambda x: x if x["status"] != "RUNNING" else None)(sfn.describe_execution(executionArn=arn)))
    assert d["status"] == "FAILED" and "glue:startJobRun.sync" in d["cause"]
    helpers.needs(sfn, "TestState", "mock")
    tester = quern.client("stepfunctions", config=Config(inject_host_prefix=False))
    told = tester.test_state(definition=json.dumps(job), roleArn=quern.role, input="{}", mock={"result": '{"JobRunState": "SUCCEEDED"}'})
    assert told["status"] == "SUCCEEDED" and json.loads(told["output"]) == {"job": {"JobRunState": "SUCCEEDED"}}
