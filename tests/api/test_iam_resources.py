"""Policies of resources decide beside those of who asks: repositories and functions."""

import json

import pytest

from api import helpers
from api.identities import User, allow, client, deny, document, make_role, refused, session_of, trust


def grant(principal, action, effect="Allow", resource=None, **more):
    return {"Effect": effect, "Principal": principal, "Action": action, **({"Resource": resource} if resource else {}), **more}


# ---- repositories ----

@pytest.fixture
def repo(quern):
    name = helpers.unique("shared")
    quern.client("ecr").create_repository(repositoryName=name)
    return name


def test_a_repository_lets_in_and_keeps_out(quern, repo):
    admin, user, other = quern.client("ecr"), User(quern), User(quern, allow("ecr:*"))
    look = {"repositoryName": repo}

    def policy(*statements):
        admin.set_repository_policy(repositoryName=repo, policyText=document(*statements))

    refused(user.client("ecr").list_images, "AccessDeniedException", 400, **look)
    policy(grant({"AWS": user.arn}, ["ecr:ListImages", "ecr:DescribeImages"]))
    assert user.client("ecr").list_images(**look)["imageIds"] == []
    assert "because no identity-based policy allows the ecr:DescribeRepositories action" in refused(user.client("ecr").describe_repositories, "AccessDeniedException", 400, repositoryNames=[repo])
    # the account as a principal leaves it to the policies of its users
    policy(grant({"AWS": f"arn:aws:iam::{quern.account}:root"}, "ecr:*"))
    refused(user.client("ecr").list_images, "AccessDeniedException", 400, **look)
    assert other.client("ecr").list_images(**look)["imageIds"] == []
    policy(grant("*", "ecr:ListImages", Condition={"StringEquals": {"aws:username": user.name}}))
    user.client("ecr").list_images(**look)
    # its Deny wins over all, but for the owner's key
    policy(grant("*", "ecr:ListImages"), grant({"AWS": other.arn}, "ecr:List*", "Deny"))
    text = refused(other.client("ecr").list_images, "AccessDeniedException", 400, **look)
    assert text == f"User: {other.arn} is not authorized to perform: ecr:ListImages on resource: arn:aws:ecr:us-east-1:{quern.account}:repository/{repo} with an explicit deny in a resource-based policy"
    user.client("ecr").list_images(**look)
    policy(grant("*", "ecr:*", "Deny"))
    assert admin.list_images(**look)["imageIds"] == []
    admin.delete_repository_policy(repositoryName=repo)
    other.client("ecr").list_images(**look)
    refused(user.client("ecr").list_images, "AccessDeniedException", 400, **look)


def test_what_limits_a_role_limits_what_a_resource_grants_it(quern, repo):
    admin, iam = quern.client("ecr"), quern.client("iam")
    name, arn = make_role(quern, trust(AWS=quern.account))
    session = f"arn:aws:sts::{quern.account}:assumed-role/{name}/one"
    narrow = document(allow("ecr:DescribeImages"))

    def may(action="ecr:ListImages", **more):
        keys = session_of(quern, quern.client("sts").assume_role(RoleArn=arn, RoleSessionName="one", **more)["Credentials"])
        ecr = client(quern, "ecr", **keys)
        try:
            ecr.list_images(repositoryName=repo)
            return True
        except ecr.exceptions.ClientError as e:
            assert e.response["Error"]["Code"] == "AccessDeniedException", e
            return False

    assert not may()
    for principal, limited in ((arn, False), (session, True)):
        admin.set_repository_policy(repositoryName=repo, policyText=document(grant({"AWS": principal}, "ecr:ListImages")))
        assert may() and may(Policy=narrow) is limited
        boundary = iam.create_policy(PolicyName=helpers.unique("limit"), PolicyDocument=narrow)["Policy"]["Arn"]
        iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
        assert may() is limited
        iam.delete_role_permissions_boundary(RoleName=name)
        iam.put_role_policy(RoleName=name, PolicyName="no", PolicyDocument=document(deny("ecr:ListImages")))
        assert not may()
        iam.delete_role_policy(RoleName=name, PolicyName="no")


def test_the_registry_asks_the_repository(quern, repo):
    from api.test_ecr import Registry

    user = User(quern, allow("ecr:GetAuthorizationToken"))
    registry = Registry(quern)
    registry.auth = "Basic " + user.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert registry("GET", f"/v2/{repo}/tags/list").status == 403
    quern.client("ecr").set_repository_policy(repositoryName=repo, policyText=document(grant({"AWS": user.arn}, "ecr:ListImages")))
    assert registry("GET", f"/v2/{repo}/tags/list").status in (200, 404)
    assert registry("POST", f"/v2/{repo}/blobs/uploads/").status == 403


@pytest.mark.parametrize("bad", [
    {"Effect": "Allow", "Action": "ecr:*"},
    {"Effect": "Allow", "Principal": {"AWS": "nobody"}, "Action": "ecr:*"},
    {"Effect": "Allow", "Principal": "*", "Action": "ListImages"},
    {"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Condition": {"Sometimes": {"aws:username": "x"}}},
], ids=["no-principal", "principal", "action", "condition"])
def test_a_repository_keeps_only_what_can_be_asked(quern, repo, bad):
    ecr = quern.client("ecr")
    text = refused(ecr.set_repository_policy, "InvalidParameterException", 400, repositoryName=repo, policyText=document(bad))
    assert "Invalid repository policy provided" in text
    refused(ecr.get_repository_policy, "RepositoryPolicyNotFoundException", 400, repositoryName=repo)


# ---- functions ----

@pytest.fixture(scope="module")
def function(quern):
    from api.test_lambda import create

    return create(quern, quern.client("lambda"), "def handler(e, c):\n    return 'called'\n")


def test_a_function_lets_in_whom_it_names(quern, function):
    admin, user = quern.client("lambda"), User(quern)
    functions = user.client("lambda")
    refused(functions.invoke, "AccessDeniedException", 403, FunctionName=function)
    text = refused(admin.add_permission, "InvalidParameterValueException", 400, FunctionName=function, StatementId="s", Action="lambda:InvokeFunction", Principal="someone")
    assert text == "The provided principal was invalid. Please check the principal and try again."
    admin.add_permission(FunctionName=function, StatementId="s", Action="lambda:InvokeFunction", Principal=user.arn)
    assert json.load(functions.invoke(FunctionName=function)["Payload"]) == "called"
    refused(functions.get_function, "AccessDeniedException", 403, FunctionName=function)
    # a version and an alias have policies of their own
    version = admin.publish_version(FunctionName=function)["Version"]
    admin.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    refused(functions.invoke, "AccessDeniedException", 403, FunctionName=function, Qualifier="live")
    admin.add_permission(FunctionName=function, Qualifier="live", StatementId="s", Action="lambda:InvokeFunction", Principal=user.arn)
    admin.remove_permission(FunctionName=function, StatementId="s")
    assert json.load(functions.invoke(FunctionName=function, Qualifier="live")["Payload"]) == "called"
    refused(functions.invoke, "AccessDeniedException", 403, FunctionName=function)
    # a service is not a user, and an account's users need their own policies
    admin.add_permission(FunctionName=function, StatementId="service", Action="lambda:InvokeFunction", Principal="events.amazonaws.com")
    admin.add_permission(FunctionName=function, StatementId="account", Action="lambda:InvokeFunction", Principal=quern.account)
    refused(functions.invoke, "AccessDeniedException", 403, FunctionName=function)
    user.put(allow("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{quern.account}:function:{function}"))
    assert json.load(functions.invoke(FunctionName=function)["Payload"]) == "called"
