"""Executions over HTTP with boto3: waits, retries, tokens, activities, nesting, redrive, Maps, express, restarts.

Started by pytest; needs the built states_api_server (STATES_SERVER) and boto3. Without them the tests are skipped."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from api.helpers import needs  # noqa: E402
from jsonata_worker import libexec  # noqa: E402

SERVER = os.environ.get("STATES_SERVER", "")
ROLE = "arn:aws:iam::000000000000:role/r"
pytestmark = pytest.mark.skipif(not os.path.exists(SERVER), reason="STATES_SERVER names no program")


class Quern:
    def __init__(self, path, jsonata=None):
        self.path, self.process, self.jsonata = str(path), None, jsonata
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    def start(self):
        args = [SERVER, self.path, str(self.port)] + ([os.path.join(self.jsonata, "quern-jsonata")] if self.jsonata else [])
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        assert "port" in self.process.stdout.readline()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(120)
        self.process.stdout.close()

    def client(self, service):
        keys = {}
        for line in open(self.path + "/credentials"):
            if "=" in line:
                k, v = line.split("=", 1)
                keys[k.strip().lower()] = v.strip()
        return boto3.client(service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}",
                            aws_access_key_id=keys["aws_access_key_id"], aws_secret_access_key=keys["aws_secret_access_key"],
                            config=Config(retries={"max_attempts": 1}, inject_host_prefix=False, read_timeout=70))


@pytest.fixture(scope="module")
def quern(tmp_path_factory):
    folder, _ = libexec()
    q = Quern(tmp_path_factory.mktemp("states") / "data", folder)
    yield q
    q.stop()
    if folder:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def sfn(quern):
    return quern.client("stepfunctions")


count = 0


def machine(sfn, definition, **more):
    global count
    count += 1
    return sfn.create_state_machine(name=f"m{count}", definition=json.dumps(definition), roleArn=ROLE, **more)["stateMachineArn"]


def one(state, **more):
    return {"StartAt": "S", "States": {"S": state}, **more}


def wait_for(probe):
    """Calls probe() until it answers something true, and returns that."""
    end = time.time() + 300
    while time.time() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def wait_end(sfn, arn):
    return wait_for(lambda: (lambda d: d["status"] != "RUNNING" and d)(sfn.describe_execution(executionArn=arn)))


def run(sfn, definition, data=None):
    arn = sfn.start_execution(stateMachineArn=machine(sfn, definition), input=json.dumps({} if data is None else data))["executionArn"]
    return wait_end(sfn, arn)


def types(sfn, arn):
    return [e["type"] for e in sfn.get_execution_history(executionArn=arn)["events"]]


def test_wait_and_history_pages(sfn):
    d = run(sfn, one({"Type": "Wait", "Seconds": 1, "End": True}))
    assert d["status"] == "SUCCEEDED"
    assert (d["stopDate"] - d["startDate"]).total_seconds() > 0.95
    got, token = [], {}
    while True:
        page = sfn.get_execution_history(executionArn=d["executionArn"], maxResults=1, **token)
        got += [e["id"] for e in page["events"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert got == [1, 2, 3, 4]
    back = sfn.get_execution_history(executionArn=d["executionArn"], reverseOrder=True, maxResults=3)
    assert [e["id"] for e in back["events"]] == [4, 3, 2]
    rest = sfn.get_execution_history(executionArn=d["executionArn"], reverseOrder=True, nextToken=back["nextToken"])
    assert [e["id"] for e in rest["events"]] == [1]


def test_stop(sfn):
    arn = sfn.start_execution(stateMachineArn=machine(sfn, one({"Type": "Wait", "Seconds": 100, "End": True})))["executionArn"]
    sfn.stop_execution(executionArn=arn, error="E", cause="C")
    d = wait_end(sfn, arn)
    assert (d["status"], d["error"], d["cause"]) == ("ABORTED", "E", "C")
    time.sleep(0.1)
    assert types(sfn, arn)[-1] == "ExecutionAborted"


def test_timeout(sfn):
    d = run(sfn, one({"Type": "Wait", "Seconds": 100, "End": True}, TimeoutSeconds=1))
    assert d["status"] == "TIMED_OUT"


def test_activity(sfn):
    a = sfn.create_activity(name="act")["activityArn"]
    definition = one({"Type": "Task", "Resource": a, "ResultPath": "$.got", "End": True})
    arn = sfn.start_execution(stateMachineArn=machine(sfn, definition), input='{"x": 1}')["executionArn"]
    task = sfn.get_activity_task(activityArn=a, workerName="w")
    assert json.loads(task["input"]) == {"x": 1}
    sfn.send_task_success(taskToken=task["taskToken"], output='"yes"')
    d = wait_end(sfn, arn)
    assert json.loads(d["output"]) == {"x": 1, "got": "yes"}
    assert types(sfn, arn)[2:5] == ["ActivityScheduled", "ActivityStarted", "ActivitySucceeded"]


def test_activity_worker_waits_first(sfn):
    a = sfn.create_activity(name="act2")["activityArn"]
    got = []
    worker = threading.Thread(target=lambda: got.append(sfn.get_activity_task(activityArn=a)))
    worker.start()
    time.sleep(0.3)
    definition = one({"Type": "Task", "Resource": a, "Catch": [{"ErrorEquals": ["Bad"], "Next": "F"}], "End": True})
    definition["States"]["F"] = {"Type": "Succeed"}
    arn = sfn.start_execution(stateMachineArn=machine(sfn, definition))["executionArn"]
    worker.join()
    sfn.send_task_failure(taskToken=got[0]["taskToken"], error="Bad", cause="why")
    assert json.loads(wait_end(sfn, arn)["output"]) == {"Error": "Bad", "Cause": "why"}
    with pytest.raises(sfn.exceptions.InvalidToken):
        sfn.send_task_success(taskToken=got[0]["taskToken"], output="1")


def test_heartbeat(sfn):
    a = sfn.create_activity(name="act3")["activityArn"]
    for allowed in (1, 4, 16):
        definition = one({"Type": "Task", "Resource": a, "HeartbeatSeconds": allowed, "TimeoutSeconds": 600, "End": True})
        last = time.monotonic()
        arn = sfn.start_execution(stateMachineArn=machine(sfn, definition))["executionArn"]
        token, longest = sfn.get_activity_task(activityArn=a)["taskToken"], 0
        for _ in range(3):
            time.sleep(0.6 * allowed)
            try:
                sfn.send_task_heartbeat(taskToken=token)
            except sfn.exceptions.TaskTimedOut:
                pass
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        status = sfn.describe_execution(executionArn=arn)["status"]
        longest = max(longest, time.monotonic() - last)
        if longest < 0.9 * allowed:  # else the machine was too slow for the heartbeats of this test
            break
    assert status == "RUNNING" and longest < 0.9 * allowed
    d = wait_end(sfn, arn)
    assert d["status"] == "FAILED" and d["error"] == "States.Timeout"


def test_retry_then_catch(sfn):
    a = "arn:aws:states:::aws-sdk:sfn:describeActivity"
    definition = one({"Type": "Task", "Resource": a, "Parameters": {"ActivityArn": "arn:aws:states:us-east-1:000000000000:activity:none"},
                      "Retry": [{"ErrorEquals": ["Sfn.ActivityDoesNotExistException"], "IntervalSeconds": 1, "MaxAttempts": 1}],
                      "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.e", "Next": "F"}], "End": True})
    definition["States"]["F"] = {"Type": "Pass", "End": True}
    d = run(sfn, definition, {"k": 1})
    assert json.loads(d["output"])["e"]["Error"] == "Sfn.ActivityDoesNotExistException"
    assert types(sfn, d["executionArn"]).count("TaskScheduled") == 2


def test_nested(sfn):
    child = machine(sfn, one({"Type": "Pass", "End": True}))
    bad = machine(sfn, one({"Type": "Fail", "Error": "E", "Cause": "C"}))
    for suffix, kind in (("", None), (".sync", str), (".sync:2", dict)):
        d = run(sfn, one({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution" + suffix,
                          "Parameters": {"StateMachineArn": child, "Input": {"a": 1}}, "End": True}))
        assert d["status"] == "SUCCEEDED", d
        out = json.loads(d["output"])
        assert out["ExecutionArn"]
        if kind:
            assert isinstance(out["Output"], kind)
    d = run(sfn, one({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync",
                      "Parameters": {"StateMachineArn": bad}, "End": True}))
    assert d["error"] == "States.TaskFailed" and json.loads(d["cause"])["Error"] == "E"


def test_nested_result_is_a_description(sfn):
    inner = machine(sfn, one({"Type": "Fail", "Error": "E"}))
    d = run(sfn, one({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "Parameters": {"StateMachineArn": inner}, "End": True}))
    cause = json.loads(d["cause"])
    assert (cause["RedriveCount"], cause["RedriveStatus"], cause["Error"]) == (0, "REDRIVABLE", "E")
    assert list(cause) == sorted(cause)


def test_negative_concurrency(sfn):
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
    d = run(sfn, one({"Type": "Map", "ItemsPath": "$.l", "MaxConcurrencyPath": "$.n", "ItemProcessor": inner, "End": True}), {"l": [1], "n": -1})
    assert (d["status"], d["error"]) == ("FAILED", "States.Runtime") and d["cause"].endswith("MaxConcurrency cannot be negative.")


WARNED = {
    "StartAt": "P",
    "States": {
        "P": {"Type": "Pass", "Result": {"a": "$.b", "c": {"d.$": "1"}, "fine": "$5"}, "Next": "T"},
        "T": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Next": "M", "Catch": [{"ErrorEquals": ["E"], "Next": "F", "Assign": {"v": "$"}}],
              "Parameters": {"QueueUrl": "$.url", "MessageBody.$": "$.m", "deep": [{"call": "States.Format('{}', $.a)"}], "price": "$5", "plain": "States."}},
        "M": {"Type": "Map", "Next": "C", "ItemBatcher": {"BatchInput": {"x": "$$.Execution.Id"}, "MaxItemsPerBatch": 3}, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "I",
            "States": {"I": {"Type": "Pass", "Parameters": {"y": "$$"}, "Comment": "$.z", "End": True}}}},
        "C": {"Type": "Choice", "Choices": [{"Not": {"Variable": "$.a", "StringEquals": "$.b"}, "Next": "J"}], "Default": "F"},
        "J": {"Type": "Pass", "QueryLanguage": "JSONata", "Output": {"a": "$.b"}, "Next": "F"},
        "F": {"Type": "Fail", "Cause": "$.cause"},
    },
}


def test_validate_warnings(sfn):
    needs(sfn, "ValidateStateMachineDefinition", "severity")

    def validate(definition=WARNED, **more):
        return sfn.validate_state_machine_definition(definition=json.dumps(definition), **more)

    found = validate(severity="WARNING")
    assert (found["result"], found["truncated"], {d["severity"] for d in found["diagnostics"]}) == ("OK", False, {"WARNING"})
    assert sorted((d["code"], d["location"]) for d in found["diagnostics"]) == [
        ("NO_DOLLAR", "/States/M/ItemBatcher/BatchInput/x"),
        ("NO_DOLLAR", "/States/M/ItemProcessor/States/I/Parameters/y"),
        ("NO_DOLLAR", "/States/T/Catch[0]/Assign/v"),
        ("NO_DOLLAR", "/States/T/Parameters/QueueUrl"),
        ("NO_DOLLAR", "/States/T/Parameters/deep[0]/call"),
        ("NO_PATH", "/States/C/Choices[0]/Not/StringEquals"),
        ("NO_PATH", "/States/F/Cause"),
        ("PASS_RESULT_IS_STATIC", "/States/P/Result/a"),
        ("PASS_RESULT_IS_STATIC", "/States/P/Result/c/d.$"),
    ]
    assert validate()["diagnostics"] == validate(severity="ERROR")["diagnostics"] == []
    short = validate(severity="WARNING", maxResults=4)
    assert short["diagnostics"] == found["diagnostics"][:4] and short["truncated"]
    assert validate(severity="WARNING", maxResults=9)["truncated"] is False
    wrong = {**WARNED, "States": {**WARNED["States"], "F": {"Type": "Fail", "Cause": "$.cause", "End": True}}}
    both = validate(wrong, severity="WARNING")
    assert both["result"] == "FAIL" and [d["severity"] for d in both["diagnostics"]] == ["ERROR"] + ["WARNING"] * 9
    only = validate(wrong, maxResults=1)
    assert [d["severity"] for d in only["diagnostics"]] == ["ERROR"] and not only["truncated"]


def test_name_with_nul(sfn):
    with pytest.raises(sfn.exceptions.InvalidName) as caught:
        sfn.create_activity(name="a\x00b")
    assert caught.value.response["Error"]["Message"] == "Invalid Name: 'a\x00b'"


def test_mock_of_a_service_that_is_not_served(sfn):
    """The answer's shape is known all the same."""
    needs(sfn, "TestState", "mock")
    state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:kms:encrypt", "Parameters": {"KeyId": "k", "Plaintext": "p"}, "End": True}

    def mocked(result):
        return sfn.test_state(definition=json.dumps(state), mock={"result": json.dumps(result)})

    assert mocked({"CiphertextBlob": "eA=="})["status"] == "SUCCEEDED"
    with pytest.raises(sfn.exceptions.ClientError) as caught:
        mocked({"CiphertextBlob": 7})
    assert caught.value.response["Error"]["Message"] == "Mock result schema validation error: Field 'CiphertextBlob' must be a string"
    d = run(sfn, one(state))
    assert (d["status"], d["error"]) == ("FAILED", "Kms.NotImplementedException"), d


def test_stop_takes_the_child_along(sfn):
    child = machine(sfn, one({"Type": "Wait", "Seconds": 100, "End": True}))
    arn = sfn.start_execution(stateMachineArn=machine(sfn, one(
        {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync",
         "Parameters": {"StateMachineArn": child}, "End": True})))["executionArn"]
    def children():
        return [e["status"] for e in sfn.list_executions(stateMachineArn=child)["executions"]]

    assert wait_for(children) == ["RUNNING"]
    sfn.stop_execution(executionArn=arn)
    wait_for(lambda: children() == ["ABORTED"])


def test_redrive(sfn):
    needs(sfn, "RedriveExecution")
    a = sfn.create_activity(name="act4")["activityArn"]
    definition = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": 7, "Next": "S"}, "S": {"Type": "Task", "Resource": a, "End": True}}}
    arn = sfn.start_execution(stateMachineArn=machine(sfn, definition))["executionArn"]
    sfn.send_task_failure(taskToken=sfn.get_activity_task(activityArn=a)["taskToken"], error="X")
    d = wait_end(sfn, arn)
    assert (d["status"], d["redriveStatus"]) == ("FAILED", "REDRIVABLE")
    sfn.redrive_execution(executionArn=arn)
    task = sfn.get_activity_task(activityArn=a)
    assert task["input"] == "7"
    sfn.send_task_success(taskToken=task["taskToken"], output="8")
    d = wait_end(sfn, arn)
    assert (d["status"], d["output"], d["redriveCount"]) == ("SUCCEEDED", "8", 1)
    history = types(sfn, arn)
    assert history.count("PassStateEntered") == 1 and "ExecutionRedriven" in history, history
    ids = [e["id"] for e in sfn.get_execution_history(executionArn=arn)["events"]]
    assert ids == list(range(1, len(ids) + 1))


def test_inline_map_many(sfn):
    d = run(sfn, one({"Type": "Map", "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}, "End": True}), list(range(3000)))
    assert json.loads(d["output"]) == list(range(3000))


def test_history_limit(sfn):
    d = run(sfn, {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Choice", "Choices": [
        {"Variable": "$.never", "IsPresent": True, "Next": "Z"}], "Default": "A"}, "Z": {"Type": "Succeed"}}})
    assert d["status"] == "FAILED" and "25000" in d["cause"]


def test_distributed_map(quern, sfn):
    s3 = quern.client("s3")
    s3.create_bucket(Bucket="items")
    s3.put_object(Bucket="items", Key="in.csv", Body=b"a,b\n1,2\n3,4\n5,6\n")
    definition = one({"Type": "Map", "Label": "L", "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig":
                      {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}, "Parameters": {"Bucket": "items", "Key": "in.csv"}},
                      "ItemBatcher": {"MaxItemsPerBatch": 2},
                      "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "I",
                                        "States": {"I": {"Type": "Pass", "End": True}}},
                      "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "items", "Prefix": "out"}}, "End": True})
    d = run(sfn, definition)
    assert d["status"] == "SUCCEEDED", d
    out = json.loads(d["output"])
    manifest = json.loads(s3.get_object(Bucket="items", Key=out["ResultWriterDetails"]["Key"])["Body"].read())
    good = json.loads(s3.get_object(Bucket="items", Key=manifest["ResultFiles"]["SUCCEEDED"][0]["Key"])["Body"].read())
    assert sorted(len(json.loads(g["Output"])["Items"]) for g in good) == [1, 2]
    mr = sfn.describe_map_run(mapRunArn=out["MapRunArn"])
    assert (mr["status"], mr["itemCounts"]["succeeded"], mr["executionCounts"]["total"]) == ("SUCCEEDED", 3, 2)
    assert len(sfn.list_executions(mapRunArn=out["MapRunArn"])["executions"]) == 2
    assert sfn.list_map_runs(executionArn=d["executionArn"])["mapRuns"][0]["mapRunArn"] == out["MapRunArn"]


def test_distributed_map_threshold(sfn):
    inner = {"StartAt": "C", "States": {"C": {"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": 1, "Next": "F"}], "Default": "P"},
                                        "F": {"Type": "Fail", "Error": "no"}, "P": {"Type": "Pass", "End": True}}}
    state = {"Type": "Map", "ItemProcessor": dict(inner, ProcessorConfig={"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}), "End": True}
    d = run(sfn, one(state), [0, 1, 2])
    assert d["error"] == "States.ExceedToleratedFailureThreshold"
    d = run(sfn, one(dict(state, ToleratedFailureCount=1)), [0, 1, 2])
    assert d["status"] == "SUCCEEDED" and len(json.loads(d["output"])) == 3


def test_express(sfn):
    quick = machine(sfn, one({"Type": "Pass", "Result": {"v": 1}, "End": True}), type="EXPRESS")
    slow = machine(sfn, one({"Type": "Wait", "Seconds": 1, "End": True}), type="EXPRESS")
    r = sfn.start_sync_execution(stateMachineArn=quick, input="{}")
    assert (r["status"], json.loads(r["output"])) == ("SUCCEEDED", {"v": 1})
    r = sfn.start_sync_execution(stateMachineArn=slow, input='{"a":1}')
    assert (r["status"], json.loads(r["output"])) == ("SUCCEEDED", {"a": 1})
    assert (r["stopDate"] - r["startDate"]).total_seconds() > 0.9
    assert ":express:" in sfn.start_execution(stateMachineArn=slow)["executionArn"]


def test_alias_and_version(sfn):
    needs(sfn, "CreateStateMachineAlias")
    arn = machine(sfn, one({"Type": "Pass", "Result": 1, "End": True}), publish=True)
    sfn.update_state_machine(stateMachineArn=arn, definition=json.dumps(one({"Type": "Pass", "Result": 2, "End": True})))
    alias = sfn.create_state_machine_alias(name="live", routingConfiguration=[{"stateMachineVersionArn": arn + ":1", "weight": 100}])
    d = wait_end(sfn, sfn.start_execution(stateMachineArn=alias["stateMachineAliasArn"])["executionArn"])
    assert (d["output"], d["stateMachineVersionArn"]) == ("1", arn + ":1")
    assert wait_end(sfn, sfn.start_execution(stateMachineArn=arn)["executionArn"])["output"] == "2"


def test_delete_waits_for_executions(sfn):
    arn = machine(sfn, one({"Type": "Wait", "Seconds": 1, "End": True}))
    x = sfn.start_execution(stateMachineArn=arn)["executionArn"]
    sfn.delete_state_machine(stateMachineArn=arn)
    assert sfn.describe_state_machine(stateMachineArn=arn)["status"] == "DELETING"
    wait_end(sfn, x)
    with pytest.raises(sfn.exceptions.StateMachineDoesNotExist):
        sfn.describe_state_machine(stateMachineArn=arn)


def test_logging(quern, sfn):
    logs = quern.client("logs")
    logs.create_log_group(logGroupName="/sm")
    arn = machine(sfn, one({"Type": "Pass", "End": True}), loggingConfiguration={"level": "ALL", "includeExecutionData": True, "destinations": [
        {"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:/sm:*"}}]})
    wait_end(sfn, sfn.start_execution(stateMachineArn=arn)["executionArn"])
    events = wait_for(lambda: (lambda e: len(e) >= 4 and e)(logs.filter_log_events(logGroupName="/sm")["events"]))
    assert sorted(json.loads(e["message"])["type"] for e in events) == ["ExecutionStarted", "ExecutionSucceeded", "PassStateEntered", "PassStateExited"]


def test_jsonata(quern, sfn):
    if not quern.jsonata:
        pytest.skip("there is no JSONata worker here")
    d = run(sfn, one({"Type": "Pass", "Output": "{% $sum([1..200].($ * $)) + $states.input.x %}", "End": True}, QueryLanguage="JSONata"), {"x": 1})
    assert json.loads(d["output"]) == sum(i * i for i in range(1, 201)) + 1


def test_kill_and_restart(tmp_path):
    q = Quern(tmp_path / "data")
    sfn = q.client("stepfunctions")
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Assign": {"v": 5}, "Next": "W"}, "W": {"Type": "Wait", "Seconds": 2, "Next": "M"},
                  "M": {"Type": "Map", "ItemsPath": "$.l", "ItemProcessor": {"StartAt": "I", "States": {
                      "I": {"Type": "Pass", "Parameters": {"v.$": "$v"}, "End": True}}}, "End": True}}}
    arn = sfn.start_execution(stateMachineArn=machine(sfn, definition), input='{"l": [1, 2]}')["executionArn"]
    q.stop(signal.SIGKILL)
    q.start()
    d = wait_end(sfn, arn)
    assert json.loads(d["output"]) == [{"v": 5}, {"v": 5}]
    assert types(sfn, arn).count("WaitStateEntered") == 1
    q.stop()
