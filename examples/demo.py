"""Runs the article's pipeline on a running Quern, then the same workflow the custom way (custom/), shows their progress and prints both
sides' results. Called by `make demo`.

With --sdk the pipeline is made and started by the stock sagemaker SDK; without it, by boto3 from the JSON definition.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time

import boto3

HERE = os.path.dirname(os.path.abspath(__file__))
ARTICLE = os.path.join(HERE, "article")
BUCKET = "my-bucket"


def client(service):
    return boto3.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def put_data():
    s3 = client("s3")
    try:
        s3.create_bucket(Bucket=BUCKET)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    s3.upload_file(os.path.join(ARTICLE, "data", "abalone-dataset.csv"), BUCKET, "raw-data/abalone-dataset.csv")


def start(args):
    """Starts the pipeline the way a user would; the execution's ARN is the last line that the script prints."""
    if args.sdk:
        command = [args.quern, "run", "--python", sys.executable, os.path.join(ARTICLE, "pipeline.py")]
    else:
        command = [sys.executable, os.path.join(ARTICLE, "start_json.py")]
    environment = dict(os.environ, SAGEMAKER_SUPPRESS_V2_WARNING="1", PYTHONWARNINGS="ignore")
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{result.stderr}\nthe script that starts the pipeline failed (exit {result.returncode})")
    return result.stdout.strip().splitlines()[-1]


def duration(step):
    end = step.get("EndTime")
    return (end - step["StartTime"]).total_seconds() if end else 0.0


def watch(sagemaker, arn):
    """Prints each change of a step's status until the execution ends. Returns its description and steps."""
    seen = {}
    while True:
        execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")["PipelineExecutionSteps"]
        for step in steps:
            name, status = step["StepName"], step["StepStatus"]
            if seen.get(name) != status:
                seen[name] = status
                taken = f"  {duration(step):6.2f} s" if "EndTime" in step else ""
                print(f"  {name:<14} {status:<10}{taken}", flush=True)
        if execution["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
            return execution, steps
        time.sleep(0.1)


def training_job(sagemaker, steps):
    for step in steps:
        arn = step.get("Metadata", {}).get("TrainingJob", {}).get("Arn")
        if arn:
            return sagemaker.describe_training_job(TrainingJobName=arn.rsplit("/", 1)[1])
    sys.exit("the execution has no training job")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quern", required=True, help="the quern program")
    parser.add_argument("--sdk", action="store_true")
    parser.add_argument("--since", type=float, default=time.time())
    args = parser.parse_args()

    put_data()
    how = "the stock sagemaker SDK" if args.sdk else "its JSON definition and boto3"
    print(f"starting the article's pipeline with {how}", flush=True)
    arn = start(args)
    sagemaker = client("sagemaker")
    execution, steps = watch(sagemaker, arn)
    status = execution["PipelineExecutionStatus"]
    identifier = arn.rsplit("/", 1)[1]
    total = (execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds()
    print(f"\npipeline DataToModel, execution {identifier}: {status} in {total:.2f} s")
    if status != "Succeeded":
        for step in steps:
            if step.get("FailureReason"):
                print(f"  {step['StepName']}: {step['FailureReason']}")
        print(f"  look closer: {args.quern} logs {identifier}")
        return 1
    job = training_job(sagemaker, steps)
    print(f"  model       {job['ModelArtifacts']['S3ModelArtifacts']}")
    for metric in job.get("FinalMetricDataList", []):
        print(f"  {metric['MetricName']:<15} {metric['Value']:.5f}")
    print(flush=True)
    custom = subprocess.run([sys.executable, os.path.join(HERE, "custom", "run.py"), "--quern", args.quern], check=False)
    if custom.returncode != 0:
        return 1
    print("\nNext:")
    if shutil.which("quern") != args.quern:
        print(f"  export PATH=\"{os.path.dirname(args.quern)}:$PATH\"")
    print(f"  eval \"$(quern env)\"\n  quern ps -a\n  quern logs {identifier} TrainModel")
    print(f"  aws s3 cp {job['ModelArtifacts']['S3ModelArtifacts']} .")
    print(f"  quern run{f' --python {sys.executable}' if args.sdk else ''} your_pipeline.py\n  quern down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
