"""What the recorded cases need of other services, made on the running Quern through boto3.

DESIGN: FIXTURES maps the `op` of a case's step to a callable(step, c) that does it; c is the Context of conformance.py. The functions'
code is our own: the recordings say what each of them answers. SQS, SNS, DynamoDB and EventBridge do not exist in Quern, so what wants
them is not here."""
import ast
import io
import json
import re
import time
import uuid
import zipfile

import conformance

# The recorded stack traces name the line that raises: the second, and the ninth of the custom exception.
HANDLERS = {
    "id_function": "def handler(event, context):\n    return event\n",
    "raise_exception": 'def handler(event, context):\n    raise Exception("Some exception was raised.")\n',
    "raise_custom_exception": "# An exception of a type of its own.\n\n\nclass CustomException(Exception):\n    pass\n\n\n"
    "def handler(event, context):\n    raise CustomException()\n",
    "return_bytes_str": 'def handler(event, context):\n    return b"HelloWorld!".decode()\n',
    "large_output_string": 'def handler(event, context):\n    return {"statusCode": 200, "body": "a" * (257 * 1024)}\n',
    "wait_60_seconds": "import time\n\n\ndef handler(event, context):\n    if event != 'warm':\n        time.sleep(60)\n",
    "return_decorated_input": 'def handler(event, context):\n    return f"input-event-{event}"\n',
}


def packed(code):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as z:
        z.writestr(zipfile.ZipInfo("handler.py"), code)
    return data.getvalue()


def create_function(step, c):
    """A function that is warm: the recorded timeouts are scaled, a container's start is not."""
    arguments = c.resolve(step["args"])
    client, name = c.client("lambda"), arguments["func_name"]
    kind = re.search(r"(\w+)\.py$", arguments["handler_file"])[1]
    try:
        client.delete_function(FunctionName=name)  # of another case
    except client.exceptions.ResourceNotFoundException:
        pass
    client.create_function(FunctionName=name, Runtime=arguments["runtime"], Role=conformance.ROLE, Handler="handler.handler", Timeout=900, MemorySize=1769,
                           Code={"ZipFile": packed(HANDLERS[kind])})
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    client.invoke(FunctionName=name, Payload='"warm"')


def create_bucket(step, c):  # pylint: disable=unused-argument
    c.named["s3_create_bucket"] = f"recorded-{uuid.uuid4().hex[:12]}"
    c.client("s3").create_bucket(Bucket=c.named["s3_create_bucket"])


def create_log_group(step, c):  # pylint: disable=unused-argument
    c.named["sfn_create_log_group"] = conformance.new_log_group(c)[0]


def activity_consumer(step, c):
    """A machine that works on an activity: started, not waited for."""
    arguments = c.resolve(step["args"])
    machine = c.call("create_state_machine", {"name": f"consumer-{uuid.uuid4().hex[:12]}", "roleArn": conformance.ROLE,
                                              "definition": json.dumps(arguments["template"])})
    c.call("start_execution", {"stateMachineArn": machine["stateMachineArn"], "input": json.dumps({"ActivityArn": arguments["activity_arn"]})})


def create_admin_role(step, c):  # pylint: disable=unused-argument
    """A role that another role may take on, and that may do anything. There is one account here, so it is of that account."""
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{conformance.ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    iam, name = c.client("iam"), f"admin-{uuid.uuid4().hex[:12]}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.put_role_policy(RoleName=name, PolicyName="admin", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [anything]}))
    c.named["create_cross_account_admin_role_and_policy"] = role["Role"]["Arn"]


def make_machine(step, c):
    """A machine that logs, where the case made a log group. Level and data are in its name: test[pass_result.json5_ERROR_False]."""
    group = c.named.get("sfn_create_log_group")
    conformance.make_machine(step, c)
    if not group:
        return
    named = re.search(r"_(ALL|ERROR|FATAL|OFF)_(True|False)\]$", c.case["id"])
    arn = c.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["arn"]
    settings = conformance.logging_to(arn, named[1], named[2] == "True") if named else conformance.logging_to(arn, data=False)
    c.call("update_state_machine", {"stateMachineArn": c.machine, "loggingConfiguration": settings})


def launch_and_record_logs(step, c):
    conformance.record_logs(step, c, c.machine, c.named["sfn_create_log_group"])
    c.recorded.setdefault("logged_execution_events", [])


def matched(step, c):
    """The one `match` whose value the recorder lost: the log records of several executions, in their order."""
    if step["key"] != "logged_execution_events":
        conformance.matched(step, c)
        return
    wanted, found = len(c.case["expected"][step["key"]]), []
    for _ in range(200):
        pages = c.client("logs").get_paginator("filter_log_events").paginate(logGroupName=c.named["sfn_create_log_group"])
        found = [json.loads(e["message"]) for page in pages for e in page["events"] if e["message"].startswith("{")]
        if len(found) >= wanted:
            break
        time.sleep(0.05)
    started = [c.returned[s["ret"]]["executionArn"] for s in c.steps[: c.index] if s["op"] == "stepfunctions.start_execution"]
    found.sort(key=lambda r: (started.index(r["execution_arn"]), int(r["id"])))
    c.recorded[step["key"]] = [dict(r, event_timestamp="timestamp") for r in found]


def literal(value):
    """Bytes are written as {{b"..."}} and {{bytearray(b"...")}}."""
    found = re.fullmatch(r"\{\{(?:bytearray\()?(b'.*')\)?\}\}", value) if isinstance(value, str) else None
    return ast.literal_eval(found[1]) if found else None


def api(service, operation):
    def call(step, c):
        arguments = {k: literal(v) or c.resolve(v) for k, v in step["args"].items()}
        answer = getattr(c.client(service), operation)(**arguments)
        if operation == "get_object":
            answer["Body"] = answer["Body"].read().decode()
        c.returned[step["ret"]] = json.loads(json.dumps(answer, default=str))

    return call


FIXTURES = {
    "fixture.create_lambda_function": create_function,
    "fixture.s3_create_bucket": create_bucket,
    "fixture.sfn_create_log_group": create_log_group,
    "fixture.sfn_activity_consumer": activity_consumer,
    "fixture.create_cross_account_admin_role_and_policy": create_admin_role,
    "create_state_machine_with_iam_role": make_machine,
    "launch_and_record_logs": launch_and_record_logs,
    "match": matched,
    "s3.put_object": api("s3", "put_object"),
    "s3.get_object": api("s3", "get_object"),
    "logs.describe_log_groups": api("logs", "describe_log_groups"),
    "logs.delete_log_group": api("logs", "delete_log_group"),
}
