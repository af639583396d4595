"""What the acceptance tests share: data in S3, small pipelines, waiting."""

import json
import os
import signal
import tarfile
import uuid

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARTICLE = os.path.join(ROOT, "examples", "article")
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def knows(client, operation, member=None):
    """Does this botocore (Debian's is of 2022) know the operation, and the member of its input?"""
    model = client.meta.service_model
    return operation in model.operation_names and (member is None or member in model.operation_model(operation).input_shape.members)


def needs(client, operation, member=None):
    if not knows(client, operation, member):
        pytest.skip(f"this botocore has no {member + ' in ' if member else ''}{operation}")


def needs_jsonata(program):
    """The official package comes from npm, which may be out of reach."""
    prefix = os.path.dirname(os.path.dirname(program))
    if not os.path.exists(os.path.join(prefix, "libexec", "quern", "jsonata", "jsonata.js")):
        pytest.skip("the package jsonata is not there")


def make_bucket(quern, name="my-bucket"):
    s3 = quern.client("s3")
    try:
        s3.create_bucket(Bucket=name)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    return s3


def put_article_data(quern):
    s3 = make_bucket(quern)
    s3.upload_file(os.path.join(ARTICLE, "data", "abalone-dataset.csv"), "my-bucket", "raw-data/abalone-dataset.csv")
    return s3


def definition(steps, parameters=()):
    return json.dumps({"Version": "2020-12-01", "Metadata": {}, "Parameters": list(parameters), "PipelineExperimentConfig": None, "Steps": steps})


def processing_step(quern, name, script, arguments=(), outputs=(), inputs=(), instance_type="ml.m5.large", **extra):
    """A Processing step that runs a Python script given as text (kept in S3)."""
    s3 = make_bucket(quern)
    key = f"code/{uuid.uuid4().hex}/script.py"
    s3.put_object(Bucket="my-bucket", Key=key, Body=script.encode())
    code = {"InputName": "code", "AppManaged": False, "S3Input": {"S3Uri": f"s3://my-bucket/{key}", "LocalPath": "/opt/ml/processing/input/code", "S3DataType": "S3Prefix", "S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}}
    arguments_ = {
        "ProcessingResources": {"ClusterConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 30}},
        "AppSpecification": {"ImageUri": SKLEARN, "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/script.py"]},
        "RoleArn": quern.role,
        "ProcessingInputs": [code, *inputs],
    }
    if arguments:
        arguments_["AppSpecification"]["ContainerArguments"] = list(arguments)
    if outputs:
        arguments_["ProcessingOutputConfig"] = {"Outputs": list(outputs)}
    return {"Name": name, "Type": "Processing", "Arguments": arguments_, **extra}


def processing_output(name, uri, path=None):
    return {"OutputName": name, "AppManaged": False, "S3Output": {"S3Uri": uri, "LocalPath": path or f"/opt/ml/processing/{name}", "S3UploadMode": "EndOfJob"}}


def create_pipeline(quern, steps, parameters=(), name=None):
    name = name or unique("p")
    sagemaker = quern.client("sagemaker")
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition(steps, parameters), RoleArn=quern.role, ClientRequestToken=uuid.uuid4().hex)
    return name


def start(quern, name, **kwargs):
    return quern.client("sagemaker").start_pipeline_execution(PipelineName=name, **kwargs)["PipelineExecutionArn"]


def finish(quern, arn):
    """Waits for the end of an execution; returns its description and its steps by name."""
    sagemaker = quern.client("sagemaker")

    def ended():
        execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        return execution if execution["PipelineExecutionStatus"] not in ("Executing", "Stopping") else None

    execution = quern.wait(ended)
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=100)["PipelineExecutionSteps"]
    return execution, {step["StepName"]: step for step in steps}


def run(quern, steps, parameters=(), **kwargs):
    return finish(quern, start(quern, create_pipeline(quern, steps, parameters), **kwargs))


def job_of(step, kind="ProcessingJob"):
    return step["Metadata"][kind]["Arn"].rsplit("/", 1)[1]


def logs_of(quern, group, job):
    logs = quern.client("logs")
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
    lines = []
    for stream in streams:
        token = None
        while True:
            kwargs = {"nextToken": token} if token else {}
            page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **kwargs)
            lines += [event["message"] for event in page["events"]]
            if page["nextForwardToken"] == token or not page["events"]:
                break
            token = page["nextForwardToken"]
    return lines


def read_model(quern, uri, tmp_path):
    """Unpacks a model.tar.gz from S3; returns the folder."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    archive = os.path.join(str(tmp_path), "model.tar.gz")
    quern.client("s3").download_file(bucket, key, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path)  # our own archive; Debian's Python has no extraction filters
    return str(tmp_path)


def run_over_kills(quern, states, first, items, progress, kills=4):
    """Runs these states for the numbers below `items` in a Map, kills the daemon whenever progress() has grown, and waits for the good end."""
    sfn = quern.client("stepfunctions")
    each = {"Type": "Map", "MaxConcurrency": 8, "ItemProcessor": {"StartAt": first, "States": states}, "ResultSelector": {}, "End": True}
    machine = sfn.create_state_machine(name=unique("kills"), definition=json.dumps({"StartAt": "M", "States": {"M": each}}), roleArn=quern.role)["stateMachineArn"]
    arn = sfn.start_execution(stateMachineArn=machine, input=json.dumps(list(range(items))))["executionArn"]

    def ended():
        d = quern.client("stepfunctions").describe_execution(executionArn=arn)
        return d if d["status"] != "RUNNING" else None

    done = 0
    while done < kills and not ended():
        before = progress()
        quern.wait(lambda: progress() > before or ended())
        pid = quern.pid()
        os.kill(pid, signal.SIGKILL)
        quern.wait(lambda: not os.path.exists(f"/proc/{pid}"))
        quern.up()
        done += 1
    d = quern.wait(ended)
    assert d["status"] == "SUCCEEDED" and done > 0, d
