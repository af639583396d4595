"""JSONPath as Step Functions has it (Jayway's), and the intrinsic functions, through lang_eval."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lang_driver import start  # noqa: E402

@pytest.fixture(scope="module")
def language():
    made = start()
    if not made:
        pytest.skip("lang_eval is not built")
    yield made
    made.close()


VALUE = {
    "a": {"b": [1, 2, 3, {"c": 4}], "x-y": 5},
    "list": [{"n": 1, "t": "one"}, {"n": 2, "t": "two"}, {"n": 3}],
    "s": "text", "e": [], "nul": None,
}

# Definite paths give the value or fail; indefinite ones (.., *, filters, slices, several keys or indices) give a list, maybe empty.
PATHS = [
    ("$", VALUE),
    ("$.a['x-y']", 5),
    ("$['a']['b'][3]['c']", 4),
    ("$.a['b','x-y']", VALUE["a"]),
    ("$.a.b[0]", 1),
    ("$.a.b[-1]", {"c": 4}),
    ("$.a.b[0,2]", [1, 3]),
    ("$.a.b[0:2]", [1, 2]),
    ("$.a.b[-2:]", [3, {"c": 4}]),
    ("$.a.b[:1]", [1]),
    ("$.a.*", [[1, 2, 3, {"c": 4}], 5]),
    ("$.a.b[*].c", [4]),
    ("$..n", [1, 2, 3]),
    ("$..none", []),
    ("$.list[*].t", ["one", "two"]),
    ("$.list[*].none", []),
    ("$.e[*]", []),
    ("$.nul", None),
    ("$.list.length()", 3),
    ("$.a.b[0:3].sum()", 6.0),
    ("$.list[(@.length-1)].n", 3),
    ("$.list[?(@.n>1)].n", [2, 3]),
    ("$.list[?(@.t)].n", [1, 2]),
    ("$.list[?(!@.t)].n", [3]),
    ("$.list[?(@.t=='one' || @.n==3)].n", [1, 3]),
    ("$.list[?(@.n>=2 && @.n<3)].n", [2]),
    ("$.list[?(@.t=~/^T.*/i)].n", [2]),
    ("$.list[?(@.n in [1,3])].n", [1, 3]),
    ("$.list[?(@.n nin [1])].n", [2, 3]),
    ("$.list[?(@.n == $.a.b[1])].t", ["two"]),
    ("$.list[?(@.t size 3)].n", [1, 2]),
    ("$.list[?(@.n == 'one')]", []),
    ("$$.Execution.Id", "arn"),
    ("$v", {"w": 7}),
    ("$v.w", 7),
]


@pytest.mark.parametrize("path,wanted", PATHS, ids=[p[0] for p in PATHS])
def test_path(language, path, wanted):
    assert language.ask(path=path, value=VALUE, context={"Execution": {"Id": "arn"}}, variables={"v": {"w": 7}}) == {"value": wanted}


@pytest.mark.parametrize("path", ["$.none", "$.none.x", "$.a.b[9]", "$.e[0]", "$.nul.x", "$.s.x", "$none", "$.a.b.x"])
def test_definite_path_without_value(language, path):
    answer = language.ask(path=path, value={"a": 1, "e": [], "nul": None, "s": "t"})
    assert answer["fault"] == "States.Runtime"
    if path != "$none":
        assert answer["cause"] == (f"The JSONPath '{path}' specified for the field 'field.$' could not be found in the input "
                                   "'{\"a\":1,\"e\":[],\"nul\":null,\"s\":\"t\"}'")


NUMBERS = {"n": 5, "l": [1, 2, 3], "d": [1, 1, 2, "a", "a"], "o": {"a": 1}, "p": {"b": 2}, "bad": "{"}
CALLS = [
    ("States.Array()", []),
    ("States.Array(1, 'a', $.n, null, true)", [1, "a", 5, None, True]),
    ("States.ArrayPartition($.l, 2)", [[1, 2], [3]]),
    ("States.ArrayContains($.l, 2)", True),
    ("States.ArrayContains($.l, 9)", False),
    ("States.ArrayRange(1, 9, 2)", [1, 3, 5, 7, 9]),
    ("States.ArrayRange(1, 0, -1)", [1, 0]),
    ("States.ArrayGetItem($.l, 1)", 2),
    ("States.ArrayLength($.l)", 3),
    ("States.ArrayUnique($.d)", [1, 2, "a"]),
    ("States.Base64Encode('äb')", "w6Ri"),
    ("States.Base64Decode('SGVsbG8=')", "Hello"),
    ("States.Hash('a', 'MD5')", "0cc175b9c0f1b6a831c399e269772661"),
    ("States.Hash('a', 'SHA-256')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
    ("States.JsonMerge($.o, $.p, false)", {"a": 1, "b": 2}),
    ("States.MathAdd(1, -2)", -1),
    ("States.StringSplit('1,2.3', ',.')", ["1", "2", "3"]),
    ("States.Format('a {} b {}', 1, 'x')", "a 1 b x"),
    ("States.Format('\\{\\} \\'{}\\'', $.n)", "{} '5'"),
    ("States.Format('{}', States.MathAdd(1, States.ArrayLength($.l)))", "4"),
    ("States.StringToJson('{\"a\":[1]}')", {"a": [1]}),
    ("States.JsonToString($.o)", '{"a":1}'),
]


@pytest.mark.parametrize("call,wanted", CALLS, ids=[c[0] for c in CALLS])
def test_intrinsic(language, call, wanted):
    assert language.ask(path=call, value=NUMBERS) == {"value": wanted}


FAILURES = [
    "States.ArrayGetItem($.l, 9)", "States.ArrayGetItem($.o, 0)", "States.ArrayPartition($.l, 0)", "States.ArrayRange(1, 3, 0)",
    "States.ArrayRange(1, 2000, 1)", "States.Hash('a', 'CRC')", "States.JsonMerge($.o, $.p, true)", "States.Format('{}')", "States.Format($.n)",
    "States.StringToJson($.bad)", "States.Base64Decode('*')", "States.MathAdd('a', 1)", "States.Nope(1)", "States.Array(", "States.Array(1,)",
]


@pytest.mark.parametrize("call", FAILURES)
def test_intrinsic_failure(language, call):
    assert language.ask(path=call, value=NUMBERS)["fault"] == "States.IntrinsicFailure"


def test_random_stays_in_its_range(language):
    assert all(language.ask(path="States.MathRandom(3, 6)", value={})["value"] in (3, 4, 5) for _ in range(50))
    first = language.ask(path="States.MathRandom(1, 1000000, 42)", value={})
    assert first == language.ask(path="States.MathRandom(1, 1000000, 42)", value={})
    assert len(language.ask(path="States.UUID()", value={})["value"]) == 36


PASS = {"Type": "Pass", "End": True}
BROKEN = ["", "a", "$.", "$[", "$.a[", "$.a[]", "$.a[1", "$.a['b]", "$.a[?(]", "$.a[?(@.b ==)]", "$.a..", "$.a b$", "$.a[?(@ =~ /(/)]"]


@pytest.mark.parametrize("path", BROKEN)
def test_broken_path_is_refused(language, path):
    answer = language.parse({"StartAt": "S", "States": {"S": {**PASS, "OutputPath": path}}})
    assert [d["location"] for d in answer["diagnostics"]] == ["/States/S/OutputPath"]


@pytest.mark.parametrize("path,good", [
    ("$", True), ("$.a.b", True), ("$['a b']", True), ("$.a[0]", True), ("$.a[0].b", True), (None, True),
    ("$..a", False), ("$.a[*]", False), ("$.a[0,1]", False), ("$.a[?(@.b)]", False), ("$.*", False), ("$.a[0:1]", False), ("a", False), ("$$.a", False),
    ("$.a.length()", False),
])
def test_reference_path(language, path, good):
    answer = language.parse({"StartAt": "S", "States": {"S": {**PASS, "ResultPath": path}}})
    assert answer.get("ok", False) == good, answer


def run(language, state, value):
    definition = {"StartAt": "S", "States": {"S": {"End": True, **state}}}
    answer = language.run(json.dumps(definition), json.dumps(value))
    return answer.get("output", answer.get("cause"))


@pytest.mark.parametrize("operator,operand,value,wanted", [
    ("StringEquals", "a", "a", True), ("StringEquals", "a", 1, False), ("StringLessThan", "b", "a", True), ("StringGreaterThanEquals", "a", "a", True),
    ("StringMatches", "a*c", "abbc", True), ("StringMatches", "a\\*c", "a*c", True), ("StringMatches", "a\\*c", "abc", False), ("StringMatches", "*", "", True),
    ("NumericEquals", 1, 1.0, True), ("NumericEquals", 1, "1", False), ("NumericLessThan", 2, 1.5, True), ("NumericGreaterThanEquals", 2, 2, True),
    ("BooleanEquals", True, True, True), ("BooleanEquals", True, "true", False),
    ("TimestampEquals", "2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00", True), ("TimestampLessThan", "2020-01-01T00:00:00Z", "2019-12-31T23:59:59.9Z", True),
    ("TimestampLessThan", "2020-01-01T00:00:00Z", "x", False),
    ("IsNull", True, None, True), ("IsNull", False, 1, True), ("IsPresent", True, None, True), ("IsNumeric", True, 1.5, True), ("IsString", True, 1, False),
    ("IsBoolean", False, 1, True), ("IsTimestamp", True, "2020-01-01T00:00:00Z", True), ("IsTimestamp", True, "2020-01-01", False),
])
def test_choice_operator(language, operator, operand, value, wanted):
    for rule, expected in (({"Variable": "$.v", operator: operand}, wanted), ({"Not": {"Variable": "$.v", operator: operand}}, not wanted),
                           ({"And": [{"Variable": "$.v", operator: operand}, {"Variable": "$.v", "IsPresent": True}]}, wanted),
                           ({"Or": [{"Variable": "$.v", operator: operand}, {"Variable": "$.v", "IsPresent": False}]}, wanted)):
        definition = {"StartAt": "C", "States": {
            "C": {"Type": "Choice", "Choices": [{**rule, "Next": "Y"}], "Default": "N"},
            "Y": {"Type": "Pass", "Result": True, "End": True}, "N": {"Type": "Pass", "Result": False, "End": True}}}
        assert language.run(json.dumps(definition), json.dumps({"v": value}))["output"] == ("true" if expected else "false"), rule


@pytest.mark.parametrize("state,value,wanted", [
    ({"Type": "Pass"}, {"a": 1}, '{"a":1}'),
    ({"Type": "Pass", "InputPath": "$.a"}, {"a": {"b": 1}}, '{"b":1}'),
    ({"Type": "Pass", "InputPath": None}, {"a": 1}, "{}"),
    ({"Type": "Pass", "OutputPath": None}, {"a": 1}, "{}"),
    ({"Type": "Pass", "Result": {"x.$": "$.a"}}, {"a": 1}, '{"x.$":"$.a"}'),
    ({"Type": "Pass", "Result": 5, "ResultPath": "$.r.s"}, {"a": 1}, '{"a":1,"r":{"s":5}}'),
    ({"Type": "Pass", "Result": 5, "ResultPath": None}, {"a": 1}, '{"a":1}'),
    ({"Type": "Pass", "Parameters": {"x.$": "$.a", "y": [{"z.$": "$$.State.Name"}], "k": 1.5}}, {"a": [1]}, '{"x":[1],"y":[{"z":"S"}],"k":1.5}'),
    ({"Type": "Pass", "Parameters": {"t.$": "States.Format('{}-{}', $.a, $$.Execution.Name)"}}, {"a": 1}, '{"t":"1-execution"}'),
    ({"Type": "Pass", "Parameters": {"x.$": "$.a"}, "ResultPath": "$.a", "OutputPath": "$.a.x"}, {"a": 3}, "3"),
    ({"Type": "Pass", "QueryLanguage": "JSONata", "Output": {"x.$": "$.a", "y": [1, "z"]}}, {"a": 3}, '{"x.$":"$.a","y":[1,"z"]}'),
])
def test_data_flow(language, state, value, wanted):
    assert run(language, state, value) == wanted


def test_variables_are_old_ones_within_a_state(language):
    definition = {"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Assign": {"x": 1, "y": {"k.$": "$.in"}}, "Next": "B"},
        "B": {"Type": "Pass", "Assign": {"x.$": "$y.k", "y.$": "$x"}, "Next": "C"},
        "C": {"Type": "Pass", "Parameters": {"x.$": "$x", "y.$": "$y"}, "End": True}}}
    answer = language.run(json.dumps(definition), '{"in":[2]}')
    assert answer["output"] == '{"x":[2],"y":1}'
    exits = [e["stateExitedEventDetails"] for e in answer["events"] if e["type"] == "PassStateExited"]
    assert [e.get("assignedVariables") for e in exits] == [{"x": "1", "y": '{"k":[2]}'}, {"x": "[2]", "y": "1"}, None]
