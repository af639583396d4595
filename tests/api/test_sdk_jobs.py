"""Single jobs through the real sagemaker SDK, as its documentation shows them."""

import pytest

from api import helpers

pytest.importorskip("sagemaker.session", reason="the sagemaker SDK is not installed (PyPI out of reach?)")
DONE = ("Completed", "Failed", "Stopped")


def ended(quern, job, kind="Training"):
    """The description of a job that has ended."""
    return quern.wait(lambda: job.describe()[f"{kind}JobStatus"] in DONE and job.describe())


@pytest.fixture
def session(quern):
    from sagemaker.session import Session

    helpers.make_bucket(quern)
    return Session(default_bucket="my-bucket")


def test_attach_to_a_training_job(quern, session):
    """Estimator.attach reads members of Describe that no request of the SDK has."""
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput

    rows = "".join(f"{3 * x},{x}\n" for x in range(40))
    quern.client("s3").put_object(Bucket="my-bucket", Key="attach/train.csv", Body=rows.encode())
    estimator = Estimator(image_uri=helpers.XGBOOST, role=quern.role, instance_count=1, instance_type="ml.m5.large", sagemaker_session=session, output_path="s3://my-bucket/attach-models", tags=[{"Key": "team", "Value": "ds"}])
    estimator.set_hyperparameters(num_round=2)
    estimator.fit({"train": TrainingInput("s3://my-bucket/attach/train.csv", content_type="text/csv")}, wait=False)
    job = ended(quern, estimator.latest_training_job)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    attached = Estimator.attach(job["TrainingJobName"], sagemaker_session=session)
    assert attached.model_data == job["ModelArtifacts"]["S3ModelArtifacts"]
    assert attached.hyperparameters() == {"num_round": "2"} and attached.tags == [{"Key": "team", "Value": "ds"}]
    assert job["OutputDataConfig"] == {"S3OutputPath": "s3://my-bucket/attach-models", "KmsKeyId": "", "CompressionType": "GZIP"}
    assert job["EnableNetworkIsolation"] is False and job["InputDataConfig"][0]["CompressionType"] == "None"
