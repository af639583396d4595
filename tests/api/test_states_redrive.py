"""RedriveExecution: single states, branches, and map runs with their children, with boto3."""

import json
import os
import signal
import time

import pytest
from api import helpers

DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


def redriving(quern):
    client = quern.client("stepfunctions")
    helpers.needs(client, "RedriveExecution")
    return client


@pytest.fixture(scope="module")
def sfn(quern):
    return redriving(quern)


@pytest.fixture(scope="module")
def bucket(quern):
    """A child or a branch fails until the object that it reads is there."""
    s3 = quern.client("s3")
    name = helpers.unique("redrive")
    s3.create_bucket(Bucket=name)
    return s3, name


def start(quern, sfn, definition, given=None, **more):
    arn = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=quern.role, **more)["stateMachineArn"]
    return sfn.start_execution(stateMachineArn=arn, input=json.dumps(given if given is not None else {}))["executionArn"]


def ended(quern, sfn, arn):
    return quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=arn)))


def history(sfn, arn):
    return sfn.get_execution_history(executionArn=arn, maxResults=1000)["events"]


def types(sfn, arn):
    return [e["type"] for e in history(sfn, arn)]


def reader(bucket, key, **more):
    return {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": bucket, **key}, "ResultSelector": {"b.$": "$.Body"}, "End": True, **more}


def test_task(quern, sfn, bucket):
    """The state goes on as it stands: with its input, without a second StateEntered."""
    s3, name = bucket
    first = {"Type": "Pass", "Result": {"k": "task"}, "Next": "R"}
    arn = start(quern, sfn, {"StartAt": "P", "States": {"P": first, "R": reader(name, {"Key.$": "$.k"})}})
    assert ended(quern, sfn, arn)["redriveStatus"] == "REDRIVABLE"
    s3.put_object(Bucket=name, Key="task", Body=b"x")
    sfn.redrive_execution(executionArn=arn, clientToken="a" * 32)
    d = ended(quern, sfn, arn)
    assert (d["status"], d["output"], d["redriveCount"], d["redriveStatus"]) == ("SUCCEEDED", '{"b":"x"}', 1, "NOT_REDRIVABLE")
    assert d["redriveDate"] > d["startDate"] and sfn.redrive_execution(executionArn=arn, clientToken="a" * 32)["redriveDate"] == d["redriveDate"]
    events = history(sfn, arn)
    last = [e["type"] for e in events][-6:]
    assert last == ["ExecutionRedriven", "TaskScheduled", "TaskStarted", "TaskSucceeded", "TaskStateExited", "ExecutionSucceeded"]
    redriven, scheduled = events[-6], events[-5]
    assert redriven["executionRedrivenEventDetails"] == {"redriveCount": 1} and redriven["previousEventId"] == redriven["id"] - 1
    assert scheduled["previousEventId"] == redriven["id"] and [e["id"] for e in events] == list(range(1, len(events) + 1))
    with pytest.raises(sfn.exceptions.ExecutionNotRedrivable):
        sfn.redrive_execution(executionArn=arn)


def test_branches_and_iterations(quern, sfn, bucket):
    """Only what had not ended runs again."""
    s3, name = bucket
    good = {"StartAt": "G", "States": {"G": {"Type": "Pass", "Result": "good", "End": True}}}
    bad = {"StartAt": "B", "States": {"B": reader(name, {"Key": "branch"})}}
    inner = {"StartAt": "I", "States": {"I": reader(name, {"Key.$": "$"})}}
    s3.put_object(Bucket=name, Key="i0", Body=b"0")
    definition = {"StartAt": "P", "States": {"P": {"Type": "Parallel", "Branches": [good, bad], "Next": "M", "ResultPath": "$.p"},
                                             "M": {"Type": "Map", "ItemsPath": "$.l", "MaxConcurrency": 1, "ItemProcessor": inner, "End": True}}}
    arn = start(quern, sfn, definition, {"l": ["i0", "i1"]})
    assert ended(quern, sfn, arn)["status"] == "FAILED"
    s3.put_object(Bucket=name, Key="branch", Body=b"b")
    sfn.redrive_execution(executionArn=arn)
    assert ended(quern, sfn, arn)["status"] == "FAILED"
    s3.put_object(Bucket=name, Key="i1", Body=b"1")
    sfn.redrive_execution(executionArn=arn)
    d = ended(quern, sfn, arn)
    assert (d["status"], json.loads(d["output"]), d["redriveCount"]) == ("SUCCEEDED", [{"b": "0"}, {"b": "1"}], 2)
    seen = types(sfn, arn)
    assert seen.count("PassStateEntered") == 1 and seen.count("ParallelStateEntered") == 1 and seen.count("MapStateEntered") == 1
    assert seen.count("TaskScheduled") == 2 + 3 and seen.count("ExecutionRedriven") == 2


def distributed(name, kind="STANDARD", **more):
    inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "StartAt": "A",
             "States": {"A": {"Type": "Pass", "Next": "R"}, "R": reader(name, {"Key.$": "$.k"})}}
    return {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": inner, "End": True, **more}}}


def children(sfn, run):
    found = []
    for page in sfn.get_paginator("list_executions").paginate(mapRunArn=run):
        found += page["executions"]
    return {e["executionArn"]: e for e in found}


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
def test_map_run(quern, sfn, bucket, kind):
    """The same run, the same children: only those that failed or had not started run."""
    s3, name = bucket
    keys = [f"{kind}/{i}" for i in range(8)]
    for key in keys[:3]:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    arn = start(quern, sfn, distributed(name, kind, MaxConcurrency=1, ToleratedFailureCount=1), [{"k": k} for k in keys])
    d = ended(quern, sfn, arn)
    assert (d["status"], d["error"], d["redriveStatus"]) == ("FAILED", "States.ExceedToleratedFailureThreshold", "REDRIVABLE")
    run = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    counts = sfn.describe_map_run(mapRunArn=run)["itemCounts"]
    assert (counts["succeeded"], counts["failed"], counts["pending"], counts["total"]) == (3, 2, 3, 8)
    assert (counts["pendingRedrive"], counts["failuresNotRedrivable"]) == (0, 0)
    before = children(sfn, run)
    failed = next(a for a, e in before.items() if e["status"] == "FAILED")
    if kind == "STANDARD":
        assert sfn.describe_execution(executionArn=failed)["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
        with pytest.raises(sfn.exceptions.ExecutionNotRedrivable):
            sfn.redrive_execution(executionArn=failed)
    for key in keys[3:]:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    sfn.redrive_execution(executionArn=arn)
    d = ended(quern, sfn, arn)
    assert (d["status"], json.loads(d["output"])) == ("SUCCEEDED", [{"b": k} for k in keys])
    m = sfn.describe_map_run(mapRunArn=run)
    assert (m["status"], m["redriveCount"], m["itemCounts"]["succeeded"], m["executionCounts"]["succeeded"]) == ("SUCCEEDED", 1, 8, 8)
    assert m["redriveDate"] > m["startDate"] and m["stopDate"] >= m["redriveDate"]
    after = children(sfn, run)
    assert set(before) < set(after) and len(after) == 8
    assert sorted(e["redriveCount"] for e in after.values()) == [0] * 6 + [1] * 2
    events = history(sfn, arn)
    assert [e["type"] for e in events][-6:] == ["ExecutionRedriven", "MapRunRedriven", "MapRunSucceeded", "MapStateSucceeded", "MapStateExited", "ExecutionSucceeded"]
    assert events[-5]["mapRunRedrivenEventDetails"] == {"mapRunArn": run, "redriveCount": 1} and events[-5]["previousEventId"] == events[-6]["id"]
    assert [e["type"] for e in events].count("MapRunStarted") == 1
    if kind == "STANDARD":
        seen = types(sfn, failed)
        assert seen.count("PassStateEntered") == 1 and seen[-6:-4] == ["ExecutionRedriven", "TaskScheduled"]


def test_map_run_fails_again(quern, sfn, bucket):
    """A redrive has its own failures; ended children stay as they are."""
    s3, name = bucket
    s3.put_object(Bucket=name, Key="again/0", Body=b"0")
    arn = start(quern, sfn, distributed(name, MaxConcurrency=1), [{"k": f"again/{i}"} for i in range(3)])
    ended(quern, sfn, arn)
    sfn.redrive_execution(executionArn=arn)
    d = ended(quern, sfn, arn)
    run = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    m = sfn.describe_map_run(mapRunArn=run)
    assert (d["status"], m["status"], m["redriveCount"]) == ("FAILED", "FAILED", 1)
    assert (m["itemCounts"]["succeeded"], m["itemCounts"]["failed"], m["itemCounts"]["pending"]) == (1, 1, 1)
    for i in (1, 2):
        s3.put_object(Bucket=name, Key=f"again/{i}", Body=str(i).encode())
    sfn.redrive_execution(executionArn=arn)
    assert json.loads(ended(quern, sfn, arn)["output"]) == [{"b": "0"}, {"b": "1"}, {"b": "2"}]
    assert sfn.describe_map_run(mapRunArn=run)["redriveCount"] == 2


def test_map_run_stopped_while_it_runs(quern, sfn):
    """Children that were stopped with their parent go on where they were; those that had ended do not."""
    activity = sfn.create_activity(name=helpers.unique("a"))["activityArn"]
    inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "A", "States": {"A": {"Type": "Task", "Resource": activity, "End": True}}}
    definition = {"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 2, "ItemProcessor": inner, "End": True}}}
    arn = start(quern, sfn, definition, [1, 2, 3, 4])
    task = sfn.get_activity_task(activityArn=activity)
    sfn.send_task_success(taskToken=task["taskToken"], output='"first"')
    run = quern.wait(lambda: sfn.list_map_runs(executionArn=arn)["mapRuns"])[0]["mapRunArn"]
    quern.wait(lambda: sfn.describe_map_run(mapRunArn=run)["itemCounts"]["succeeded"] == 1)
    sfn.stop_execution(executionArn=arn, error="E", cause="C")
    ended(quern, sfn, arn)
    m = sfn.describe_map_run(mapRunArn=run)
    assert m["status"] == "ABORTED" and m["itemCounts"]["aborted"] == 2 and m["itemCounts"]["pending"] == 1
    sfn.redrive_execution(executionArn=arn)
    for _ in range(3):
        task = sfn.get_activity_task(activityArn=activity)
        sfn.send_task_success(taskToken=task["taskToken"], output=task["input"])
    d = ended(quern, sfn, arn)
    assert d["status"] == "SUCCEEDED" and sorted(map(str, json.loads(d["output"]))) == sorted(["first", "2", "3", "4"])
    assert sfn.describe_map_run(mapRunArn=run)["redriveCount"] == 1
    sfn.delete_activity(activityArn=activity)


def test_survives_restart(own_quern):
    """A redrive that was asked for goes on after kill -9; nothing runs twice."""
    sfn, s3 = redriving(own_quern), own_quern.client("s3")
    s3.create_bucket(Bucket="redriven")
    arn = start(own_quern, sfn, distributed("redriven", MaxConcurrency=5, ToleratedFailurePercentage=99), [{"k": str(i)} for i in range(100)])
    assert ended(own_quern, sfn, arn)["status"] == "FAILED"
    for i in range(100):
        s3.put_object(Bucket="redriven", Key=str(i), Body=str(i).encode())
    sfn.redrive_execution(executionArn=arn)
    os.kill(own_quern.pid(), signal.SIGKILL)
    time.sleep(0.3)
    own_quern.up()
    sfn = own_quern.client("stepfunctions")
    d = ended(own_quern, sfn, arn)
    assert (d["status"], json.loads(d["output"])) == ("SUCCEEDED", [{"b": str(i)} for i in range(100)])
    run = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    for child in list(children(sfn, run))[:3]:
        seen = types(sfn, child)
        assert seen.count("ExecutionRedriven") <= 1 and seen.count("ExecutionSucceeded") == 1


def test_after_a_batch_that_could_not_be_read(quern, sfn, bucket):
    """The source was broken behind many batches and is mended: the redrive reads on there, and what has run does not run again."""
    s3, name = bucket
    s3.put_object(Bucket=name, Key="batch/ok", Body=b"ok")
    lines = [json.dumps({"i": i}) for i in range(120)]

    def source(line):
        s3.put_object(Bucket=name, Key="batch/items", Body="\n".join(lines[:101] + [line] + lines[102:]).encode())
    source('{"i":')
    inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "R", "States": {"R": {**reader(name, {"Key": "batch/ok"}), "ResultPath": "$.r"}}}
    read = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"}, "Parameters": {"Bucket": name, "Key": "batch/items"}}
    arn = start(quern, sfn, {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": inner, "ItemReader": read, "ItemBatcher": {"MaxItemsPerBatch": 2}, "MaxConcurrency": 1, "End": True}}})
    d = ended(quern, sfn, arn)
    run = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    assert (d["status"], d["error"], d["redriveStatus"]) == ("FAILED", "States.ItemReaderFailed", "REDRIVABLE"), d
    before = {a: e for a, e in children(sfn, run).items() if e["status"] == "SUCCEEDED"}
    assert before
    sfn.redrive_execution(executionArn=arn)  # still broken
    d = ended(quern, sfn, arn)
    assert (d["status"], d["error"]) == ("FAILED", "States.ItemReaderFailed")
    source(lines[101])
    sfn.redrive_execution(executionArn=arn)
    d = ended(quern, sfn, arn)
    assert d["status"] == "SUCCEEDED"
    assert [item["i"] for child in json.loads(d["output"]) for item in child["Items"]] == list(range(120))
    after = children(sfn, run)
    assert len(after) == 60 and all(after[a] == e for a, e in before.items())
    m = sfn.describe_map_run(mapRunArn=run)
    assert (m["status"], m["redriveCount"], m["itemCounts"]["succeeded"], m["itemCounts"]["total"]) == ("SUCCEEDED", 2, 120, 120)
