#!/usr/bin/env python3
"""Prints how far Quern agrees with what was recorded on AWS: Step Functions cases, the JSONata suite, definitions.

    tests/states/conformance.py [-v] [--filter TEXT] [--only recorded|jsonata|definitions]

The cases and their replayer are not part of the project (../shared/conformance, or QUERN_SHARED); what is absent is said and left out.
Each recorded case runs twice, each time on a fresh Quern: as replay.py runs it, and completed. Completed means: the same steps and the
same comparison, with what a recording cannot hold put back:

* the error's class and text that a test compared, and the SDK's own check of parameters (botocore's);
* the ARN of the machine that a step started, another role for each `roleArn`, the token of the page before, the alias that a loop deleted;
* recording steps that replay.py skips (logs, express), and the fixtures of tests/states/conformance_fixtures.py;
* transformers: a wild card within quotes, JSON texts turned into values, words that stand for a request's id.

A third figure leaves out fields that AWS added to an answer after the case was recorded (LATER).
"""
import argparse
import collections
import json
import os
import re
import shutil
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import lang_driver  # noqa: E402

try:
    from conformance_fixtures import FIXTURES  # {step's op: callable(step, context)}
except ImportError:
    FIXTURES = {}

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sfn_role"
STARTED = re.compile(r"arn:aws:states:us-east-1:000000000000:execution:sm:exec\d+")  # what the recorder wrote for a machine's ARN
PLACE = re.compile(r"\{\{([^{}]*)\}\}")
CUT = re.compile(r"\{\{(\w+)\.executionA0000")  # a test made an ARN wrong by putting 0000 for its last four characters
# A case whose Python code changed an ARN in a way that left no trace in the steps: operation, text, text in its place.
CHANGED = {"test_invalid_start_execution_arn": ("start_execution", ":stateMachine:", ":stateMachine:statemachine_invalid_")}
# Fields that AWS added to answers, and since when: customer managed keys, redrive.
LATER = {"encryptionConfiguration": "2024-07-25", "redriveCount": "2023-11-15", "RedriveCount": "2023-11-15", "RedriveStatus": "2023-11-15",
         "RedriveStatusReason": "2023-11-15"}


class Missing(Exception):
    """The case needs something that is not here."""


class Refused(Exception):
    """The SDK refuses the parameters, before any request."""

    def __init__(self, text):
        super().__init__(text)
        self.r = {"Error": {"Code": "ParamValidationError", "Message": text}}


class Context:
    """One completed run of a case. Fixtures may use all of it:

    returned  what steps gave, by their `ret`: {{r12.executionArn}} reads it
    named     values of fixtures by name: {{sfn_create_log_group:2789}} reads named["sfn_create_log_group"]
    replaced  texts put in the place of others in every later step
    recorded  what is compared, by key
    call      a Step Functions operation; client(service) gives a boto3 client of any service
    """

    def __init__(self, replay, quern, case):
        self.replay, self.quern, self.case, self.steps = replay, quern, case, case["steps"]
        self.returned, self.named, self.replaced, self.recorded = {}, {}, {}, {}
        self.machine = self.last = self.error = self.page = None
        self.aliases, self.pairs, self.index = [], [], 0
        roles = {t["a"][1] for t in case["transformers"] if isinstance(t, dict) and t.get("a", [])[:1] == [ROLE]}
        self.roles = 0 if len(roles) > 1 else None

    def client(self, service):
        try:
            return self.quern.client(service)
        except ImportError:
            raise Missing("boto3 is not installed") from None

    def call(self, op, args):
        check_parameters(self.replay.camel(op), args)
        return self.replay.call(op, args)

    def value(self, place):
        if place.startswith("<conftest._Raises"):
            return self.error_text()
        if place == "errtype":
            return self.error.r["Error"]["Code"]
        if "stepfunctions_state_machine_arn" in place:
            return f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:TargetStateMachine"
        if "stepfunctions_standard_execution_arn" in place:
            return f"arn:aws:states:us-east-1:{ACCOUNT}:execution:TargetStateMachine:TestStartTarget"
        if "json_path.extract_json" in place:
            return self.pairs.pop(0)
        if ".LogType." in place:
            return "Tail"
        name, steps = re.match(r"(\w*)(.*)", place).groups()
        if steps.startswith(":") and name in self.named:
            return self.named[name]
        if name in self.returned:
            value = self.returned[name]
            for key, number in re.findall(r"\.(\w+)|\[(\d+)\]", steps):
                value = value[key] if key else value[int(number)]
            return value
        if place.startswith("<") or re.fullmatch(r"\w+([.:\[].*)?", place):
            raise Missing(f"{{{{{place}}}}} has no value")
        return None  # no place: text of a definition

    def error_text(self):
        if isinstance(self.error, Refused):
            return str(self.error)
        wrong = self.error.r["Error"]
        op = next(s["op"] for s in reversed(self.steps[: self.index]) if s["op"] not in ("match", "expect_error"))
        name = self.replay.camel(op.split(".")[-1]) if op.startswith("stepfunctions.") else "CreateStateMachine"
        return f"An error occurred ({wrong['Code']}) when calling the {name} operation: {wrong['Message']}"

    def resolve(self, value):
        if isinstance(value, dict):
            return {k: self.resolve(v) for k, v in value.items() if not str(v).startswith("{{<conftest.Client")}
        if isinstance(value, list):
            return [self.resolve(v) for v in value]
        if not isinstance(value, str):
            return value
        for old, new in self.replaced.items():
            value = value.replace(old, new)
        if self.machine:
            value = STARTED.sub(self.machine, value)
        value = CUT.sub(lambda m: self.returned[m[1]]["executionArn"][:-4] + "0000", value)
        whole = PLACE.fullmatch(value)
        if whole:
            found = self.value(whole[1])
            return value if found is None else found

        def text(match):
            found = self.value(match[1])
            return match[0] if found is None else str(found)

        return PLACE.sub(text, value)

    def run(self):
        """What differs, as replay.py lists it."""
        for self.index, step in enumerate(self.steps):
            follower = self.steps[self.index + 1] if self.index + 1 < len(self.steps) else {"op": ""}
            act = FIXTURES.get(step["op"]) or OPS.get(step["op"]) or (operation if step["op"].startswith("stepfunctions.") else None)
            if not act:
                raise Missing(f"nothing here does {step['op']}")
            try:
                act(step, self)
            except (Refused, self.replay.ApiError) as error:
                if follower["op"] != "expect_error":
                    raise
                self.error = self.returned[follower["ret"]] = error
                self.returned[follower["ret"]] = error.r
            else:
                if follower["op"] == "expect_error":
                    return [(step["op"], "an error", "none")]
        return compare(self.replay, self.case, self.recorded)


_validator = None


def check_parameters(operation_name, args):
    """The check that boto3 makes before a request. Without botocore: none, and cases that compare its text stay open."""
    global _validator
    try:
        import botocore.session
        import botocore.validate
    except ImportError:
        return
    if not _validator:
        _validator = botocore.validate.ParamValidator(), botocore.session.get_session().get_service_model("stepfunctions")
    shape = _validator[1].operation_model(operation_name).input_shape
    report = _validator[0].validate(args, shape) if shape else None
    if report and report.has_errors():
        raise Refused("Parameter validation failed:\n" + report.generate_report())


# ---- steps ----


def operation(step, c):
    op = step["op"].split(".")[1]
    args = c.resolve(step.get("args", {}))
    changed = CHANGED.get(c.case["id"].split("::")[-1])
    if changed and changed[0] == op:
        args = {key: value.replace(*changed[1:]) for key, value in args.items()}
    if c.roles is not None and "roleArn" in args:
        args["roleArn"] += str(c.roles)
        c.roles += 1
    if "nextToken" in args and args["nextToken"] is None:
        args["nextToken"] = c.page
    if op == "delete_state_machine_alias" and "{{ralias" in json.dumps(step["args"]):
        args["stateMachineAliasArn"] = c.aliases.pop(0)
    answer = c.returned[step["ret"]] = c.last = c.call(op, args)
    c.page = answer.get("nextToken", c.page)
    if op == "create_state_machine_alias":
        c.aliases.append(answer["stateMachineAliasArn"])


def awaited(step, c):
    arn = c.resolve(step.get("execution_arn")) or (c.last or {}).get("executionArn")
    if arn:
        c.replay.wait_done(arn)


def matched(step, c):
    text = json.dumps(step["value"])
    if "json_path.extract_json" in text:  # the outputs of the executions before, in their order
        started = [s["ret"] for s in c.steps[: c.index] if s["op"] == "stepfunctions.start_execution"]
        c.pairs = [c.call("describe_execution", {"executionArn": c.returned[r]["executionArn"]}).get("output") for r in started]
    c.recorded[step["key"]] = c.resolve(step["value"])


def new_machine(step, c, **more):
    name = f"statemachine_create_and_record_execution_{uuid.uuid4().hex[:8]}"
    c.made = c.call("create_state_machine", {"name": name, "definition": c.resolve(step["definition"]), "roleArn": ROLE, **more})
    return c.made["stateMachineArn"]


def make_machine(step, c):
    kind = c.resolve(step.get("state_machine_type"))
    c.machine = new_machine(step, c, **({"type": kind} if kind else {}))
    c.returned["last_sm"] = c.made


def record_execution(step, c, machine=None):
    machine = machine or new_machine(step, c)
    c.last = c.call("start_execution", {"stateMachineArn": machine, "input": c.resolve(step["execution_input"])})
    arn = c.last["executionArn"]
    c.replay.wait_done(arn)
    if step.get("verify_execution_description"):
        c.recorded["describe_execution"] = c.call("describe_execution", {"executionArn": arn})
    c.recorded["get_execution_history"] = c.call("get_execution_history", {"executionArn": arn})
    return arn


def record_sync(step, c):
    machine = new_machine(step, c, type="EXPRESS")
    c.recorded["creation_response"] = c.made
    c.recorded["start_execution_sync_response"] = c.call("start_sync_execution", {"stateMachineArn": machine, "input": c.resolve(step["execution_input"])})


def new_log_group(c):
    """A log group's name and its ARN as logging configurations have it."""
    logs, name = c.client("logs"), f"/aws/vendedlogs/states/{uuid.uuid4().hex[:12]}"
    logs.create_log_group(logGroupName=name)
    return name, logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"]


def logging_to(arn, level="ALL", data=True):
    return {"level": level, "includeExecutionData": data, "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]}


TERMINAL = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}


def logged(c, group, complete, seconds=10):
    """The records of the one execution that wrote into the group, once complete(records)."""
    logs, records, end = c.client("logs"), [], time.time() + seconds
    while time.time() < end:
        streams = [s["logStreamName"] for s in logs.describe_log_streams(logGroupName=group)["logStreams"]]
        streams = [s for s in streams if not s.startswith("log_stream_created_by_aws")]
        if streams:
            events = logs.get_log_events(logGroupName=group, logStreamName=streams[-1], startFromHead=True)["events"]
            records = [dict(json.loads(e["message"]), event_timestamp="timestamp") for e in events]
            if complete(records):
                return records
        time.sleep(0.02)
    raise Missing(f"{group} is not complete: {[r['type'] for r in records]}")


def logs_at(level, kind):
    """Whether a level has an event's type (developer guide, "Log levels for Step Functions execution events")."""
    fatal = kind in ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
    return level == "ALL" or (level == "FATAL" and fatal) or (level == "ERROR" and (
        fatal or kind.endswith(("Failed", "TimedOut", "Aborted")) or kind == "FailStateEntered"))


def record_logs(step, c, machine=None, group=None):
    """launch_and_record_logs; create_and_record_logs when no machine and group are given."""
    level = step.get("log_level", "ALL")
    if not machine:
        machine = new_machine(step, c)
        group, arn = new_log_group(c)
        c.call("update_state_machine", {"stateMachineArn": machine, "loggingConfiguration": logging_to(arn, level, step.get("include_execution_data", False))})
    execution = record_execution(step, c, machine)
    wanted = [e for e in c.recorded["get_execution_history"]["events"] if logs_at(level, e["type"])]
    if wanted:
        c.recorded["logged_execution_events"] = logged(c, group, lambda records: len(records) == len(wanted))
    return execution


def record_async(step, c):
    group, arn = new_log_group(c)
    machine = new_machine(step, c, type="EXPRESS", loggingConfiguration=logging_to(arn, data=step.get("include_execution_data", True)))
    c.recorded["creation_response"] = c.made
    c.call("start_execution", {"stateMachineArn": machine, "input": c.resolve(step["execution_input"])})
    c.recorded["end_event"] = logged(c, group, lambda records: records and records[-1]["type"] in TERMINAL)[-1]


def nothing(step, c):  # pylint: disable=unused-argument
    pass


OPS = {
    "match": matched,
    "expect_error": nothing,
    "await_execution_success": awaited,
    "await_execution_terminated": awaited,
    "await_execution_lists_terminated": nothing,  # no wait is needed where lists are never behind
    "await_list_execution_status": awaited,
    "await_state_machine_alias_is_created": nothing,
    "await_state_machine_alias_is_deleted": nothing,
    "await_state_machine_version_listed": nothing,
    "create_state_machine_with_iam_role": make_machine,
    "create_and_record_execution": record_execution,
    "launch_and_record_execution": lambda step, c: record_execution(step, c, c.machine),
    "create_and_record_express_sync_execution": record_sync,
    "create_and_record_express_async_execution": record_async,
    "create_and_record_logs": record_logs,
}


# ---- comparison ----

# Words that the recording put in the place of a value. A length follows from the region's name and the digits of a date.
WORDS = {"x-amzn-RequestId", "RequestId", "X-Amzn-Trace-Id"}
LENGTH = ".Content-Length"


def compare(replay, case, recorded):
    class Comparison(replay.Env):
        values = any("_convert_output_to_json" in json.dumps(t) for t in case["transformers"])

        def match(self, e, a, p="$"):
            if isinstance(e, str) and (e in WORDS or (e[:1] == '"' and e.strip('"') in replay.FIX)):
                return []
            if LENGTH in p and isinstance(a, str) and isinstance(e, str) and a.isdigit() and e.isdigit():
                return []
            if self.values and isinstance(a, str) and isinstance(e, (int, float)):
                try:
                    a = json.loads(a)
                except ValueError:
                    pass
            return super().match(e, a, p)

    comparison, differences = Comparison(replay.lits(case["transformers"])), []
    parallel = any(isinstance(t, dict) and t.get("t") == "SfnNoneRecursiveParallelTransformer" for t in case["transformers"])
    for key, wanted in case["expected"].items():
        if key not in recorded:
            differences.append((key, "recorded", "<not produced>"))
            continue
        got = recorded[key]
        if parallel and isinstance(wanted, dict) and "events" in wanted:
            wanted, got = (dict(x, events=replay.par_norm(x["events"])) for x in (wanted, got))
        differences += comparison.match(wanted, got, key)
    return differences


def only_later(case, differences):
    """Whether all that differs is fields that AWS did not have when the case was recorded."""
    return all(want == "<absent>" and case["validated"][:10] < LATER.get(path.split(".")[-1], "") for path, want, _ in differences)


# ---- the run ----


def group_of(case):
    if not case["needs"]:
        return "self-contained"
    kinds = set(re.sub(r"^res:", "", n) for n in case["needs"])
    return "need a function" if kinds <= {"create_lambda_function", "lambda", "lambda-arn"} else "need another service"


def fresh_quern(wait_scale):
    from api.daemon import Quern, program  # needs pytest

    quern = Quern(program())
    quern.up("--wait-scale", wait_scale)
    os.environ.update({k: v for k, v in quern.env.items() if k.startswith("AWS_")})
    return quern


class Run:
    """All cases, once: way is "plain" or "completed". passed and missed are {id: differences}; unrun is what replay.py leaves out."""

    def __init__(self, way, text=""):
        self.passed, self.missed, self.unrun, self.cases = {}, {}, [], {}
        cases = self.read(text)
        slow = [case for case in cases if "create_lambda_function" in case["needs"] and way != "plain"]
        self.some(way, [case for case in cases if case not in slow], "0.05")
        if slow:
            self.some(way, slow, "0.2")  # a function's time is not scaled

    def some(self, way, cases, wait_scale):
        before = dict(os.environ)
        quern = fresh_quern(wait_scale)
        try:
            self.replay = lang_driver.load_replay(quern.endpoint)
            for case in cases:
                self.one(way, quern, case)
        finally:
            quern.down()
            shutil.rmtree(quern.home, ignore_errors=True)
            os.environ.clear()
            os.environ.update(before)

    def read(self, text):
        return [case for case in lang_driver.recorded_cases() if text in case["id"]]

    def one(self, way, quern, case):
        self.cases[case["id"]] = case
        if way == "plain" and (case["needs"] or "Any_" in json.dumps(case["steps"])):
            self.unrun.append(case["id"])  # replay.py's own rule
            return
        try:
            differences = self.replay.run(case) if way == "plain" else Context(self.replay, quern, case).run()
        except Exception as error:  # pylint: disable=broad-except
            differences = [("error", type(error).__name__, str(getattr(error, "r", error))[:300])]
        (self.missed if differences else self.passed)[case["id"]] = differences

    def count(self, chosen):
        """Of the chosen cases that were run: how many passed, how many were run, how many would pass without later fields."""
        good = sum(i in self.passed for i in chosen)
        late = sum(i in self.missed and only_later(self.cases[i], self.missed[i]) for i in chosen)
        return good, sum(i in self.passed or i in self.missed for i in chosen), good + late


def recorded_figures(text="", verbose=False):
    """Prints the recorded cases' figures. Returns {name: (passed, run, passed without later fields)}; empty without the cases."""
    if not os.path.exists(os.path.join(lang_driver.CONFORMANCE, "states", "replay.py")):
        print("recorded cases: not here")
        return {}
    plain, full = Run("plain", text), Run("completed", text)
    groups, rows = collections.defaultdict(list), {}
    for name, case in full.cases.items():
        groups[group_of(case)].append(name)
        if not case["needs"]:
            groups["  " + case["category"]].append(name)
    print(f"{'recorded on AWS':26s}{'replay.py':>18s}{'completed':>18s}{'later fields left out':>24s}")
    for name in sorted(groups, key=lambda n: (not n.startswith("  "), n)):
        one, all_ = plain.count(groups[name]), full.count(groups[name])
        rows[name + ", replay.py"], rows[name] = one, all_
        cells = [share(*one[:2]), share(*all_[:2]), share(all_[2], all_[1])]
        print(f"{name:26s}{cells[0]:>18s}{cells[1]:>18s}{cells[2]:>24s}")
    print("\nmisses of the completed run")
    for name, differences in full.missed.items():
        path, want, got = differences[0]
        note = "a later field: " + path if only_later(full.cases[name], differences) else f"{path}: {str(want)[:90]!r} / {str(got)[:90]!r}"
        print(f"  {printable(name)}\n      {note}")
        for path, want, got in differences[: 12 if verbose else 0]:
            print(f"      {path}\n        want {printable(want)[:400]}\n        got  {printable(got)[:400]}")
    return rows


def printable(value):
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in str(value))


def share(good, total):
    return f"{good}/{total} {100 * good / total:5.1f} %" if total else "-"


def jsonata_figures():
    """(right, all) of the JSONata suite, None where it cannot run."""
    import jsonata_suite_test as suite
    from jsonata_worker import Worker, libexec

    folder, why = libexec() if os.path.isdir(suite.SUITE) else (None, "the suite is not here")
    if not folder:
        print("JSONata suite: " + why)
        return None
    worker = Worker(folder)
    wrong = []
    total = 0
    for total, (path, request, case) in enumerate(suite.cases(), 1):
        if not suite.good(case, worker.ask(**request) or {}):
            wrong.append(f"{path}: {request['expression'][:80]}")
    worker.close()
    shutil.rmtree(folder)
    print(f"{'JSONata 2.0.6 suite':26s}{share(total - len(wrong), total):>18s}", *wrong, sep="\n  ")
    return total - len(wrong), total


def definition_figures():
    """(right, all) of the definitions that must be accepted or refused, None where they cannot be read."""
    from jsonata_worker import libexec

    folder = os.path.join(lang_driver.CONFORMANCE, "definitions")
    jsonata, why = libexec() if os.path.isdir(folder) else (None, "not here")
    language = lang_driver.start(os.path.join(jsonata, "quern-jsonata")) if jsonata else None
    if not language:
        print("definitions: " + (why or "lang_eval is not built"))
        return None
    wrong, names = [], sorted(os.listdir(folder))
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            if language.parse(f.read()).get("ok", False) != name.startswith("valid"):
                wrong.append(name)
    language.close()
    shutil.rmtree(jsonata)
    print(f"{'definitions':26s}{share(len(names) - len(wrong), len(names)):>18s}", *wrong, sep="\n  ")
    return len(names) - len(wrong), len(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-v", action="store_true", dest="verbose")
    parser.add_argument("--filter", default="", metavar="TEXT")
    parser.add_argument("--only", choices=("recorded", "jsonata", "definitions"))
    options = parser.parse_args()
    if options.only in (None, "recorded"):
        recorded_figures(options.filter, options.verbose)
    if options.only in (None, "jsonata"):
        jsonata_figures()
    if options.only in (None, "definitions"):
        definition_figures()


if __name__ == "__main__":
    main()
