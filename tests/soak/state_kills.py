"""kill -9 at random moments of running state machines: their histories must be those of an undisturbed run.

Each execution has a branch for every kind of wait: an ECS task, one that fails and is retried, a Lambda function, an inline Map with waits, a distributed
Map with nested executions, an activity, a callback. Branches run side by side, so events are compared as trees by previousEventId, without times, ids,
tokens and ARNs. Tasks print a line and calls leave objects: what was lost or done twice is seen. As on AWS, an activity's task whose answer was lost with
the connection times out and is scheduled again; such an attempt is left out and counted.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import conftest  # noqa: E402
from api import ecs_images, helpers, test_lambda  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402

GROUP = "/soak"
FUNCTION = """
import boto3
def handler(event, context):
    boto3.client("s3").put_object(Bucket="my-bucket", Key=f"effects/{event['run']}/lambda", Body=b"x")
    return {"seen": event["n"]}
"""


def task(resource, parameters, **more):
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True, **more}


def branch(*states):
    """(name, state) pairs, one after the other."""
    out = {}
    for (name, state), after in zip(states, [*states[1:], (None, None)]):
        state = dict(state)
        if after[0] and state["Type"] != "Fail":
            state.pop("End", None)
            state["Next"] = after[0]
        out[name] = state
    return {"StartAt": states[0][0], "States": out}


def run_task(definition, step, **more):
    environment = [{"Name": "RUN", "Value.$": "$.run"}, {"Name": "STEP", "Value": step}]
    return task("ecs:runTask.sync", {"TaskDefinition": definition, "Overrides": {"ContainerOverrides": [{"Name": "main", "Environment": environment}]}}, **more)


def put(key, **more):
    """Leaves an object below effects/<run>/."""
    return task("aws-sdk:s3:putObject", {"Bucket": "my-bucket", "Key.$": f"States.Format('effects/{{}}/{key}', $.run{', $.n' if '{}' in key else ''})", "Body": "x"}, ResultPath=None, **more)


class World:
    """A Quern with everything that the machine calls, and the workers outside."""

    def __init__(self):
        self.quern = conftest.start_quern()
        self.stop = threading.Event()
        self.lost = 0
        helpers.make_bucket(self.quern)
        self.activity = self.quern.client("stepfunctions").create_activity(name="soak")["activityArn"]
        self.machine = self.create("outer", self.definition())
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(2)] + [threading.Thread(target=self.call_back, daemon=True)]
        for thread in self.threads:
            thread.start()

    def create(self, name, definition):
        return self.quern.client("stepfunctions").create_state_machine(name=name, definition=json.dumps(definition), roleArn=self.quern.role)["stateMachineArn"]

    def register(self, name, script):
        container = {"name": "main", "image": ecs_images.push_busybox(self.quern), "memory": 64, "command": ["sh", "-c", script],
                     "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": name, "awslogs-create-group": "true"}}}
        return self.quern.client("ecs").register_task_definition(family=name, containerDefinitions=[container])["taskDefinition"]["taskDefinitionArn"]

    def definition(self):
        good = self.register("good", 'echo "once $RUN $STEP"; sleep 0.4')
        bad = self.register("bad", 'echo "once $RUN $STEP"; sleep 0.1; exit 7')
        function = test_lambda.create(self.quern, self.quern.client("lambda"), code=FUNCTION, name="soak", Timeout=60)
        inner = self.create("inner", {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "P"}, "P": {"Type": "Pass", "End": True}}})
        again = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}]
        caught = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.why", "Next": "Caught"}]
        late = [{"ErrorEquals": ["States.Timeout", "States.HeartbeatTimeout"], "IntervalSeconds": 1, "MaxAttempts": 50, "BackoffRate": 1}]
        item = {"ItemSelector": {"n.$": "$$.Map.Item.Value", "run.$": "$.run"}, "ItemsPath": "$.items"}
        nested = task("states:startExecution.sync:2", {"StateMachineArn": inner, "Input": {"n.$": "$.n"}}, ResultSelector={"got.$": "$.Output"})
        branches = [
            branch(("Good", run_task(good, "good", ResultPath=None)), ("After", put("after"))),
            branch(("Bad", run_task(bad, "bad", Retry=again, Catch=caught)), ("Caught", {"Type": "Pass", "Result": "caught", "End": True})),
            branch(("Function", task("lambda:invoke", {"FunctionName": function, "Payload": {"run.$": "$.run", "n": 5}}, ResultSelector={"got.$": "$.Payload"}))),
            branch(("Each", {"Type": "Map", **item, "MaxConcurrency": 2, "ItemProcessor": branch(("Pause", {"Type": "Wait", "Seconds": 1}), ("Mark", put("map-{}"))), "End": True})),
            branch(("Many", {"Type": "Map", **item, "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **branch(("Note", put("many-{}")), ("Nested", nested))}, "End": True})),
            branch(("Work", {"Type": "Task", "Resource": self.activity, "HeartbeatSeconds": 20, "Retry": late, "End": True})),
            branch(("Ask", task("aws-sdk:s3:putObject.waitForTaskToken", {"Bucket": "my-bucket", "Key.$": "States.Format('asked/{}', $.run)", "Body.$": "$$.Task.Token"}))),
        ]
        return {"StartAt": "All", "States": {"All": {"Type": "Parallel", "Branches": branches, "Next": "End"}, "End": {"Type": "Pass", "End": True}}}

    # ---- outside: what answers until it is heard ----

    def tell(self, call, **arguments):
        """Sends an answer again until the daemon has taken it, or the token is used up (an answer that was taken, but not confirmed)."""
        while not self.stop.is_set():
            try:
                call(**arguments)
                return
            except ClientError as error:
                if error.response["Error"]["Code"] in ("InvalidToken", "TaskTimedOut", "TaskDoesNotExist"):
                    return
            except BotoCoreError:
                pass
            time.sleep(0.05)

    def work(self):
        sfn, s3 = self.quern.client("stepfunctions"), self.quern.client("s3")
        while not self.stop.is_set():
            try:
                got = sfn.get_activity_task(activityArn=self.activity, workerName="w")
            except (BotoCoreError, ClientError):
                time.sleep(0.02)
                continue
            if not got.get("taskToken"):
                continue
            run = json.loads(got["input"])["run"]
            self.tell(s3.put_object, Bucket="my-bucket", Key=f"effects/{run}/work-{random.getrandbits(40):x}", Body=b"x")
            self.tell(sfn.send_task_success, taskToken=got["taskToken"], output=json.dumps({"done": True}))

    def call_back(self):
        sfn, s3, answered = self.quern.client("stepfunctions"), self.quern.client("s3"), set()
        while not self.stop.is_set():
            try:
                for entry in s3.list_objects_v2(Bucket="my-bucket", Prefix="asked/").get("Contents", []):
                    if entry["Key"] not in answered:
                        token = json.loads(s3.get_object(Bucket="my-bucket", Key=entry["Key"])["Body"].read())  # a text is written as JSON
                        self.tell(sfn.send_task_success, taskToken=token, output=json.dumps({"called": "back"}))
                        answered.add(entry["Key"])
            except (BotoCoreError, ClientError):
                pass
            time.sleep(0.05)

    # ---- executions ----

    def start(self, run):
        sfn = self.quern.client("stepfunctions")
        while True:
            try:  # the name makes it idempotent
                return sfn.start_execution(stateMachineArn=self.machine, name=run, input=json.dumps({"run": run, "items": [1, 2, 3]}))["executionArn"]
            except BotoCoreError:
                time.sleep(0.05)

    def status(self, arn):
        return self.quern.client("stepfunctions").describe_execution(executionArn=arn)["status"]

    def history(self, arn):
        events = []
        for page in self.quern.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn, maxResults=1000):
            events += page["events"]
        return events

    def result(self, arn, run):
        """Everything that must be the same after any number of crashes."""
        status = self.quern.wait(lambda: (lambda s: None if s == "RUNNING" else s)(self.status(arn)))
        sfn = self.quern.client("stepfunctions")
        children = []
        for map_run in sfn.list_map_runs(executionArn=arn)["mapRuns"]:
            for child in sfn.list_executions(mapRunArn=map_run["mapRunArn"])["executions"]:
                children.append(self.tree(child["executionArn"], run))
        keys = self.quern.client("s3").list_objects_v2(Bucket="my-bucket", Prefix=f"effects/{run}/").get("Contents", [])
        return {"status": status, "lines": self.lines(run), "objects": sorted(re.sub("work-.*", "work", k["Key"].split("/")[2]) for k in keys), "history": self.tree(arn, run), "children": sorted(children)}

    def lines(self, run):
        lines, logs = [], self.quern.client("logs")
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP):
            lines += [e["message"].split()[2] for e in page["events"] if e["message"].split()[1] == run]
        return sorted(lines)

    def tree(self, arn, run):
        events, dropped = without_lost(self.history(arn))
        self.lost += dropped
        return as_tree(events, run)

    def end(self, keep):
        self.stop.set()
        self.quern.down()
        if keep:
            print(f"kept: {self.quern.home}")
        else:
            shutil.rmtree(self.quern.home, ignore_errors=True)


# ---- histories ----

MOVING = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"), (re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT"), "DATE"), (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{32}(-\d+)?\b"), "HEX"), (re.compile(r"AQ[a-z0-9]{126}"), "TOKEN"), (re.compile(r"root=1-[^\"\\]*"), "TRACE"), (re.compile(r'(\\*"(?:Version|StartDate|StopDate|RedriveDate|\w+At)\\*":)[\d.E]+'), r"\1N"),
    (re.compile(r'(\\*"Content-Length\\*":\[?\\*")\d+'), r"\1N"), (re.compile(r'(\\*"ChecksumCRC32\\*":\\*")[\w+/=]+'), r"\1CRC"),
]


def settled(event, run):
    """An event without what differs from run to run."""
    text = json.dumps({k: v for k, v in event.items() if k not in ("id", "previousEventId", "timestamp")}, sort_keys=True, default=str)
    text = text.replace(run, "RUN")
    for pattern, instead in MOVING:
        text = pattern.sub(instead, text)
    return text


def without_lost(events):
    """Leaves out attempts of an activity that timed out; returns how many."""
    by_id, instead, lost = {e["id"]: e for e in events}, {}, 0
    for event in events:
        if event["type"] != "ActivityTimedOut":
            continue
        lost += 1
        at = event
        while True:
            instead[at["id"]] = at["previousEventId"]
            if at["type"] == "ActivityScheduled":
                break
            at = by_id[at["previousEventId"]]
    out = []
    for event in events:
        if event["id"] in instead:
            continue
        event = dict(event)
        while event["previousEventId"] in instead:
            event["previousEventId"] = instead[event["previousEventId"]]
        out.append(event)
    return out, lost


OPENED_BY = {  # what counts as the cause of an event whose real cause is chance, with the event that closes such a cause
    "ParallelStateSucceeded": ("ParallelStateStarted", "ParallelStateSucceeded"), "ParallelStateExited": ("ParallelStateEntered", "ParallelStateExited"),
    "MapStateSucceeded": ("MapStateStarted", "MapStateSucceeded"), "MapStateExited": ("MapStateEntered", "MapStateExited"),
    "MapIterationStarted": ("MapStateStarted", "MapStateSucceeded"),
}


def as_tree(events, run):
    """The history as one text: each event with what came of it, in an order of their own. The end of a Parallel or Map state hangs on its start, and so does
    each iteration: which branch was the last, and which iteration made room for the next, is chance."""
    by_id, below = {e["id"]: e for e in events}, {}
    for event in events:
        before = event["previousEventId"]
        if event["type"] in OPENED_BY:
            start, end = OPENED_BY[event["type"]]
            depth = 1
            while depth:
                at = by_id[before]
                depth += (at["type"] == end) - (at["type"] == start)
                before = at["id"] if not depth else at["previousEventId"]
        if event["id"] == 2:
            before = 1
        below.setdefault(before, []).append(event)

    def text(event):
        return settled(event, run) + "(" + ",".join(sorted(text(e) for e in below.get(event["id"], []))) + ")"

    return text(events[0])


def differences(got, expected):
    out = []
    for key in expected:
        if got[key] == expected[key]:
            continue
        a, b = str(got[key]), str(expected[key])
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        out.append(f"{key}: ...{a[max(0, at - 300):at + 300]}... instead of ...{b[max(0, at - 100):at + 300]}...")
    return "\n".join(out)


# ---- kills ----

def kill_at_random(world, rng, arns, budget):
    """Kills and restarts the daemon (now and then the executor too) until all executions have ended, or the budget is used up: a cold start of the function
    takes longer than the time between kills. Returns how often."""
    kills = 0
    while kills < budget:
        time.sleep(rng.uniform(0.0, 0.7))
        role = "executor" if rng.random() < 0.1 else "serve"
        try:
            os.kill(world.quern.pid(role), signal.SIGKILL)
            kills += 1
        except (ProcessLookupError, FileNotFoundError):  # the executor may not be up yet
            pass
        time.sleep(rng.uniform(0.0, 0.1))
        world.quern.cli("up")
        try:
            if all(world.status(arn) != "RUNNING" for arn in arns):
                break
        except (BotoCoreError, ClientError):
            continue
    return kills


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--at-once", type=int, default=2, help="executions that run at the same time")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    world = World()
    wrong = done = runs = 0
    try:
        expected = world.result(world.start("quiet"), "quiet")
        assert expected["status"] == "SUCCEEDED" and expected["lines"] == ["bad", "bad", "good"] and len(expected["objects"]) == 9, expected
        while done < args.kills:
            names = [f"run{runs + i + 1}" for i in range(args.at_once)]
            runs += len(names)
            arns = [world.start(name) for name in names]
            done += kill_at_random(world, rng, arns, min(rng.randint(4, 14), args.kills - done))
            for name, arn in zip(names, arns):
                got = world.result(arn, name)
                if got != expected:
                    wrong += 1
                    print(f"seed {args.seed}, {name}: {differences(got, expected)}", flush=True)
            print(f"{done} kills in {runs} executions, {wrong} with another result, {world.lost} lost answers", flush=True)
    finally:
        world.end(keep=wrong)
    print(f"{'not ok' if wrong else 'ok'} soak of state machines: {done} kills, seed {args.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
