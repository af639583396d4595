"""Lambda: functions from a zip that really run, with boto3."""

import base64
import concurrent.futures
import hashlib
import io
import json
import os
import signal
import time
import urllib.error
import urllib.request
import zipfile

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from api import helpers

ECHO = "def handler(event, context):\n    return event\n"


def make_zip(compression=zipfile.ZIP_STORED, **files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as z:
        for name, text in files.items():
            info = zipfile.ZipInfo(name.replace("__", "/").replace("_dot_", "."))
            info.external_attr = 0o755 << 16
            z.writestr(info, text, compression)
    return data.getvalue()


def python_zip(text):
    return make_zip(handler_dot_py=text)


@pytest.fixture(scope="module")
def client(quern):
    return quern.client("lambda", config=Config(retries={"max_attempts": 1}, read_timeout=60))


def create(quern, client, code=ECHO, name=None, **more):
    name = name or helpers.unique("fn")
    arguments = {"FunctionName": name, "Runtime": "python3.12", "Role": quern.role, "Handler": "handler.handler", "Timeout": 10, **more}
    arguments.setdefault("Code", {"ZipFile": python_zip(code)})
    client.create_function(**arguments)
    return name


def invoke(client, name, event=None, **more):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), **more)
    return answer, json.loads(answer["Payload"].read())


def tail_of(answer):
    return base64.b64decode(answer["LogResult"]).decode()


def refused(code, status, call, **arguments):
    with pytest.raises(ClientError) as info:
        call(**arguments)
    assert info.value.response["Error"]["Code"] == code
    assert info.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return info.value.response["Error"]["Message"]


def test_create_and_invoke(quern, client):
    code = python_zip(ECHO)
    name = helpers.unique("fn")
    made = client.create_function(FunctionName=name, Runtime="python3.12", Role=quern.role, Handler="handler.handler", Code={"ZipFile": code}, Description="d", Tags={"a": "1"})
    arn = f"arn:aws:lambda:us-east-1:{quern.account}:function:{name}"
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["FunctionArn"] == arn and made["Version"] == "$LATEST" and made["Timeout"] == 3 and made["MemorySize"] == 128
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode() and made["CodeSize"] == len(code)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    answer, value = invoke(client, name, {"x": [1, 2.5, "é", None]})
    assert (answer["StatusCode"], answer["ExecutedVersion"], value) == (200, "$LATEST", {"x": [1, 2.5, "é", None]})
    assert "FunctionError" not in answer
    for other in (arn, f"{quern.account}:function:{name}", f"{name}:$LATEST"):
        assert invoke(client, other, 7)[1] == 7
    got = client.get_function(FunctionName=name)
    assert got["Tags"] == {"a": "1"} and got["Configuration"]["State"] == "Active"
    with urllib.request.urlopen(got["Code"]["Location"]) as response:
        assert response.read() == code
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(got["Code"]["Location"][:-4] + "0000")
    assert name in [f["FunctionName"] for page in client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1}) for f in page["Functions"]]
    message = refused("ResourceConflictException", 409, client.create_function, FunctionName=name, Runtime="python3.12", Role=quern.role, Handler="h.h", Code={"ZipFile": code})
    assert message == f"Function already exist: {name}"
    assert client.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused("ResourceNotFoundException", 404, client.invoke, FunctionName=name) == f"Function not found: {arn}:$LATEST"
    assert refused("ResourceNotFoundException", 404, client.get_function, FunctionName=name, Qualifier="7") == f"Function not found: {arn}:7"


def test_cold_and_warm(quern, client):
    name = create(quern, client, "import os\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return [n, os.getpid()]\n")
    first = invoke(client, name, LogType="Tail")
    assert first[1][0] == 1 and "Init Duration: " in tail_of(first[0])
    for i in range(2, 32):
        answer, value = invoke(client, name, LogType="Tail")
        assert value == [i, first[1][1]] and "Init Duration" not in tail_of(answer)


def test_context_and_environment(quern, client):
    code = """
import os, sys
def handler(event, context):
    open('/tmp/x', 'w').write('1')
    try:
        open('/var/task/x', 'w')
        wrote = True
    except OSError:
        wrote = False
    return {"name": context.function_name, "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis(),
            "memory": context.memory_limit_in_mb, "id": context.aws_request_id, "custom": context.client_context and context.client_context.custom,
            "group": context.log_group_name, "stream": context.log_stream_name, "env": dict(os.environ), "path0": sys.path[0], "wrote": wrote}
"""
    name = create(quern, client, code, MemorySize=256, Environment={"Variables": {"MINE": "yes"}})
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    _, v = invoke(client, name, {}, ClientContext=context)
    assert v["name"] == name and v["arn"].endswith(f":function:{name}") and 5000 < v["left"] <= 10000 and v["memory"] == "256"
    assert v["custom"] == {"k": "v"} and v["group"] == f"/aws/lambda/{name}" and v["stream"].find("[$LATEST]") > 0 and not v["wrote"]
    env = v["env"]
    assert env["MINE"] == "yes" and env["AWS_LAMBDA_FUNCTION_NAME"] == name and env["LAMBDA_TASK_ROOT"] == "/var/task" == v["path0"]
    assert env["AWS_REGION"] == "us-east-1" and env["AWS_ENDPOINT_URL"].endswith(f":{quern.port}") and env["AWS_SESSION_TOKEN"]
    message = refused("InvalidParameterValueException", 400, create, quern=quern, client=client, Environment={"Variables": {"AWS_REGION": "x"}})
    assert "AWS_REGION" in message


def test_no_privileges(quern, client):
    """A function's process has no capabilities, whatever its user."""
    code = "def handler(e, c):\n    return [line.split() for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))]\n"
    found = dict(invoke(client, create(quern, client, code))[1])
    assert int(found["CapEff:"], 16) == int(found["CapBnd:"], 16) == 0 and found["NoNewPrivs:"] == "1", found


def test_calls_aws_with_its_role(quern, client):
    name = create(quern, client, "import boto3\ndef handler(e, c):\n    return boto3.client('sts').get_caller_identity()['Arn']\n", MemorySize=512)
    assert f"assumed-role/QuernExecutionRole/{name}" in invoke(client, name)[1]


def test_function_error(quern, client):
    name = create(quern, client, 'def handler(event, context):\n    raise Exception("Some exception was raised.")\n')
    answer, error = invoke(client, name, {})
    assert answer["FunctionError"] == "Unhandled" and answer["StatusCode"] == 200
    assert error == {
        "errorMessage": "Some exception was raised.",
        "errorType": "Exception",
        "requestId": error["requestId"],
        "stackTrace": ['  File "/var/task/handler.py", line 2, in handler\n    raise Exception("Some exception was raised.")\n'],
    }
    code = "class CustomException(Exception):\n    pass\ndef handler(event, context):\n    raise CustomException()\n"
    _, error = invoke(client, create(quern, client, code), {})
    assert error["errorType"] == "CustomException" and error["errorMessage"] == ""


@pytest.mark.parametrize(
    "code, handler, kind, message",
    [
        ("import nothing_like_it\n", "handler.handler", "Runtime.ImportModuleError", "Unable to import module 'handler': No module named 'nothing_like_it'"),
        (ECHO, "handler.other", "Runtime.HandlerNotFound", "Handler 'other' missing on module 'handler'"),
        (ECHO, "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"),
        ("def handler(:\n", "handler.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'handler': invalid syntax"),
        ("def handler(e, c):\n    return b'x'\n", "handler.handler", "Runtime.MarshalError", "Unable to marshal response: Object of type bytes is not JSON serializable"),
        ("import os\ndef handler(e, c):\n    os._exit(3)\n", "handler.handler", "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        ("import os\nos._exit(4)\n", "handler.handler", "Runtime.ExitError", "Error: Runtime exited with error: exit status 4"),
        ("def handler(e, c):\n    return 'x' * 7000000\n", "handler.handler", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes)."),
    ],
)
def test_runtime_errors(quern, client, code, handler, kind, message):
    name = create(quern, client, code, Handler=handler)
    for _ in range(2):
        answer, error = invoke(client, name, {})
        assert answer["FunctionError"] == "Unhandled"
        assert error["errorType"] == kind and message in error["errorMessage"]


def test_memory_limit(quern, client):
    name = create(quern, client, "def handler(e, c):\n    return len(bytearray(400 << 20))\n", MemorySize=128)
    answer, error = invoke(client, name, {})
    assert answer["FunctionError"] == "Unhandled" and error["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError")
    assert "signal: killed" in error["errorMessage"]


def test_timeout(quern, client):
    name = create(quern, client, "import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'done'\n", Timeout=1)
    answer, error = invoke(client, name, 30, LogType="Tail")
    assert answer["FunctionError"] == "Unhandled" and error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    tail = tail_of(answer)
    assert "Task timed out after 1.00 seconds" in tail and "REPORT RequestId:" in tail
    assert invoke(client, name, 0)[1] == "done"


def test_logs(quern, client):
    code = "import logging\nlogging.getLogger().setLevel('INFO')\ndef handler(e, c):\n    print('hello', e)\n    logging.info('informed')\n    return 1\n"
    name = create(quern, client, code)
    answer, _ = invoke(client, name, 5, LogType="Tail")
    request = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    lines = tail_of(answer).splitlines()
    assert request and lines[0].startswith("START RequestId: ") and lines[0].endswith("Version: $LATEST")
    assert lines[1] == "hello 5" and lines[2].startswith("[INFO]\t") and lines[2].endswith("\tinformed")
    assert lines[3].startswith("END RequestId: ") and lines[4].startswith("REPORT RequestId: ") and "Init Duration: " in lines[4]
    events = quern.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    assert [e["message"].rstrip() for e in events] == [line.rstrip() for line in lines]
    warm = tail_of(invoke(client, name, 6, LogType="Tail")[0])
    assert "hello 6" in warm and "hello 5" not in warm and "Init Duration" not in warm


def test_tail_of_a_long_log(quern, client):
    """The tail is the last 4 KiB, also when START lies far before."""
    name = create(quern, client, "def handler(e, c):\n    for i in range(3000):\n        print(f'line {i:040d}')\n")
    tail = tail_of(invoke(client, name, LogType="Tail")[0])
    lines = tail.splitlines()
    assert len(tail) == 4096 and lines[-1].startswith("REPORT") and lines[-2].startswith("END") and lines[-3] == f"line {2999:040d}"


def test_concurrent(quern, client):
    """Four calls are at work at the same time, each in an environment of its own; what is reserved is the most."""
    s3 = helpers.make_bucket(quern)
    code = """
import boto3, os, time
def handler(event, context):
    s3, stream = boto3.client("s3"), os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
    s3.put_object(Bucket="my-bucket", Key=event["gate"] + "/in/" + context.aws_request_id)
    while s3.list_objects_v2(Bucket="my-bucket", Prefix=event["gate"] + "/open").get("KeyCount") == 0:
        time.sleep(0.1)
    return stream
"""
    name = create(quern, client, code, Timeout=300, MemorySize=512)
    many = quern.client("lambda", config=Config(max_pool_connections=10, retries={"max_attempts": 1}, read_timeout=300))

    def at_work(pool, gate, n):
        calls = [pool.submit(invoke, many, name, {"gate": gate}) for _ in range(n)]
        quern.wait(lambda: any(c.done() for c in calls) or s3.list_objects_v2(Bucket="my-bucket", Prefix=gate + "/in/")["KeyCount"] == n)
        return calls

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for reserved in (None, 1):
            gate = helpers.unique("gate")
            if reserved:
                client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
            calls = at_work(pool, gate, reserved or 4)
            if reserved:
                version = client.publish_version(FunctionName=name)["Version"]
                for qualifier in ("$LATEST", version):  # the number is for all versions together
                    refused("TooManyRequestsException", 429, many.invoke, FunctionName=name, Qualifier=qualifier, Payload=json.dumps({"gate": gate}))
            s3.put_object(Bucket="my-bucket", Key=gate + "/open")
            streams = [c.result()[1] for c in calls]
            assert len(set(streams)) == len(calls), streams
    client.delete_function_concurrency(FunctionName=name)


def test_event_and_dry_run(quern, client):
    s3 = helpers.make_bucket(quern)
    code = "import boto3, json\ndef handler(e, c):\n    boto3.client('s3').put_object(Bucket='my-bucket', Key=e['key'], Body=json.dumps(e))\n"
    name = create(quern, client, code, MemorySize=512)
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    key = f"events/{name}"
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"key": key}))
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    quern.wait(lambda: s3.list_objects_v2(Bucket="my-bucket", Prefix=key)["KeyCount"])
    refused("RequestTooLargeException", 413, client.invoke, FunctionName=name, InvocationType="Event", Payload=b'"' + b"x" * 1048576 + b'"')
    refused("RequestTooLargeException", 413, client.invoke, FunctionName=name, Payload=b'"' + b"x" * 6291456 + b'"')
    refused("InvalidRequestContentException", 400, client.invoke, FunctionName=name, Payload=b"{bad")


def test_update(quern, client):
    s3 = helpers.make_bucket(quern)
    name = create(quern, client, "import os\ndef handler(e, c):\n    return ['one', os.environ.get('VV')]\n")
    assert invoke(client, name)[1] == ["one", None]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"VV": "2"}}, Timeout=20)
    client.get_waiter("function_updated").wait(FunctionName=name)
    assert invoke(client, name)[1] == ["one", "2"]
    s3.put_object(Bucket="my-bucket", Key="code.zip", Body=python_zip("def handler(e, c):\n    return 'two'\n"))
    updated = client.update_function_code(FunctionName=name, S3Bucket="my-bucket", S3Key="code.zip", Publish=True)
    assert updated["Version"] == "1" and invoke(client, name)[1] == "two"
    assert client.get_function_configuration(FunctionName=name)["Timeout"] == 20
    message = refused("InvalidParameterValueException", 400, client.update_function_code, FunctionName=name, S3Bucket="my-bucket", S3Key="no.zip")
    assert message == "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    message = refused("InvalidParameterValueException", 400, client.update_function_code, FunctionName=name, ZipFile=b"no zip")
    assert message == "Could not unzip uploaded file. Please check your file, then try to upload again."
    lies = make_zip(zipfile.ZIP_DEFLATED, handler_dot_py="#" * (300 << 20))  # 300 MiB that say to be ten bytes: first in the entry's header, then in the directory
    lies = lies.replace((300 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    broken = bytearray(make_zip(handler_dot_py=os.urandom(1000)))
    broken[500] ^= 1
    for zipped in (lies, bytes(broken)):
        message = refused("InvalidParameterValueException", 400, client.update_function_code, FunctionName=name, ZipFile=zipped)
        assert message in ("Unzipped size must be smaller than 262144000 bytes", "Could not unzip uploaded file. Please check your file, then try to upload again.")
    refused("PreconditionFailedException", 412, client.update_function_configuration, FunctionName=name, RevisionId="x", Timeout=3)
    refused("InvalidParameterValueException", 400, client.update_function_code, FunctionName=name, ZipFile=make_zip(**{".._up_dot_py".replace("_up", "/up"): ECHO}))


def test_large_zip(quern, client):
    """A zip of up to 50 MiB comes in the request."""
    name = create(quern, client, Code={"ZipFile": make_zip(handler_dot_py=ECHO, data_dot_bin=bytes(14 << 20))})
    assert invoke(client, name, "here")[1] == "here"
    message = refused("RequestEntityTooLargeException", 413, client.update_function_code, FunctionName=name, ZipFile=bytes(52428801))
    assert message == "Request must be smaller than 70167211 bytes for the UpdateFunctionCode operation"


def test_versions_and_aliases(quern, client):
    name = create(quern, client, "def handler(e, c):\n    return [1, c.function_version, c.invoked_function_arn]\n")
    arn = f"arn:aws:lambda:us-east-1:{quern.account}:function:{name}"
    one = client.publish_version(FunctionName=name, Description="first")
    assert one["Version"] == "1" and one["FunctionArn"] == f"{arn}:1" and one["Description"] == "first"
    assert client.publish_version(FunctionName=name)["Version"] == "1"  # nothing changed
    client.update_function_code(FunctionName=name, ZipFile=python_zip("def handler(e, c):\n    return [2, c.function_version, c.invoked_function_arn]\n"))
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    alias = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert alias["AliasArn"] == f"{arn}:live"
    answer, value = invoke(client, name, Qualifier="live")
    assert value == [1, "1", f"{arn}:live"] and answer["ExecutedVersion"] == "1"
    assert invoke(client, f"{arn}:2")[1] == [2, "2", f"{arn}:2"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert invoke(client, name, Qualifier="live")[1][0] == 2
    assert [a["Name"] for a in client.list_aliases(FunctionName=name)["Aliases"]] == ["live"]
    assert [v["Version"] for v in client.list_versions_by_function(FunctionName=name)["Versions"]] == ["$LATEST", "1", "2"]
    refused("ResourceConflictException", 409, client.create_alias, FunctionName=name, Name="live", FunctionVersion="1")
    message = refused("ResourceConflictException", 409, client.delete_function, FunctionName=name, Qualifier="2")
    assert message == "Unable to delete version because the following aliases reference it: [live]"
    client.delete_alias(FunctionName=name, Name="live")
    refused("ResourceNotFoundException", 404, client.get_alias, FunctionName=name, Name="live")
    client.delete_function(FunctionName=name, Qualifier="1")
    refused("ResourceNotFoundException", 404, client.invoke, FunctionName=name, Qualifier="1")
    assert invoke(client, name)[1][0] == 2


def test_policy_and_tags(quern, client):
    name = create(quern, client)
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    refused("ResourceNotFoundException", 404, client.get_policy, FunctionName=name)
    added = client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com", SourceArn="arn:aws:events:us-east-1:000000000000:rule/x")
    statement = json.loads(added["Statement"])
    assert statement["Principal"] == {"Service": "events.amazonaws.com"} and statement["Resource"] == arn
    assert json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"] == [statement]
    refused("ResourceConflictException", 409, client.add_permission, FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    client.remove_permission(FunctionName=name, StatementId="s")
    refused("ResourceNotFoundException", 404, client.get_policy, FunctionName=name)
    client.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(FunctionName=name)
    refused("ResourceNotFoundException", 404, client.get_function_code_signing_config, FunctionName=name + "-none")


def trust(service, effect="Allow", action="sts:AssumeRole"):
    return {"Effect": effect, "Principal": {"Service": service}, "Action": action}


def test_role_that_lambda_can_not_assume(quern, client):
    """Only a role that exists here is looked at: its trust policy must name Lambda."""
    iam = quern.client("iam")
    name = helpers.unique("role")
    document = lambda *statements: json.dumps({"Version": "2012-10-17", "Statement": list(statements)})  # noqa: E731
    arn = iam.create_role(RoleName=name, Path="/for/", AssumeRolePolicyDocument=document(trust("ecs-tasks.amazonaws.com")))["Role"]["Arn"]
    function = create(quern, client, Role=arn.replace("/for/", "/of-another-path/"))  # no such role
    update = {"FunctionName": function, "Role": arn}
    says = "The role defined for the function cannot be assumed by Lambda."
    assert refused("InvalidParameterValueException", 400, create, quern=quern, client=client, Role=arn) == says
    for closed in (trust("lambda.amazonaws.com", "Deny"), trust("lambda.amazonaws.com", action="sts:TagSession"), {**trust("x"), "Principal": {"AWS": f"arn:aws:iam::{quern.account}:root"}}):
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document(trust("ecs-tasks.amazonaws.com"), closed))
        assert refused("InvalidParameterValueException", 400, client.update_function_configuration, **update) == says
    client.update_function_configuration(FunctionName=function, Timeout=9)  # its role is not told again
    for open_ in (trust("lambda.amazonaws.com"), trust(["states.amazonaws.com", "lambda.amazonaws.com"], action=["sts:TagSession", "sts:*"]), {**trust("x"), "Principal": "*"}):
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document(trust("ecs-tasks.amazonaws.com"), open_))
        assert client.update_function_configuration(**update)["Role"] == arn
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust("lambda.amazonaws.com")}))
    create(quern, client, Role=arn)


NO_NODE = pytest.mark.skipif(not any(os.access(p, os.X_OK) for p in ("/usr/bin/node", "/usr/local/bin/node")), reason="no node in /usr/bin or /usr/local/bin")


@NO_NODE
@pytest.mark.parametrize(
    "file, text",
    [
        ("index_dot_mjs", "export const handler = async (event, context) => { console.log('hi'); if (event.boom) throw new TypeError('boom'); return { got: event, name: context.functionName }; };"),
        ("index_dot_js", "exports.handler = (event, context, callback) => { console.log('hi'); if (event.boom) callback(new TypeError('boom')); else callback(null, { got: event, name: context.functionName }); };"),
    ],
)
def test_node(quern, client, file, text):
    name = create(quern, client, Runtime="nodejs20.x", Handler="index.handler", MemorySize=256, Code={"ZipFile": make_zip(**{file: text})})
    answer, value = invoke(client, name, {"a": 1}, LogType="Tail")
    assert value == {"got": {"a": 1}, "name": name}
    assert "\tINFO\thi" in tail_of(answer)
    answer, error = invoke(client, name, {"boom": 1})
    assert answer["FunctionError"] == "Unhandled" and (error["errorType"], error["errorMessage"]) == ("TypeError", "boom")
    assert error["trace"][0] == "TypeError: boom"


@NO_NODE
def test_node_without_a_promise(quern, client):
    """The context's functions and the callback may come late; what is returned is no answer, and neither is silence."""
    text = """exports.handler = (event, context, callback) => {
  if (event === 'late') setTimeout(() => context.succeed('late'), 50);
  if (event === 'fail') setTimeout(() => context.fail(new Error('no')), 50);
  if (event === 'callback') setImmediate(() => callback(null, 'called'));
  return 'returned';
};
"""
    name = create(quern, client, Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": make_zip(index_dot_js=text)})
    assert [invoke(client, name, event)[1] for event in ("late", "callback", "silence", "late")] == ["late", "called", None, "late"]
    answer, value = invoke(client, name, "fail")
    assert answer["FunctionError"] == "Unhandled" and value["errorMessage"] == "no"
    two = text.replace(", callback)", ")").replace("callback(", "(")
    name = create(quern, client, Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": make_zip(index_dot_js=two)})
    assert invoke(client, name, "late")[1] == "late"


def test_custom_runtime(quern, client):
    bootstrap = """#!/usr/bin/python3
import os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as r:
        id, body = r.headers["Lambda-Runtime-Aws-Request-Id"], r.read()
    print("working", flush=True)
    urllib.request.urlopen(urllib.request.Request(base + id + "/response", data=b'{"was": ' + body + b'}')).read()
"""
    name = create(quern, client, Runtime="provided.al2023", Code={"ZipFile": make_zip(bootstrap=bootstrap)})
    answer, value = invoke(client, name, [1], LogType="Tail")
    assert value == {"was": [1]}
    tail = tail_of(answer)
    assert tail.startswith("START RequestId: ") and "REPORT RequestId: " in tail


def test_what_is_not_built(quern, client):
    for more, word in (
        ({"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]}, "Layers"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "VpcConfig"),
        ({"Runtime": "java21"}, "java21"),
        ({"PackageType": "Image", "Code": {"ImageUri": "x:y"}}, "Image"),
        ({"Architectures": ["arm64" if os.uname().machine == "x86_64" else "x86_64"]}, "functions"),
    ):
        with pytest.raises(ClientError) as info:
            create(quern, client, **more)
        assert info.value.response["Error"]["Code"] == "InvalidParameterValueException" and word in info.value.response["Error"]["Message"]
    refused("NotImplementedException", 501, client.create_function_url_config, FunctionName="x", AuthType="NONE")


def test_restart(own_quern):
    """kill -9: functions stay, an unfinished event runs again, the old workers go."""
    client = own_quern.client("lambda")
    s3 = own_quern.client("s3")
    s3.create_bucket(Bucket="my-bucket")
    code = "import boto3, time\ndef handler(e, c):\n    s3 = boto3.client('s3')\n    s3.put_object(Bucket='my-bucket', Key='began/' + c.log_stream_name)\n    time.sleep(3)\n    s3.put_object(Bucket='my-bucket', Key='done')\n"
    name = create(own_quern, client, code, MemorySize=512, Timeout=20)
    client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    revision = client.get_policy(FunctionName=name)["RevisionId"]
    client.invoke(FunctionName=name, InvocationType="Event", Payload="{}")
    own_quern.wait(lambda: s3.list_objects_v2(Bucket="my-bucket", Prefix="began/")["KeyCount"])
    os.kill(own_quern.pid(), signal.SIGKILL)
    time.sleep(0.3)
    own_quern.up()
    own_quern.wait(lambda: s3.list_objects_v2(Bucket="my-bucket", Prefix="done")["KeyCount"])
    assert s3.list_objects_v2(Bucket="my-bucket", Prefix="began/")["KeyCount"] >= 2
    client.remove_permission(FunctionName=name, StatementId="s", RevisionId=revision)  # the same policy still
    client.update_function_code(FunctionName=name, ZipFile=python_zip(ECHO))
    assert invoke(client, name, "after")[1] == "after"
    assert len(os.listdir(os.path.join(own_quern.home, "lambda", "code"))) == 1  # the code of before is gone
