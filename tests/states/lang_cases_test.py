"""Definitions and their diagnostics, JSON texts, and the recorded cases that need no engine, through lang_eval."""

import json
import os
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from jsonata_worker import libexec  # noqa: E402
from lang_driver import CONFORMANCE, Replay, program, start  # noqa: E402


@pytest.fixture(scope="module")
def folder():
    path, _ = libexec()
    yield path
    if path:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def language(folder):
    """With the JSONata worker where there is one."""
    made = start(os.path.join(folder, "quern-jsonata") if folder else None)
    if not made:
        pytest.skip("lang_eval is not built")
    made.with_jsonata = bool(folder)
    yield made
    made.close()


def need_jsonata(language):
    if not language.with_jsonata:
        pytest.skip("there is no JSONata worker here")


PASS = {"Type": "Pass", "End": True}
TASK = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True}
INNER = {"StartAt": "I", "States": {"I": PASS}}
MAP = {"Type": "Map", "End": True, "ItemProcessor": INNER}
DISTRIBUTED = {**MAP, "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **INNER}}
SCHEMA = "SCHEMA_VALIDATION_FAILED"


def machine(state, **more):
    return {"StartAt": "S", "States": {"S": state}, **more}


def found(answer):
    return [(d["code"], d["message"], d.get("location")) for d in answer.get("diagnostics", [])]


# A state named S, and what is said about it: code, message, location below /States/S.
STATES = [
    ({**PASS, "Foo": 1}, SCHEMA, "Field 'Foo' is not supported", ""),
    ({"End": True}, SCHEMA, "These fields are required: [Type]", ""),
    ({"Type": "Nope"}, SCHEMA, "The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]", "/Type"),
    ({**PASS, "Next": "S"}, SCHEMA, "There should only be one of the following fields: [Next, End]", ""),
    ({"Type": "Pass"}, SCHEMA, "This object should have only one of the following fields: [Next, End]", ""),
    ({**PASS, "InputPath": "$.a["}, SCHEMA, "Value must be a valid JSONPath.", "/InputPath"),
    ({**PASS, "ResultPath": "$..a"}, SCHEMA, "Value is not a Reference Path", "/ResultPath"),
    ({**PASS, "Parameters": {"a.$": "a.b"}}, SCHEMA,
     "The value for the field 'a.$' must be a valid JSONPath or a valid intrinsic function call", "/Parameters"),
    ({**PASS, "Parameters": {"a.$": "States.Nope()"}}, SCHEMA,
     "The value for the field 'a.$' must be a valid JSONPath or a valid intrinsic function call", "/Parameters"),
    ({**PASS, "Assign": {"states": 1}}, "RESERVED_VARIABLE_NAME", "Cannot assign to reserved variable '$states'.", "/Assign"),
    ({**PASS, "Assign": {"1a": 1}}, "INVALID_VARIABLE_NAME", "Invalid variable name '1a': the variable name contains invalid characters.", "/Assign"),
    ({**TASK, "TimeoutSeconds": 0}, SCHEMA, "Minimum value is 1", "/TimeoutSeconds"),
    ({**TASK, "TimeoutSeconds": 5, "HeartbeatSeconds": 6}, SCHEMA, "HeartbeatSeconds must be less than TimeoutSeconds", "/HeartbeatSeconds"),
    ({**TASK, "TimeoutSeconds": 5, "TimeoutSecondsPath": "$.a"}, SCHEMA,
     "There should only be one of the following fields: [TimeoutSeconds, TimeoutSecondsPath]", ""),
    ({**TASK, "Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["A"]}]}, SCHEMA,
     "States.ALL must appear alone and at end of list", "/Retry[0]/ErrorEquals[0]"),
    ({**TASK, "Retry": [{"ErrorEquals": ["States.ALL", "B"]}]}, SCHEMA, "States.ALL must appear alone and at end of list", "/Retry[0]/ErrorEquals[0]"),
    ({**TASK, "Retry": [{"ErrorEquals": []}]}, SCHEMA, "Value cannot be empty", "/Retry[0]/ErrorEquals"),
    ({**TASK, "Retry": [{"ErrorEquals": ["A"], "JitterStrategy": "X"}]}, SCHEMA, "Value should be one of the following: [NONE, FULL]", "/Retry[0]/JitterStrategy"),
    ({**TASK, "Retry": [{"ErrorEquals": ["A"], "BackoffRate": 0.5}]}, SCHEMA, "Minimum value is 1.0", "/Retry[0]/BackoffRate"),
    ({**TASK, "Catch": [{"ErrorEquals": ["A"]}]}, SCHEMA, "These fields are required: [Next]", "/Catch[0]"),
    ({**TASK, "Catch": [{"ErrorEquals": ["A"], "Next": "Z"}]}, "MISSING_TRANSITION_TARGET", "Missing 'Next' target: Z", "/Catch[0]/Next"),
    ({**TASK, "Credentials": {}}, SCHEMA, "The field 'RoleArn' is required but was missing", "/Credentials"),
    ({**TASK, "Resource": "x"}, SCHEMA, "Value is not a valid resource ARN", "/Resource"),
    ({"Type": "Task", "End": True}, SCHEMA, "These fields are required: [Resource]", ""),
    ({"Type": "Wait", "End": True}, SCHEMA, "This object should have only one of the following fields: [SecondsPath, Seconds, TimestampPath, Timestamp]", ""),
    ({"Type": "Wait", "End": True, "Seconds": -1}, SCHEMA, "Minimum value is 0", "/Seconds"),
    ({"Type": "Wait", "End": True, "Timestamp": "x"}, SCHEMA, "String does not match RFC3339 timestamp", "/Timestamp"),
    ({"Type": "Fail", "Error": "a", "ErrorPath": "$.a"}, SCHEMA, "There should only be one of the following fields: [Error, ErrorPath]", ""),
    ({"Type": "Fail", "Next": "S"}, SCHEMA, "Field 'Next' is not supported", ""),
    ({"Type": "Parallel", "End": True, "Branches": []}, SCHEMA, "Value cannot be empty", "/Branches"),
    ({**MAP, "MaxConcurrency": -1}, SCHEMA, "Minimum value is 0", "/MaxConcurrency"),
    ({"Type": "Map", "End": True}, SCHEMA, "This object should have only one of the following fields: [ItemProcessor, Iterator]", ""),
    ({**MAP, "Iterator": INNER}, SCHEMA, "There should only be one of the following fields: [ItemProcessor, Iterator]", ""),
    ({**DISTRIBUTED, "Label": "x" * 41}, "INVALID_LABEL_NAME", "Label cannot exceed 40 characters", "/Label"),
    ({**DISTRIBUTED, "Label": "a?b"}, "INVALID_LABEL_NAME", "Label contains invalid character: '?'", "/Label"),
    ({**MAP, "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, **INNER}}, SCHEMA, "These fields are required: [ExecutionType]", "/ItemProcessor/ProcessorConfig"),
    ({**DISTRIBUTED, "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}, "Parameters": {"Key.$": "k"}}}, SCHEMA,
     "The value for the field 'Key.$' must be a valid JSONPath or a valid intrinsic function call", "/ItemReader/Parameters"),
    ({**PASS, "QueryLanguage": "JSONata", "InputPath": "$"}, SCHEMA,
     "The QueryLanguage is set to 'JSONata', but field 'InputPath' is only supported for the 'JSONPath' QueryLanguage", ""),
    ({**PASS, "Output": 1}, SCHEMA, "The QueryLanguage is set to 'JSONPath', but field 'Output' is only supported for the 'JSONata' QueryLanguage", ""),
    ({**PASS, "QueryLanguage": "X"}, SCHEMA, "Value should be one of the following: [JSONPath, JSONata]", "/QueryLanguage"),
]


@pytest.mark.parametrize("state,code,message,where", STATES, ids=[json.dumps(s[0])[:60] for s in STATES])
def test_diagnostic(language, state, code, message, where):
    assert found(language.parse(machine(state))) == [(code, message, "/States/S" + where)]


CHOICES = [
    ([], "Value cannot be empty", ""),
    ([{"Variable": "$.a", "StringEquals": 1, "Next": "S"}], "Expected value of type [STRING]", "[0]/StringEquals"),
    ([{"And": [], "Next": "S"}], "Value cannot be empty", "[0]/And"),
]


@pytest.mark.parametrize("choices,message,where", CHOICES)
def test_choice_diagnostic(language, choices, message, where):
    assert found(language.parse(machine({"Type": "Choice", "Choices": choices})))[0] == (SCHEMA, message, "/States/S/Choices" + where)


def test_choice_without_operator(language):
    code, message, where = found(language.parse(machine({"Type": "Choice", "Choices": [{"Variable": "$.a", "Next": "S"}]})))[0]
    assert (code, where) == (SCHEMA, "/States/S/Choices[0]")
    assert message.startswith("This object should have only one of the following fields: [StringEquals, StringEqualsPath, StringLessThan, ")


# The whole text of InvalidDefinition.
TEXTS = [
    ("not a definition", "INVALID_JSON_DESCRIPTION: Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n"
     " at [Source: (String)\"not a definition\"; line: 1, column: 4] at [Source: (String)\"not a definition\"; line: 1, column: 4]"),
    ("", "INVALID_JSON_DESCRIPTION: No content to map due to end-of-input\n at [Source: (String)\"\"; line: 1, column: 1] at [Source: (String)\"\"; line: 1, column: 1]"),
    ('{"a":1,"a":2}', "INVALID_JSON_DESCRIPTION: Duplicate field 'a'\n at [Source: (String)\"{\"a\":1,\"a\":2}\"; line: 1, column: 11]"
     " at [Source: (String)\"{\"a\":1,\"a\":2}\"; line: 1, column: 11]"),
    ("[]", "SCHEMA_VALIDATION_FAILED: Definition must be a valid JSON object at null"),
    (json.dumps({"StartAt": "S", "States": {"S": {"Type": "Pass", "Next": "S"}}}), "MISSING_END_STATE: Workflow has no terminal state at null"),
    (json.dumps({"StartAt": "X", "States": {"S": PASS}}),
     "MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /StartAt, MISSING_TRANSITION_TARGET: State \"S\" is not reachable. at /States/S"),
    (json.dumps({"StartAt": "S", "States": {"S": PASS, "U": PASS}}), "MISSING_TRANSITION_TARGET: State \"U\" is not reachable. at /States/U"),
    (json.dumps(machine({**MAP, "ItemProcessor": {"StartAt": "S", "States": {"S": PASS}}})), "DUPLICATE_STATE_NAME: Duplicate State name: S at "
     "/States/S/ItemProcessor/States/S"),
]


@pytest.mark.parametrize("text,wanted", TEXTS, ids=[t[0][:30] for t in TEXTS])
def test_text(language, text, wanted):
    assert language.parse(text)["text"] == f"Invalid State Machine Definition: '{wanted}'"


@pytest.mark.parametrize("state,message", [
    ({**TASK, "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken"}, "Express state machine does not support '.waitForTaskToken' service integration "),
    ({**TASK, "Resource": "arn:aws:states:::ecs:runTask.sync"}, "Express state machine does not support '.sync' service integration"),
    ({**TASK, "Resource": "arn:aws:states:us-east-1:000000000000:activity:x"}, "Express state machine does not support Activity ARN"),
    (DISTRIBUTED, "The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state machines"),
])
def test_express(language, state, message):
    assert language.parse(machine(state)).get("ok")
    assert [d[1] for d in found(language.parse(machine(state), express=True))] == [message]


@pytest.mark.parametrize("state,code,message", [
    ({"Output": "{% 1 + %}"}, "INVALID_JSONATA_EXPRESSION", "Unexpected end of expression"),
    ({"Output": {"a": [{"b": "{% ) %}"}]}}, "INVALID_JSONATA_EXPRESSION", None),
])
def test_jsonata_is_checked(language, state, code, message):
    need_jsonata(language)
    answer = found(language.parse(machine({**PASS, "QueryLanguage": "JSONata", **state})))
    assert [a[0] for a in answer] == [code] and (message is None or answer[0][1] == message)


def test_single_state(language):
    assert language.parse(PASS, state="Any").get("ok")
    assert found(language.parse({"Type": "Pass", "Foo": 1}, state="Any"))
    assert language.parse({"Type": "Pass", "Next": "Elsewhere"}, state="Any").get("ok")


JSON_TEXTS = [
    ("{", "Unexpected end-of-input: expected close marker for Object (start marker at [Source: (String)\"{\"; line: 1, column: 1])"),
    ("{\"a\" 1}", "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value"),
    ("{a:1}", "Unexpected character ('a' (code 97)): was expecting double-quote to start field name"),
    ("[1,]", "Unexpected character (']' (code 93)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"),
    ("nul", "Unrecognized token 'nul': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"),
]


@pytest.mark.parametrize("text,message", JSON_TEXTS)
def test_json_error(language, text, message):
    assert language.ask(read=text, strict=True)["message"] == message


@pytest.mark.parametrize("text,wanted", [
    ("[1, 2.0, 2.50, -0.0, 1e3, 1E-7, 12345678901234567890, 9223372036854775807]",
     "[1,2.0,2.5,-0.0,1000.0,1.0E-7,1.2345678901234567E19,9223372036854775807]"),
    ('{"b":1,"a":"\\u00e4\\u0001\\/\\ud83d\\ude00"}', '{"b":1,"a":"ä\\u0001/😀"}'),
    ("  null ", "null"),
])
def test_json_text(language, text, wanted):
    assert language.ask(read=text) == {"text": wanted}


def test_references(language):
    definition = {"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Assign": {"x": 1, "y.$": "$.a"}, "Next": "B"},
        "B": {"Type": "Pass", "Parameters": {"p.$": "$x.z", "q.$": "States.Format('{}', $y)"}, "End": True}}}
    references = language.parse(definition)["references"]
    assert {name: sorted(values) for name, values in references.items()} == {"B": ["x", "y"]}
    assert not language.parse(machine(PASS)).get("references")


def definitions():
    path = os.path.join(CONFORMANCE, "definitions")
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


@pytest.mark.skipif(not definitions(), reason="the definitions are not here")
def test_definitions(language):
    wrong = []
    for name in definitions():
        with open(os.path.join(CONFORMANCE, "definitions", name), encoding="utf-8") as f:
            if language.parse(f.read()).get("ok", False) != name.startswith("valid"):
                wrong.append(name)
    assert not wrong


# Cases that need the API or the engine in spite of their states, and cases that replay.py cannot run as they were recorded.
LEFT_OUT = [
    "TestSnfApiLogs", "TestSnfApiVersioning", "history_reversed", "test_callback", "local_mocking", "v2/services",
    "test_wait_timestamp_invalid",  # the recorded error's name has no place in the replay
    "BASE_REFERENCE_IN_WAIT",  # a wild card was recorded within quotes
]


@pytest.mark.skipif(not os.path.exists(os.path.join(CONFORMANCE, "states", "replay.py")), reason="the recorded cases are not here")
def test_recorded_cases(language):
    need_jsonata(language)
    passed, failed = Replay(language).score(verbose=True)
    assert len(passed) >= 170
    assert not [case for case in failed if not any(part in case for part in LEFT_OUT)]


def test_client(folder):
    """The daemon's side of the worker (cmocka)."""
    client = program("JSONATA_CLIENT", "tests/states/jsonata_client")
    if not client or not folder:
        pytest.skip("jsonata_client or the JSONata worker is not built")
    subprocess.run([client], env={**os.environ, "QUERN_JSONATA_LIBEXEC": folder}, check=True, timeout=120)
