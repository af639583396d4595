"""TestState: what it shows of a Map and of variables, mocks of every kind, and what it refuses."""
import json

import pytest
from api import helpers

PROCESSOR = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
MAP = {"Type": "Map", "ItemProcessor": PROCESSOR, "End": True}


@pytest.fixture
def tested(quern):
    """Tests one state: the answer, with the inspected JSON texts as values; or the error's code and text."""
    from botocore.config import Config
    from botocore.exceptions import ClientError

    sfn = quern.client("stepfunctions", config=Config(inject_host_prefix=False, retries={"max_attempts": 1}))
    helpers.needs(sfn, "TestState", "mock")
    helpers.needs_jsonata(quern.program)

    def test(state, value=None, **more):
        try:
            d = sfn.test_state(definition=json.dumps(state), input=json.dumps({} if value is None else value), **{"inspectionLevel": "DEBUG", **more})
        except ClientError as e:
            return e.response["Error"]["Code"], e.response["Error"]["Message"]
        seen = d.get("inspectionData", {})
        d["seen"] = {k: json.loads(v) if isinstance(v, str) else v for k, v in seen.items()}
        return d

    return test


def test_a_mock_that_says_nothing_is_refused(tested):
    """Neither a result nor an error, an error without a name, a context without a mock."""
    only = ("ValidationException", "A test mock should have only one of the following fields: [result, errorOutput].")
    for state in (MAP, {"Type": "Parallel", "Branches": [{"StartAt": "P", "States": PROCESSOR["States"]}], "End": True}):
        assert tested(state, [1], mock={}) == only and tested(state, [1], mock={"fieldValidationMode": "NONE"}) == only
        assert tested(state, [1], mock={"errorOutput": {"cause": "c"}})[0] == "ValidationException"
        assert tested(state, [1], mock={"errorOutput": {"error": "E"}})["error"] == "E"
    without = tested({"Type": "Pass", "End": True}, context="{}")
    assert without == ("ValidationException", "TestState does not support Context when a mock is not specified.")


def test_variables_are_shown_as_the_state_leaves_them(tested):
    """Those that were given and those that it assigned, which see the old ones."""
    path = {"Type": "Pass", "Assign": {"x.$": "$v", "v": 2}, "End": True}
    expression = {"Type": "Pass", "QueryLanguage": "JSONata", "Assign": {"x": "{% $v %}", "v": 2}, "End": True}
    for state in (path, expression):
        assert tested(state, variables='{"v":1,"w":[0]}')["seen"]["variables"] == {"v": 2, "w": [0], "x": 1}
    assert tested({"Type": "Pass", "Assign": {"y": 1}, "End": True})["seen"]["variables"] == {"y": 1}
    assert "variables" not in tested({"Type": "Pass", "End": True})["seen"]


def test_a_map_shows_what_each_iteration_gets(tested):
    """ItemSelector of every item, in both languages; its fault is the state's."""
    selector = {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "x.$": "$.x"}
    state = {**MAP, "ItemsPath": "$.v", "ItemSelector": selector}
    expected = [{"i": 0, "v": 5, "x": "y"}, {"i": 1, "v": 6, "x": "y"}]
    d = tested(state, {"v": [5, 6], "x": "y"}, mock={"result": "[1,2]"})
    assert (d["status"], d["seen"]["afterItemsPath"], d["seen"]["afterItemSelector"]) == ("SUCCEEDED", [5, 6], expected)
    item = "$states.context.Map.Item"
    state = {**MAP, "QueryLanguage": "JSONata", "Items": "{% $states.input.v %}",
             "ItemSelector": {"i": "{%% %s.Index %%}" % item, "v": "{%% %s.Value %%}" % item, "x": "{% $states.input.x %}"}}
    assert tested(state, {"v": [5, 6], "x": "y"}, mock={"result": "[1,2]"})["seen"]["afterItemSelector"] == expected
    d = tested({**MAP, "ItemSelector": {"x.$": "$.none"}}, [1], mock={"result": "[1]"})
    assert d["status"] == "FAILED" and "'x.$' could not be found" in d["cause"]
    d = tested({**MAP, "ItemsPath": "$.v", "ToleratedFailureCountPath": "$.c"}, {"v": [1], "c": -1}, mock={"result": "[1]"})
    assert d["error"] == "States.Runtime" and "ToleratedFailureCount cannot be negative." in d["cause"]


def test_a_map_reads_the_data_of_the_test_as_its_reader_would(tested):
    """CSV, JSON lines and JSON with a pointer and a limit; data that is no list; no data at all."""
    def read(config, data, **more):
        reader = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config, "Parameters": {"Bucket": "b", "Key": "k"}}
        state = {**MAP, "ItemReader": reader, "ItemSelector": {"v.$": "$$.Map.Item.Value"}}
        return tested(state, mock={"result": "[1]"}, **({"stateConfiguration": {"mapItemReaderData": data}} if data else {}))

    def values(d):
        return [one["v"] for one in d["seen"]["afterItemSelector"]]

    assert values(read({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}, "a,b\n1,2\n3,4\n")) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert values(read({"InputType": "JSONL"}, '{"a":1}\n{"a":2}\n')) == [{"a": 1}, {"a": 2}]
    d = read({"InputType": "JSON", "ItemsPointer": "/a", "MaxItems": 2}, '{"a":[7,8,9]}')
    assert d["seen"]["afterItemsPointer"] == [7, 8] and values(d) == [7, 8]
    d = read({"InputType": "JSON"}, "3")
    assert (d["error"], d["cause"]) == ("States.ItemReaderFailed", "Attempting to map over non-iterable node.")
    d = read({"InputType": "JSON"}, None)
    assert d["status"] == "SUCCEEDED" and "afterItemSelector" not in d["seen"]


def test_an_exception_that_the_sdk_does_not_know_is_of_the_service(quern, tested):
    """Optimized integrations: what the model of the service does not list is its base exception; a known one has its own name."""
    def error(resource, parameters):
        state = {"Type": "Task", "Resource": "arn:aws:states:::" + resource, "Parameters": parameters, "End": True}
        return tested(state, roleArn=quern.role)["error"]

    assert error("lambda:invoke", {}) == "Lambda.AWSLambdaException"
    assert error("lambda:invoke", {"FunctionName": "no-such-function"}) == "Lambda.ResourceNotFoundException"
    assert error("sagemaker:createModelPackage", {"ModelPackageName": "not a name"}) == "SageMaker.AmazonSageMakerException"
