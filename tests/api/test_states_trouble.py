"""Step Functions in trouble: jobs that are stopped, calls that wait long, expressions that run away, payloads that are too large. What happened
first is told by the histories, never by a clock of the test."""

import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from api import ecs_images, helpers
from api.test_lambda import create as create_function


@pytest.fixture(scope="module")
def sfn(quern):
    return quern.client("stepfunctions", config=Config(retries={"max_attempts": 1}, read_timeout=120, max_pool_connections=80))


def machine(quern, sfn, states, start=None, **more):
    definition = {"StartAt": start or next(iter(states)), "States": states, **more}
    return sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=quern.role)["stateMachineArn"]


def begin(sfn, arn, value=None):
    return sfn.start_execution(stateMachineArn=arn, input=json.dumps(value if value is not None else {}))["executionArn"]


def ended(quern, sfn, arn):
    def probe():
        d = sfn.describe_execution(executionArn=arn)
        return d if d["status"] != "RUNNING" else None

    return quern.wait(probe)


def run(quern, sfn, states, value=None, **more):
    return ended(quern, sfn, begin(sfn, machine(quern, sfn, states, **more), value))


def history(sfn, arn):
    events, token = [], {}
    while True:
        page = sfn.get_execution_history(executionArn=arn, maxResults=1000, **token)
        events += page["events"]
        if "nextToken" not in page:
            return events
        token = {"nextToken": page["nextToken"]}


def types(sfn, arn):
    return [e["type"] for e in history(sfn, arn)]


def reached(quern, sfn, arn, event):
    """Waits until the history has an event of this type."""
    return quern.wait(lambda: next((e for e in history(sfn, arn) if e["type"] == event), None))


# ---- jobs that a state waits for ----

UNTIL_STOPPED = 'trap "exit 0" TERM; echo up; while true; do sleep 0.05; done'


def task_definition(quern, script, *more):
    container = {"name": "main", "image": ecs_images.push_busybox(quern), "memory": 64, "command": ["sh", "-c", script]}
    return quern.client("ecs").register_task_definition(family=helpers.unique("family"), containerDefinitions=[container, *more])["taskDefinition"]["taskDefinitionArn"]


def run_task(quern, script, **more):
    return {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "Parameters": {"TaskDefinition": task_definition(quern, script)}, "End": True, **more}


def task_of(quern, sfn, arn):
    """The ECS task that an execution has submitted, as ECS shows it."""
    event = reached(quern, sfn, arn, "TaskSubmitted")
    task = json.loads(event["taskSubmittedEventDetails"]["output"])["Tasks"][0]["TaskArn"]
    return lambda: quern.client("ecs").describe_tasks(tasks=[task])["tasks"][0]


def test_task_that_ends_well(quern, sfn):
    arn = begin(sfn, machine(quern, sfn, {"T": run_task(quern, "exit 0")}))
    output = json.loads(ended(quern, sfn, arn)["output"])
    assert output["LastStatus"] == "STOPPED" and output["Containers"][0]["ExitCode"] == 0 and output["StartedBy"] == "AWS Step Functions"
    task = quern.client("ecs").describe_tasks(tasks=[output["TaskArn"]])["tasks"][0]
    assert output["StoppedAt"] == round(task["stoppedAt"].timestamp() * 1000)
    assert output["InferenceAccelerators"] == output["Tags"] == output["Containers"][0]["GpuIds"] == output["Overrides"]["InferenceAcceleratorOverrides"] == []
    assert types(sfn, arn) == ["ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded", "TaskStateExited", "ExecutionSucceeded"]


def test_task_that_fails(quern, sfn):
    d = run(quern, sfn, {"T": run_task(quern, "exit 3")})
    cause = json.loads(d["cause"])
    assert d["status"] == "FAILED" and d["error"] == "States.TaskFailed"
    assert cause["Containers"][0]["ExitCode"] == 3 and cause["StopCode"] == "EssentialContainerExited"


def test_task_stopped_by_a_user_fails_whatever_its_exit_code(quern, sfn):
    arn = begin(sfn, machine(quern, sfn, {"T": run_task(quern, UNTIL_STOPPED)}))
    task = task_of(quern, sfn, arn)
    quern.wait(lambda: task()["lastStatus"] == "RUNNING")
    quern.client("ecs").stop_task(task=task()["taskArn"], reason="enough")
    d = ended(quern, sfn, arn)
    cause = json.loads(d["cause"])
    assert d["status"] == "FAILED" and d["error"] == "States.TaskFailed"
    assert cause["StopCode"] == "UserInitiated" and cause["StoppedReason"] == "enough"
    assert all(c.get("ExitCode", 0) == 0 for c in cause["Containers"])


def test_several_tasks_are_all_waited_for(quern, sfn):
    state = run_task(quern, "exit 0")
    state["Parameters"]["Count"] = 3
    output = json.loads(run(quern, sfn, {"T": state})["output"])
    assert [t["LastStatus"] for t in output] == ["STOPPED"] * 3


@pytest.mark.parametrize("how", ["stop", "timeout"])
def test_a_task_is_stopped_with_its_state(quern, sfn, how):
    arn = begin(sfn, machine(quern, sfn, {"T": run_task(quern, UNTIL_STOPPED, **({"TimeoutSeconds": 1} if how == "timeout" else {}))}))
    task = task_of(quern, sfn, arn)
    if how == "stop":
        quern.wait(lambda: task()["lastStatus"] == "RUNNING")
        sfn.stop_execution(executionArn=arn, error="E", cause="C")
    assert ended(quern, sfn, arn)["status"] == {"stop": "ABORTED", "timeout": "FAILED"}[how]
    last = quern.wait(lambda: task() if task()["lastStatus"] == "STOPPED" else None)
    assert last["stopCode"] == "UserInitiated" and last["desiredStatus"] == "STOPPED"


def test_no_task_is_left_by_a_stop_at_any_moment(quern, sfn):
    """An execution is stopped just after its start, many times: what it started goes with it."""
    cluster = quern.client("ecs").create_cluster(clusterName=helpers.unique("c"))["cluster"]["clusterName"]
    state = run_task(quern, UNTIL_STOPPED)
    state["Parameters"]["Cluster"] = cluster
    arn = machine(quern, sfn, {"T": state})
    for i in range(6):
        one = begin(sfn, arn)
        time.sleep(0.004 * i)
        sfn.stop_execution(executionArn=one)
    ecs = quern.client("ecs")
    assert ecs.list_tasks(cluster=cluster, desiredStatus="RUNNING")["taskArns"] == []
    quern.wait(lambda: all(t["lastStatus"] == "STOPPED" for t in ecs.describe_tasks(cluster=cluster, tasks=ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"])["tasks"]))


def processing_job(quern, script):
    step = helpers.processing_step(quern, "x", script)
    return {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync", "Parameters": {**step["Arguments"], "ProcessingJobName.$": "$$.Execution.Name"}, "End": True}


def test_processing_job(quern, sfn):
    arn = begin(sfn, machine(quern, sfn, {"J": processing_job(quern, "print('hello')")}))
    d = ended(quern, sfn, arn)
    out = json.loads(d["output"])
    assert out["ProcessingJobStatus"] == "Completed" and out["Tags"] == {"AWS_STEP_FUNCTIONS_EXECUTION_ARN": arn, "MANAGED_BY_AWS": "STARTED_BY_STEP_FUNCTIONS"}
    job = quern.client("sagemaker").describe_processing_job(ProcessingJobName=out["ProcessingJobName"])
    assert out["ProcessingEndTime"] == round(job["ProcessingEndTime"].timestamp() * 1000)
    tags = quern.client("sagemaker").list_tags(ResourceArn=out["ProcessingJobArn"])["Tags"]
    assert {t["Key"]: t["Value"] for t in tags} == out["Tags"]
    failed = run(quern, sfn, {"J": processing_job(quern, "raise SystemExit(4)")})
    assert failed["error"] == "States.TaskFailed" and json.loads(failed["cause"])["ProcessingJobStatus"] == "Failed"


def test_processing_job_is_stopped_with_its_state(quern, sfn):
    arn = begin(sfn, machine(quern, sfn, {"J": processing_job(quern, "import time; time.sleep(600)")}))
    name = arn.rsplit(":", 1)[1]
    sagemaker = quern.client("sagemaker")
    reached(quern, sfn, arn, "TaskSubmitted")
    sfn.stop_execution(executionArn=arn)
    assert quern.wait(lambda: (lambda s: s if s not in ("InProgress", "Stopping") else None)(sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])) == "Stopped"


@pytest.mark.parametrize("resource,named", [
    ("sagemaker:startPipelineExecution.sync", "startPipelineExecution"), ("ecs:stopTask.sync", "stopTask"), ("sagemaker:createTransformJob.sync", "CreateTransformJob"), ("glue:startJobRun.sync", "startJobRun"), ("dynamodb:putItem", "dynamodb"), ("batch:submitJob.sync", "submitJob"), ("aws-sdk:dynamodb:putItem", "dynamodb"),
])
def test_what_is_not_built_fails_by_name(quern, sfn, resource, named):
    parameters = {"PipelineName": "p", "TransformJobName": "t", "ModelName": "m", "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/k"}}},
                  "TransformOutput": {"S3OutputPath": "s3://b/k"}, "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1}} if "sagemaker" in resource else {}
    d = run(quern, sfn, {"T": {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}})
    assert d["status"] == "FAILED" and named in d["cause"], d


@pytest.mark.parametrize("resource", ["lambda:invoke.sync", "ecs:runTask.sync:2", "aws-sdk:sfn:startExecution.sync", "aws-sdk:sfn:noSuchThing", "aws-sdk:s3:noSuchThing"])
def test_what_aws_has_not_is_refused_by_name(quern, sfn, resource):
    with pytest.raises(ClientError) as info:
        machine(quern, sfn, {"T": {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": {}, "End": True}})
    assert info.value.response["Error"]["Code"] == "InvalidDefinition" and resource in str(info.value)


# ---- calls that wait ----

GATE = """
import boto3, time
def handler(event, context):
    s3 = boto3.client("s3")
    while True:
        if s3.list_objects_v2(Bucket="my-bucket", Prefix=event["gate"]).get("KeyCount"):
            return "through"
        time.sleep(0.1)
"""


def s3_call(key):
    return {"P": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "Parameters": {"Bucket": "my-bucket", "Key": key, "Body": "x"}, "ResultPath": None, "Next": "G"},
            "G": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": "my-bucket", "Key": key}, "End": True}}


def test_calls_that_wait_hold_up_nobody(quern, sfn):
    """Fifty executions wait for an answer: two for a Lambda function, the others in GetActivityTask. Another one's S3 calls pass them all."""
    helpers.make_bucket(quern)
    gate = f"gate/{uuid.uuid4().hex}"
    function = create_function(quern, quern.client("lambda"), code=GATE, Timeout=120)
    activity = sfn.create_activity(name=helpers.unique("a"))["activityArn"]
    invoking = machine(quern, sfn, {"L": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": function, "Payload": {"gate": gate}}, "End": True}})
    polling = machine(quern, sfn, {"A": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sfn:getActivityTask", "Parameters": {"ActivityArn": activity}, "End": True}})
    giving = machine(quern, sfn, {"M": {"Type": "Map", "MaxConcurrency": 0, "ItemProcessor": {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": activity, "TimeoutSeconds": 1, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "E"}], "Next": "E"}, "E": {"Type": "Pass", "End": True}}}, "End": True}})
    waiting = [begin(sfn, invoking) for _ in range(2)] + [begin(sfn, polling) for _ in range(48)]
    for one in waiting:
        reached(quern, sfn, one, "TaskStarted")
    quick = run(quern, sfn, s3_call(f"{gate}-other"))
    assert quick["status"] == "SUCCEEDED"
    assert [sfn.describe_execution(executionArn=one)["status"] for one in waiting] == ["RUNNING"] * 50
    quern.client("s3").put_object(Bucket="my-bucket", Key=gate, Body=b"")
    begin(sfn, giving, list(range(48)))
    ends = [ended(quern, sfn, one) for one in waiting]
    assert [d["status"] for d in ends] == ["SUCCEEDED"] * 50, [d for d in ends if d["status"] != "SUCCEEDED"][:1]
    assert json.loads(ends[0]["output"])["Payload"] == "through" and "TaskToken" in json.loads(ends[9]["output"])
    assert quick["stopDate"] < min(d["stopDate"] for d in ends)


# ---- crashes ----

def test_histories_survive_kills(quern):
    """A small share of the soak: the daemon is killed three times under executions of every kind."""
    program = os.path.join(helpers.ROOT, "tests", "soak", "state_kills.py")
    done = subprocess.run([sys.executable, program, "--kills", "3", "--at-once", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800, env=dict(os.environ, QUERN=quern.program))
    assert done.returncode == 0 and "ok soak of state machines: 3 kills" in done.stdout, done.stdout[-4000:]


# ---- what runs away ----

def pass_(**more):
    return {"P": {"Type": "Pass", "End": True, **more}}


EVIL = "/^(a+)+$/"
BIG = "x" * 200000


@pytest.mark.parametrize("state,value,error,cause", [
    (pass_(Parameters={"x.$": f"$.items[?(@.s =~ {EVIL})]"}), {"items": [{"s": "a" * 28 + "b"}] * 1000}, "States.Runtime", "x.$"),
    (pass_(Parameters={f"k{i}.$": "$.x" for i in range(5000)}), {"x": BIG}, "States.DataLimitExceeded", "input"),
    (pass_(Parameters={"k.$": "States.Format('" + "{}" * 60 + "'" + ",$.x" * 60 + ")"}), {"x": BIG}, "States.IntrinsicFailure", "States.Format"),
    (pass_(Parameters={"k.$": "States.JsonToString(" * 9 + "$.x" + ")" * 9}), {"x": '"\\' * 60000}, "States.IntrinsicFailure", "States.JsonToString"),
    (pass_(Assign={f"k{i}.$": "$.x" for i in range(100)}), {"x": BIG}, "States.DataLimitExceeded", "variables"),
    (pass_(Parameters={"a.$": "$.x", "b.$": "$.x"}), {"x": BIG}, "States.DataLimitExceeded", "P"),
    (pass_(Parameters={"a.$": "$.x"}, ResultPath="$.y"), {"x": BIG}, "States.DataLimitExceeded", "P"),
    ({"M": {"Type": "Map", "ItemsPath": "$.n", "ItemSelector": {f"k{i}.$": "$.x" for i in range(100)}, "ItemProcessor": {"StartAt": "P", "States": pass_()}, "End": True}}, {"n": [1, 2], "x": BIG[:100000]}, "States.DataLimitExceeded", "M"),
    ({"M": {"Type": "Map", "ItemsPath": "$.n", "ItemSelector": {"x.$": "$.x"}, "ItemProcessor": {"StartAt": "P", "States": pass_()}, "End": True}}, {"n": [1, 2, 3], "x": BIG[:100000]}, "States.DataLimitExceeded", "M"),
    ({"A": {"Type": "Parallel", "Branches": [{"StartAt": n, "States": {n: pass_()["P"]}} for n in "BCD"], "End": True}}, {"x": BIG}, "States.DataLimitExceeded", "A"),
    ({"T": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "Parameters": {"Bucket": "my-bucket", "Key.$": "$.x", "Body.$": "$.x"}, "End": True}}, {"x": BIG}, "States.DataLimitExceeded", "T"),
], ids=["regex", "references", "Format", "JsonToString", "Assign", "Parameters", "ResultPath", "ItemSelector", "Map", "Parallel", "task"])
def test_limits_of_evaluation(quern, sfn, state, value, error, cause):
    arn = begin(sfn, machine(quern, sfn, state), value)
    d = ended(quern, sfn, arn)
    assert (d["status"], d["error"]) == ("FAILED", error) and cause in d["cause"], (d["error"], d["cause"][:300])
    assert run(quern, sfn, pass_())["status"] == "SUCCEEDED"


def test_array_unique_of_many(quern, sfn):
    d = ended(quern, sfn, begin(sfn, machine(quern, sfn, pass_(Parameters={"n.$": "States.ArrayLength(States.ArrayUnique($.x))"})), {"x": [i % 20000 for i in range(38000)]}))
    assert json.loads(d["output"]) == {"n": 20000}


def nested_maps(depth):
    if not depth:
        return {"StartAt": "P", "States": pass_()}
    name = f"M{depth}"
    return {"StartAt": name, "States": {name: {"Type": "Map", "ItemsPath": "$.n", "ItemSelector": {"n.$": "$.n"}, "ItemProcessor": nested_maps(depth - 1), "End": True}}}


@pytest.mark.parametrize("name", ["maps in maps", "a loop"])
def test_an_execution_ends_at_25000_events(quern, sfn, name):
    again = {"C": {"Type": "Choice", "Choices": [{"Variable": "$.never", "IsPresent": True, "Next": "P"}], "Default": "C2"}, "C2": {"Type": "Pass", "Next": "C"}, **pass_()}
    arn = machine(quern, sfn, nested_maps(5)["States"] if name == "maps in maps" else again)
    endless = begin(sfn, arn, {"n": list(range(30))})
    assert run(quern, sfn, pass_())["status"] == "SUCCEEDED"
    d = ended(quern, sfn, endless)
    assert d["status"] == "FAILED" and d["error"] == "States.Runtime" and "25000" in d["cause"]
    last = sfn.get_execution_history(executionArn=endless, maxResults=1, reverseOrder=True)["events"][0]
    assert last["type"] == "ExecutionFailed" and 25000 <= last["id"] < 25100


JSONATA = {"QueryLanguage": "JSONata"}
FOREVER = "{% ($f := function($x){ $f($x + 1) }; $f(0)) %}"


@pytest.mark.parametrize("expression", [FOREVER, "{% ($f := function($x){ $f($x + 1) + 1 }; $f(0)) %}", "{% [1..9999999999] %}", "{% ($f := function($s){ $f($s & $s) }; $f('aaaaaaaaaaaaaaaa')) %}", "{% $sum([1..9999999]) %}",
                                        "{% $match('" + "a" * 28 + "b', /^(a+)+$/) %}"], ids=["endless", "recursion", "range", "strings", "sum", "regex"])
def test_jsonata_is_stopped(quern, sfn, expression):
    helpers.needs_jsonata(quern.program)
    d = run(quern, sfn, pass_(Output=expression), **JSONATA)
    quick = expression.startswith(("{% $match", "{% $sum"))  # a machine may be fast enough for these
    assert d["status"] == "SUCCEEDED" and quick or d["error"] == "States.QueryEvaluationError", d
    if d["status"] == "FAILED":
        assert types(sfn, d["executionArn"])[-2:] == ["EvaluationFailed", "ExecutionFailed"]


def test_endless_expressions_hold_up_nobody(quern, sfn):
    """Eight executions evaluate an expression without end; others, JSONata too, pass them."""
    helpers.needs_jsonata(quern.program)
    endless = machine(quern, sfn, pass_(Output=FOREVER), **JSONATA)
    bad = [begin(sfn, endless) for _ in range(8)]
    good = [run(quern, sfn, pass_(Output="{% $sum([1..$states.input.n]) %}"), {"n": n}, **JSONATA) for n in range(1, 4)] + [run(quern, sfn, pass_())]
    assert [d["status"] for d in good] == ["SUCCEEDED"] * 4 and good[2]["output"] == "6"
    ends = [ended(quern, sfn, one) for one in bad]
    assert {d["error"] for d in ends} == {"States.QueryEvaluationError"} and max(d["stopDate"] for d in good) < max(d["stopDate"] for d in ends)


def with_expressions(count, last):
    states = {f"S{i}": {"Type": "Pass", "Output": f"{{% $states.input.a{i} + {i} %}}", "Next": f"S{i + 1}"} for i in range(count)}
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "S0", "States": {**states, f"S{count}": {"Type": "Pass", "Output": last, "End": True}}})


@pytest.mark.parametrize("operation", ["create_state_machine", "update_state_machine", "validate_state_machine_definition"])
def test_a_long_check_of_a_definition_holds_up_nobody(quern, sfn, operation):
    helpers.needs(sfn, "ValidateStateMachineDefinition")
    helpers.needs_jsonata(quern.program)
    arn = machine(quern, sfn, {"P": {"Type": "Pass", "End": True}})
    given = {"create_state_machine": {"name": helpers.unique("m"), "roleArn": quern.role}, "update_state_machine": {"stateMachineArn": arn}}.get(operation, {})
    meanwhile = 0
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(getattr(sfn, operation), definition=with_expressions(3000, "{% 1 %}"), **given)
        while not answer.done():
            sfn.create_activity(name=helpers.unique("a"))
            meanwhile += 1
        answer.result()
    assert meanwhile > 3  # writes answered while the expressions were checked; of a check that holds them up it would be two at the most


def test_what_a_check_finds(quern, sfn):
    helpers.needs(sfn, "ValidateStateMachineDefinition")
    helpers.needs_jsonata(quern.program)
    bad, name = with_expressions(1, "{% 1 + %}"), helpers.unique("m")
    arn = machine(quern, sfn, {"P": {"Type": "Pass", "End": True}})
    unknown = arn[:-1] + ("0" if arn[-1] != "0" else "1")
    for call, code in ((lambda: sfn.create_state_machine(name=name, definition=bad, roleArn=quern.role), "InvalidDefinition"),
                       (lambda: sfn.update_state_machine(stateMachineArn=arn, definition=bad), "InvalidDefinition"),
                       (lambda: sfn.update_state_machine(stateMachineArn=unknown, definition=bad), "StateMachineDoesNotExist"),
                       (lambda: sfn.create_state_machine(name="a b", definition=bad, roleArn=quern.role), "InvalidName")):
        with pytest.raises(ClientError) as wrong:
            call()
        assert wrong.value.response["Error"]["Code"] == code
    assert sfn.validate_state_machine_definition(definition=bad)["result"] == "FAIL"


def test_a_machine_makes_a_machine(quern, sfn):
    helpers.needs_jsonata(quern.program)
    name = helpers.unique("made")
    made = run(quern, sfn, {"T": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sfn:createStateMachine", "End": True, "Parameters": {
        "Name": name, "RoleArn": quern.role, "Definition": with_expressions(2, "{% 1 %}")}}})
    assert made["status"] == "SUCCEEDED" and json.loads(made["output"])["StateMachineArn"].endswith(":" + name)
    refused = run(quern, sfn, {"T": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sfn:createStateMachine", "End": True, "Parameters": {
        "Name": name + "2", "RoleArn": quern.role, "Definition": with_expressions(2, "{% 1 + %}")}}})
    assert refused["error"] == "Sfn.InvalidDefinitionException", refused


def test_a_synchronous_execution_without_end(quern, sfn):
    helpers.needs_jsonata(quern.program)
    arn = sfn.create_state_machine(name=helpers.unique("x"), type="EXPRESS", roleArn=quern.role, definition=json.dumps({"StartAt": "P", "States": pass_(Output=FOREVER), **JSONATA}))["stateMachineArn"]
    sync = quern.client("stepfunctions", config=Config(inject_host_prefix=False, retries={"max_attempts": 1}))
    assert sync.start_sync_execution(stateMachineArn=arn)["error"] == "States.QueryEvaluationError"


# ---- oversize payloads ----

def refused(code, call, **arguments):
    with pytest.raises(ClientError) as info:
        call(**arguments)
    assert info.value.response["Error"]["Code"] == code, info.value
    assert info.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_oversize_requests(quern, sfn):
    helpers.needs(sfn, "TestState")
    arn = machine(quern, sfn, pass_())
    long = json.dumps("x" * 262144)
    sfn_raw = quern.client("stepfunctions", config=Config(retries={"max_attempts": 1}, parameter_validation=False, inject_host_prefix=False))
    for call, arguments in [
        (sfn_raw.start_execution, {"stateMachineArn": arn, "input": long}), (sfn_raw.start_sync_execution, {"stateMachineArn": arn, "input": long}),
        (sfn_raw.create_state_machine, {"name": "too-long", "roleArn": quern.role, "definition": json.dumps({"StartAt": "P", "Comment": "x" * 1048576, "States": pass_()})}),
        (sfn_raw.send_task_success, {"taskToken": "t", "output": long}), (sfn_raw.send_task_failure, {"taskToken": "t", "error": "x" * 257}), (sfn_raw.send_task_failure, {"taskToken": "t", "cause": "x" * 32769}),
        (sfn_raw.test_state, {"definition": json.dumps(pass_()["P"]), "roleArn": quern.role, "input": long}), (sfn_raw.send_task_heartbeat, {"taskToken": "t" * 2049}),
        (sfn_raw.create_activity, {"name": "n" * 81}), (sfn_raw.stop_execution, {"executionArn": arn, "cause": "x" * 32769}),
    ]:
        refused("ValidationException", call, **arguments)
    assert sfn.list_executions(stateMachineArn=arn)["executions"] == []


def test_oversize_answer_of_an_activity(quern, sfn):
    """A result that is as long as may be sent, but too long with what it is put into."""
    activity = sfn.create_activity(name=helpers.unique("a"))["activityArn"]
    arn = begin(sfn, machine(quern, sfn, {"A": {"Type": "Task", "Resource": activity, "ResultPath": "$.result", "End": True}}), {"x": "y" * 1000})
    token = sfn.get_activity_task(activityArn=activity)["taskToken"]
    sfn.send_task_success(taskToken=token, output=json.dumps("x" * 262000))
    d = ended(quern, sfn, arn)
    assert d["error"] == "States.DataLimitExceeded" and types(sfn, arn)[-2:] == ["ActivitySucceeded", "ExecutionFailed"]


def test_oversize_answer_of_a_function(quern, sfn):
    function = create_function(quern, quern.client("lambda"), code="def handler(event, context):\n    return 'x' * 300000\n")
    caught = {"ErrorEquals": ["States.DataLimitExceeded"], "Next": "P"}
    arn = begin(sfn, machine(quern, sfn, {"L": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": function}, "Catch": [caught], "End": True}, **pass_()}))
    assert ended(quern, sfn, arn)["status"] == "SUCCEEDED"
    assert "TaskFailed" in types(sfn, arn)
