"""The main job: the article's pipeline, by each client that users have."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from api import helpers

PYTHON = "/usr/bin/python3"


def check_result(quern, arn, tmp_path):
    execution, steps = helpers.finish(quern, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded", {name: step.get("FailureReason") for name, step in steps.items()}
    assert set(steps) == {"ProcessData", "TrainModel"}
    job = quern.client("sagemaker").describe_training_job(TrainingJobName=helpers.job_of(steps["TrainModel"], "TrainingJob"))
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri.startswith("s3://my-bucket/model-artifacts/") and uri.endswith("/output/model.tar.gz")
    folder = helpers.read_model(quern, uri, tmp_path)
    assert os.path.getsize(os.path.join(folder, "xgboost-model")) > 10000
    return job, metrics


@pytest.fixture(scope="module")
def from_json(quern):
    """One run from the JSON definition, with Debian's boto3 when it is there."""
    helpers.put_article_data(quern)
    python = PYTHON if os.path.exists(PYTHON) else sys.executable
    result = subprocess.run([python, os.path.join(helpers.ARTICLE, "start_json.py"), "FromJson"], env=dict(os.environ, **quern.env), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def test_json_definition(quern, from_json, tmp_path):
    job, metrics = check_result(quern, from_json, tmp_path)
    assert 0.5 < metrics["train:rmse"] < metrics["validation:rmse"] < 3
    names = [t["Status"] for t in job["SecondaryStatusTransitions"]]
    assert names[0] == "Starting" and names[-1] == "Completed" and "Training" in names and "Uploading" in names


def test_parity_with_the_python_package(quern, from_json, tmp_path):
    """Our trainer's metrics are those of the xgboost package on the same files, to 5 decimals."""
    _, metrics = check_result(quern, from_json, tmp_path)
    _, steps = helpers.finish(quern, from_json)
    outputs = quern.client("sagemaker").describe_processing_job(ProcessingJobName=helpers.job_of(steps["ProcessData"]))["ProcessingOutputConfig"]["Outputs"]
    s3 = quern.client("s3")
    for output in outputs:
        bucket, _, prefix = output["S3Output"]["S3Uri"].removeprefix("s3://").partition("/")
        s3.download_file(bucket, f"{prefix}/{output['OutputName']}.csv", str(tmp_path / f"{output['OutputName']}.csv"))
    program = """
import json, sys, xgboost
def load(name):
    return xgboost.DMatrix(f"{sys.argv[1]}/{name}.csv?format=csv&label_column=0")
train, validation = load("train"), load("validation")
log = {}
xgboost.train({"objective": "reg:squarederror"}, train, 50, evals=[(train, "train"), (validation, "validation")], evals_result=log, verbose_eval=False)
print(json.dumps({name: log[name]["rmse"][-1] for name in log}))
"""
    result = subprocess.run([PYTHON, "-c", program, str(tmp_path)], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    if "No module named 'xgboost'" in result.stderr:
        pytest.skip("python3-xgboost is not installed")
    assert result.returncode == 0, result.stderr
    reference = json.loads(result.stdout.strip().splitlines()[-1])
    for name in ("train", "validation"):
        assert round(metrics[f"{name}:rmse"], 5) == round(reference[name], 5)


def test_stock_sdk(quern, tmp_path):
    """`quern run` with the unchanged sagemaker SDK v2, get_execution_role() included."""
    pytest.importorskip("sagemaker.session", reason="the sagemaker SDK is not installed (PyPI out of reach?)")
    helpers.put_article_data(quern)
    result = quern.cli("run", "--python", sys.executable, os.path.join(helpers.ARTICLE, "pipeline.py"), env=dict(quern.own, SAGEMAKER_SUPPRESS_V2_WARNING="1"))
    check_result(quern, result.stdout.strip().splitlines()[-1], tmp_path)


def test_definition_json_is_the_sdks(quern):
    """examples/article/definition.json is what the SDK makes of pipeline.py, the script's place aside."""
    pytest.importorskip("sagemaker.session", reason="the sagemaker SDK is not installed (PyPI out of reach?)")
    answer = quern.client("sagemaker").describe_pipeline(PipelineName="DataToModel")
    made = json.loads(answer["PipelineDefinition"])
    with open(os.path.join(helpers.ARTICLE, "definition.json"), encoding="utf-8") as f:
        kept = json.loads(f.read().replace("${AccountId}", quern.account))

    def normal(doc):
        for step in doc["Steps"]:
            for item in step["Arguments"].get("ProcessingInputs", []):
                item["S3Input"]["S3Uri"] = "CODE"
            for item in step["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", []):
                if isinstance(item["S3Output"]["S3Uri"], str):
                    item["S3Output"]["S3Uri"] = "OUTPUT"
        return doc

    assert normal(made) == normal(kept)


def test_javascript_sdk(quern, tmp_path):
    """The same pipeline through @aws-sdk/client-sagemaker gives the same metrics."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    work = os.path.join(helpers.ROOT, "build", "js")
    os.makedirs(work, exist_ok=True)
    if not os.path.exists(os.path.join(work, "node_modules", "@aws-sdk", "client-sagemaker")):
        result = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", work, "@aws-sdk/client-sagemaker@3", "@aws-sdk/client-s3@3"], capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip("the npm registry cannot be reached")
    for name in ("start.mjs", "definition.json", "preprocess.py"):
        shutil.copy(os.path.join(helpers.ARTICLE, name), work)
    shutil.copytree(os.path.join(helpers.ARTICLE, "data"), os.path.join(work, "data"), dirs_exist_ok=True)
    result = subprocess.run(["node", "start.mjs"], cwd=work, env=dict(os.environ, **quern.env), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    answer = json.loads(result.stdout.strip().splitlines()[-1])
    assert answer["status"] == "Succeeded"
    _, metrics = check_result(quern, answer["PipelineExecutionArn"], tmp_path)
    assert 0.5 < metrics["train:rmse"] < metrics["validation:rmse"] < 3


def test_cli_shows_it(quern, from_json):
    helpers.finish(quern, from_json)
    identifier = from_json.rsplit("/", 1)[1]
    listed = quern.cli("ps", "-a").stdout
    assert identifier in listed and "Succeeded" in listed
    assert any(e.get("PipelineExecutionArn") == from_json for e in json.loads(quern.cli("ps", "-a", "--json").stdout))
    text = quern.cli("logs", identifier, "TrainModel").stdout
    assert "[49]" in text and "validation-rmse" in text and "TrainModel | " in text
    assert "features" in quern.cli("logs", identifier).stdout


def test_aws_cli(quern, from_json):
    if not shutil.which("aws"):
        pytest.skip("the aws CLI is not installed")
    env = dict(os.environ, **quern.env)
    names = subprocess.run(["aws", "--endpoint-url", quern.endpoint, "sagemaker", "list-pipelines", "--query", "PipelineSummaries[].PipelineName"], env=env, capture_output=True, text=True)
    assert names.returncode == 0, names.stderr
    assert "FromJson" in json.loads(names.stdout)
    listed = subprocess.run(["aws", "--endpoint-url", quern.endpoint, "s3", "ls", "s3://my-bucket/model-artifacts/"], env=env, capture_output=True, text=True)
    assert listed.returncode == 0 and "PRE pipelines-" in listed.stdout
