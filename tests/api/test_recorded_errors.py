"""Errors whose code and text other projects recorded from AWS (LocalStack's validated snapshots), one request each."""

import io
import json
import time
import uuid
import zipfile

import pytest
from botocore.exceptions import ClientError

from api import helpers

INVALID, MISSING = "InvalidParameterValueException", "ResourceNotFoundException"


def refused(code, text, call, status=None):
    with pytest.raises(ClientError) as error:
        call()
    answer = error.value.response
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == (code, text)
    assert status is None or answer["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.fixture(scope="module")
def function(quern):
    """A function with version 1; its client, name, and the beginning of ARNs."""
    client, name = quern.client("lambda"), helpers.unique("f")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as z:
        z.writestr("i.py", "def h(event, context):\n    return event\n")
    made = client.create_function(FunctionName=name, Runtime="python3.12", Role=quern.role, Handler="i.h", Code={"ZipFile": code.getvalue()}, Publish=True)
    assert (made["FunctionArn"], made["Version"]) == (f"arn:aws:lambda:us-east-1:{quern.account}:function:{name}", "1"), "as AWS answers"
    return client, name, f"arn:aws:lambda:us-east-1:{quern.account}:function:", code.getvalue()


def test_functions_of_elsewhere(quern, function):
    client, name, _, _ = function
    other = f"arn:aws:lambda:eu-west-1:{quern.account}:function:{name}"
    refused(MISSING, "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')", lambda: client.get_function(FunctionName=other), 404)
    for theirs in (f"arn:aws:lambda:us-east-1:222222222222:function:{name}", f"222222222222:function:{name}"):
        with pytest.raises(ClientError) as error:
            client.get_function(FunctionName=theirs)
        assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    assert client.get_function(FunctionName=f"{quern.account}:function:{name}")["Configuration"]["FunctionName"] == name


def test_a_name_has_64_characters(quern, function):
    client, _, _, code = function
    name = "a" * 65
    text = f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
    refused(INVALID, text, lambda: client.create_function(FunctionName=name, Runtime="python3.12", Role=quern.role, Handler="i.h", Code={"ZipFile": code}))


def test_an_alias_that_is_not_there(function):
    client, name, arn, _ = function
    refused(MISSING, f"Cannot find alias arn: {arn}{name}:none", lambda: client.get_alias(FunctionName=name, Name="none"), 404)
    with pytest.raises(ClientError) as error:
        client.get_alias(FunctionName=name, Name="none")
    assert error.value.response["Type"] == "User" and "none" in error.value.response["Message"], "the members of the error's model"
    refused(MISSING, f"Alias not found: {arn}{name}:none", lambda: client.update_alias(FunctionName=name, Name="none", FunctionVersion="1"), 404)


def test_concurrency_is_of_functions(function):
    client, name, arn, _ = function
    text = "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN."
    refused(INVALID, text, lambda: client.put_function_concurrency(FunctionName=f"{arn}{name}:1", ReservedConcurrentExecutions=1))
    refused(MISSING, f"Function not found: {arn}none:$LATEST", lambda: client.put_function_concurrency(FunctionName="none", ReservedConcurrentExecutions=1), 404)


def test_permissions_of_one_revision(function):
    client, name, _, _ = function
    grant = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    text = "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
    refused(MISSING, "No policy is associated with the given resource.", lambda: client.remove_permission(FunctionName=name, StatementId="one"), 404)
    client.add_permission(StatementId="one", **grant)
    refused(MISSING, "Statement two is not found in resource policy.", lambda: client.remove_permission(FunctionName=name, StatementId="two"), 404)
    revision = client.get_policy(FunctionName=name)["RevisionId"]
    refused("PreconditionFailedException", text, lambda: client.add_permission(StatementId="two", RevisionId="old", **grant), 412)
    client.add_permission(StatementId="two", RevisionId=revision, **grant)
    refused("PreconditionFailedException", text, lambda: client.remove_permission(FunctionName=name, StatementId="two", RevisionId=revision), 412)
    client.remove_permission(FunctionName=name, StatementId="two", RevisionId=client.get_policy(FunctionName=name)["RevisionId"])


def test_conditions_of_permissions(function):
    client, name, _, _ = function
    more = {"EventSourceToken": "token-1", "PrincipalOrgID": "o-1234567890", "SourceAccount": "222222222222"}
    made = client.add_permission(FunctionName=name, StatementId="three", Action="lambda:InvokeFunction", Principal="alexa-appkit.amazon.com", **more)
    client.remove_permission(FunctionName=name, StatementId="three")
    wanted = {"lambda:EventSourceToken": "token-1", "aws:PrincipalOrgID": "o-1234567890", "AWS:SourceAccount": "222222222222"}
    assert json.loads(made["Statement"])["Condition"] == {"StringEquals": wanted}


def test_a_version_is_of_a_change(quern, function):
    """The description of a publication makes no version, one that is written to the function does."""
    client, name, _, _ = function
    assert client.publish_version(FunctionName=name, Description="again")["Version"] == "1"
    client.update_function_configuration(FunctionName=name, Description="of the function")
    second = client.publish_version(FunctionName=name)
    assert (second["Version"], second["Description"]) == ("2", "of the function")
    assert client.publish_version(FunctionName=name, Description="again")["Version"] == "2"


def test_logging_of_functions(function):
    client, name, _, _ = function
    if not helpers.knows(client, "UpdateFunctionConfiguration", "LoggingConfig"):
        pytest.skip("this botocore has no LoggingConfig")
    group = f"/aws/lambda/{name}"
    made = client.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "JSON"})
    assert made["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": group, "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
    made = client.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "Text"})
    assert made["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": group}


def test_tags_of_functions(function):
    client, name, arn, _ = function
    refused(INVALID, "Tags on function aliases and versions are not supported. Please specify a function ARN.", lambda: client.tag_resource(Resource=f"{arn}{name}:1", Tags={"a": "b"}))
    refused(INVALID, "An error occurred and the request cannot be processed.", lambda: client.tag_resource(Resource=arn + name, Tags={}))
    client.tag_resource(Resource=arn + name, Tags={f"k{i}": "v" for i in range(50)})
    refused(INVALID, "Number of tags exceeds resource tag limit.", lambda: client.tag_resource(Resource=arn + name, Tags={"one-more": "v"}))
    assert len(client.list_tags(Resource=arn + name)["Tags"]) == 50


@pytest.mark.parametrize("arn", ["nothing-valid-in-here", "arn::b:::something/test-role", "arn:a::::something/test-role", "arn:a:::something/test-role", "arn:a:a::aaaaaaaaaa:"])
def test_a_role_to_assume_has_an_arn(quern, arn):
    client = quern.client("sts")
    refused("ValidationError", f"{arn} is invalid", lambda: client.assume_role(RoleArn=arn, RoleSessionName="one"), 400)


def test_names_and_stages_of_secrets(quern):
    client, name = quern.client("secretsmanager"), helpers.unique("s")
    text = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
    refused("ValidationException", text, lambda: client.create_secret(Name="a name", SecretString="x"))
    refused("ValidationException", text, lambda: client.get_secret_value(SecretId="a name"))
    first = client.create_secret(Name=name, SecretString="one")["VersionId"]
    client.put_secret_value(SecretId=name, SecretString="pending", VersionStages=["AWSPENDING"])
    assert client.get_secret_value(SecretId=name)["SecretString"] == "one", "what is pending is not the current value"
    second = client.put_secret_value(SecretId=name, SecretString="two")["VersionId"]
    text = "You provided a VersionStage that is not associated to the provided VersionId."
    refused("InvalidRequestException", text, lambda: client.get_secret_value(SecretId=name, VersionId=second, VersionStage="AWSPREVIOUS"))
    assert client.get_secret_value(SecretId=name, VersionId=first, VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    gone = str(uuid.uuid4())
    refused(MISSING, f"Secrets Manager can't find the specified secret value for VersionId: {gone}", lambda: client.get_secret_value(SecretId=name, VersionId=gone))


def test_secrets_without_a_value(quern):
    client, name = quern.client("secretsmanager"), helpers.unique("s")
    client.create_secret(Name=name, Description="")
    assert not {"Description", "VersionIdsToStages"} & set(client.describe_secret(SecretId=name))


def test_words_of_descriptions(quern):
    """Every word of the filter begins a word of the description."""
    client, end = quern.client("secretsmanager"), helpers.unique("x")
    for kind, text in (("one", "a secret"), ("two", "an secret"), ("three", "asecret"), ("four", "thesecret")):
        client.create_secret(Name=f"{kind}-{end}", SecretString="x", Description=text)

    def found(value):
        names = [s["Name"] for s in client.list_secrets(Filters=[{"Key": "description", "Values": [value]}])["SecretList"]]
        return sorted(n.partition("-")[0] for n in names if n.endswith(end))

    assert found("a") == ["one", "three", "two"]
    assert found("!a") == ["four"]
    assert found("A Secret") == ["one", "two"]


def test_events_of_streams(quern):
    client, group = quern.client("logs"), helpers.unique("g")
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName="s")
    now = int(time.time() * 1000)
    assert "uploadSequenceToken" not in client.describe_log_streams(logGroupName=group)["logStreams"][0], "nothing was written yet"
    if helpers.knows(client, "DescribeLogStreams", "logGroupIdentifier"):
        text = "LogGroup name and LogGroup ARN are mutually exclusive parameters."
        refused("ValidationException", text, lambda: client.describe_log_streams(logGroupName=group, logGroupIdentifier=group))
    late = [{"timestamp": now, "message": "a"}, {"timestamp": now - 5, "message": "b"}]
    refused("InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order.", lambda: client.put_log_events(logGroupName=group, logStreamName="s", logEvents=late))
    refused("InvalidParameterException", "The specified nextToken is invalid.", lambda: client.get_log_events(logGroupName=group, logStreamName="s", nextToken="invalid"))
