"""The 13 types of history events that no recorded case has, written from the documentation (API reference, HistoryEvent; developer guide,
"Redriving executions"). Each test looks at one type: when it comes, what it follows, its details and what the execution makes of it."""

import json

import pytest
from api import helpers

DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
WAIT = {"Type": "Wait", "Seconds": 600, "End": True}
SOON = {"Type": "Wait", "Seconds": 1, "Next": "F"}
FAIL = {"Type": "Fail", "Error": "E", "Cause": "C"}


def scope(start_at, **states):
    return {"StartAt": start_at, "States": states}


FAILS_SOON = scope("S", S=SOON, F=FAIL)


@pytest.fixture(scope="module")
def sfn(quern):
    return quern.client("stepfunctions")


def start(quern, sfn, definition, given=None):
    arn = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=quern.role)["stateMachineArn"]
    return sfn.start_execution(stateMachineArn=arn, input=json.dumps(given if given is not None else {}))["executionArn"]


def finish(quern, sfn, arn):
    """The description and the events of an execution, once it has ended."""
    d = quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=arn)))
    events = sfn.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    return d, events


def run(quern, sfn, definition, given=None):
    return finish(quern, sfn, start(quern, sfn, definition, given))


def types(events):
    return [e["type"] for e in events]


def one(events, kind):
    found = [e for e in events if e["type"] == kind]
    assert len(found) == 1, types(events)
    return found[0]


def details(event):
    found = [v for k, v in event.items() if k.endswith("Details")]
    assert all(k == event["type"][0].lower() + event["type"][1:] + "EventDetails" for k in event if k.endswith("EventDetails") and "State" not in event["type"])
    return found[0] if found else None


def before(events, event):
    """The event that one follows."""
    return events[event["previousEventId"] - 1]


def caught(error):
    return [{"ErrorEquals": [error], "Next": "Caught"}]


def test_activity_schedule_failed(quern, sfn):
    """An activity that cannot be reached: another region's."""
    arn = f"arn:aws:states:eu-west-3:{quern.account}:activity:a"
    definition = scope("T", T={"Type": "Task", "Resource": arn, "Catch": caught("ActivityDoesNotExist"), "End": True}, Caught={"Type": "Pass", "End": True})
    d, events = run(quern, sfn, definition)
    event = one(events, "ActivityScheduleFailed")
    assert before(events, event)["type"] == "TaskStateEntered" and "ActivityScheduled" not in types(events)
    assert details(event) == {"error": "ActivityDoesNotExist", "cause": f"Account {quern.account} in eu-west-3 can't be reached from here: {arn}"}
    assert d["status"] == "SUCCEEDED" and json.loads(d["output"])["Error"] == "ActivityDoesNotExist"


def test_lambda_function_schedule_failed(quern, sfn):
    """A function that cannot be reached at all: another region's."""
    arn = f"arn:aws:lambda:eu-west-3:{quern.account}:function:f"
    d, events = run(quern, sfn, scope("T", T={"Type": "Task", "Resource": arn, "End": True}))
    assert types(events) == ["ExecutionStarted", "TaskStateEntered", "LambdaFunctionScheduleFailed", "ExecutionFailed"]
    found = details(one(events, "LambdaFunctionScheduleFailed"))
    assert found["error"] == d["error"] == "Lambda.ResourceNotFoundException" and arn in found["cause"] == d["cause"]


def test_lambda_function_start_failed(quern, sfn):
    """Lambda refuses to start it: there is no such function. No retry of the state was asked for."""
    arn = f"arn:aws:lambda:us-east-1:{quern.account}:function:{helpers.unique('none')}"
    definition = scope("T", T={"Type": "Task", "Resource": arn, "Retry": [{"ErrorEquals": ["Lambda.ResourceNotFoundException"], "MaxAttempts": 1, "IntervalSeconds": 1}], "End": True})
    d, events = run(quern, sfn, definition)
    assert types(events) == ["ExecutionStarted", "TaskStateEntered"] + ["LambdaFunctionScheduled", "LambdaFunctionStartFailed"] * 2 + ["ExecutionFailed"]
    event = events[3]
    assert before(events, event)["type"] == "LambdaFunctionScheduled"
    assert details(event)["error"] == d["error"] == "Lambda.ResourceNotFoundException" and details(event)["cause"].startswith(f"Function not found: {arn}:$LATEST (")


def test_task_start_failed(quern, sfn):
    """A service that this Quern does not have: scheduled, but never started."""
    state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sqs:sendMessage", "Parameters": {"QueueUrl": "q", "MessageBody": "b"}, "Catch": caught("States.TaskFailed"), "End": True}
    d, events = run(quern, sfn, scope("T", T=state, Caught={"Type": "Pass", "End": True}))
    event = one(events, "TaskStartFailed")
    assert before(events, event)["type"] == "TaskScheduled" and "TaskStarted" not in types(events)
    found = details(event)
    assert (found["resourceType"], found["resource"], found["error"]) == ("aws-sdk:sqs", "sendMessage", "Sqs.NotImplementedException")
    assert "Quern has no service `sqs` yet." in found["cause"] and json.loads(d["output"])["Cause"] == found["cause"]


def test_task_submit_failed(quern, sfn):
    """The job that would be waited for is refused."""
    resource = "arn:aws:states:::ecs:runTask.sync"
    d, events = run(quern, sfn, scope("T", T={"Type": "Task", "Resource": resource, "Parameters": {"TaskDefinition": "nothing-like-it"}, "End": True}))
    event = one(events, "TaskSubmitFailed")
    assert before(events, event)["type"] == "TaskStarted" and "TaskSubmitted" not in types(events)
    found = details(event)
    assert (found["resourceType"], found["resource"]) == ("ecs", "runTask.sync") and found["error"].startswith("ECS.")
    assert (d["status"], d["error"], d["cause"]) == ("FAILED", found["error"], found["cause"])


def test_execution_timed_out(quern, sfn):
    d, events = run(quern, sfn, dict(scope("W", W=WAIT), TimeoutSeconds=1))
    event = one(events, "ExecutionTimedOut")
    assert event is events[-1] and before(events, event)["type"] == "WaitStateEntered" and "WaitStateExited" not in types(events)
    assert d["status"] == "TIMED_OUT" and "output" not in d and d.get("redriveStatus", "REDRIVABLE") == "REDRIVABLE"  # boto3 of 2022 drops it


def test_wait_state_aborted(quern, sfn):
    """A branch waits while another fails."""
    d, events = run(quern, sfn, scope("P", P={"Type": "Parallel", "Branches": [FAILS_SOON, scope("W", W=WAIT)], "End": True}))
    event = one(events, "WaitStateAborted")
    assert before(events, event)["type"] == "FailStateEntered" and details(event) is None
    assert types(events)[-3:] == ["WaitStateAborted", "ParallelStateFailed", "ExecutionFailed"] and d["error"] == "E"


def test_parallel_state_aborted(quern, sfn):
    """A Parallel state within a branch, and what runs in it."""
    inner = scope("Q", Q={"Type": "Parallel", "Branches": [scope("W", W=WAIT), scope("V", V=WAIT)], "End": True})
    _, events = run(quern, sfn, scope("P", P={"Type": "Parallel", "Branches": [FAILS_SOON, inner], "End": True}))
    event = one(events, "ParallelStateAborted")
    assert before(events, event)["type"] == "FailStateEntered" and details(event) is None
    assert types(events)[-5:] == ["WaitStateAborted", "WaitStateAborted", "ParallelStateAborted", "ParallelStateFailed", "ExecutionFailed"]


def test_map_state_aborted(quern, sfn):
    """An inline Map within a branch, with its iterations."""
    inner = scope("M", M={"Type": "Map", "ItemProcessor": scope("W", W=WAIT), "End": True})
    _, events = run(quern, sfn, scope("P", P={"Type": "Parallel", "Branches": [FAILS_SOON, inner], "End": True}), [1, 2])
    event = one(events, "MapStateAborted")
    assert before(events, event)["type"] == "FailStateEntered" and details(event) is None
    assert types(events)[-7:] == ["WaitStateAborted", "MapIterationAborted", "WaitStateAborted", "MapIterationAborted", "MapStateAborted", "ParallelStateFailed", "ExecutionFailed"]
    assert [details(e) for e in events if e["type"] == "MapIterationAborted"] == [{"name": "M", "index": 0}, {"name": "M", "index": 1}]


def distributed(states):
    return {"Type": "Map", "ItemProcessor": dict(states, ProcessorConfig={"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}), "End": True}


def test_map_run_aborted(quern, sfn):
    """A sibling fails, or the execution is stopped: the run and its children end."""
    inner = scope("M", M=distributed(scope("W", W=WAIT)))
    arn = start(quern, sfn, scope("P", P={"Type": "Parallel", "Branches": [FAILS_SOON, inner], "End": True}), [1, 2])
    _, events = finish(quern, sfn, arn)
    event = one(events, "MapRunAborted")
    assert before(events, event)["type"] == "FailStateEntered" and details(event) is None
    assert types(events)[-4:] == ["MapRunAborted", "MapStateAborted", "ParallelStateFailed", "ExecutionFailed"]
    arn = start(quern, sfn, inner, [1, 2])
    run_arn = quern.wait(lambda: sfn.list_map_runs(executionArn=arn)["mapRuns"])[0]["mapRunArn"]
    quern.wait(lambda: sfn.describe_map_run(mapRunArn=run_arn)["itemCounts"]["running"] == 2)
    sfn.stop_execution(executionArn=arn)
    _, events = finish(quern, sfn, arn)
    assert types(events)[-3:] == ["MapRunStarted", "MapRunAborted", "ExecutionAborted"]
    assert before(events, events[-2])["type"] == "MapRunStarted" and before(events, events[-1])["type"] == "MapRunAborted"
    found = sfn.describe_map_run(mapRunArn=run_arn)
    assert (found["status"], found["itemCounts"]["aborted"]) == ("ABORTED", 2)
    assert {e["status"] for e in sfn.list_executions(mapRunArn=run_arn)["executions"]} == {"ABORTED"}


def test_parallel_state_succeeded(quern, sfn):
    """It follows the last branch's last event, as does the state's exit (AWS's numbers leave a gap there in a recording)."""
    branches = [scope("A", A={"Type": "Pass", "End": True}), scope("W", W={"Type": "Wait", "Seconds": 1, "End": True})]
    _, events = run(quern, sfn, scope("P", P={"Type": "Parallel", "Branches": branches, "End": True}))
    event = one(events, "ParallelStateSucceeded")
    assert before(events, event)["type"] == "WaitStateExited" and details(event) is None
    left = one(events, "ParallelStateExited")
    assert left["id"] == event["id"] + 1 and left["previousEventId"] == event["previousEventId"]


def test_execution_redriven(quern, sfn):
    """Each redrive has its own, with its number; the state that failed is entered anew only if it is a Fail state."""
    helpers.needs(sfn, "RedriveExecution")
    arn = start(quern, sfn, scope("F", F=FAIL))
    for count in (1, 2):
        finish(quern, sfn, arn)
        sfn.redrive_execution(executionArn=arn)
        d, events = finish(quern, sfn, arn)
        event = [e for e in events if e["type"] == "ExecutionRedriven"][-1]
        assert details(event) == {"redriveCount": count} and before(events, event)["type"] == "ExecutionFailed"
        assert types(events)[event["id"] :] == ["FailStateEntered", "ExecutionFailed"] and d["redriveCount"] == count


def test_map_run_redriven(quern, sfn):
    """After ExecutionRedriven, in place of a second MapRunStarted."""
    helpers.needs(sfn, "RedriveExecution")
    arn = start(quern, sfn, scope("M", M=distributed(scope("F", F=FAIL))), [1])
    finish(quern, sfn, arn)
    run_arn = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    for count in (1, 2):
        sfn.redrive_execution(executionArn=arn)
        _, events = finish(quern, sfn, arn)
        event = [e for e in events if e["type"] == "MapRunRedriven"][-1]
        assert details(event) == {"mapRunArn": run_arn, "redriveCount": count} and before(events, event)["type"] == "ExecutionRedriven"
        assert types(events)[event["id"] :] == ["MapRunFailed", "MapStateFailed", "ExecutionFailed"] and types(events).count("MapRunStarted") == 1
