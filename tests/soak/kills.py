"""kill -9 at random moments of a running pipeline: the final result must always be that of an undisturbed run.

The pipeline: four steps in a chain, two beside them, a condition on a property file. Each step adds 1 to the number that the step before left in S3
and prints one line; so the result (statuses, numbers, lines) shows any step that was lost or ran twice.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from api import helpers  # noqa: E402
from api.daemon import start_quern  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402

SCRIPT = """
import json, os, sys, time
path = "/opt/ml/processing/in/count.json"
n = json.load(open(path))["n"] if os.path.exists(path) else 0
print("one run", flush=True)
time.sleep(float(sys.argv[1]))
json.dump({"n": n + 1}, open("/opt/ml/processing/out/count.json", "w"))
"""


def step(quern, run, name, before=None, seconds="0.2"):
    uri = f"s3://my-bucket/soak/{run}/"
    inputs = []
    if before:
        inputs = [{"InputName": "in", "AppManaged": False, "S3Input": {"S3Uri": {"Get": f"Steps.{before}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}, "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix", "S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}}]
    made = helpers.processing_step(quern, name, SCRIPT, [seconds], [helpers.processing_output("out", uri + name)], inputs, instance_type="ml.t3.medium")
    made["PropertyFiles"] = [{"PropertyFileName": "count", "OutputName": "out", "FilePath": "count.json"}]
    return made


def pipeline(quern, run):
    condition = {
        "Name": "Check",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.D.PropertyFiles.count"}, "Path": "n"}}, "RightValue": 4}],
            "IfSteps": [step(quern, run, "Right", "D")],
            "ElseSteps": [{"Name": "Wrong", "Type": "Fail", "Arguments": {"ErrorMessage": "the number is wrong"}}],
        },
    }
    return [step(quern, run, "A"), step(quern, run, "B", "A"), step(quern, run, "C", "B"), step(quern, run, "D", "C"), step(quern, run, "Side1", None, "0.5"), step(quern, run, "Side2", "A", "0.3"), condition]


def result(quern, arn, run):
    """Everything that must be the same after any number of crashes."""
    execution, steps = helpers.finish(quern, arn)
    s3 = quern.client("s3")
    out = {"status": execution["PipelineExecutionStatus"]}
    for name, s in sorted(steps.items()):
        out[name] = [s["StepStatus"], s.get("FailureReason")]
        if "ProcessingJob" in s.get("Metadata", {}):
            lines = helpers.logs_of(quern, "/aws/sagemaker/ProcessingJobs", helpers.job_of(s))
            try:
                body = s3.get_object(Bucket="my-bucket", Key=f"soak/{run}/{name}/count.json")["Body"].read().decode()
            except s3.exceptions.NoSuchKey:
                body = None
            out[name] += [lines.count("one run"), body]
    return out


def kill_at_random(quern, rng, arn, budget):
    """Kills and restarts the daemon (now and then the executor too) until the execution ends. Returns how often."""
    kills = 0
    while kills < budget:
        time.sleep(rng.uniform(0.0, 0.6))
        role = "executor" if rng.random() < 0.15 else "serve"
        try:
            os.kill(quern.pid(role), signal.SIGKILL)
            kills += 1
        except (ProcessLookupError, FileNotFoundError):  # the executor may not be up yet
            pass
        time.sleep(rng.uniform(0.0, 0.1))
        quern.cli("up")
        try:
            status = quern.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
        except (BotoCoreError, ClientError):
            continue
        if status not in ("Executing", "Stopping"):
            break
    return kills


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    rng = random.Random(args.seed)
    quern = start_quern()
    wrong = done = runs = 0
    try:
        name = helpers.create_pipeline(quern, pipeline(quern, "quiet"), name="quiet")
        expected = result(quern, helpers.start(quern, name), "quiet")
        assert expected["status"] == "Succeeded" and expected["D"][3] == '{"n": 4}', expected
        while done < args.kills:
            runs += 1
            run = f"run{runs}"
            name = helpers.create_pipeline(quern, pipeline(quern, run), name=run)
            arn = helpers.start(quern, name)
            done += kill_at_random(quern, rng, arn, args.kills - done)
            got = result(quern, arn, run)
            if got != expected:
                wrong += 1
                print(f"seed {args.seed}, run {runs}: {got}", flush=True)
            print(f"{done} kills in {runs} executions, {wrong} with another result", flush=True)
    finally:
        quern.down()
        if not wrong:
            shutil.rmtree(quern.home, ignore_errors=True)
        else:
            print(f"kept: {quern.home}")
    print(f"{'not ok' if wrong else 'ok'} soak: {done} kills, seed {args.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
