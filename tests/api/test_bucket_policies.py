"""Bucket policies: what S3 refuses to keep, and what they decide beside the policies of who asks."""

import json

import pytest

from api import helpers
from api.identities import User, allow, client, deny, document, make_role, refused, session_of, trust


@pytest.fixture
def bucket(quern):
    name = helpers.unique("guarded")
    quern.client("s3").create_bucket(Bucket=name)
    return name


def grant(principal, action, resource, effect="Allow", **more):
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource, **more}


def arn(bucket, key=None):
    return f"arn:aws:s3:::{bucket}" + ("" if key is None else f"/{key}")


def test_a_policy_is_kept_and_shown(quern, bucket):
    s3 = quern.client("s3")
    assert refused(s3.get_bucket_policy, "NoSuchBucketPolicy", 404, Bucket=bucket) == "The bucket policy does not exist"
    refused(s3.get_bucket_policy_status, "NoSuchBucketPolicy", 404, Bucket=bucket)
    text = document(grant({"AWS": quern.account}, "s3:GetObject", arn(bucket, "*")))
    assert s3.put_bucket_policy(Bucket=bucket, Policy=text)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"] == {"IsPublic": False}
    s3.delete_bucket_policy(Bucket=bucket)
    refused(s3.get_bucket_policy, "NoSuchBucketPolicy", 404, Bucket=bucket)
    assert s3.delete_bucket_policy(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    # another bucket of the same name starts without
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    refused(s3.get_bucket_policy, "NoSuchBucketPolicy", 404, Bucket=bucket)
    refused(s3.put_bucket_policy, "NoSuchBucket", 404, Bucket=helpers.unique("none"), Policy=text)


def test_what_is_no_policy_is_refused(quern, bucket):
    s3 = quern.client("s3")
    good = grant("*", "s3:GetObject", arn(bucket, "*"))
    cases = [("", "Policies must be valid JSON and the first byte must be '{'"),
             ("[]", "Policies must be valid JSON and the first byte must be '{'"),
             ({"Version": "2012-10-17"}, "Missing required field Statement"),
             ({"Version": "2012-10-17", "Statement": []}, "Could not parse the policy: Statement is empty!"),
             ({"Version": "2024-01-01", "Statement": good}, "The policy must contain a valid version string"),
             ({"Statement": good, "Owner": "me"}, "Unknown field Owner"),
             ({"Statement": {**good, "Actions": "s3:*"}}, "Unknown field Actions"),
             ({"Statement": {**good, "Effect": "Perhaps"}}, "Invalid effect: Perhaps"),
             ({"Statement": {k: v for k, v in good.items() if k != "Effect"}}, "Missing required field Effect"),
             ({"Statement": {k: v for k, v in good.items() if k != "Principal"}}, "Missing required field Principal"),
             ({"Statement": {k: v for k, v in good.items() if k != "Action"}}, "Missing required field Action"),
             ({"Statement": {k: v for k, v in good.items() if k != "Resource"}}, "Missing required field Resource"),
             ({"Statement": {**good, "Action": "s3:Gett"}}, "Policy has invalid action"),
             ({"Statement": {**good, "Action": "sqs:SendMessage"}}, "Policy has invalid action"),
             ({"Statement": {**good, "Resource": "*"}}, "Policy has invalid resource"),
             ({"Statement": {**good, "Resource": arn("another-bucket", "*")}}, "Policy has invalid resource"),
             ({"Statement": {**good, "Resource": arn(bucket)}}, "Action does not apply to any resource(s) in statement"),
             ({"Statement": {**good, "Action": ["s3:GetObject", "s3:ListBucket"]}}, "Action does not apply to any resource(s) in statement"),
             ({"Statement": {**good, "Principal": "me"}}, "Invalid principal in policy"),
             ({"Statement": {**good, "Principal": {"AWS": "arn:aws:iam::*:role/x"}}}, "Invalid principal in policy"),
             ({"Statement": {**good, "Principal": {"AWS": f"arn:aws:iam::{quern.account}:role/nobody"}}}, "Invalid principal in policy"),
             ({"Statement": {**good, "Principal": {"Service": "example.com"}}}, "Invalid principal in policy"),
             ({"Statement": {**good, "Sid": "x" * 21000}}, "Normalized policy document exceeds the maximum allowed size of 20480 bytes")]
    for policy, text in cases:
        assert refused(s3.put_bucket_policy, "MalformedPolicy", 400, Bucket=bucket, Policy=policy if isinstance(policy, str) else json.dumps(policy)) == text, policy
    refused(s3.put_bucket_policy, "MalformedPolicy", 400, Bucket=bucket, Policy=json.dumps({"Statement": {**good, "Condition": {"StringIs": {"aws:username": "x"}}}}))
    refused(s3.get_bucket_policy, "NoSuchBucketPolicy", 404, Bucket=bucket)
    for fine in [{**good, "Action": "s3:*"}, {**good, "Action": "S3:get*", "Resource": arn(bucket + "*")}, {**good, "Principal": {"AWS": "*"}, "Resource": [arn(bucket), arn(bucket, "*")]},
                 {**good, "Principal": {"Service": "logging.s3.amazonaws.com"}}, {**good, "Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:role/x"]}}]:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": fine}))


def test_a_policy_lets_in_and_keeps_out(quern, bucket):
    admin, user, other = quern.client("s3"), User(quern), User(quern, allow("s3:*"))
    mine, theirs = user.client("s3"), other.client("s3")
    admin.put_object(Bucket=bucket, Key="a/x", Body=b"1")

    def policy(*statements):
        admin.put_bucket_policy(Bucket=bucket, Policy=document(*statements))

    refused(mine.get_object, Bucket=bucket, Key="a/x")
    policy(grant({"AWS": user.arn}, "s3:GetObject", arn(bucket, "a/*")), grant({"AWS": user.arn}, "s3:ListBucket", arn(bucket), Condition={"StringLike": {"s3:prefix": "a/*"}}))
    assert mine.get_object(Bucket=bucket, Key="a/x")["Body"].read() == b"1"
    assert mine.list_objects_v2(Bucket=bucket, Prefix="a/")["KeyCount"] == 1
    refused(mine.list_objects_v2, Bucket=bucket)
    refused(mine.get_object, Bucket=bucket, Key="b/x")
    refused(mine.put_object, Bucket=bucket, Key="a/y", Body=b"")
    # the account as a principal leaves it to the policies of its users
    policy(grant({"AWS": f"arn:aws:iam::{quern.account}:root"}, "s3:*", arn(bucket, "*")))
    refused(mine.get_object, Bucket=bucket, Key="a/x")
    # a Deny wins over what the user's own policies allow, and hits copies from the bucket too
    policy(grant("*", "s3:GetObject", arn(bucket, "*")), grant({"AWS": other.arn}, "s3:GetObject", arn(bucket, "a/*"), "Deny"))
    mine.get_object(Bucket=bucket, Key="a/x")
    text = refused(theirs.get_object, Bucket=bucket, Key="a/x")
    assert text == f'User: {other.arn} is not authorized to perform: s3:GetObject on resource: "{arn(bucket, "a/x")}" with an explicit deny in a resource-based policy'
    refused(theirs.copy_object, Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/x"})
    # everybody but one
    policy(grant({"AWS": [other.arn, f"arn:aws:iam::{quern.account}:root"]}, "s3:PutObject", arn(bucket, "*")),
           {"Effect": "Deny", "NotPrincipal": {"AWS": [user.arn, f"arn:aws:iam::{quern.account}:root"]}, "Action": "s3:PutObject", "Resource": arn(bucket, "*")})
    refused(theirs.put_object, Bucket=bucket, Key="c", Body=b"")
    # by what the request says
    policy(grant("*", "s3:PutObject", arn(bucket, "*"), "Deny", Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}))
    refused(theirs.put_object, Bucket=bucket, Key="c", Body=b"")
    theirs.put_object(Bucket=bucket, Key="c", Body=b"", ServerSideEncryption="aws:kms")
    # Terraform's and the CDK's usual one: over loopback nobody listens
    policy(grant("*", "s3:*", [arn(bucket), arn(bucket, "*")], "Deny", Condition={"Bool": {"aws:SecureTransport": "false"}}))
    theirs.put_object(Bucket=bucket, Key="c", Body=b"")
    # keys of one request are asked one by one
    policy(grant("*", "s3:DeleteObject", arn(bucket, "a/*"), "Deny"))
    answer = theirs.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/x"}, {"Key": "c"}]})
    assert [e["Key"] for e in answer["Errors"]] == ["a/x"] and [d["Key"] for d in answer["Deleted"]] == ["c"]


def test_a_role_and_its_sessions(quern, bucket):
    admin = quern.client("s3")
    name, role = make_role(quern, trust(AWS=quern.account))
    limited = json.dumps({"Version": "2012-10-17", "Statement": allow("s3:ListBucket")})
    sts = quern.client("sts")

    def session(**more):
        return client(quern, "s3", **session_of(quern, sts.assume_role(RoleArn=role, RoleSessionName="here", **more)["Credentials"]))

    free, bound = session(), session(Policy=limited)
    refused(free.put_object, Bucket=bucket, Key="k", Body=b"")
    admin.put_bucket_policy(Bucket=bucket, Policy=document(grant({"AWS": role}, "s3:PutObject", arn(bucket, "*"))))
    free.put_object(Bucket=bucket, Key="k", Body=b"")
    refused(bound.put_object, Bucket=bucket, Key="k", Body=b"")  # the session's own policy does not allow it
    admin.put_bucket_policy(Bucket=bucket, Policy=document(grant({"AWS": f"arn:aws:sts::{quern.account}:assumed-role/{name}/here"}, "s3:PutObject", arn(bucket, "*"))))
    bound.put_object(Bucket=bucket, Key="k", Body=b"")  # named himself
    admin.put_bucket_policy(Bucket=bucket, Policy=document(grant("*", "s3:*", arn(bucket, "*"), "Deny", Condition={"ArnNotEquals": {"aws:PrincipalArn": role}})))
    quern.client("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(allow("s3:*")))
    free.put_object(Bucket=bucket, Key="k", Body=b"")
    refused(admin.put_object, Bucket=bucket, Key="k", Body=b"")


def test_the_owner_is_kept_out_too_but_mends_it(quern, bucket):
    s3, user = quern.client("s3"), User(quern, allow("s3:*"))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.put_bucket_policy(Bucket=bucket, Policy=document(grant("*", "s3:*", [arn(bucket), arn(bucket, "*")], "Deny")))
    assert "with an explicit deny in a resource-based policy" in refused(s3.get_object, Bucket=bucket, Key="k")
    for call, more in [(s3.put_object, {"Key": "k"}), (s3.delete_object, {"Key": "k"}), (s3.list_objects_v2, {}), (s3.list_objects_v2, {}), (s3.delete_bucket, {}), (s3.get_bucket_tagging, {})]:
        refused(call, Bucket=bucket, **more)
    for call in (user.client("s3").get_bucket_policy, user.client("s3").delete_bucket_policy):
        refused(call, Bucket=bucket)
    other = helpers.unique("other")
    s3.create_bucket(Bucket=other)
    refused(s3.copy_object, Bucket=other, Key="k", CopySource={"Bucket": bucket, "Key": "k"})
    assert "Deny" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    s3.get_object(Bucket=bucket, Key="k")


def test_public_policies_can_be_blocked(quern, bucket):
    s3 = quern.client("s3")
    everybody = grant("*", "s3:GetObject", arn(bucket, "*"))
    cases = [(everybody, True), ({**everybody, "Principal": {"AWS": ["111122223333", "*"]}}, True), ({**everybody, "Effect": "Deny"}, False),
             ({**everybody, "Principal": {"AWS": "111122223333"}}, False),
             ({**everybody, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False), ({**everybody, "Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
             ({**everybody, "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True), ({**everybody, "Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
             ({**everybody, "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}}, False), ({**everybody, "Condition": {"StringLike": {"aws:userid": "AROAX:*"}}}, True),
             ({**everybody, "Condition": {"StringEquals": {"s3:prefix": "x"}}}, True)]
    for statement, public in cases:
        s3.put_bucket_policy(Bucket=bucket, Policy=document(statement))
        assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] == public, statement
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    text = refused(s3.put_bucket_policy, Bucket=bucket, Policy=document(everybody))
    assert text.endswith(f'is not authorized to perform: s3:PutBucketPolicy on resource: "{arn(bucket)}" because public policies are blocked by the BlockPublicPolicy block public access setting.')
    s3.put_bucket_policy(Bucket=bucket, Policy=document({**everybody, "Principal": {"AWS": quern.account}}))
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=document(everybody))


def test_a_policy_holds_after_a_restart(own_quern):
    s3, name = own_quern.client("s3"), helpers.unique("guarded")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(Bucket=name, Policy=document(grant("*", "s3:PutObject", arn(name, "*"), "Deny")))
    own_quern.down()
    own_quern.up()
    refused(own_quern.client("s3").put_object, Bucket=name, Key="k", Body=b"")
    own_quern.down()
    own_quern.up("--iam", "ignore")
    own_quern.client("s3").put_object(Bucket=name, Key="k", Body=b"")


def test_states_machines_are_asked_too(quern, bucket):
    """What a machine's role reads of a bucket is a question about the bucket as well."""
    s3, sfn = quern.client("s3"), quern.client("stepfunctions")
    _, role = make_role(quern, trust(Service="states.amazonaws.com"))
    s3.put_object(Bucket=bucket, Key="k", Body=b"{}")
    state = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": bucket, "Key": "k"}, "End": True}
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps({"StartAt": "A", "States": {"A": state}}), roleArn=role)["stateMachineArn"]

    def status():
        execution = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        quern.wait(lambda: sfn.describe_execution(executionArn=execution)["status"] != "RUNNING")
        return sfn.describe_execution(executionArn=execution)["status"]

    assert status() == "FAILED"
    s3.put_bucket_policy(Bucket=bucket, Policy=document(grant({"AWS": role}, "s3:GetObject", arn(bucket, "*"))))
    assert status() == "SUCCEEDED"
    s3.put_bucket_policy(Bucket=bucket, Policy=document(grant("*", "s3:GetObject", arn(bucket, "*"), "Deny")))
    assert status() == "FAILED"


def test_no_identity_without_a_policy(quern, bucket):
    """A bucket with a policy changes nothing for other buckets."""
    user, s3 = User(quern, deny("s3:*")), quern.client("s3")
    s3.put_bucket_policy(Bucket=bucket, Policy=document(grant("*", "s3:*", arn(bucket, "*"))))
    refused(user.client("s3").put_object, Bucket=bucket, Key="k", Body=b"")  # his own Deny
    other = helpers.unique("other")
    s3.create_bucket(Bucket=other)
    refused(User(quern).client("s3").put_object, Bucket=other, Key="k", Body=b"")
    s3.put_object(Bucket=other, Key="k", Body=b"")
