"""What an account has beside users and roles: versions of policies, groups, instance profiles, tags, an alias."""

import json

import pytest

from api import helpers
from api.identities import User, allow, client, deny, document, make_role, refused, session_of, trust

LIST = "s3:ListAllMyBuckets"


@pytest.fixture(scope="module")
def iam(quern):
    return quern.client("iam")


def may(user):
    s3 = user.client("s3")
    try:
        s3.list_buckets()
        return True
    except s3.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == "AccessDenied"
        return False


def conflict(call, **arguments):
    return refused(call, "DeleteConflict", 409, **arguments)


def missing(call, **arguments):
    return refused(call, "NoSuchEntity", 404, **arguments)


# ---- versions of policies ----

def test_the_version_that_counts(quern, iam):
    user = User(quern)
    made = iam.create_policy(PolicyName=helpers.unique("p"), PolicyDocument=document(allow(LIST)), Path="/a/")["Policy"]
    arn = made["Arn"]
    assert (made["DefaultVersionId"], made["UpdateDate"]) == ("v1", made["CreateDate"])
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    assert may(user)
    second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:GetObject")))["PolicyVersion"]
    assert (second["VersionId"], second["IsDefaultVersion"]) == ("v2", False) and "Document" not in second
    assert may(user)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert not may(user)
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")), SetAsDefault=True)["PolicyVersion"]["IsDefaultVersion"]
    assert may(user)
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (policy["DefaultVersionId"], policy["AttachmentCount"]) == ("v3", 1)
    assert [(v["VersionId"], v["IsDefaultVersion"]) for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == [("v3", True), ("v2", False), ("v1", False)]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"] == json.loads(document(allow("s3:GetObject")))
    assert conflict(iam.delete_policy_version, PolicyArn=arn, VersionId="v3") == "Cannot delete the default version of a policy."
    assert conflict(iam.delete_policy, PolicyArn=arn) == "Cannot delete a policy attached to entities."
    iam.detach_user_policy(UserName=user.name, PolicyArn=arn)
    text = conflict(iam.delete_policy, PolicyArn=arn)
    assert text == "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
    for version in ("v1", "v2"):
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    iam.delete_policy(PolicyArn=arn)
    missing(iam.list_policy_versions, PolicyArn=arn)


def test_a_policy_has_five_versions(iam):
    arn = iam.create_policy(PolicyName=helpers.unique("p"), PolicyDocument=document(allow("*")))["Policy"]["Arn"]
    for n in range(2, 6):
        assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow(f"s3:Get{n}")))["PolicyVersion"]["VersionId"] == f"v{n}"
    text = refused(iam.create_policy_version, "LimitExceeded", 409, PolicyArn=arn, PolicyDocument=document(allow("s3:*")))
    assert text == "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
    pages = list(iam.get_paginator("list_policy_versions").paginate(PolicyArn=arn, PaginationConfig={"PageSize": 2}))
    assert [[v["VersionId"] for v in p["Versions"]] for p in pages] == [["v5", "v4"], ["v3", "v2"], ["v1"]]
    iam.delete_policy_version(PolicyArn=arn, VersionId="v5")
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")))["PolicyVersion"]["VersionId"] == "v6"  # no number comes twice
    for call in (iam.get_policy_version, iam.delete_policy_version, iam.set_default_policy_version):
        assert missing(call, PolicyArn=arn, VersionId="v5") == f"Policy {arn} version v5 does not exist or is not attachable."
    refused(iam.create_policy_version, "MalformedPolicyDocument", 400, PolicyArn=arn, PolicyDocument="{}")
    big = document(*[allow("s3:GetObject", f"arn:aws:s3:::{'b' * 50}{n}/*") for n in range(60)])
    assert refused(iam.create_policy, "LimitExceeded", 409, PolicyName="big", PolicyDocument=big) == "Cannot exceed quota for PolicySize: 6144"
    refused(iam.create_policy_version, "AccessDenied", 403, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess", PolicyDocument=document(allow("*")))


# ---- groups ----

def test_a_user_has_his_groups_policies(quern, iam):
    user, group = User(quern), helpers.unique("group")
    made = iam.create_group(GroupName=group, Path="/team/")["Group"]
    assert made["Arn"] == f"arn:aws:iam::{quern.account}:group/team/{group}" and made["GroupId"].startswith("AGPA")
    assert not may(user)
    iam.put_group_policy(GroupName=group, PolicyName="list", PolicyDocument=document(allow(LIST)))
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    assert may(user)
    assert [u["UserName"] for u in iam.get_group(GroupName=group)["Users"]] == [user.name]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=user.name)["Groups"]] == [group]
    iam.delete_group_policy(GroupName=group, PolicyName="list")
    assert not may(user)
    iam.attach_group_policy(GroupName=group, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    assert may(user)
    renamed = group + "-2"
    iam.update_group(GroupName=group, NewGroupName=renamed, NewPath="/other/")
    assert may(user) and missing(iam.get_group, GroupName=group) == f"The group with name {group} cannot be found."
    assert iam.get_group(GroupName=renamed)["Group"]["Arn"].endswith(f":group/other/{renamed}")
    assert [p["PolicyName"] for p in iam.list_attached_group_policies(GroupName=renamed)["AttachedPolicies"]] == ["AmazonS3ReadOnlyAccess"]
    user.put(deny(LIST))
    assert not may(user)
    iam.delete_user_policy(UserName=user.name, PolicyName="p")
    assert conflict(iam.delete_user, UserName=user.name) == "Cannot delete entity, must remove users from group first."
    assert conflict(iam.delete_group, GroupName=renamed) == "Cannot delete entity, must remove users from group first."
    iam.remove_user_from_group(GroupName=renamed, UserName=user.name)
    assert not may(user)
    missing(iam.remove_user_from_group, GroupName=renamed, UserName=user.name)
    assert conflict(iam.delete_group, GroupName=renamed) == "Cannot delete entity, must detach all policies first."
    iam.detach_group_policy(GroupName=renamed, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    iam.delete_group(GroupName=renamed)


def test_groups_and_their_inline_policies(iam):
    path = f"/{helpers.unique('path')}/"
    names = sorted(helpers.unique("g") for _ in range(3))
    for name in names:
        iam.create_group(GroupName=name, Path=path)
    pages = list(iam.get_paginator("list_groups").paginate(PathPrefix=path, PaginationConfig={"PageSize": 2}))
    assert [[g["GroupName"] for g in p["Groups"]] for p in pages] == [names[:2], names[2:]]
    text = refused(iam.create_group, "EntityAlreadyExists", 409, GroupName=names[0].upper())
    assert text == f"Group with name {names[0].upper()} already exists."
    refused(iam.update_group, "EntityAlreadyExists", 409, GroupName=names[1], NewGroupName=names[0])
    iam.put_group_policy(GroupName=names[0], PolicyName="p", PolicyDocument=document(allow("s3:*")))
    got = iam.get_group_policy(GroupName=names[0], PolicyName="p")
    assert (got["GroupName"], got["PolicyDocument"]) == (names[0], json.loads(document(allow("s3:*"))))
    assert iam.list_group_policies(GroupName=names[0])["PolicyNames"] == ["p"]
    assert missing(iam.get_group_policy, GroupName=names[0], PolicyName="q") == "The group policy with name q cannot be found."
    assert conflict(iam.delete_group, GroupName=names[0]) == "Cannot delete entity, must delete policies first."
    assert missing(iam.add_user_to_group, GroupName=names[0], UserName="nobody") == "The user with name nobody cannot be found."
    big = document(*[allow("s3:GetObject", f"arn:aws:s3:::{'b' * 50}{n}/*") for n in range(60)])
    assert refused(iam.put_group_policy, "LimitExceeded", 409, GroupName=names[0], PolicyName="big", PolicyDocument=big) == f"Maximum policy size of 5120 bytes exceeded for group {names[0]}"


def test_quotas_of_what_is_attached(quern, iam):
    user = User(quern)
    groups = [helpers.unique("g") for _ in range(11)]
    for name in groups:
        iam.create_group(GroupName=name)
    for name in groups[:10]:
        iam.add_user_to_group(GroupName=name, UserName=user.name)
    assert refused(iam.add_user_to_group, "LimitExceeded", 409, GroupName=groups[10], UserName=user.name) == "Cannot exceed quota for GroupsPerUser: 10"
    arns = [iam.create_policy(PolicyName=helpers.unique("p"), PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"] for _ in range(11)]
    for arn in arns[:10]:
        iam.attach_group_policy(GroupName=groups[0], PolicyArn=arn)
    iam.attach_group_policy(GroupName=groups[0], PolicyArn=arns[0])  # again: nothing more
    assert refused(iam.attach_group_policy, "LimitExceeded", 409, GroupName=groups[0], PolicyArn=arns[10]) == "Cannot exceed quota for PoliciesPerGroup: 10"


# ---- users ----

def test_a_user_gets_another_name(quern, iam):
    user, group, to = User(quern, allow(LIST)), helpers.unique("group"), helpers.unique("renamed")
    session = user.client("sts").get_session_token()["Credentials"]
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    assert may(user)
    iam.update_user(UserName=user.name, NewUserName=to, NewPath="/moved/")
    arn = f"arn:aws:iam::{quern.account}:user/moved/{to}"
    assert may(user) and user.client("sts").get_caller_identity()["Arn"] == arn
    sts = client(quern, "sts", **session_of(quern, session))
    assert sts.get_caller_identity()["Arn"] == arn
    assert iam.list_user_policies(UserName=to)["PolicyNames"] == ["p"]
    assert iam.list_access_keys(UserName=to)["AccessKeyMetadata"][0]["AccessKeyId"] == user.keys["aws_access_key_id"]
    assert [u["UserName"] for u in iam.get_group(GroupName=group)["Users"]] == [to]
    missing(iam.get_user, UserName=user.name)
    other = User(quern)
    assert refused(iam.update_user, "EntityAlreadyExists", 409, UserName=other.name, NewUserName=to.upper()) == f"User with name {to.upper()} already exists."
    iam.update_user(UserName=to, NewUserName=to.upper())  # its own, in other letters
    assert may(user)


def test_what_nobody_has_is_asked_for_all_the_same(quern, iam):
    user = User(quern).name
    for call, member in (("list_ssh_public_keys", "SSHPublicKeys"), ("list_mfa_devices", "MFADevices"), ("list_signing_certificates", "Certificates"), ("list_service_specific_credentials", "ServiceSpecificCredentials")):
        assert getattr(iam, call)(UserName=user)[member] == []
        missing(getattr(iam, call), UserName=user + "-none")
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == [] and iam.list_server_certificates()["ServerCertificateMetadataList"] == []
    assert iam.list_saml_providers()["SAMLProviderList"] == [] and iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    for call in (iam.get_login_profile, iam.delete_login_profile):
        assert missing(call, UserName=user) == f"Login Profile for User {user} cannot be found."
    assert missing(iam.get_account_password_policy) == f"The Password Policy with domain name {quern.account} cannot be found."


# ---- instance profiles ----

def test_instance_profiles(quern, iam):
    name = helpers.unique("profile")
    role, role_arn = make_role(quern, trust(Service="ec2.amazonaws.com"))
    made = iam.create_instance_profile(InstanceProfileName=name, Path="/m/", Tags=[{"Key": "team", "Value": "ml"}])["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::{quern.account}:instance-profile/m/{name}" and made["InstanceProfileId"].startswith("AIPA") and made["Roles"] == []
    assert refused(iam.create_instance_profile, "EntityAlreadyExists", 409, InstanceProfileName=name) == f"Instance Profile {name} already exists."
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    text = refused(iam.add_role_to_instance_profile, "LimitExceeded", 409, InstanceProfileName=name, RoleName=role)
    assert text == "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
    got = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [r["Arn"] for r in got["Roles"]] == [role_arn] and got["Tags"] == [{"Key": "team", "Value": "ml"}]
    assert [p["InstanceProfileName"] for p in iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]] == [name]
    assert name in [p["InstanceProfileName"] for p in iam.list_instance_profiles(PathPrefix="/m/")["InstanceProfiles"]]
    for call, arguments in ((iam.delete_role, {"RoleName": role}), (iam.delete_instance_profile, {"InstanceProfileName": name})):
        assert conflict(call, **arguments) == "Cannot delete entity, must remove roles from instance profile first."
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
    missing(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=name)
    assert missing(iam.get_instance_profile, InstanceProfileName=name) == f"Instance Profile {name} cannot be found."


def test_who_puts_a_role_into_a_profile_gives_it_away(quern, iam):
    name = helpers.unique("profile")
    role, arn = make_role(quern, trust(Service="ec2.amazonaws.com"))
    iam.create_instance_profile(InstanceProfileName=name)
    user = User(quern, allow("iam:AddRoleToInstanceProfile"))
    call = {"InstanceProfileName": name, "RoleName": role}
    assert f"iam:PassRole on resource: {arn}" in refused(user.client("iam").add_role_to_instance_profile, **call)
    user.put(allow("iam:PassRole", arn), name="pass")
    user.client("iam").add_role_to_instance_profile(**call)


# ---- tags ----

def tagged(quern, iam, kind):
    """How the four kinds are tagged: the calls, and the argument that names a new one of them."""
    name = helpers.unique("tagged")
    if kind == "policy":
        who = {"PolicyArn": iam.create_policy(PolicyName=name, PolicyDocument=document(allow("*")))["Policy"]["Arn"]}
    elif kind == "role":
        who = {"RoleName": make_role(quern, trust(Service="ec2.amazonaws.com"))[0]}
    elif kind == "user":
        who = {"UserName": User(quern).name}
    else:
        iam.create_instance_profile(InstanceProfileName=name)
        who = {"InstanceProfileName": name}
    return *{
        "role": (iam.tag_role, iam.untag_role, iam.list_role_tags),
        "user": (iam.tag_user, iam.untag_user, iam.list_user_tags),
        "policy": (iam.tag_policy, iam.untag_policy, iam.list_policy_tags),
        "instance_profile": (iam.tag_instance_profile, iam.untag_instance_profile, iam.list_instance_profile_tags),
    }[kind], who


@pytest.mark.parametrize("kind", ["role", "user", "policy", "instance_profile"])
def test_tags(quern, iam, kind):
    tag, untag, tags, who = tagged(quern, iam, kind)
    tag(**who, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    tag(**who, Tags=[{"Key": "A", "Value": "2"}])
    assert sorted((t["Key"], t["Value"]) for t in tags(**who)["Tags"]) == [("A", "2"), ("b", "")]
    assert refused(tag, "InvalidInput", 400, **who, Tags=[{"Key": "x", "Value": "1"}, {"Key": "X", "Value": "2"}]) == "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    untag(**who, TagKeys=["B", "none"])
    tag(**who, Tags=[{"Key": f"k{n:02}", "Value": ""} for n in range(49)])
    assert refused(tag, "LimitExceeded", 409, **who, Tags=[{"Key": "more", "Value": ""}]) == "The number of tags has reached the maximum limit."
    first = tags(**who, MaxItems=30)
    rest = tags(**who, Marker=first["Marker"])
    assert first["IsTruncated"] and not rest["IsTruncated"] and [len(first["Tags"]), len(rest["Tags"])] == [30, 20]
    assert {t["Key"] for t in first["Tags"] + rest["Tags"]} == {"A", *(f"k{n:02}" for n in range(49))}
    missing(tags, **{name: value + "-none" for name, value in who.items()})


# ---- the account ----

def test_the_alias_of_the_account(iam):
    one, two = helpers.unique("alias"), helpers.unique("alias")
    iam.create_account_alias(AccountAlias=one)
    refused(iam.create_account_alias, "EntityAlreadyExists", 409, AccountAlias=one)
    iam.create_account_alias(AccountAlias=two)
    assert iam.list_account_aliases()["AccountAliases"] == [two]
    assert missing(iam.delete_account_alias, AccountAlias=one) == f"The account alias {one} cannot be found."
    iam.delete_account_alias(AccountAlias=two)
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_the_summary_counts(quern, iam):
    before = iam.get_account_summary()["SummaryMap"]
    User(quern)
    iam.create_group(GroupName=helpers.unique("g"))
    arn = iam.create_policy(PolicyName=helpers.unique("p"), PolicyDocument=document(allow("*")))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")))
    after = iam.get_account_summary()["SummaryMap"]
    assert {k: after[k] - before[k] for k in after if after[k] != before[k]} == {"Users": 1, "Groups": 1, "Policies": 1, "PolicyVersionsInUse": 2}
    assert after["VersionsPerPolicyQuota"] == 5


def test_the_details_of_the_account(quern, iam):
    user, group, name = User(quern, allow(LIST)), helpers.unique("g"), helpers.unique("p")
    role, role_arn = make_role(quern, trust(Service="ec2.amazonaws.com"), allow("s3:*"))
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("*")), Description="all")["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")))
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="g", PolicyDocument=document(deny("iam:*")))
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    all_of = {"UserDetailList": "UserName", "GroupDetailList": "GroupName", "RoleDetailList": "RoleName", "Policies": "Arn"}
    whole, paged = iam.get_account_authorization_details(MaxItems=1000), {key: [] for key in all_of}
    for page in iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 3}):
        assert sum(len(page[key]) for key in all_of) <= 3
        for key in all_of:
            paged[key] += page[key]
    assert not whole["IsTruncated"] and paged == {key: whole[key] for key in all_of}
    found = {key: {d[member]: d for d in whole[key]} for key, member in all_of.items()}
    mine = found["UserDetailList"][user.name]
    assert mine["GroupList"] == [group] and mine["AttachedManagedPolicies"] == [{"PolicyName": name, "PolicyArn": arn}]
    assert mine["UserPolicyList"] == [{"PolicyName": "p", "PolicyDocument": json.loads(document(allow(LIST)))}]
    assert found["GroupDetailList"][group]["GroupPolicyList"] == [{"PolicyName": "g", "PolicyDocument": json.loads(document(deny("iam:*")))}]
    mine = found["RoleDetailList"][role]
    assert mine["Arn"] == role_arn and [p["InstanceProfileName"] for p in mine["InstanceProfileList"]] == [name]
    assert mine["RolePolicyList"][0]["PolicyDocument"] == json.loads(document(allow("s3:*")))
    mine = found["Policies"][arn]
    assert mine["DefaultVersionId"] == "v1" and [v["VersionId"] for v in mine["PolicyVersionList"]] == ["v2", "v1"]
    assert mine["PolicyVersionList"][1]["Document"] == json.loads(document(allow("*")))
    assert "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess" in found["Policies"]
    some = iam.get_account_authorization_details(Filter=["Group", "LocalManagedPolicy"], MaxItems=1000)
    assert some["UserDetailList"] == [] and some["GroupDetailList"] and all(quern.account in p["Arn"] for p in some["Policies"])


def test_who_has_a_policy(quern, iam):
    arn = iam.create_policy(PolicyName=helpers.unique("p"), PolicyDocument=document(allow("*")))["Policy"]["Arn"]
    user, bounded, group, (role, _) = User(quern), User(quern), helpers.unique("g"), make_role(quern, trust(Service="ec2.amazonaws.com"))
    iam.create_group(GroupName=group)
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.put_user_permissions_boundary(UserName=bounded.name, PermissionsBoundary=arn)

    def holders(**more):
        pages = list(iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn, PaginationConfig={"PageSize": 1}, **more))
        return {kind: sorted(e[f"{kind}Name"] for p in pages for e in p[f"Policy{kind}s"]) for kind in ("Group", "User", "Role")}

    assert holders() == {"Group": [group], "User": sorted([user.name, bounded.name]), "Role": [role]}
    assert holders(PolicyUsageFilter="PermissionsBoundary") == {"Group": [], "User": [bounded.name], "Role": []}
    assert holders(EntityFilter="User", PolicyUsageFilter="PermissionsPolicy") == {"Group": [], "User": [user.name], "Role": []}
    assert holders(PathPrefix="/team/")["Group"] == []
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (policy["AttachmentCount"], policy["PermissionsBoundaryUsageCount"]) == (3, 1)
    assert arn in [p["Arn"] for p in iam.list_policies(PolicyUsageFilter="PermissionsBoundary")["Policies"]]
    missing(iam.list_entities_for_policy, PolicyArn=arn + "-none")


# ---- keys and service-linked roles ----

def test_when_a_key_was_last_used(quern, iam):
    user = User(quern, allow("*"))
    key = user.keys["aws_access_key_id"]
    never = iam.get_access_key_last_used(AccessKeyId=key)
    assert never["UserName"] == user.name and never["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}

    def last():
        used = iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]
        return used["ServiceName"], used["Region"], used.get("LastUsedDate")

    user.client("s3").list_buckets()
    quern.wait(lambda: last()[0] == "s3")
    assert last()[1] == "us-east-1" and last()[2].year > 2000
    user.client("iam").list_users()
    quern.wait(lambda: last()[0] == "iam")
    missing(iam.get_access_key_last_used, AccessKeyId="AKIA" + "A" * 16)


def test_a_service_linked_role(quern, iam):
    role = iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com", Description="mine")["Role"]
    name, arn = role["RoleName"], f"arn:aws:iam::{quern.account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    assert (name, role["Arn"]) == ("AWSServiceRoleForECS", arn)
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ecs.amazonaws.com"}
    assert [p["PolicyArn"] for p in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]] == ["arn:aws:iam::aws:policy/aws-service-role/AmazonECSServiceRolePolicy"]
    text = refused(iam.create_service_linked_role, "InvalidInput", 400, AWSServiceName="ecs.amazonaws.com")
    assert text == "Service role name AWSServiceRoleForECS has been taken in this account, please try a different suffix."
    refused(iam.create_service_linked_role, "InvalidInput", 400, AWSServiceName="nothing.amazonaws.com")
    protected = f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
    for call, more in ((iam.delete_role, {}), (iam.update_assume_role_policy, {"PolicyDocument": trust(Service="ec2.amazonaws.com")}), (iam.put_role_policy, {"PolicyName": "p", "PolicyDocument": document(allow("*"))}),
                       (iam.detach_role_policy, {"PolicyArn": "arn:aws:iam::aws:policy/aws-service-role/AmazonECSServiceRolePolicy"})):
        assert refused(call, "UnmodifiableEntity", 400, RoleName=name, **more) == protected
    task = iam.delete_service_linked_role(RoleName=name)["DeletionTaskId"]
    assert task.startswith("task/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS/")
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    missing(iam.get_role, RoleName=name)
    missing(iam.get_service_linked_role_deletion_status, DeletionTaskId=task + "x")


# ---- simulation ----

def test_simulation_of_a_group_and_with_a_resource(quern, iam):
    group, user, bucket = helpers.unique("g"), User(quern), "arn:aws:s3:::b"
    made = iam.create_group(GroupName=group)["Group"]
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=document(allow("s3:Get*")))
    ask = {"ActionNames": ["s3:GetObject", "s3:PutObject"], "ResourceArns": [bucket + "/k"]}

    def verdicts(call=iam.simulate_principal_policy, **more):
        return [r["EvalDecision"] for r in call(**ask, **more)["EvaluationResults"]]

    assert verdicts(PolicySourceArn=made["Arn"]) == ["allowed", "implicitDeny"]
    assert verdicts(PolicySourceArn=user.arn) == ["implicitDeny", "implicitDeny"]
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    assert verdicts(PolicySourceArn=user.arn) == ["allowed", "implicitDeny"]
    grants = document({"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "s3:Put*", "Resource": bucket + "/*"}, {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": bucket + "/*"})
    assert verdicts(PolicySourceArn=user.arn, ResourcePolicy=grants) == ["explicitDeny", "allowed"]
    assert verdicts(iam.simulate_custom_policy, PolicyInputList=[document(allow("sts:*"))], ResourcePolicy=grants, CallerArn=user.arn) == ["explicitDeny", "allowed"]
    refused(iam.simulate_custom_policy, "InvalidInput", 400, PolicyInputList=[document(allow("sts:*"))], ResourcePolicy=grants, **ask)
    pages = list(iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=user.arn, PaginationConfig={"PageSize": 1}, **ask))
    assert [[r["EvalActionName"] for r in p["EvaluationResults"]] for p in pages] == [["s3:GetObject"], ["s3:PutObject"]]
