"""iam and sts over HTTP with boto3, against a server that has only these two (iam_server.c)."""

import json
import os
import subprocess
import tempfile
import threading

import pytest

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVER = os.environ.get("IAM_SERVER", os.path.join(ROOT, "build", "tests", "iam", "iam_server"))
ACCOUNT = "123456789012"
DEFAULT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/QuernExecutionRole"
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}'

ALLOW = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'

if not os.path.exists(SERVER):
    pytest.skip(f"{SERVER} is not built", allow_module_level=True)


class Server:
    def __init__(self, folder):
        self.folder = folder
        self.start()

    def start(self):
        self.process = subprocess.Popen([SERVER, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=120) == 0

    def keys(self):
        with open(os.path.join(self.folder, "credentials"), encoding="ascii") as f:
            lines = dict(line.strip().split(" = ") for line in f if "=" in line)
        return {k: lines[k] for k in ("aws_access_key_id", "aws_secret_access_key")}

    def client(self, service, **keys):
        return boto3.client(service, endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1",
                            config=Config(retries={"max_attempts": 1}), **(keys or self.keys()))


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory(prefix="iam-api-") as folder:
        s = Server(folder)
        yield s
        s.stop()


def session_keys(credentials):
    return {"aws_access_key_id": credentials["AccessKeyId"], "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"]}


def refused(code, status, call, **arguments):
    with pytest.raises(ClientError) as e:
        call(**arguments)
    assert e.value.response["Error"]["Code"] == code, e.value
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return e.value.response["Error"]["Message"]


def test_identity_is_a_role(server):
    me = server.client("sts").get_caller_identity()
    assert me["Account"] == ACCOUNT
    assert me["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/QuernExecutionRole/quern"
    role = server.client("iam").get_role(RoleName="QuernExecutionRole")["Role"]
    assert role["Arn"] == DEFAULT_ROLE
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == "sts:AssumeRole"
    assert role["CreateDate"].year >= 2024


def test_sagemaker_sdk_finds_its_role(server, monkeypatch):
    sagemaker = pytest.importorskip("sagemaker.session")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    endpoint = f"http://127.0.0.1:{server.port}"
    import sagemaker.session as module

    monkeypatch.setattr(module, "sts_regional_endpoint", lambda region: endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    keys = server.keys()
    session = boto3.Session(region_name="us-east-1", **keys)
    sm = sagemaker.Session(boto_session=session)
    assert sagemaker.get_execution_role(sm) == DEFAULT_ROLE
    assert sm.expand_role("QuernExecutionRole") == DEFAULT_ROLE
    assert sm.account_id() == ACCOUNT


def test_first_keys_are_random_and_private(server):
    """Each new data directory gets keys that have nothing in common, in a file of one's own; nothing else is left beside it."""
    made = [server.keys()]
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="iam-api-") as folder:
            other = Server(folder)
            made.append(other.keys())
            assert [n for n in os.listdir(folder) if n.startswith("credentials")] == ["credentials"]
            assert os.stat(os.path.join(folder, "credentials")).st_mode & 0o777 == 0o600
            other.stop()
    for name, length in (("aws_access_key_id", 20), ("aws_secret_access_key", 40)):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            one, two = made[a][name].removeprefix("AKIA"), made[b][name].removeprefix("AKIA")
            assert len(made[a][name]) == length and sum(x == y for x, y in zip(one, two)) < 8, made


def test_bad_keys(server):
    keys = server.keys()
    refused("InvalidClientTokenId", 403, server.client("sts", aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="x" * 40)
            .get_caller_identity)
    refused("SignatureDoesNotMatch", 403, server.client("sts", **{**keys, "aws_secret_access_key": "x" * 40}).get_caller_identity)
    refused("InvalidClientTokenId", 403, server.client("sts", **keys, aws_session_token="x").get_caller_identity)


def test_role_life(server):
    iam = server.client("iam")
    made = iam.create_role(RoleName="Worker", AssumeRolePolicyDocument=TRUST, Path="/team/", Description="a <b> & c",
                           Tags=[{"Key": "k", "Value": "v"}])["Role"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/Worker"
    assert made["Description"] == "a <b> & c" and made["Tags"] == [{"Key": "k", "Value": "v"}]
    assert [r["RoleName"] for p in iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1}) for r in p["Roles"]] == [
        "QuernExecutionRole", "Worker"]
    iam.attach_role_policy(RoleName="Worker", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    iam.put_role_policy(RoleName="Worker", PolicyName="p", PolicyDocument=ALLOW)
    assert iam.get_role_policy(RoleName="Worker", PolicyName="p")["PolicyDocument"]["Version"] == "2012-10-17"
    text = refused("DeleteConflict", 409, iam.delete_role, RoleName="Worker")
    assert text == "Cannot delete entity, must detach all policies first."
    iam.detach_role_policy(RoleName="Worker", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    iam.delete_role_policy(RoleName="Worker", PolicyName="p")
    iam.delete_role(RoleName="Worker")
    refused("NoSuchEntity", 404, iam.get_role, RoleName="Worker")
    text = refused("ValidationError", 400, iam.get_role, RoleName="x" * 65)
    assert "at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64" in text


def test_assume_role_and_restart(server):
    sts = server.client("sts")
    made = sts.assume_role(RoleArn=DEFAULT_ROLE, RoleSessionName="me", DurationSeconds=900)
    keys = session_keys(made["Credentials"])
    want = f"arn:aws:sts::{ACCOUNT}:assumed-role/QuernExecutionRole/me"
    assert made["AssumedRoleUser"]["Arn"] == want
    assert server.client("sts", **keys).get_caller_identity()["Arn"] == want
    refused("InvalidClientTokenId", 403, server.client("sts", **{**keys, "aws_session_token": "wrong"}).get_caller_identity)
    text = refused("AccessDenied", 403, sts.assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/Nobody", RoleSessionName="me")
    assert "is not authorized to perform: sts:AssumeRole on resource" in text
    before = server.keys()
    server.process.kill()
    server.process.wait()
    server.start()
    assert server.keys() == before
    assert server.client("sts", **keys).get_caller_identity()["Arn"] == want


def test_user_keys(server):
    iam = server.client("iam")
    iam.create_user(UserName="ann", Path="/x/")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    mine = server.client("iam", **keys)
    refused("AccessDenied", 403, mine.get_user)
    own = ALLOW.replace('"Action":"*","Resource":"*"', '"Action":["iam:Get*","iam:List*"],"Resource":"arn:aws:iam::*:user/x/${aws:username}"')
    iam.put_user_policy(UserName="ann", PolicyName="self", PolicyDocument=own)
    assert mine.get_user()["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/x/ann"
    assert [k["AccessKeyId"] for k in mine.list_access_keys()["AccessKeyMetadata"]] == [key["AccessKeyId"]]
    session = server.client("sts", **keys).get_session_token()["Credentials"]
    assert server.client("sts", **session_keys(session)).get_caller_identity()["Arn"].endswith(":user/x/ann")
    iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    refused("InvalidClientTokenId", 403, mine.get_user)
    iam.delete_user_policy(UserName="ann", PolicyName="self")
    iam.delete_user(UserName="ann")


def test_tags_of_policies_and_users(server):
    """What Terraform asks when a tag or a description changes, and before it deletes."""
    iam = server.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
    arn = iam.create_policy(PolicyName="tagged", PolicyDocument=document, Tags=[{"Key": "a", "Value": "1"}])["Policy"]["Arn"]
    iam.create_user(UserName="tagged")
    for tag, untag, listed, read, this in (
            (iam.tag_policy, iam.untag_policy, iam.list_policy_tags, lambda **k: iam.get_policy(**k)["Policy"], {"PolicyArn": arn}),
            (iam.tag_user, iam.untag_user, iam.list_user_tags, lambda **k: iam.get_user(**k)["User"], {"UserName": "tagged"})):
        tag(Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}, {"Key": "c", "Value": "3"}], **this)
        untag(TagKeys=["b", "never"], **this)
        assert listed(**this)["Tags"] == read(**this)["Tags"] == [{"Key": "a", "Value": "2"}, {"Key": "c", "Value": "3"}]
        refused("LimitExceeded", 409, tag, Tags=[{"Key": f"k{i}", "Value": ""} for i in range(49)], **this)
        none = {name: value + "-none" for name, value in this.items()}
        for call, more in ((tag, {"Tags": [{"Key": "a", "Value": ""}]}), (untag, {"TagKeys": ["a"]}), (listed, {})):
            refused("NoSuchEntity", 404, call, **none, **more)
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [(v["VersionId"], v["IsDefaultVersion"]) for v in versions] == [("v1", True)]
    refused("NoSuchEntity", 404, iam.list_policy_versions, PolicyArn=arn + "-none")
    assert iam.list_groups_for_user(UserName="tagged")["Groups"] == []
    refused("NoSuchEntity", 404, iam.list_groups_for_user, UserName="nobody")
    iam.create_role(RoleName="described", AssumeRolePolicyDocument=TRUST, Description="old", MaxSessionDuration=7200)
    role = iam.update_role_description(RoleName="described", Description="new")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 7200)
    assert iam.get_role(RoleName="described")["Role"]["Description"] == "new"
    assert iam.list_instance_profiles_for_role(RoleName="described")["InstanceProfiles"] == []
    refused("NoSuchEntity", 404, iam.list_instance_profiles_for_role, RoleName="nobody")
    iam.delete_policy(PolicyArn=arn)
    iam.delete_user(UserName="tagged")
    iam.delete_role(RoleName="described")


def test_simulation_says_what_this_quern_decides(server):
    iam = server.client("iam")
    actions = ["sagemaker:CreateTrainingJob", "s3:GetObject"]
    iam.create_user(UserName="sim")
    for principal, decision in ((DEFAULT_ROLE, "allowed"), (iam.get_user(UserName="sim")["User"]["Arn"], "implicitDeny")):
        results = iam.simulate_principal_policy(PolicySourceArn=principal, ActionNames=actions)["EvaluationResults"]
        assert [(r["EvalActionName"], r["EvalResourceName"], r["EvalDecision"]) for r in results] == [(a, "*", decision) for a in actions]
    resources = ["arn:aws:s3:::a", "arn:aws:s3:::b"]
    results = iam.simulate_principal_policy(PolicySourceArn=DEFAULT_ROLE, ActionNames=actions, ResourceArns=resources)["EvaluationResults"]
    assert len(results) == 4 and {r["EvalResourceName"] for r in results} == set(resources)
    iam.delete_user(UserName="sim")
    for principal in (f"arn:aws:iam::{ACCOUNT}:user/sim", f"arn:aws:iam::{ACCOUNT}:role/none"):
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            iam.simulate_principal_policy(PolicySourceArn=principal, ActionNames=actions)
    with pytest.raises(iam.exceptions.InvalidInputException):
        iam.simulate_principal_policy(PolicySourceArn="arn:aws:s3:::not-a-principal", ActionNames=actions)


def test_not_built_operation_says_so(server):
    assert refused("NotImplementedException", 501, server.client("iam").create_virtual_mfa_device, VirtualMFADeviceName="g") == "Quern does not implement iam:CreateVirtualMFADevice yet."


def test_many_threads_while_a_key_goes(server):
    """A key that was deleted is refused by every request that starts after the answer, whatever the caches hold."""
    iam = server.client("iam")
    iam.create_user(UserName="bob")
    for _ in range(5):
        key = iam.create_access_key(UserName="bob")["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        gone, wrong = threading.Event(), []

        def ask():
            client = server.client("sts", **keys)
            while True:
                late = gone.is_set()
                try:
                    client.get_caller_identity()
                    if late:
                        wrong.append("answered after the key was deleted")
                        return
                except ClientError:
                    if late:
                        return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for t in threads:
            t.start()
        iam.delete_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"])
        gone.set()
        for t in threads:
            t.join()
        assert not wrong
    iam.delete_user(UserName="bob")
