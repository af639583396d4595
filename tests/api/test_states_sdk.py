"""aws-sdk:<service>:<action> reaches every operation that Quern has; answers in the spelling of the AWS SDK for Java (developer guide, "SDK service
integrations"; recorded cases)."""

import base64
import concurrent.futures
import io
import json
import re
import zipfile

import botocore.session
import pytest
from api import helpers
from api.test_operations import BY_HAND
from botocore.config import Config
from botocore.exceptions import ClientError

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


@pytest.fixture(scope="module")
def call(quern):
    """Calls an action in TestState: its output, or (error, cause)."""
    sfn = quern.client("stepfunctions", config=Config(inject_host_prefix=False, max_pool_connections=16))
    helpers.needs(sfn, "TestState")

    def run(service, action, parameters, **more):
        state = {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:{service}:{action}", "End": True, **(more or {"Parameters": parameters})}
        r = sfn.test_state(definition=json.dumps(state), roleArn=quern.role)
        return json.loads(r["output"]) if r["status"] == "SUCCEEDED" else (r.get("error", ""), r.get("cause", ""))

    return run


# ---- every operation ----

def test_every_operation_can_be_called(quern, call):
    """Without parameters: it does what it does, or its service refuses it in its own words."""
    api = json.loads(quern.cli("api", "--json").stdout)
    session = botocore.session.get_session()
    todo = []
    for model, table in api.items():
        sdk = session.get_service_model(model).metadata["serviceId"].replace(" ", "").lower()
        todo += [(sdk, name[0].lower() + name[1:]) for name in table["implemented"] if f"{model}:{name}" not in BY_HAND]  # those the API has not
    assert len(todo) > 300 and {sdk for sdk, _ in todo} >= {"sfn", "sagemaker", "ecs", "ecr", "iam", "sts", "cloudwatchlogs", "lambda", "s3", "ssm", "secretsmanager"}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda one: call(*one, {}), todo))
    refused = 0
    for (sdk, action), outcome in zip(todo, outcomes):
        where = f"{sdk}:{action}: {outcome}"
        if isinstance(outcome, dict):
            continue
        error, cause = outcome
        refused += 1
        assert error.lower().startswith(sdk + "."), where
        assert not re.search(r"mplement|internal|nknown operation|not supported", error + cause), where
        client_side = sdk == "s3" and (error, cause) == ("S3.SdkClientException", "Parameter 'Bucket' must not be null")
        assert client_side or re.search(r"\(Service: \w+, Status Code: 4\d\d, Request ID: ", cause), where
    assert refused > 200 and len(outcomes) - refused > 20


# ---- what comes back ----

def test_names_times_and_maps(call):
    name = helpers.unique("sdk")
    made = call("secretsmanager", "createSecret", {"Name": name, "SecretBinary": base64.b64encode(b"\xff\x00").decode(), "Tags": [{"Key": "k", "Value": "v"}]})
    assert set(made) == {"ARN", "Name", "VersionId"} and made["Name"] == name
    got = call("secretsmanager", "getSecretValue", {"SecretId": name})
    assert base64.b64decode(got["SecretBinary"]) == b"\xff\x00" and ISO.fullmatch(got["CreatedDate"]) and got["VersionStages"] == ["AWSCURRENT"]
    told = call("secretsmanager", "describeSecret", {"SecretId": name})
    assert told["VersionIdsToStages"] == {made["VersionId"]: ["AWSCURRENT"]} and told["Tags"] == [{"Key": "k", "Value": "v"}]


def test_capitals_but_not_in_map_keys(call):
    container = {"Name": "c", "Image": "i", "Memory": 64, "Environment": [{"Name": "X", "Value": "1"}], "DockerLabels": {"camelKey": "v"}}
    out = call("ecs", "registerTaskDefinition", {"Family": helpers.unique("f"), "ContainerDefinitions": [container]})["TaskDefinition"]
    assert {k: out["ContainerDefinitions"][0][k] for k in container} == container and out["Revision"] == 1 and ISO.fullmatch(out["RegisteredAt"])


def test_query_and_xml(call):
    """IAM: a JSON text may be given as JSON; policy documents come percent-encoded, as the SDK for Java leaves them."""
    name, trust = helpers.unique("r"), {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    made = call("iam", "createRole", {"RoleName": name, "AssumeRolePolicyDocument": trust, "Tags": [{"Key": "a", "Value": "b"}]})["Role"]
    assert made["RoleName"] == name and ISO.fullmatch(made["CreateDate"]) and made["MaxSessionDuration"] == 3600 and made["Tags"] == [{"Key": "a", "Value": "b"}]
    assert made["AssumeRolePolicyDocument"].startswith("%7B%22Version%22%3A%222012-10-17%22")
    assert call("iam", "putRolePolicy", {"RoleName": name, "PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}}) == {}
    assert call("iam", "listRolePolicies", {"RoleName": name}) == {"IsTruncated": False, "PolicyNames": ["p"]}
    error, cause = call("iam", "getRole", {"RoleName": "no-such-role"})
    assert error == "Iam.NoSuchEntityException" and cause.startswith("The role with name no-such-role cannot be found. (Service: Iam, Status Code: 404, Request ID: ")


def test_rest_json(quern, call):
    """Lambda: members in path and query, a 404 by the model, a map, an empty answer."""
    name, body = helpers.unique("f"), io.BytesIO()
    with zipfile.ZipFile(body, "w") as z:
        z.writestr("m.py", "def h(e, c):\n    if e == 'fail': raise KeyError('k')\n    return {'got': e}\n")
    made = call("lambda", "createFunction", {"FunctionName": name, "Runtime": "python3.11", "Role": quern.role, "Handler": "m.h", "Code": {"ZipFile": base64.b64encode(body.getvalue()).decode()},
                                             "Environment": {"Variables": {"NAME": "v"}}})
    arn = made["FunctionArn"]
    assert made["Environment"] == {"Variables": {"NAME": "v"}} and made["FunctionName"] == name
    assert call("lambda", "tagResource", {"Resource": arn, "Tags": {"camelKey": "v"}}) == {}
    assert call("lambda", "listTags", {"Resource": arn}) == {"Tags": {"camelKey": "v"}}
    assert call("lambda", "getFunction", {"FunctionName": name})["Configuration"]["FunctionArn"] == arn
    assert call("lambda", "deleteFunction", {"FunctionName": name}) == {"StatusCode": 204}
    error, cause = call("lambda", "getFunction", {"FunctionName": name})
    assert error == "Lambda.ResourceNotFoundException" and "(Service: Lambda, Status Code: 404, Request ID: " in cause


def test_payload_of_a_function(quern, call):
    """Unlike lambda:invoke: the payload is text, and the function's own error is no error of the task."""
    from api.test_lambda import create
    name = create(quern, quern.client("lambda"), "def handler(e, c):\n    if e == 'fail':\n        raise KeyError('k')\n    return {'got': e}\n")
    out = call("lambda", "invoke", {"FunctionName": name, "Payload": {"a": [1]}})
    assert (json.loads(out["Payload"]), out["StatusCode"], out["ExecutedVersion"]) == ({"got": {"a": [1]}}, 200, "$LATEST") and "SdkHttpMetadata" not in out
    failed = call("lambda", "invoke", {"FunctionName": name, "Payload": '"fail"'})
    assert failed["FunctionError"] == "Unhandled" and json.loads(failed["Payload"])["errorType"] == "KeyError"


def test_exceptions_have_the_names_of_classes(call):
    assert call("sfn", "describeStateMachine", {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:none"})[0] == "Sfn.StateMachineDoesNotExistException"
    assert call("sagemaker", "describeModelPackageGroup", {"ModelPackageGroupName": "none"})[0] == "SageMaker.SageMakerException"
    assert call("ssm", "getParameter", {"Name": "none"})[0] == "Ssm.ParameterNotFoundException"
    assert call("cloudwatchlogs", "deleteLogGroup", {"LogGroupName": "none"})[0] == "CloudWatchLogs.ResourceNotFoundException"


def test_done_once_over_kills(own_quern):
    """What is checked for long, or stored in files, before it is written: a second time it would be refused, for its name is taken."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as z:
        z.writestr("m.py", "def h(e, c): pass\n")
    steps = json.dumps({"Version": "2020-12-01", "Steps": [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "e"}}]})
    pipeline = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sagemaker:createPipeline", "ResultPath": None, "Next": "F",
                "Parameters": {"PipelineName.$": "States.Format('p{}', $)", "PipelineDefinition": steps, "RoleArn": own_quern.role}}
    function = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:lambda:createFunction", "End": True,
                "Parameters": {"FunctionName.$": "States.Format('f{}', $)", "Runtime": "python3.11", "Handler": "m.h", "Role": own_quern.role, "Code": {"ZipFile": base64.b64encode(body.getvalue()).decode()}}}

    def functions():
        pages = own_quern.client("lambda").get_paginator("list_functions").paginate()
        return sum(len(page["Functions"]) for page in pages)

    helpers.run_over_kills(own_quern, {"P": pipeline, "F": function}, "P", 150, functions)
    assert functions() == 150


# ---- what AWS has not ----

NOT_KNOWN = "The resource provided arn:aws:states:::{} is not recognized. The value is not a valid resource ARN, or the resource is not available in this region. at /States/T/Resource"


@pytest.mark.parametrize("resource, fields, text", [
    ("aws-sdk:sfn:noSuchThing", {"Parameters": {}}, NOT_KNOWN),
    ("aws-sdk:s3:postObject", {"Parameters": {}}, NOT_KNOWN),
    ("aws-sdk:sfn:listActivities", {"Parameters": {"Nothing": 1}}, 'The field "Nothing" is not supported by Step Functions at /States/T/Parameters'),
    ("aws-sdk:s3:getObject", {"Parameters": {"Bucket.$": "$.b", "Kee.$": "$.k"}}, 'The field "Kee" is not supported by Step Functions at /States/T/Parameters'),
    ("aws-sdk:ecs:runTask", {"QueryLanguage": "JSONata", "Arguments": {"Task": "t"}}, 'The field "Task" is not supported by Step Functions at /States/T/Arguments'),
])
def test_refused_in_a_definition(quern, resource, fields, text):
    sfn = quern.client("stepfunctions")
    definition = json.dumps({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "End": True, **fields}}})
    with pytest.raises(ClientError) as info:
        sfn.create_state_machine(name=helpers.unique("m"), definition=definition, roleArn=quern.role)
    assert info.value.response["Error"]["Code"] == "InvalidDefinition" and f"SCHEMA_VALIDATION_FAILED: {text.format(resource)}" in str(info.value)
    if helpers.knows(sfn, "ValidateStateMachineDefinition"):
        r = sfn.validate_state_machine_definition(definition=definition)
        assert r["result"] == "FAIL" and r["diagnostics"][0]["code"] == "SCHEMA_VALIDATION_FAILED"


def test_a_template_is_let_through(quern):
    """It is filled in before a machine is used."""
    state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"${Member}": 1}, "End": True}
    quern.client("stepfunctions").create_state_machine(name=helpers.unique("m"), definition=json.dumps({"StartAt": "T", "States": {"T": state}}), roleArn=quern.role)


def test_refused_when_it_is_known(call):
    """Only the expression says what is given."""
    error, cause = call("sfn", "listActivities", None, QueryLanguage="JSONata", Arguments="{% {'Nothing': 1} %}")
    assert error == "States.Runtime" and cause.endswith("""The Arguments '{"Nothing":1}' could not be used to start the Task: [The field "Nothing" is not supported by Step Functions]""")
