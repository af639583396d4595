"""Starts the article's pipeline from its JSON definition, with boto3 alone (Debian's old one will do). Prints the execution's ARN."""

import os
import sys

import boto3

here = os.path.dirname(os.path.abspath(__file__))
endpoint = os.environ["AWS_ENDPOINT_URL"]  # botocore before 1.31 does not read it by itself


def client(service):
    return boto3.client(service, endpoint_url=endpoint)


def make_bucket(name):
    s3 = client("s3")
    try:
        s3.create_bucket(Bucket=name)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise


def main():
    account = client("sts").get_caller_identity()["Account"]
    role = f"arn:aws:iam::{account}:role/service-role/QuernExecutionRole"
    make_bucket(f"sagemaker-us-east-1-{account}")  # where the SDK puts what a step hands on
    client("s3").upload_file(os.path.join(here, "preprocess.py"), "my-bucket", "code/preprocess.py")
    with open(os.path.join(here, "definition.json"), encoding="utf-8") as f:
        definition = f.read().replace("${AccountId}", account)
    sagemaker = client("sagemaker")
    name = sys.argv[1] if len(sys.argv) > 1 else "DataToModel"
    request = {"PipelineName": name, "PipelineDefinition": definition, "RoleArn": role}
    try:
        sagemaker.create_pipeline(**request)
    except sagemaker.exceptions.ClientError as error:
        if "already exists" not in str(error):
            raise
        sagemaker.update_pipeline(**request)
    print(sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"])


if __name__ == "__main__":
    main()
