"""Bad input, each with AWS's error and nothing changed; crashes in the middle of work."""

import json
import os
import signal
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from api import helpers


def code(error):
    return error.value.response["Error"]["Code"]


def text(error):
    return error.value.response["Error"]["Message"]


def test_wrong_signature(quern):
    import boto3

    client = boto3.client("sagemaker", endpoint_url=quern.endpoint, region_name="us-east-1", aws_access_key_id=quern.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40)
    with pytest.raises(ClientError) as error:
        client.list_pipelines()
    assert code(error) == "InvalidSignatureException"
    with pytest.raises(ClientError) as error:
        boto3.client("s3", endpoint_url=quern.endpoint, region_name="us-east-1", aws_access_key_id=quern.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40).list_buckets()
    assert code(error) == "SignatureDoesNotMatch"


def signed_call(quern, target):
    """One SageMaker request by hand, signed by botocore's Python code: (status, answer)."""
    import urllib.request

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("POST", quern.endpoint + "/", data=b"{}", headers={"X-Amz-Target": "SageMaker." + target, "Content-Type": "application/x-amz-json-1.1"})
    SigV4Auth(Credentials(quern.env["AWS_ACCESS_KEY_ID"], quern.env["AWS_SECRET_ACCESS_KEY"]), "sagemaker", "us-east-1").add_auth(request)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(request.url, data=b"{}", headers=dict(request.headers), method="POST")) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_skewed_clock(quern, monkeypatch):
    import datetime

    import botocore.auth

    assert signed_call(quern, "ListPipelines")[0] == 200
    late = datetime.timedelta(minutes=20)
    if hasattr(botocore.auth, "get_current_datetime"):
        real = botocore.auth.get_current_datetime
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args, **kwargs: real(*args, **kwargs) - late)
    else:

        class Skewed(datetime.datetime):
            @classmethod
            def utcnow(cls):
                return datetime.datetime.utcfromtimestamp(time.time()) - late

        class Module:
            datetime = Skewed

        monkeypatch.setattr(botocore.auth, "datetime", Module)
    status, answer = signed_call(quern, "ListPipelines")
    assert status == 400 and answer["__type"].endswith("InvalidSignatureException"), answer
    assert "expired" in answer.get("message", answer.get("Message"))


def test_unknown_operation(quern):
    status, answer = signed_call(quern, "MakeCoffee")
    assert status == 400
    assert "UnknownOperationException" in answer["__type"]


def test_not_built_says_so(quern):
    with pytest.raises(ClientError) as error:
        quern.client("sagemaker").list_labeling_jobs()
    assert "ListLabelingJobs" in text(error)
    with pytest.raises(ClientError) as error:
        quern.client("sagemaker-runtime").invoke_endpoint(EndpointName="price", Body=b"1,2")
    assert "POST /endpoints/price/invocations" in text(error)


@pytest.mark.parametrize(
    "name,steps,parameters,words",
    [
        ("x" * 257, [], (), "pipelineName"),
        ("cycle", [{"Name": n, "Type": "Condition", "Arguments": {"Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}], "IfSteps": [], "ElseSteps": []}, "DependsOn": [m]} for n, m in ("AB", "BA")], (), "cycle: "),
        ("unknown-step", [{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Steps.Nobody.Outcome"}}}], (), "Nobody"),
        ("unknown-parameter", [{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Missing"}}}], (), "Missing"),
        ("no-json", None, (), "It is not JSON: "),
    ],
)
def test_bad_definition(quern, name, steps, parameters, words):
    sagemaker = quern.client("sagemaker")
    document = "{not json" if steps is None else helpers.definition(steps, parameters)
    with pytest.raises(ClientError) as error:
        sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=document, RoleArn=quern.role, ClientRequestToken="t" * 32)
    assert code(error) == "ValidationException" and words in text(error)
    assert name not in [p["PipelineName"] for p in sagemaker.list_pipelines(PipelineNamePrefix=name[:200])["PipelineSummaries"]]


def test_unknown_start_parameter(quern):
    name = helpers.create_pipeline(quern, [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}])
    with pytest.raises(ClientError) as error:
        helpers.start(quern, name, PipelineParameters=[{"Name": "Nope", "Value": "1"}])
    assert code(error) == "ValidationException" and "Nope" in text(error)
    assert quern.client("sagemaker").list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []


def test_script_exits_3(quern):
    execution, steps = helpers.run(quern, [helpers.processing_step(quern, "Exit3", "import sys\nprint('about to fail')\nsys.exit(3)\n")])
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "One or multiple steps failed" in execution["FailureReason"]
    assert "exit code: 3" in steps["Exit3"]["FailureReason"].lower()
    assert "about to fail" in helpers.logs_of(quern, "/aws/sagemaker/ProcessingJobs", helpers.job_of(steps["Exit3"]))


def test_killed_for_memory(quern):
    script = "b = []\nwhile True:\n    b.append(bytearray(50 << 20))\n"
    _, steps = helpers.run(quern, [helpers.processing_step(quern, "Eater", script, instance_type="ml.t3.medium")])
    assert steps["Eater"]["StepStatus"] == "Failed"
    assert "memory" in steps["Eater"]["FailureReason"].lower()


def test_missing_script_bucket_image(quern):
    good = helpers.processing_step(quern, "S", "print(1)")
    no_script = json.loads(json.dumps(good))
    no_script["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://my-bucket/nowhere/script.py"
    no_bucket = json.loads(json.dumps(good))
    no_bucket["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://no-such-bucket-here/script.py"
    no_image = json.loads(json.dumps(good))
    no_image["Arguments"]["AppSpecification"]["ImageUri"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nobody/made-this:1"
    for step, words in ((no_script, "nowhere"), (no_bucket, "no-such-bucket-here"), (no_image, "made-this")):
        execution, steps = helpers.run(quern, [step])
        assert execution["PipelineExecutionStatus"] == "Failed"
        assert words in steps["S"]["FailureReason"], steps["S"]["FailureReason"]


def test_kill_the_daemon_in_a_training_step(own_quern):
    """kill -9 of the daemon while a container runs: after a restart the step ends, having run once."""
    quern = own_quern
    script = "import time, uuid\nprint('run', uuid.uuid4(), flush=True)\ntime.sleep(3)\nopen('/opt/ml/processing/out/done.txt', 'w').write('done')\n"
    step = helpers.processing_step(quern, "Slow", script, outputs=[helpers.processing_output("out", "s3://my-bucket/kill-test")])
    arn = helpers.start(quern, helpers.create_pipeline(quern, [step]))
    sagemaker = quern.client("sagemaker")

    def job():
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return steps and "ProcessingJob" in steps[0].get("Metadata", {}) and helpers.job_of(steps[0])

    name = quern.wait(job)
    quern.wait(lambda: any(line.startswith("run ") for line in _lines(quern, name)))
    os.kill(quern.pid("serve"), signal.SIGKILL)
    time.sleep(0.5)
    quern.cli("up")
    execution, _ = helpers.finish(quern, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert len([line for line in _lines(quern, name) if line.startswith("run ")]) == 1
    assert quern.client("s3").get_object(Bucket="my-bucket", Key="kill-test/done.txt")["Body"].read() == b"done"


def _lines(quern, job):
    try:
        return helpers.logs_of(quern, "/aws/sagemaker/ProcessingJobs", job)
    except ClientError:
        return []


def test_staged_data_is_safe(quern):
    """A script that writes over its input changes nothing in the store."""
    s3 = helpers.make_bucket(quern)
    body = b"original " * 5000
    s3.put_object(Bucket="my-bucket", Key="stage-test/data.bin", Body=body)
    script = "p='/opt/ml/processing/in/data.bin'\nopen(p,'r+b').write(b'CHANGED')\nimport os\nos.remove(p)\nopen('/opt/ml/processing/in/new','w').write('x')\n"
    data = {"InputName": "in", "AppManaged": False, "S3Input": {"S3Uri": "s3://my-bucket/stage-test", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix", "S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}}
    execution, steps = helpers.run(quern, [helpers.processing_step(quern, "Writes", script, inputs=[data])])
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps["Writes"].get("FailureReason")
    assert s3.get_object(Bucket="my-bucket", Key="stage-test/data.bin")["Body"].read() == body


def test_full_disk_during_an_upload(quern):
    """A full disk: an error, nothing visible, and the daemon goes on. Needs root for a small file system."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = type(quern)(quern.program)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", small.home], capture_output=True).returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    try:
        small.up()
        s3 = helpers.make_bucket(small, "full")
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket="full", Key="big", Body=b"x" * (100 << 20))
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        assert "Contents" not in s3.list_objects_v2(Bucket="full")
        s3.put_object(Bucket="full", Key="small", Body=b"still here")
        assert s3.get_object(Bucket="full", Key="small")["Body"].read() == b"still here"
    finally:
        small.down()
        time.sleep(0.2)
        subprocess.run(["umount", "-l", small.home])
        os.rmdir(small.home)
