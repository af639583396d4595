"""The JSONata suite (version 2.0.6) through quern-jsonata, and what Step Functions adds to the language and takes from it."""

import glob
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from jsonata_worker import Worker, libexec  # noqa: E402
from lang_driver import CONFORMANCE  # noqa: E402

SUITE = os.path.join(CONFORMANCE, "jsonata")


@pytest.fixture(scope="module")
def folder():
    path, why = libexec()
    if not path:
        pytest.skip(why)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def worker(folder):
    made = Worker(folder)
    yield made
    made.close()


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or abs(a - b) < 1e-9 * max(abs(a), abs(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


def cases():
    datasets = {}
    for path in glob.glob(os.path.join(SUITE, "datasets", "*.json")):
        with open(path, encoding="utf-8") as f:
            datasets[os.path.basename(path)[:-5]] = json.load(f)
    for path in sorted(glob.glob(os.path.join(SUITE, "groups", "*", "*.json"))):
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
        for case in found if isinstance(found, list) else [found]:
            expression = case.get("expr")
            if expression is None:
                with open(os.path.join(os.path.dirname(path), case["expr-file"]), encoding="utf-8") as f:
                    expression = f.read()
            request = {"expression": expression, "plain": True}
            if "data" in case:
                request["input"] = case["data"]
            elif case.get("dataset") is not None:
                request["input"] = datasets[case["dataset"]]
            request.update({k: case[k] for k in ("bindings", "timelimit", "depth") if case.get(k)})
            yield os.path.relpath(path, SUITE), request, case


def good(case, answer):
    if "code" in case or "error" in case:
        return "error" in answer and answer["error"].get("code") == (case.get("code") or case["error"].get("code"))
    if case.get("undefinedResult"):
        return answer.get("undefined") is True
    return "value" in answer and same(answer["value"], case["result"])


def test_suite(worker):
    if not os.path.isdir(SUITE):
        pytest.skip("the JSONata suite is not here")
    count, wrong = 0, []
    for path, request, case in cases():
        count += 1
        answer = worker.ask(**request)
        assert answer is not None, f"the worker ended on {path}: {request['expression'][:200]}"
        if not good(case, answer):
            wrong.append((path, request["expression"][:100], str(answer)[:200]))
    assert not wrong, wrong
    assert count > 1600


STATES = {"states": {"input": {"a": [1, 2, 3], "s": "text"}}}

VALUES = [
    ("$range(0, 9, 3)", [0, 3, 6, 9]),
    ("$range(1, 9, 9)", 1),
    ("$range(5, 1, -2)", [5, 3, 1]),
    ("$partition([1,2,3,4,5], 2)", [[1, 2], [3, 4], [5]]),
    ("$partition($states.input.a, 4)", [[1, 2, 3]]),
    ('$hash("a", "MD5")', "0cc175b9c0f1b6a831c399e269772661"),
    ('$hash("a", "SHA-1")', "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    ('$parse("[1,{\\"a\\":null}]")', [1, {"a": None}]),
    ('$length($uuid())', 36),
    ("$sum($states.input.a)", 6),
    ("$states.input.a[$ > 1]", [2, 3]),
    ('$base64decode($base64encode("äöü"[0] ? "abc" : "x"))', "abc"),
    ("$x := 7", 7),
]


@pytest.mark.parametrize("expression,value", VALUES, ids=[v[0] for v in VALUES])
def test_value(worker, expression, value):
    assert worker.ask(expression=expression, bindings=STATES, seed=1) == {"value": value}


def test_random_is_repeatable(worker):
    first = worker.ask(expression="[$random(), $random(7), $uuid()]", seed=11)
    assert first == worker.ask(expression="[$random(), $random(7), $uuid()]", seed=11)
    other = worker.ask(expression="[$random(), $random(7), $uuid()]", seed=12)
    assert first["value"][0] != other["value"][0] and first["value"][1] == other["value"][1] and first["value"][2] != other["value"][2]
    assert 0 <= first["value"][0] < 1


ERRORS = [
    ('$eval("1+1")', "T1006", "Attempted to invoke a non-function"),
    ("1 ?? 2", "S0211", None),
    ("1 +", "S0207", "Unexpected end of expression"),
    ('$sum(["a"])', "T0412", 'Argument 1 of function "sum" must be an array of "numbers"'),
    ('$hash("a", "CRC")', "D3137", None),
    ("+".join(["1"] * 200), "Limit", "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive."),
    ("($l := function($x) { $l($x + 1) }; $l(1))", "Limit", "Expression evaluation timeout: Check for infinite loop"),
]


@pytest.mark.parametrize("expression,code,message", ERRORS, ids=[e[0][:30] for e in ERRORS])
def test_error(worker, expression, code, message):
    error = worker.ask(expression=expression, bindings=STATES, limit=500)["error"]
    assert error["code"] == code
    assert message is None or error["message"] == message


def test_function_is_no_result(worker):
    assert worker.ask(expression="function($x) { $x }") == {"unsupported": True}
    assert worker.ask(expression="$states.input.none", bindings=STATES) == {"undefined": True}


def test_nothing_stays_from_one_request_to_the_next(worker):
    assert worker.ask(expression="$secret", bindings={"secret": 1}) == {"value": 1}
    assert worker.ask(expression="$secret", bindings={}) == {"undefined": True}


REFERENCES = [
    ("phone", ["phone"], False, False),
    ("$states.input.items[price > 3]^(price).{'n': name}", [], False, False),
    ('[x, {"k": y}]', ["x", "y"], False, False),
    ("$map($states.input.a, function($x) { b })", ["b"], False, False),
    ("$$.a", [], True, False),
    ("$states.errorOutput.Cause", [], False, True),
]


@pytest.mark.parametrize("expression,top,root,error_output", REFERENCES, ids=[r[0] for r in REFERENCES])
def test_references(worker, expression, top, root, error_output):
    assert worker.ask(expression=expression, check=True) == {"value": {"top": top, "root": root, "errorOutput": error_output}}


def test_memory_limit_ends_the_worker(folder):
    small = Worker(folder, memory=150 << 20)
    try:
        assert small.ask(expression="$count([1..9000000] ~> $map(function($x) { $string($x) & 'xxxxxxxxxxxxxxxx' }))") is None
    finally:
        small.close()


def test_worker_ends_with_its_parent(folder):
    """Even in the midst of an evaluation that never ends."""
    script = ("import os, sys; sys.path.insert(0, sys.argv[1]); from jsonata_worker import Worker; w = Worker(sys.argv[2])\n"
              "w.ask(expression='1'); print(w.process.pid, flush=True); w.ask(expression='''$match('" + "a" * 60 + "b', /^(a|a|aa)+$/)''')")
    parent = subprocess.Popen([sys.executable, "-c", script, os.path.dirname(os.path.abspath(__file__)), folder], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("the worker lived on")
