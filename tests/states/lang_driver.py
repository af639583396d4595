"""The language's test program (lang_eval) as a Python object, and the recorded cases run on it."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("QUERN_SHARED") or os.path.join(HERE, "..", "..", "..", "shared")
CONFORMANCE = os.path.join(SHARED, "conformance")
ACCOUNT = "000000000000"


def program(variable, *paths):
    """A built program: what the variable says, or the first of these paths in the usual build directory."""
    found = [os.environ.get(variable)] + [os.path.join(HERE, "..", "..", "build", *path.split("/")) for path in paths]
    return next((p for p in found if p and os.path.exists(p)), None)


def start(jsonata=None):
    """A Language, or None when lang_eval is not built."""
    found = program("LANG_EVAL", "tests/states/lang_eval")
    return Language(found, jsonata) if found else None


class Language:
    """One running lang_eval. `jsonata` is the path of quern-jsonata, or None."""

    def __init__(self, program, jsonata=None):
        command = [program] + ([jsonata] if jsonata else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"lang_eval ended on {json.dumps(request)[:500]}"
        return json.loads(line)

    def parse(self, definition, **kwargs):
        return self.ask(parse=definition if isinstance(definition, str) else json.dumps(definition), **kwargs)

    def run(self, definition, value, name="execution", machine="machine"):
        base = f"arn:aws:states:us-east-1:{ACCOUNT}"
        context = {
            "Execution": {"Id": f"{base}:execution:{machine}:{name}", "Input": json.loads(value), "StartTime": "2026-01-01T00:00:00.000Z",
                          "Name": name, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/sfn_role", "RedriveCount": 0},
            "StateMachine": {"Id": f"{base}:stateMachine:{machine}", "Name": machine},
        }
        return self.ask(run=definition, input=value, context=context, now=int(time.time() * 1000))

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def load_replay(endpoint):
    """replay.py of the recorded cases as a module that speaks with an endpoint."""
    spec = importlib.util.spec_from_file_location("replay", os.path.join(CONFORMANCE, "states", "replay.py"))
    module = importlib.util.module_from_spec(spec)
    argv, sys.argv = sys.argv, ["replay.py", endpoint]
    try:
        spec.loader.exec_module(module)
    finally:
        sys.argv = argv
    return module


# Written for a case 24,856 days after the day on which the cases were gathered: longer than the longest wait (2^31-1 seconds) on that day only.
TOO_FAR, TOO_FAR_DAYS = "2094-12-12T09:26:40.000Z", 24856


def recorded_cases():
    """The recorded cases, in the file's order. The time that must be too far in the future is as far from now as it was when written."""
    far = (datetime.now(timezone.utc) + timedelta(days=TOO_FAR_DAYS)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    with open(os.path.join(CONFORMANCE, "states", "cases.jsonl"), encoding="utf-8") as f:
        return [json.loads(line.replace(TOO_FAR, far)) for line in f]


class Replay:
    """replay.py of the recorded cases with the language in the place of the server: machines of Pass, Choice, Wait, Succeed and Fail states."""

    TYPES = {"Pass", "Choice", "Wait", "Succeed", "Fail"}
    OPS = {"match", "expect_error", "stepfunctions.start_execution", "stepfunctions.create_state_machine", "stepfunctions.get_execution_history",
           "await_execution_success", "await_execution_terminated", "create_and_record_execution", "create_state_machine_with_iam_role",
           "stepfunctions.validate_state_machine_definition", "stepfunctions.describe_execution", "launch_and_record_execution"}

    def __init__(self, language):
        self.language = language
        self.module = load_replay("http://127.0.0.1:1")
        self.module.call = self.call
        self.module.wait_done = lambda arn, t=80: None
        self.machines, self.executions = {}, {}

    def cases(self):
        return filter(self.fits, recorded_cases())

    def fits(self, case):
        if case["needs"] or any(step["op"] not in self.OPS for step in case["steps"]):
            return False
        types, seen = set(), False
        for step in case["steps"]:
            args = step.get("args")
            text = step.get("definition") or (args.get("definition") if isinstance(args, dict) else None)
            if text is None:
                continue
            seen = True
            try:
                document = json.loads(text) if isinstance(text, str) else text
            except ValueError:
                continue
            if isinstance(document, dict) and isinstance(document.get("States"), dict):
                types |= {s.get("Type") for s in document["States"].values()}
        failing = "expect_error" in {s["op"] for s in case["steps"]} or "create_state_machine_with_iam_role" in {s["op"] for s in case["steps"]}
        return seen and (types <= self.TYPES or failing)

    def refuse(self, code, message):
        raise self.module.ApiError({"Error": {"Code": code, "Message": message}, "message": message})

    def call(self, op, args):
        if op == "create_state_machine":
            answer = self.language.parse(args["definition"], express=args.get("type") == "EXPRESS")
            if not answer.get("ok"):
                self.refuse("InvalidDefinition", answer["text"])
            arn = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{args['name']}"
            self.machines[arn] = args["definition"]
            return {"stateMachineArn": arn, "creationDate": 0}
        if op == "validate_state_machine_definition":
            answer = self.language.parse(args["definition"], express=args.get("type") == "EXPRESS")
            found = answer.get("diagnostics", [])
            return {"diagnostics": found, "result": "FAIL" if found else "OK", "truncated": False}
        if op == "start_execution":
            machine = args["stateMachineArn"].split(":")[-1]
            name = args.get("name") or f"x-{len(self.executions)}-{machine}-0123456789"
            arn = args["stateMachineArn"].replace(":stateMachine:", ":execution:") + ":" + name
            self.executions[arn] = self.language.run(self.machines[args["stateMachineArn"]], args.get("input", "{}"), name, machine)
            return {"executionArn": arn, "startDate": 0}
        if op == "get_execution_history":
            return {"events": self.executions[args["executionArn"]]["events"]}
        raise NotImplementedError(op)

    def run_pairs(self, case):
        """Cases that replay.py cannot express: pairs of an input and the output that belongs to it, in the order of the executions."""
        outputs = []
        machine = None
        for step in case["steps"]:
            if step["op"] == "stepfunctions.create_state_machine":
                machine = step["args"]["definition"]
            if step["op"] == "stepfunctions.start_execution":
                outputs.append(self.language.run(machine, step["args"]["input"]).get("output"))
        pairs = case["expected"]["cases"]
        assert len(pairs) == len(outputs)
        return [(pair["input"], pair["output"], got) for pair, got in zip(pairs, outputs) if got is None or json.loads(got) != pair["output"]]

    def score(self, verbose=False):
        passed, failed = [], []
        for case in self.cases():
            try:
                pairs = "Any_" in json.dumps(case["steps"]) and "cases" in case["expected"]
                difference = self.run_pairs(case) if pairs else self.module.run(case)
            except NotImplementedError:
                continue
            except Exception as error:  # pylint: disable=broad-except
                difference = [("error", type(error).__name__, str(getattr(error, "r", error))[:300])]
            (failed if difference else passed).append(case["id"])
            if difference and verbose:
                print(case["id"])
                for where, wanted, got in difference[:6]:
                    print("   ", where, "want", str(wanted)[:300], "got", str(got)[:300])
        return passed, failed


if __name__ == "__main__":
    replay = Replay(Language(*sys.argv[1:3]))
    good, bad = replay.score(verbose=True)
    print(f"{len(good)} passed, {len(bad)} failed")
