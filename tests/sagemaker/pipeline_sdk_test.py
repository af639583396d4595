"""Pipelines through the real SDK and boto3 against a running Quern: what only a whole system shows.

Jobs really run (the scikit-learn image), so each test has few of them. Set-up: tests/conftest.py."""

import json
import time
import uuid

import pytest

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def bucket(quern):
    name = unique("pipelines")
    quern.client("s3").create_bucket(Bucket=name)
    return name


def step(quern, bucket, name, script, **extra):
    """A Processing step that runs a Python script and uploads /opt/ml/processing/out."""
    uri = {"Std:Join": {"On": "/", "Values": ["s3:/", bucket, {"Get": "Execution.PipelineExecutionId"}, name]}}
    arguments = {
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}},
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", script]},
        "RoleArn": quern.role,
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}}]},
    }
    arguments.update(extra.pop("Arguments", {}))
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **extra}


def create(quern, steps, parameters=()):
    name = unique("p")
    text = json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": steps})
    quern.client("sagemaker").create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=quern.role)
    return name


def steps_of(quern, arn):
    answer = quern.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {s["StepName"]: s for s in answer["PipelineExecutionSteps"]}


def finish(quern, arn):
    sagemaker = quern.client("sagemaker")
    execution = quern.wait(lambda: (lambda x: x["PipelineExecutionStatus"] not in ("Executing", "Stopping") and x)(sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)))
    return execution, steps_of(quern, arn)


def start(quern, name, **kwargs):
    return quern.client("sagemaker").start_pipeline_execution(PipelineName=name, **kwargs)["PipelineExecutionArn"]


REPORT = [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "report.json"}]
WRITE = "import json; json.dump({'metrics': [{'mse': 4.5}]}, open('/opt/ml/processing/out/report.json', 'w'))"
MSE = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Eval.PropertyFiles.Report"}, "Path": "metrics[0].mse"}}


def test_condition_on_a_file_that_a_job_wrote(quern, bucket):
    show = step(quern, bucket, "Show", "import os; open('/opt/ml/processing/out/seen', 'w').write(os.environ['MSE'] + os.environ['JOB'])", Arguments={"Environment": {"MSE": {"Std:Join": {"On": "", "Values": [MSE]}}, "JOB": {"Get": "Execution.ProcessingJobName"}}})
    condition = {"Name": "Good", "Type": "Condition", "Arguments": {"Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": MSE, "RightValue": {"Get": "Parameters.Limit"}}], "IfSteps": [show], "ElseSteps": [{"Name": "Bad", "Type": "Fail", "Arguments": {"ErrorMessage": {"Std:Join": {"On": " ", "Values": ["mse", MSE]}}}}]}}
    name = create(quern, [condition, step(quern, bucket, "Eval", WRITE, PropertyFiles=REPORT)], [{"Name": "Limit", "Type": "Float", "DefaultValue": 6}])
    arn = start(quern, name)
    execution, steps = finish(quern, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert list(steps) == ["Eval", "Good", "Show"]
    job = steps["Show"]["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[1]
    identifier = arn.rsplit("/", 1)[1]
    assert job.startswith(f"pipelines-{identifier}-Show-")
    body = quern.client("s3").get_object(Bucket=bucket, Key=f"{identifier}/Show/seen")["Body"].read().decode()
    assert body == "4.5" + job
    execution, steps = finish(quern, start(quern, name, PipelineParameters=[{"Name": "Limit", "Value": "4"}]))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert steps["Bad"]["FailureReason"] == "mse 4.5"


def running(quern, arn, name):
    """Waits until the step's container has had time to install its signal handler; returns the job's name."""
    quern.wait(lambda: steps_of(quern, arn).get(name, {}).get("StepStatus") == "Executing")
    job = steps_of(quern, arn)[name]["Metadata"]["ProcessingJob"]["Arn"].rsplit("/", 1)[1]
    quern.wait(lambda: "ProcessingStartTime" in quern.client("sagemaker").describe_processing_job(ProcessingJobName=job))
    time.sleep(1)
    return job


def test_stop_really_stops_and_retry_goes_on(quern, bucket):
    name = create(quern, [step(quern, bucket, "Quick", "pass"), step(quern, bucket, "Slow", "import signal, time; signal.signal(15, lambda *a: exit(1)); time.sleep(600)", DependsOn=["Quick"])])
    sagemaker = quern.client("sagemaker")
    arn = start(quern, name)
    job = running(quern, arn, "Slow")
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    execution, steps = finish(quern, arn)
    assert execution["PipelineExecutionStatus"] == "Stopped"
    assert steps["Slow"]["StepStatus"] == "Stopped" and steps["Quick"]["StepStatus"] == "Succeeded"
    assert sagemaker.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"] == "Stopped"
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    again = running(quern, arn, "Slow")
    assert again != job
    sagemaker.stop_processing_job(ProcessingJobName=again)
    execution, steps = finish(quern, arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "stopped" in steps["Slow"]["FailureReason"]


def test_cache_saves_the_job(quern, bucket):
    name = create(quern, [step(quern, bucket, "Once", "print(1)", CacheConfig={"Enabled": True, "ExpireAfter": "P1D"})])
    first = start(quern, name)
    _, before = finish(quern, first)
    second = start(quern, name)
    _, after = finish(quern, second)
    for arn, jobs in ((first, 1), (second, 0)):  # the execution's id is in the names of its jobs
        assert len(quern.client("sagemaker").list_processing_jobs(NameContains=arn.rsplit("/", 1)[1])["ProcessingJobSummaries"]) == jobs
    assert after["Once"]["CacheHitResult"]["SourcePipelineExecutionArn"] == first
    assert after["Once"]["Metadata"] == before["Once"]["Metadata"]


def test_restart_of_the_daemon(own_quern):
    """kill -9 between and in steps: the execution goes on and no step runs twice."""
    import os
    import signal

    quern = own_quern
    quern.client("s3").create_bucket(Bucket="survivor")
    name = create(quern, [step(quern, "survivor", "A", "import time; time.sleep(3)"), step(quern, "survivor", "B", "import time; time.sleep(1)", DependsOn=["A"])])
    arn = start(quern, name)
    quern.wait(lambda: steps_of(quern, arn).get("A", {}).get("StepStatus") == "Executing")
    os.kill(quern.pid(), signal.SIGKILL)
    quern.up()
    execution, steps = finish(quern, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    jobs = [j["ProcessingJobName"] for j in quern.client("sagemaker").list_processing_jobs()["ProcessingJobSummaries"]]
    assert len(jobs) == 2
    assert all(s["AttemptCount"] == 0 for s in steps.values())


def test_a_thousand_steps_definition_comes_from_s3(quern):
    """The SDK puts a definition of 100 KiB and more into S3."""
    pytest.importorskip("sagemaker.session", reason="the sagemaker SDK is not installed (PyPI out of reach?)")
    from sagemaker.session import Session
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionEquals
    from sagemaker.workflow.parameters import ParameterInteger
    from sagemaker.workflow.pipeline import Pipeline

    number = ParameterInteger(name="N", default_value=1)
    steps = [ConditionStep(name=f"c{i}", conditions=[ConditionEquals(left=number, right=1)], if_steps=[], else_steps=[]) for i in range(1000)]
    pipeline = Pipeline(name=unique("big"), parameters=[number], steps=steps, sagemaker_session=Session())
    assert len(pipeline.definition()) > 100 * 1024
    pipeline.upsert(role_arn=quern.role)
    assert pipeline.describe()["PipelineDefinition"] == pipeline.definition()
    pipeline.upsert(role_arn=quern.role)
    assert pipeline.latest_pipeline_version_id == 2
    execution = pipeline.start()
    finish(quern, execution.arn)
    assert execution.describe()["PipelineExecutionStatus"] == "Succeeded"
    pages = quern.client("sagemaker").get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=execution.arn)
    names = [s["StepName"] for page in pages for s in page["PipelineExecutionSteps"]]
    assert len(names) == 1000 and len(set(names)) == 1000
    pipeline.delete()
