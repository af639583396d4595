"""Runs the article's workflow the custom way on a running Quern: two images, two ECS task definitions, one state machine.

    run.py --quern QUERN [--maximum-rmse 3]     `make demo` calls it after the article's pipeline, and compares the two
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

import boto3

HERE = os.path.dirname(os.path.abspath(__file__))
ARTICLE = os.path.join(HERE, "..", "article")
BUCKET = "my-bucket"
FINISHED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


def client(service):
    return boto3.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def read(name, account):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return f.read().replace("${AccountId}", account)


def quietly(call, *codes, **request):
    """Makes something that may be there from before."""
    try:
        return call(**request)
    except call.__self__.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in codes and "already exists" not in str(error):
            raise
        return None


def make_role(name, service):
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "ecs:*", "iam:PassRole", "sagemaker:CreateModelPackage"], "Resource": "*"}]}
    iam = client("iam")
    quietly(iam.create_role, "EntityAlreadyExists", RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName=name, PolicyName="workflow", PolicyDocument=json.dumps(allow))


def set_up(account):
    """Everything that SageMaker Pipelines would bring. Returns the state machine's ARN."""
    s3, ecs, sfn = client("s3"), client("ecs"), client("stepfunctions")
    quietly(s3.create_bucket, "BucketAlreadyOwnedByYou", Bucket=BUCKET)
    s3.upload_file(os.path.join(ARTICLE, "data", "abalone-dataset.csv"), BUCKET, "raw-data/abalone-dataset.csv")
    make_role("CustomTaskRole", "ecs-tasks.amazonaws.com")
    make_role("CustomWorkflowRole", "states.amazonaws.com")
    for name in ("task-process.json", "task-train.json"):
        ecs.register_task_definition(**json.loads(read(name, account)))
    quietly(client("sagemaker").create_model_package_group, ModelPackageGroupName="custom-models")
    definition, role = read("workflow.asl.json", account), f"arn:aws:iam::{account}:role/CustomWorkflowRole"
    made = quietly(sfn.create_state_machine, "StateMachineAlreadyExists", name="DataToModelCustom", definition=definition, roleArn=role)
    arn = made["stateMachineArn"] if made else f"arn:aws:states:us-east-1:{account}:stateMachine:DataToModelCustom"
    if not made:
        sfn.update_state_machine(stateMachineArn=arn, definition=definition, roleArn=role)
    return arn


def start(machine, given):
    """With the aws command when there is one, like a user would; else with boto3."""
    if not shutil.which("aws"):
        return client("stepfunctions").start_execution(stateMachineArn=machine, input=given)["executionArn"]
    command = ["aws", "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "stepfunctions", "start-execution", "--state-machine-arn", machine, "--input", given]
    return json.loads(subprocess.run([*command, "--output", "json"], check=True, stdout=subprocess.PIPE).stdout)["executionArn"]


def history(arn):
    pages = client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def watch(arn):
    """Prints each state when the execution has left it, until it ends. Returns its description and {state: seconds}."""
    sfn, taken = client("stepfunctions"), {}
    while True:
        execution = sfn.describe_execution(executionArn=arn)
        entered = {}
        for event in history(arn):
            if "stateEnteredEventDetails" in event:
                entered[event["stateEnteredEventDetails"]["name"]] = event["timestamp"]
            name = event.get("stateExitedEventDetails", {}).get("name")
            if name and name not in taken:
                taken[name] = (event["timestamp"] - entered[name]).total_seconds()
                print(f"  {name:<14} done      {taken[name]:8.2f} s", flush=True)
        if execution["status"] in FINISHED:
            return execution, taken
        time.sleep(0.2)


def model_of(uri):
    """The bytes of xgboost-model in the model.tar.gz at s3://bucket/key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return tar.extractfile("xgboost-model").read()


def article_run():
    """The last execution of the article's pipeline: ({step: seconds}, URI of its model), or None."""
    sagemaker = client("sagemaker")
    try:
        executions = sagemaker.list_pipeline_executions(PipelineName="DataToModel", SortBy="CreationTime", SortOrder="Descending")["PipelineExecutionSummaries"]
    except sagemaker.exceptions.ResourceNotFound:
        return None
    good = [e for e in executions if e["PipelineExecutionStatus"] == "Succeeded"]
    if not good:
        return None
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=good[0]["PipelineExecutionArn"], SortOrder="Ascending")["PipelineExecutionSteps"]
    job = next(s["Metadata"]["TrainingJob"]["Arn"] for s in steps if "TrainingJob" in s.get("Metadata", {})).rsplit("/", 1)[1]
    uri = sagemaker.describe_training_job(TrainingJobName=job)["ModelArtifacts"]["S3ModelArtifacts"]
    return {s["StepName"]: (s["EndTime"] - s["StartTime"]).total_seconds() for s in steps}, uri


def lines(*paths):
    total = 0
    for path in paths:
        with open(path, encoding="utf-8") as f:
            total += sum(1 for line in f if line.strip())
    return total


def compare(taken, uri):
    """Prints both sides. False when the models differ."""
    article = article_run()
    if not article:
        print("\nthe article's pipeline has not run here: nothing to compare with")
        return True
    times, article_uri = article
    custom = [os.path.join(HERE, n) for n in ("workflow.asl.json", "task-process.json", "task-train.json", "step.py", "images.sh")]
    mine, theirs = model_of(uri), model_of(article_uri)
    print(f"\n{'':<22}{'SageMaker Pipelines':>20}{'ECS + Step Functions':>22}")
    for name in taken:
        print(f"  {name:<20}" + (f"{times[name]:>18.2f} s" if name in times else f"{'-':>20}") + f"{taken[name]:>20.2f} s")
    print(f"  {'lines of definition':<20}{lines(os.path.join(ARTICLE, 'pipeline.py')):>20}{lines(*custom):>22}")
    print(f"  {'bytes of model':<20}{len(theirs):>20}{len(mine):>22}")
    print(f"  SageMaker Pipelines   {article_uri}\n  ECS + Step Functions  {uri}")
    print("  the two models are " + ("equal, byte for byte" if mine == theirs else "DIFFERENT"))
    return mine == theirs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quern", required=True, help="the quern program")
    parser.add_argument("--maximum-rmse", type=float, default=3.0, help="a model with a larger error is not registered")
    args = parser.parse_args()

    print("building the images custom/process and custom/train", flush=True)
    begun = time.time()
    subprocess.run([os.path.join(HERE, "images.sh"), args.quern], check=True, stdout=subprocess.DEVNULL)
    print(f"  images ready in {time.time() - begun:.1f} s\nstarting the state machine DataToModelCustom", flush=True)
    account = client("sts").get_caller_identity()["Account"]
    arn = start(set_up(account), json.dumps({"maximum_rmse": args.maximum_rmse}))
    execution, taken = watch(arn)
    name = arn.rsplit(":", 1)[1]
    total = (execution["stopDate"] - execution["startDate"]).total_seconds()
    print(f"\nstate machine DataToModelCustom, execution {name}: {execution['status']} in {total:.2f} s")
    if execution["status"] != "SUCCEEDED":
        print(f"  {execution.get('error', '')}: {execution.get('cause', '')}")
        return 1
    output = json.loads(execution["output"])
    print(f"  rmse        {output['evaluation']['metrics']['rmse']:.5f}\n  registered  {output['package']['ModelPackageArn']}")
    return 0 if compare(taken, f"s3://{BUCKET}/custom/{name}/model/model.tar.gz") else 1


if __name__ == "__main__":
    sys.exit(main())
