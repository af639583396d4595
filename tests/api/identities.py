"""Users and roles with policies, and clients that use them."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from api import helpers


def document(*statements, version="2012-10-17"):
    return json.dumps({"Version": version, "Statement": list(statements)})


def allow(action, resource="*", condition=None):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **({"Condition": condition} if condition else {})}


def deny(action, resource="*", condition=None):
    return {**allow(action, resource, condition), "Effect": "Deny"}


def trust(**principal):
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


class User:
    """An IAM user with a key, and clients that use it."""

    def __init__(self, quern, *statements, attach=()):
        self.quern, self.name, self.iam = quern, helpers.unique("user"), quern.client("iam")
        self.arn = self.iam.create_user(UserName=self.name, Path="/team/")["User"]["Arn"]
        key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        self.keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        if statements:
            self.put(*statements)
        for name in attach:
            self.iam.attach_user_policy(UserName=self.name, PolicyArn=f"arn:aws:iam::aws:policy/{name}")

    def put(self, *statements, name="p"):
        self.iam.put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=document(*statements))

    def client(self, service, **more):
        return client(self.quern, service, **self.keys, **more)


def client(quern, service, **keys):
    keys.setdefault("config", Config(retries={"max_attempts": 1}, inject_host_prefix=False))
    return boto3.client(service, endpoint_url=quern.endpoint, region_name="us-east-1", **keys)


def session_of(quern, credentials):
    return {"aws_access_key_id": credentials["AccessKeyId"], "aws_secret_access_key": credentials["SecretAccessKey"], "aws_session_token": credentials["SessionToken"]}


def refused(call, code="AccessDenied", status=403, **arguments):
    with pytest.raises(ClientError) as e:
        call(**arguments)
    assert e.value.response["Error"]["Code"] == code, e.value
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return e.value.response["Error"]["Message"]


def make_role(quern, trust_document, *statements):
    name, iam = helpers.unique("role"), quern.client("iam")
    arn = iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument=trust_document)["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
    return name, arn
