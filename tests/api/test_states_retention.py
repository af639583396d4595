"""Ended executions are forgotten after their time, what runs is not."""

import json
import os
import signal
import time

from api import helpers

KEEP = "0.00003"  # days: 2.6 seconds


def test_old_executions_go(own_quern):
    own_quern.down()
    own_quern.up("--execution-days", KEEP)
    sfn = own_quern.client("stepfunctions")

    def machine(*states):
        definition = {"StartAt": "A", "States": {"A": states[0]}}
        return sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=own_quern.role)["stateMachineArn"]

    quick, slow = machine({"Type": "Pass", "End": True}), machine({"Type": "Wait", "Seconds": 600, "End": True})
    inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    mapped = machine({"Type": "Map", "ItemProcessor": inner, "End": True})
    running = sfn.start_execution(stateMachineArn=slow)["executionArn"]
    run = sfn.start_execution(stateMachineArn=mapped, input="[1, 2, 3]")["executionArn"]
    many = [sfn.start_execution(stateMachineArn=quick)["executionArn"] for _ in range(450)]  # more than two batches

    def left():
        return [a for m in (quick, mapped) for page in sfn.get_paginator("list_executions").paginate(stateMachineArn=m) for a in page["executions"]]

    assert left()
    own_quern.wait(lambda: not left())
    for arn in (many[0], many[-1], run):
        for call in (sfn.describe_execution, sfn.get_execution_history):
            try:
                call(executionArn=arn)
                raise AssertionError("it is still there")
            except sfn.exceptions.ExecutionDoesNotExist:
                pass
    assert sfn.describe_execution(executionArn=running)["status"] == "RUNNING"
    os.kill(own_quern.pid(), signal.SIGKILL)
    time.sleep(0.3)
    own_quern.up("--execution-days", KEEP)
    sfn = own_quern.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=quick)["executionArn"]
    own_quern.wait(lambda: all(e["executionArn"] != arn for e in sfn.list_executions(stateMachineArn=quick)["executions"]))
    assert sfn.describe_execution(executionArn=running)["status"] == "RUNNING"
    sfn.stop_execution(executionArn=running)
    own_quern.wait(lambda: not sfn.list_executions(stateMachineArn=slow)["executions"])
