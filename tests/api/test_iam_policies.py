"""IAM policies decide: users, roles, sessions, resources and conditions, over the AWS protocols."""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from botocore.config import Config

from api import helpers
from api.identities import User, allow, client, deny, document, make_role, refused, session_of, trust


@pytest.fixture(scope="module")
def bucket(quern):
    name = helpers.unique("policy")
    s3 = quern.client("s3")
    s3.create_bucket(Bucket=name)
    for key in ("in/a", "in/b", "out/a"):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


# ---- every operation ----

def test_every_operation_says_what_it_acts_on(quern):
    """A service's access table has a row for each of its operations: without one, no policy could allow it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(quern.endpoint + "/_quern/api") as answer:
        services = json.load(answer)
    assert len(services) > 9 and sum(len(s["implemented"]) for s in services.values()) > 250
    assert {name: s["unguarded"] for name, s in services.items() if s["unguarded"]} == {}


EACH = [
    ("ecs", "list_clusters", {}, "AccessDeniedException", 400, "ecs:ListClusters on resource: *"),
    ("ecs", "describe_tasks", {"tasks": ["abc"]}, "AccessDeniedException", 400, "ecs:DescribeTasks on resource: arn:aws:ecs:us-east-1:000000000000:task/default/abc"),
    ("sagemaker", "list_training_jobs", {}, "AccessDeniedException", 400, "sagemaker:ListTrainingJobs on resource: *"),
    ("sagemaker", "describe_pipeline", {"PipelineName": "Mine"}, "AccessDeniedException", 400, "sagemaker:DescribePipeline on resource: arn:aws:sagemaker:us-east-1:000000000000:pipeline/mine"),
    ("stepfunctions", "list_state_machines", {}, "AccessDeniedException", 400, "states:ListStateMachines on resource: *"),
    ("lambda", "get_function", {"FunctionName": "f:live"}, "AccessDeniedException", 403, "lambda:GetFunction on resource: arn:aws:lambda:us-east-1:000000000000:function:f"),
    ("lambda", "invoke", {"FunctionName": "f:live"}, "AccessDeniedException", 403, "lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:000000000000:function:f:live"),
    ("logs", "describe_log_streams", {"logGroupName": "/g"}, "AccessDeniedException", 400, "logs:DescribeLogStreams on resource: arn:aws:logs:us-east-1:000000000000:log-group:/g:log-stream:"),
    ("ssm", "get_parameter", {"Name": "/a/b"}, "AccessDeniedException", 400, "ssm:GetParameter on resource: arn:aws:ssm:us-east-1:000000000000:parameter/a/b"),
    ("secretsmanager", "get_secret_value", {"SecretId": "s"}, "AccessDeniedException", 400, "secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:us-east-1:000000000000:secret:s"),
    ("ecr", "describe_images", {"repositoryName": "repo"}, "AccessDeniedException", 400, "ecr:DescribeImages on resource: arn:aws:ecr:us-east-1:000000000000:repository/repo"),
    ("iam", "get_role", {"RoleName": "QuernExecutionRole"}, "AccessDenied", 403, "iam:GetRole on resource: arn:aws:iam::000000000000:role/service-role/QuernExecutionRole"),
    ("sts", "get_access_key_info", {"AccessKeyId": "AKIAAAAAAAAAAAAAAAAA"}, "AccessDenied", 403, "sts:GetAccessKeyInfo on resource: *"),
    ("s3", "list_buckets", {}, "AccessDenied", 403, 's3:ListAllMyBuckets on resource: "*"'),
]


@pytest.fixture(scope="module")
def nobody(quern):
    return User(quern)


@pytest.mark.parametrize("service,call,arguments,code,status,asked", EACH, ids=[f"{e[0]}-{e[1]}" for e in EACH])
def test_without_a_policy_nothing_is_allowed(nobody, service, call, arguments, code, status, asked):
    """Each service's shape and text of a refusal."""
    text = refused(getattr(nobody.client(service), call), code, status, **arguments)
    action = asked.split(" ")[0]
    assert text == f"User: {nobody.arn} is not authorized to perform: {asked} because no identity-based policy allows the {action} action"


def test_everybody_may_ask_who_he_is(nobody):
    assert nobody.client("sts").get_caller_identity()["Arn"] == nobody.arn
    session = nobody.client("sts").get_session_token()["Credentials"]
    s3 = client(nobody.quern, "s3", **session_of(nobody.quern, session))
    assert "no identity-based policy allows the s3:ListAllMyBuckets" in refused(s3.list_buckets)


# ---- S3 ----

def test_a_reader_of_one_prefix(quern, bucket):
    user = User(quern, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"), allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"StringLike": {"s3:prefix": "in/*"}}))
    s3 = user.client("s3")
    assert s3.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"in/a"
    assert s3.head_object(Bucket=bucket, Key="in/a")["ContentLength"] == 4
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]] == ["in/a", "in/b"]
    text = refused(s3.get_object, Bucket=bucket, Key="out/a")
    assert text == f'User: {user.arn} is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::{bucket}/out/a" because no identity-based policy allows the s3:GetObject action'
    assert "s3:ListBucket" in refused(s3.list_objects_v2, Bucket=bucket)
    assert "s3:ListBucket" in refused(s3.list_objects_v2, Bucket=bucket, Prefix="out/")
    assert "s3:PutObject" in refused(s3.put_object, Bucket=bucket, Key="in/a", Body=b"x")
    assert "s3:DeleteObject" in refused(s3.delete_object, Bucket=bucket, Key="in/a")
    assert "s3:PutObject" in refused(s3.create_multipart_upload, Bucket=bucket, Key="in/c")
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "in/a"}]})
    assert [e["Code"] for e in gone["Errors"]] == ["AccessDenied"] and "Deleted" not in gone
    assert quern.client("s3").get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"in/a"
    refused(s3.head_object, "403", Bucket=bucket, Key="out/a")
    # Who may not list is not told that a key is missing; who may, is.
    assert "s3:ListBucket" in refused(s3.get_object, Bucket=bucket, Key="in/none")
    user.put(allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"), name="list")
    refused(s3.get_object, "NoSuchKey", 404, Bucket=bucket, Key="in/none")


def test_settings_of_a_bucket_are_actions(quern, bucket):
    user = User(quern, allow("s3:GetBucket*", f"arn:aws:s3:::{bucket}"))
    s3 = user.client("s3")
    for call, action in ((s3.delete_bucket_website, "s3:DeleteBucketWebsite"), (s3.delete_bucket_policy, "s3:DeleteBucketPolicy"),
                         (s3.delete_bucket_lifecycle, "s3:PutLifecycleConfiguration"), (s3.delete_bucket_replication, "s3:PutReplicationConfiguration")):
        assert f'{action} on resource: "arn:aws:s3:::{bucket}"' in refused(call, Bucket=bucket)
    user.put(allow("s3:*", f"arn:aws:s3:::{bucket}"))
    for call in (s3.delete_bucket_website, s3.delete_bucket_policy, s3.delete_bucket_lifecycle, s3.delete_bucket_replication):
        call(Bucket=bucket)


def test_a_presigned_url_is_its_signer(quern, bucket):
    s3 = User(quern, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/a")).client("s3", config=Config(signature_version="s3v4"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(key):
        with opener.open(s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})) as answer:
            return answer.read()

    assert get("in/a") == b"in/a"
    with pytest.raises(urllib.error.HTTPError) as e:
        get("in/b")
    assert e.value.code == 403 and b"<Code>AccessDenied</Code>" in e.value.read()


def test_a_copy_reads_and_writes(quern, bucket):
    source = {"Bucket": bucket, "Key": "in/a"}
    user = User(quern, allow("s3:PutObject", f"arn:aws:s3:::{bucket}/copy/*"))
    s3 = user.client("s3")
    assert f'"arn:aws:s3:::{bucket}/in/a"' in refused(s3.copy_object, Bucket=bucket, Key="copy/a", CopySource=source)
    user.put(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"), name="read")
    s3.copy_object(Bucket=bucket, Key="copy/a", CopySource=source)
    assert f'"arn:aws:s3:::{bucket}/other/a"' in refused(s3.copy_object, Bucket=bucket, Key="other/a", CopySource=source)
    assert "s3:PutObjectTagging" in refused(s3.put_object, Bucket=bucket, Key="copy/b", Body=b"", Tagging="a=b")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="copy/c")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="copy/c", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(Bucket=bucket, Key="copy/c", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert "s3:AbortMultipartUpload" in refused(s3.abort_multipart_upload, Bucket=bucket, Key="copy/c", UploadId=upload)


def test_versions_are_another_action(quern):
    admin, name = quern.client("s3"), helpers.unique("versions")
    admin.create_bucket(Bucket=name)
    admin.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    version = admin.put_object(Bucket=name, Key="k", Body=b"1")["VersionId"]
    s3 = User(quern, allow(["s3:GetObject", "s3:DeleteObject"], f"arn:aws:s3:::{name}/*")).client("s3")
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"1"
    assert "s3:GetObjectVersion " in refused(s3.get_object, Bucket=name, Key="k", VersionId=version)
    assert "s3:DeleteObjectVersion " in refused(s3.delete_object, Bucket=name, Key="k", VersionId=version)
    s3.delete_object(Bucket=name, Key="k")


def test_tags_of_objects_decide(quern, bucket):
    quern.client("s3").put_object(Bucket=bucket, Key="tagged", Body=b"t", Tagging="team=red")
    s3 = User(quern, allow("s3:GetObject", "*", {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}),
              allow(["s3:PutObject", "s3:PutObjectTagging"], "*", {"StringEquals": {"s3:RequestObjectTag/team": "blue"}})).client("s3")
    assert s3.get_object(Bucket=bucket, Key="tagged")["Body"].read() == b"t"
    refused(s3.get_object, Bucket=bucket, Key="in/a")
    s3.put_object(Bucket=bucket, Key="blue", Body=b"", Tagging="team=blue")
    refused(s3.put_object, Bucket=bucket, Key="blue", Body=b"", Tagging="team=green")


# ---- the language ----

def test_a_deny_wins(quern, bucket):
    user = User(quern, attach=["AmazonS3FullAccess"])
    s3 = user.client("s3")
    s3.put_object(Bucket=bucket, Key="w", Body=b"")
    user.put(deny("s3:Put*", f"arn:aws:s3:::{bucket}/*"))
    text = refused(s3.put_object, Bucket=bucket, Key="w", Body=b"")
    assert text == f'User: {user.arn} is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::{bucket}/w" with an explicit deny in an identity-based policy'
    user.iam.delete_user_policy(UserName=user.name, PolicyName="p")
    s3.put_object(Bucket=bucket, Key="w", Body=b"")
    user.iam.detach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    refused(s3.put_object, Bucket=bucket, Key="w", Body=b"")


def test_variables_and_conditions(quern, bucket):
    user = User(quern, allow("s3:*Object", "arn:aws:s3:::" + bucket + "/home/${aws:username}/*"))
    s3 = user.client("s3")
    s3.put_object(Bucket=bucket, Key=f"home/{user.name}/x", Body=b"")
    refused(s3.put_object, Bucket=bucket, Key="home/somebody/x", Body=b"")
    for condition, good in [({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True), ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1"]}}, False),
                            ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True), ({"Bool": {"aws:SecureTransport": "true"}}, True),
                            ({"DateGreaterThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"}}, True), ({"DateLessThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"}}, False),
                            ({"NumericGreaterThan": {"aws:EpochTime": "1700000000"}}, True), ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
                            ({"StringEquals": {"aws:PrincipalType": "User"}, "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/team/*"}}, True),
                            ({"StringLike": {"aws:userid": "AIDA*"}}, True), ({"Null": {"aws:TokenIssueTime": "true"}}, True),
                            ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, False), ({"NumericLessThanEqualsIfExists": {"s3:max-keys": "10"}}, True)]:
        user.put(allow("s3:ListBucket", "*", condition))
        if good:
            s3.list_objects_v2(Bucket=bucket)
        else:
            refused(s3.list_objects_v2, Bucket=bucket)


def test_tags_of_a_request_decide(quern):
    user = User(quern, allow("ecs:CreateCluster", "*", {"StringEquals": {"aws:RequestTag/team": "${aws:username}"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}))
    ecs = user.client("ecs")
    ecs.create_cluster(clusterName=helpers.unique("c"), tags=[{"key": "team", "value": user.name}])
    refused(ecs.create_cluster, "AccessDeniedException", 400, clusterName="c", tags=[{"key": "team", "value": "x"}])
    refused(ecs.create_cluster, "AccessDeniedException", 400, clusterName="c", tags=[{"key": "team", "value": user.name}, {"key": "more", "value": "x"}])
    refused(ecs.create_cluster, "AccessDeniedException", 400, clusterName="c")


BAD = [
    ("{", "This policy contains invalid Json"),
    ("[]", "Syntax errors in policy."),
    (document({"Effect": "Maybe", "Action": "*", "Resource": "*"}), "Syntax errors in policy."),
    (document({"Effect": "Allow", "Action": "*", "Resource": "*", "Color": "red"}), "Syntax errors in policy."),
    (document(allow("s3:*"), version="2020-01-01"), "The policy must contain a valid version string"),
    (document({"Effect": "Allow", "Resource": "*"}), "Policy statement must contain actions."),
    (document({"Effect": "Allow", "Action": "s3:*"}), "Policy statement must contain resources."),
    (document(allow("read")), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
    (document(allow("s3:*", "bucket")), 'Resource bucket must be in ARN format or "*".'),
    (document(allow("s3:*", "arn:aws:s3::bucket")), "The policy failed legacy parsing"),
    (document(allow("s3:*", "arn:aws")), "Resource vendor must be fully qualified and cannot contain regexes."),
    (document(allow("s3:*", "arn:aws:s3:us-east-1::bucket")), "Resource arn:aws:s3:us-east-1::bucket can not contain region information."),
    (document(allow("iam:*", "arn:aws:iam:us-east-1:111122223333:role/R")), "IAM resource arn:aws:iam:us-east-1:111122223333:role/R cannot contain region information."),
    (document(allow("iam:*", "arn:aws:iam::111122223333:R")), 'IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.'),
    (document(), "Syntax errors in policy."),
    (document({**allow("s3:*"), "Principal": "*"}), "Policy document should not specify a principal."),
    (document(allow("s3:*", "*", {"StringIs": {"aws:userid": "x"}})), "Invalid Condition type : StringIs."),
    (document({**allow("s3:*"), "Sid": "a b"}), "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"),
    (document({**allow("s3:*"), "Sid": "a"}, {**allow("s3:*"), "Sid": "a"}), "Statement IDs (SID) in a single policy must be unique."),
]


@pytest.mark.parametrize("text,message", BAD, ids=[m[:40] for _, m in BAD])
def test_documents_are_checked(nobody, text, message):
    assert refused(nobody.iam.put_user_policy, "MalformedPolicyDocument", 400, UserName=nobody.name, PolicyName="bad", PolicyDocument=text) == message
    assert refused(nobody.iam.create_policy, "MalformedPolicyDocument", 400, PolicyName="bad", PolicyDocument=text) == message


@pytest.mark.parametrize("resource", ["arn:aws:s3:::*", "arn:aws:s3:*:*:*", "arn:aws:*", "arn:aws:s3:us-east-1:111122223333:accesspoint/a", "arn:aws:iam::*:role/a/*", "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}", "arn:${aws:PrincipalTag/p}", "arn:aws:logs:*"])
def test_arns_that_may_be_meant(nobody, resource):
    nobody.iam.put_user_policy(UserName=nobody.name, PolicyName="good", PolicyDocument=document(deny("x:y", resource)))
    nobody.iam.delete_user_policy(UserName=nobody.name, PolicyName="good")


def test_trust_policies_are_checked(nobody):
    for text, message in [(document({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
                          (document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*", "Resource": "*"}), "Has prohibited field Resource"),
                          (document({"Effect": "Allow", "Action": "s3:*", "Principal": "*"}), "AssumeRole policy may only specify STS AssumeRole actions.")]:
        assert refused(nobody.iam.create_role, "MalformedPolicyDocument", 400, RoleName="bad", AssumeRolePolicyDocument=text) == message


# ---- managed policies ----

def test_managed_policies_of_aws(quern, bucket):
    iam = quern.client("iam")
    arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    text = iam.get_policy_version(PolicyArn=arn, VersionId=iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"])["PolicyVersion"]["Document"]
    assert "s3:Get*" in json.dumps(text)
    listed = [p["Arn"] for page in iam.get_paginator("list_policies").paginate(Scope="AWS", PaginationConfig={"PageSize": 7}) for p in page["Policies"]]
    assert listed == sorted(set(listed)) and len(listed) > 20 and "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole" in listed
    for one in listed:  # all can be read by those who evaluate them
        text = iam.get_policy_version(PolicyArn=one, VersionId="v1")["PolicyVersion"]["Document"]
        iam.simulate_custom_policy(PolicyInputList=[json.dumps(text)], ActionNames=["s3:GetObject"])
    user = User(quern, attach=["AmazonS3ReadOnlyAccess"])
    user.client("s3").list_objects_v2(Bucket=bucket)
    refused(user.client("s3").put_object, Bucket=bucket, Key="x", Body=b"")
    unknown = refused(iam.attach_user_policy, "NoSuchEntity", 404, UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AlexaForBusinessFullAccess")
    assert "AWS's own" in unknown
    assert iam.list_attached_role_policies(RoleName="QuernExecutionRole")["AttachedPolicies"][0]["PolicyName"] == "AdministratorAccess"


# ---- users' policies, boundaries ----

def test_policies_of_a_user_are_kept(quern):
    user = User(quern, allow("s3:*"), attach=["ReadOnlyAccess"])
    iam = user.iam
    assert iam.list_user_policies(UserName=user.name)["PolicyNames"] == ["p"]
    assert iam.get_user_policy(UserName=user.name, PolicyName="p")["PolicyDocument"]["Statement"] == [allow("s3:*")]
    assert iam.list_attached_user_policies(UserName=user.name)["AttachedPolicies"] == [{"PolicyName": "ReadOnlyAccess", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]
    iam.delete_access_key(UserName=user.name, AccessKeyId=user.keys["aws_access_key_id"])
    assert "detach all policies" in refused(iam.delete_user, "DeleteConflict", 409, UserName=user.name)
    iam.detach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    assert "delete policies" in refused(iam.delete_user, "DeleteConflict", 409, UserName=user.name)
    iam.delete_user_policy(UserName=user.name, PolicyName="p")
    iam.delete_user(UserName=user.name)


def test_a_boundary_limits(quern, bucket):
    user, iam = User(quern, allow("*")), quern.client("iam")
    arn = iam.create_policy(PolicyName=helpers.unique("boundary"), PolicyDocument=document(allow("s3:*"), deny("s3:DeleteObject")))["Policy"]["Arn"]
    user.client("ecs").list_clusters()
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=arn)
    assert iam.get_user(UserName=user.name)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    user.client("s3").list_objects_v2(Bucket=bucket)
    text = refused(user.client("ecs").list_clusters, "AccessDeniedException", 400)
    assert text.endswith("because no permissions boundary allows the ecs:ListClusters action")
    assert refused(user.client("s3").delete_object, Bucket=bucket, Key="none").endswith("with an explicit deny in a permissions boundary")
    refused(iam.delete_policy, "DeleteConflict", 409, PolicyArn=arn)
    iam.delete_user_permissions_boundary(UserName=user.name)
    user.client("ecs").list_clusters()
    name, role = make_role(quern, trust(AWS="*"), allow("*"))
    session = client(quern, "ecs", **session_of(quern, quern.client("sts").assume_role(RoleArn=role, RoleSessionName="one")["Credentials"]))
    session.list_clusters()
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=arn)
    assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    assert "no permissions boundary" in refused(session.list_clusters, "AccessDeniedException", 400)
    iam.delete_role_permissions_boundary(RoleName=name)
    session.list_clusters()


# ---- roles and sessions ----

def test_who_may_assume_a_role(quern):
    user = User(quern)
    sts = user.client("sts")
    _, by_name = make_role(quern, trust(AWS=user.arn))
    _, by_account = make_role(quern, trust(AWS=f"arn:aws:iam::{quern.account}:root"))
    _, others = make_role(quern, trust(Service="ecs-tasks.amazonaws.com"))
    sts.assume_role(RoleArn=by_name, RoleSessionName="one")  # the trust policy names the user: that is enough
    text = refused(sts.assume_role, RoleArn=by_account, RoleSessionName="one")
    assert text == f"User: {user.arn} is not authorized to perform: sts:AssumeRole on resource: {by_account}"
    user.put(allow("sts:AssumeRole", f"arn:aws:iam::{quern.account}:role/team/*"))
    sts.assume_role(RoleArn=by_account, RoleSessionName="one")
    refused(sts.assume_role, RoleArn=others, RoleSessionName="one")
    user.put(deny("sts:AssumeRole"), name="no")
    refused(sts.assume_role, RoleArn=by_name, RoleSessionName="one")
    quern.client("sts").assume_role(RoleArn=others, RoleSessionName="root")


def test_an_external_id(quern):
    user = User(quern, allow("sts:AssumeRole"))
    _, arn = make_role(quern, document({"Effect": "Allow", "Principal": {"AWS": quern.account}, "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "secret"}}}))
    refused(user.client("sts").assume_role, RoleArn=arn, RoleSessionName="one")
    refused(user.client("sts").assume_role, RoleArn=arn, RoleSessionName="one", ExternalId="guess")
    user.client("sts").assume_role(RoleArn=arn, RoleSessionName="one", ExternalId="secret")


def test_a_session_has_its_roles_policies(quern, bucket):
    name, arn = make_role(quern, trust(AWS="*"), allow("s3:*"))
    sts = quern.client("sts")
    whole = client(quern, "s3", **session_of(quern, sts.assume_role(RoleArn=arn, RoleSessionName="whole")["Credentials"]))
    policy = document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"), allow("ecs:*"))
    keys = session_of(quern, sts.assume_role(RoleArn=arn, RoleSessionName="part", Policy=policy)["Credentials"])
    part = client(quern, "s3", **keys)
    whole.put_object(Bucket=bucket, Key="session", Body=b"")
    assert part.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"in/a"
    text = refused(part.get_object, Bucket=bucket, Key="out/a")
    assert text.startswith(f"User: arn:aws:sts::{quern.account}:assumed-role/{name}/part is not authorized") and text.endswith("because no session policy allows the s3:GetObject action")
    assert "no identity-based policy" in refused(client(quern, "ecs", **keys).list_clusters, "AccessDeniedException", 400)
    arns = [{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]
    reader = client(quern, "s3", **session_of(quern, sts.assume_role(RoleArn=arn, RoleSessionName="reader", PolicyArns=arns)["Credentials"]))
    reader.get_object(Bucket=bucket, Key="out/a")
    refused(reader.put_object, Bucket=bucket, Key="session", Body=b"")
    quern.client("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(allow("s3:Get*")))
    refused(whole.put_object, Bucket=bucket, Key="session", Body=b"")
    # A role of the same name that is made later is another one.
    quern.client("iam").delete_role_policy(RoleName=name, PolicyName="p")
    quern.client("iam").delete_role(RoleName=name)
    refused(whole.get_object, Bucket=bucket, Key="in/a")
    quern.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust(AWS="*"))
    quern.client("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(allow("*")))
    refused(whole.get_object, Bucket=bucket, Key="in/a")


def test_simulation_answers_as_the_evaluator(quern):
    user, iam = User(quern, allow("s3:Get*", "arn:aws:s3:::b/*", {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}), deny("s3:GetObjectAcl")), quern.client("iam")

    def ask(*actions, **more):
        results = iam.simulate_principal_policy(PolicySourceArn=user.arn, ActionNames=list(actions), ResourceArns=["arn:aws:s3:::b/k"], **more)["EvaluationResults"]
        return [r["EvalDecision"] for r in results]

    europe = [{"ContextKeyName": "aws:RequestedRegion", "ContextKeyValues": ["eu-west-1"], "ContextKeyType": "string"}]
    assert ask("s3:GetObject", "s3:PutObject", "s3:GetObjectAcl") == ["implicitDeny", "implicitDeny", "explicitDeny"]
    assert ask("s3:GetObject", ContextEntries=europe) == ["allowed"]
    assert ask("s3:PutObject", PolicyInputList=[document(allow("s3:PutObject"))]) == ["allowed"]
    one = iam.simulate_custom_policy(PolicyInputList=[document(allow("s3:*", "*", {"Bool": {"aws:MultiFactorAuthPresent": "true"}}))], ActionNames=["s3:GetObject"])["EvaluationResults"][0]
    assert one["EvalDecision"] == "implicitDeny" and one["MissingContextValues"] == ["aws:MultiFactorAuthPresent"]
    assert [r["EvalDecision"] for r in iam.simulate_principal_policy(PolicySourceArn=quern.role, ActionNames=["sagemaker:CreateTrainingJob"])["EvaluationResults"]] == ["allowed"]


# ---- iam:PassRole ----

def test_giving_a_role_away(quern):
    _, mine = make_role(quern, trust(Service="ecs-tasks.amazonaws.com"))
    user = User(quern, allow(["ecs:*", "states:*"]), allow("iam:PassRole", mine, {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}))
    ecs, sfn = user.client("ecs"), user.client("stepfunctions")
    task = {"family": helpers.unique("pass"), "containerDefinitions": [{"name": "main", "image": "busybox", "memory": 32}]}
    ecs.register_task_definition(**task)
    ecs.register_task_definition(**task, taskRoleArn=mine)
    text = refused(ecs.register_task_definition, "AccessDeniedException", 400, **task, taskRoleArn=quern.role)
    assert text == f"User: {user.arn} is not authorized to perform: iam:PassRole on resource: {quern.role} because no identity-based policy allows the iam:PassRole action"
    # However the role is written, it is the same role.
    sideways = f"arn:aws:iam::{quern.account}:role/team/QuernExecutionRole"
    assert f"on resource: {quern.role} " in refused(ecs.register_task_definition, "AccessDeniedException", 400, **task, executionRoleArn=sideways)
    admin = quern.client("ecs").register_task_definition(**{**task, "family": helpers.unique("admin")}, taskRoleArn=quern.role)["taskDefinition"]["taskDefinitionArn"]
    assert "iam:PassRole" in refused(ecs.run_task, "AccessDeniedException", 400, taskDefinition=admin)
    assert "iam:PassRole" in refused(ecs.run_task, "AccessDeniedException", 400, taskDefinition=task["family"], overrides={"taskRoleArn": quern.role})
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    assert "iam:PassRole" in refused(sfn.create_state_machine, "AccessDeniedException", 400, name="m", definition=definition, roleArn=mine)
    foreign = "arn:aws:iam::111122223333:role/QuernExecutionRole"  # the role of an account in AWS
    assert "iam:PassRole" in refused(sfn.create_state_machine, "AccessDeniedException", 400, name="m", definition=definition, roleArn=foreign)
    quern.client("stepfunctions").create_state_machine(name=helpers.unique("m"), definition=definition, roleArn=foreign)


def test_what_is_read_for_the_caller_is_his_to_read(quern, bucket):
    """Code and definitions in S3; a state that is tested does what its role may."""
    user = User(quern, allow(["lambda:*", "sagemaker:*", "states:*", "iam:PassRole"]))
    code = {"S3Bucket": bucket, "S3Key": "in/a"}
    new = {"FunctionName": helpers.unique("f"), "Runtime": "python3.11", "Role": quern.role, "Handler": "f.f", "Code": code}
    assert f's3:GetObject on resource: "arn:aws:s3:::{bucket}/in/a"' in refused(user.client("lambda").create_function, "AccessDeniedException", 403, **new)
    location = {"PipelineDefinitionS3Location": {"Bucket": bucket, "ObjectKey": "in/a"}}
    assert "s3:GetObject" in refused(user.client("sagemaker").create_pipeline, "AccessDeniedException", 400, PipelineName="p", RoleArn=quern.role, ClientRequestToken="t" * 32, **location)
    if helpers.knows(user.client("stepfunctions"), "TestState"):
        _, arn = make_role(quern, trust(Service="states.amazonaws.com"))
        state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": bucket, "Key": "in/a"}, "End": True}
        assert user.client("stepfunctions").test_state(definition=json.dumps(state), roleArn=arn, input="{}")["error"] == "S3.S3Exception"


# ---- the registry ----

def test_pulls_and_pushes_are_the_users(quern):
    from api.test_ecr import Registry

    ecr, repo = quern.client("ecr"), helpers.unique("iam")
    ecr.create_repository(repositoryName=repo)
    data = b"a layer of " + repo.encode()
    blob = Registry(quern).push_blob(repo, data)
    user = User(quern, attach=["AmazonEC2ContainerRegistryReadOnly"])
    token = user.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(method, path):
        request = urllib.request.Request(f"{quern.endpoint}/v2/{repo}/{path}", method=method, headers={"Authorization": f"Basic {token}"}, data=b"" if method == "POST" else None)
        return opener.open(request)

    with ask("GET", f"blobs/{blob}") as answer:
        assert answer.read() == data
    for method, path, action in [("POST", "blobs/uploads/", "ecr:InitiateLayerUpload"), ("DELETE", f"blobs/{blob}", "ecr:BatchDeleteImage")]:
        with pytest.raises(urllib.error.HTTPError) as e:
            ask(method, path)
        problem = json.load(e.value)["errors"][0]
        assert (e.value.code, problem["code"]) == (403, "DENIED")
        assert f"User: {user.arn} is not authorized to perform: {action} on resource: arn:aws:ecr:us-east-1:{quern.account}:repository/{repo} because" in problem["message"]
    user.iam.attach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser")
    with ask("POST", "blobs/uploads/") as answer:
        assert answer.status == 202
    for arn in ("AmazonEC2ContainerRegistryPowerUser", "AmazonEC2ContainerRegistryReadOnly"):
        user.iam.detach_user_policy(UserName=user.name, PolicyArn=f"arn:aws:iam::aws:policy/{arn}")
    with pytest.raises(urllib.error.HTTPError):
        ask("GET", f"blobs/{blob}")


# ---- what services do for a role ----

def in_a_machine(quern, role, state):
    """The end of an execution with this one Task state."""
    sfn = quern.client("stepfunctions")
    definition = json.dumps({"StartAt": "T", "States": {"T": {"Type": "Task", "End": True, **state}}})
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=definition, roleArn=role)["stateMachineArn"]
    arn = sfn.start_execution(stateMachineArn=machine, name="by-role")["executionArn"]
    quern.wait(lambda: sfn.describe_execution(executionArn=arn)["status"] != "RUNNING")
    return sfn.describe_execution(executionArn=arn)


def test_a_machine_may_what_its_role_may(quern, bucket):
    from api.test_lambda import create

    function = create(quern, quern.client("lambda"))
    function_arn = f"arn:aws:lambda:us-east-1:{quern.account}:function:{function}"
    name, arn = make_role(quern, trust(Service="states.amazonaws.com"), allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"))
    me = f"User: arn:aws:sts::{quern.account}:assumed-role/{name}/by-role is not authorized to perform:"
    for state in ({"Resource": function_arn}, {"Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": function}}):
        end = in_a_machine(quern, arn, state)
        assert (end["status"], end["error"]) == ("FAILED", "Lambda.AWSLambdaException"), end
        assert end["cause"].startswith(f"{me} lambda:InvokeFunction on resource: {function_arn} because no identity-based policy allows the lambda:InvokeFunction action (Service: AWSLambda; Status Code: 403; Error Code: AccessDeniedException;")
    get = {"Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": bucket, "Key": "in/a"}}
    assert json.loads(in_a_machine(quern, arn, get)["output"])["Body"] == "in/a"
    end = in_a_machine(quern, arn, {**get, "Parameters": {"Bucket": bucket, "Key": "out/a"}})
    assert end["error"] == "S3.S3Exception" and f'{me} s3:GetObject on resource: "arn:aws:s3:::{bucket}/out/a"' in end["cause"]
    end = in_a_machine(quern, arn, {"Resource": "arn:aws:states:::ecs:runTask", "Parameters": {"TaskDefinition": "none"}})
    assert end["error"] == "ECS.AccessDeniedException" and f"{me} ecs:RunTask" in end["cause"]
    end = in_a_machine(quern, arn, {"Resource": "arn:aws:states:::aws-sdk:ssm:putParameter", "Parameters": {"Name": "/p", "Value": "v", "Type": "String"}})
    assert end["error"] == "Ssm.SsmException" and f"{me} ssm:PutParameter" in end["cause"]
    other = quern.client("stepfunctions").create_state_machine(name=helpers.unique("m"), definition=json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}), roleArn=quern.role)["stateMachineArn"]
    end = in_a_machine(quern, arn, {"Resource": "arn:aws:states:::states:startExecution", "Parameters": {"StateMachineArn": other}})
    assert end["error"] == "StepFunctions.AWSStepFunctionsException" and f"{me} states:StartExecution on resource: {other}" in end["cause"]
    quern.client("iam").put_role_policy(RoleName=name, PolicyName="call", PolicyDocument=document(allow("lambda:InvokeFunction", function_arn)))
    assert in_a_machine(quern, arn, {"Resource": function_arn})["status"] == "SUCCEEDED"
    foreign = "arn:aws:iam::111122223333:role/service-role/StatesRole"
    assert in_a_machine(quern, foreign, {"Resource": function_arn})["status"] == "SUCCEEDED"


def test_a_distributed_map_reads_and_writes_as_its_role(quern, bucket):
    quern.client("s3").put_object(Bucket=bucket, Key="items.json", Body=b"[1, 2]")
    name, arn = make_role(quern, trust(Service="states.amazonaws.com"))
    inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    reader = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}, "Parameters": {"Bucket": bucket, "Key": "items.json"}}
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "map"}}
    state = {"Type": "Map", "ItemReader": reader, "ItemProcessor": inner, "ResultWriter": writer}
    end = in_a_machine(quern, arn, state)
    assert end["error"] == "States.ItemReaderFailed" and "s3:GetObject" in end["cause"], end
    quern.client("iam").put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/items.json")))
    end = in_a_machine(quern, arn, state)
    assert end["error"] == "States.ResultWriterFailed" and "s3:PutObject" in end["cause"], end
    quern.client("iam").put_role_policy(RoleName=name, PolicyName="write", PolicyDocument=document(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/map/*")))
    assert in_a_machine(quern, arn, state)["status"] == "SUCCEEDED"


def test_a_machine_takes_on_another_role(quern, bucket):
    """Credentials of a Task: the machine's role has to be let in."""
    _, own = make_role(quern, trust(Service="states.amazonaws.com"), allow("lambda:InvokeFunction"))
    _, reader = make_role(quern, trust(AWS=own), allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    _, closed = make_role(quern, trust(Service="lambda.amazonaws.com"), allow("*"))
    get = {"Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": bucket, "Key": "in/a"}}
    assert in_a_machine(quern, own, get)["status"] == "FAILED"
    assert in_a_machine(quern, own, {**get, "Credentials": {"RoleArn": reader}})["status"] == "SUCCEEDED"
    end = in_a_machine(quern, own, {**get, "Credentials": {"RoleArn": closed}})
    refused = ("States.TaskFailed", f"The role {own} is not authorized to assume the task state's role, {closed}.")
    assert (end["error"], end["cause"]) == refused
    child = {"Resource": "arn:aws:states:::states:startExecution", "Parameters": {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:none"}}
    end = in_a_machine(quern, own, {**child, "Credentials": {"RoleArn": closed}})
    assert (end["error"], end["cause"]) == refused


def test_a_container_may_what_its_role_may(quern, bucket):
    """The credentials that a task finds are the role's."""
    from api.test_ecs import awslogs, lines, register, run, stopped

    _, arn = make_role(quern, trust(Service="ecs-tasks.amazonaws.com"), allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/task/*"))
    script = f"""
import boto3
s3 = boto3.client('s3')
s3.put_object(Bucket='{bucket}', Key='task/made', Body=b'made')
print(s3.get_object(Bucket='{bucket}', Key='task/made')['Body'].read())
for call in (lambda: s3.get_object(Bucket='{bucket}', Key='in/a'), lambda: boto3.client('ecs').list_clusters()):
    try:
        call()
        print('allowed')
    except Exception as e:
        print(e)
"""
    group = helpers.unique("/ecs/role")
    definition = register(quern, {"name": "main", "image": helpers.SKLEARN, "memory": 512, "entryPoint": ["python3", "-c"], "command": [script], "logConfiguration": awslogs(group)}, taskRoleArn=arn)
    task = run(quern, definition)
    ended = stopped(quern, task)
    text = lines(quern, group, "p/main/" + task.rsplit("/", 1)[1])
    if any("No module named 'boto3'" in line for line in text):
        pytest.skip("the built-in image has no boto3 on this machine")
    assert ended["containers"][0]["exitCode"] == 0, text
    assert text[0] == "b'made'" and len(text) == 3
    assert "(AccessDenied) when calling the GetObject operation" in text[1] and "no identity-based policy allows the s3:GetObject action" in text[1]
    assert "(AccessDeniedException) when calling the ListClusters operation" in text[2]


def test_a_job_reads_and_writes_as_its_role(quern, bucket):
    """Inputs are staged and outputs are kept with what the role may; jobs of roles that are not kept here go on as on AWS."""
    sagemaker = quern.client("sagemaker")
    quern.client("s3").put_object(Bucket=bucket, Key="code/script.py", Body=b"open('/opt/ml/processing/out/made', 'w').write('x')")
    name, arn = make_role(quern, trust(Service="sagemaker.amazonaws.com"), allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"))

    def job(role=arn):
        made = helpers.unique("job")
        local = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
        sagemaker.create_processing_job(
            ProcessingJobName=made, RoleArn=role, ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
            AppSpecification={"ImageUri": helpers.SKLEARN, "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/script.py"]},
            ProcessingInputs=[{"InputName": "code", "S3Input": {"S3Uri": f"s3://{bucket}/code", "LocalPath": "/opt/ml/processing/code", **local}}],
            ProcessingOutputConfig={"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": f"s3://{bucket}/results", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}}]})
        quern.wait(lambda: sagemaker.describe_processing_job(ProcessingJobName=made)["ProcessingJobStatus"] in ("Completed", "Failed"))
        return sagemaker.describe_processing_job(ProcessingJobName=made)

    me = f"User: arn:aws:sts::{quern.account}:assumed-role/{name}/SageMaker is not authorized to perform:"
    end = job()
    assert end["ProcessingJobStatus"] == "Failed" and f'Could not download s3://{bucket}/code/script.py: {me} s3:GetObject' in end["FailureReason"], end
    iam = quern.client("iam")
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=document(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/code/*")))
    end = job()
    assert end["ProcessingJobStatus"] == "Failed" and f'Artifact upload failed: {me} s3:PutObject on resource: "arn:aws:s3:::{bucket}/results/made"' in end["FailureReason"], end
    iam.put_role_policy(RoleName=name, PolicyName="write", PolicyDocument=document(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/results/*")))
    assert job()["ProcessingJobStatus"] == "Completed"
    assert job("arn:aws:iam::111122223333:role/SageMakerRole")["ProcessingJobStatus"] == "Completed"
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    text = refused(sagemaker.create_training_job, "ValidationException", 400, TrainingJobName=helpers.unique("t"), RoleArn=arn, AlgorithmSpecification={"TrainingImage": helpers.XGBOOST, "TrainingInputMode": "File"},
                   InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in"}}}], OutputDataConfig={"S3OutputPath": f"s3://{bucket}/model"},
                   ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}, StoppingCondition={"MaxRuntimeInSeconds": 60})
    assert text.startswith("No S3 objects found under S3 URL") and f"{me} s3:ListBucket" in text


def test_a_task_starts_as_its_execution_role_may(quern):
    """Secrets, log streams and images are the execution role's business."""
    from api.test_ecs import awslogs, container, register, run, stopped

    secret = quern.client("secretsmanager").create_secret(Name=helpers.unique("secret"), SecretString="hush")["ARN"]
    group = helpers.unique("/ecs/execution")
    name, arn = make_role(quern, trust(Service="ecs-tasks.amazonaws.com"))
    definition = register(quern, container(quern, "test $S = hush", secrets=[{"name": "S", "valueFrom": secret[:-7]}], logConfiguration=awslogs(group)), executionRoleArn=arn)
    iam = quern.client("iam")

    def end():
        task = stopped(quern, run(quern, definition))
        me = f"AccessDeniedException: User: arn:aws:sts::{quern.account}:assumed-role/{name}/{task['taskArn'].rsplit('/', 1)[1]} is not authorized to perform:"
        return task, task.get("stoppedReason", ""), me

    task, reason, me = end()
    assert task["stopCode"] == "TaskFailedToStart"
    assert reason.startswith("ResourceInitializationError: unable to pull secrets or registry auth:") and f"{me} secretsmanager:GetSecretValue on resource: {secret} " in reason
    iam.put_role_policy(RoleName=name, PolicyName="secret", PolicyDocument=document(allow("secretsmanager:GetSecretValue", secret)))
    task, reason, me = end()
    needed = ["ecr:GetAuthorizationToken", "logs:CreateLogGroup"]
    assert any(f"{me} {action}" in reason for action in needed), reason
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    task, reason, me = end()
    assert reason.startswith("ResourceInitializationError: failed to validate logger args") and f"{me} logs:CreateLogGroup on resource: arn:aws:logs:us-east-1:{quern.account}:log-group:{group}:log-stream: " in reason
    iam.put_role_policy(RoleName=name, PolicyName="group", PolicyDocument=document(allow("logs:CreateLogGroup", f"arn:aws:logs:*:*:log-group:{group}:*")))
    task, reason, me = end()
    assert task["containers"][0]["exitCode"] == 0, task


# ---- the aws CLI, and the switch ----

def test_the_cli_shows_the_text(quern, nobody):
    aws = shutil.which("aws")
    if not aws:
        pytest.skip("no aws CLI here")
    env = {**os.environ, "AWS_ACCESS_KEY_ID": nobody.keys["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": nobody.keys["aws_secret_access_key"], "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run([aws, "--endpoint-url", quern.endpoint, "ecs", "list-clusters"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert f"An error occurred (AccessDeniedException) when calling the ListClusters operation: User: {nobody.arn} is not authorized to perform: ecs:ListClusters" in done.stderr


def test_policies_may_be_ignored(own_quern):
    own_quern.down()
    own_quern.up("--iam", "ignore")
    user = User(own_quern)
    user.client("ecs").list_clusters()
    token = user.client("sts").get_session_token()["Credentials"]
    assert "IAM policies are ignored" in own_quern.cli("doctor", check=False).stdout
    assert "IAM policies are ignored" in own_quern.cli("env").stderr
    own_quern.down()
    own_quern.up()
    refused(user.client("ecs").list_clusters, "AccessDeniedException", 400)
    refused(client(own_quern, "ecs", **session_of(own_quern, token)).list_clusters, "AccessDeniedException", 400)
    assert "IAM policies are evaluated" in own_quern.cli("doctor", check=False).stdout
