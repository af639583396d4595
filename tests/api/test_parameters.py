"""SSM parameters and Secrets Manager secrets: names, and what the list operations find with filters."""
import uuid

import botocore.exceptions
import pytest

from api import helpers


@pytest.fixture(scope="module")
def ssm(quern):
    return quern.client("ssm")


@pytest.fixture(scope="module")
def root(ssm):
    """Parameters below a path of our own; {short name: type}."""
    at = f"/f{uuid.uuid4().hex[:8]}"
    for name, kind, more in (("/db/host", "String", {"Tags": [{"Key": "team", "Value": "blue"}]}),
                             ("/db/password", "SecureString", {"KeyId": "alias/mine"}),
                             ("/db/replica/hosts", "StringList", {"Tags": [{"Key": "team", "Value": "red"}], "Tier": "Advanced"}),
                             ("/top", "SecureString", {})):
        ssm.put_parameter(Name=at + name, Value="a,b", Type=kind, **more)
    return at


def found(ssm, root, *filters):
    filters = [dict(zip(("Key", "Option", "Values"), f)) if len(f) == 3 else {"Key": f[0], "Values": f[1]} for f in filters]
    pages = ssm.get_paginator("describe_parameters").paginate(ParameterFilters=filters, PaginationConfig={"PageSize": 2})
    return sorted(p["Name"].removeprefix(root) for page in pages for p in page["Parameters"] if p["Name"].startswith(root))


def fault(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def test_describe_parameters(ssm, root):
    assert found(ssm, root, ("Path", "OneLevel", [root])) == ["/top"]
    assert found(ssm, root, ("Path", [root + "/db/"])) == ["/db/host", "/db/password"]
    assert found(ssm, root, ("Path", "Recursive", [root + "/db"])) == ["/db/host", "/db/password", "/db/replica/hosts"]
    assert found(ssm, root, ("Path", "Recursive", [root + "/d"])) == []
    assert found(ssm, root, ("Name", "BeginsWith", [root + "/db/h", root + "/t"])) == ["/db/host", "/top"]
    assert found(ssm, root, ("Name", [root[1:] + "/top"])) == ["/top"]
    assert found(ssm, root, ("Name", "Contains", ["/replica/"]), ("Path", "Recursive", [root])) == ["/db/replica/hosts"]
    assert found(ssm, root, ("Type", ["SecureString", "StringList"])) == ["/db/password", "/db/replica/hosts", "/top"]
    assert found(ssm, root, ("KeyId", ["alias/aws/ssm"])) == ["/top"]
    assert found(ssm, root, ("Tier", ["Advanced"])) == ["/db/replica/hosts"]
    assert found(ssm, root, ("tag:team", ["blue"])) == ["/db/host"]
    assert found(ssm, root, ("tag:team", "BeginsWith", ["r", "x"])) == ["/db/replica/hosts"]
    # a new version keeps the tags
    ssm.put_parameter(Name=root + "/db/host", Value="c", Overwrite=True)
    assert found(ssm, root, ("tag:team", ["blue"])) == ["/db/host"]
    older = ssm.describe_parameters(Filters=[{"Key": "Name", "Values": [root + "/db/p"]}])["Parameters"]
    assert [(p["Name"], p["KeyId"]) for p in older] == [(root + "/db/password", "alias/mine")]


@pytest.mark.parametrize("filters,code", [
    ([{"Key": "Label", "Values": ["x"]}], "InvalidFilterKey"),
    ([{"Key": "Name", "Values": ["x"]}] * 2, "InvalidFilterKey"),
    ([{"Key": "Name"}], "InvalidFilterValue"),
    ([{"Key": "Type", "Values": ["Secret"]}], "InvalidFilterValue"),
    ([{"Key": "Name", "Option": "Recursive", "Values": ["x"]}], "InvalidFilterOption"),
    ([{"Key": "Path", "Option": "Equals", "Values": ["/x"]}], "InvalidFilterOption"),
    ([{"Key": "Path", "Values": ["x"]}], "ValidationException"),
])
def test_describe_parameters_refuses(ssm, filters, code):
    assert fault(ssm.describe_parameters, ParameterFilters=filters) == code


def test_get_parameters_by_path(ssm, root):
    def by_path(path, *filters, recursive=True):
        filters = [{"Key": k, "Values": v} for k, v in filters]
        return sorted(p["Name"].removeprefix(root) for p in
                      ssm.get_parameters_by_path(Path=path, Recursive=recursive, ParameterFilters=filters)["Parameters"])
    assert by_path(root, ("Type", ["SecureString"])) == ["/db/password", "/top"]
    assert by_path(root + "/db", ("Type", ["SecureString"]), recursive=False) == ["/db/password"]
    assert by_path(root, ("KeyId", ["alias/mine"]), ("Type", ["SecureString"])) == ["/db/password"]
    assert by_path(root, ("Label", ["prod"])) == []
    assert fault(ssm.get_parameters_by_path, Path=root, ParameterFilters=[{"Key": "Name", "Values": ["x"]}]) == "InvalidFilterKey"


def test_names_without_a_slash_are_at_the_root(ssm):
    name = f"plain{uuid.uuid4().hex[:8]}"
    ssm.put_parameter(Name=name, Value="1", Type="String")
    ssm.put_parameter(Name=f"/{name}-2/below", Value="2", Type="String")

    def below_root(**more):
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/", **more)
        return sorted(p["Name"] for page in pages for p in page["Parameters"] if name in p["Name"])
    assert below_root() == [name]
    assert below_root(Recursive=True) == [f"/{name}-2/below", name]
    assert fault(ssm.put_parameter, Name=f"{name}/below", Value="3", Type="String") == "ValidationException"


def test_labels(ssm, root):
    name = root + "/labels/a"
    for value in ("one", "two", "three"):
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def value(selector):
        p = ssm.get_parameter(Name=f"{name}:{selector}")["Parameter"]
        assert p["Selector"] == f":{selector}" and p["Name"] == name
        return p["Value"], p["Version"]
    answer = ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["prod", "2nd", "AwsX", "ssm.y", "a b", "v.1-x_Y"])
    assert (answer["ParameterVersion"], answer["InvalidLabels"]) == (1, ["2nd", "AwsX", "ssm.y", "a b"])
    assert ssm.label_parameter_version(Name=name, Labels=["test"])["ParameterVersion"] == 3
    assert [value(s) for s in ("prod", "v.1-x_Y", "test", "2")] == [("one", 1), ("one", 1), ("three", 3), ("two", 2)]
    ssm.label_parameter_version(Name=name, ParameterVersion=2, Labels=["prod"])  # moves
    assert value("prod") == ("two", 2)
    ssm.put_parameter(Name=name, Value="four", Overwrite=True)
    assert value("prod") == ("two", 2) and "Selector" not in ssm.get_parameter(Name=name)["Parameter"]
    history = ssm.get_parameter_history(Name=name)["Parameters"]
    assert [(p["Version"], p["Value"], p["Labels"]) for p in history] == [(1, "one", ["v.1-x_Y"]), (2, "two", ["prod"]), (3, "three", ["test"]), (4, "four", [])]
    pages = ssm.get_paginator("get_parameter_history").paginate(Name=name, PaginationConfig={"PageSize": 3})
    assert [len(page["Parameters"]) for page in pages] == [3, 1]
    found = ssm.get_parameters_by_path(Path=root, Recursive=True, ParameterFilters=[{"Key": "Label", "Values": ["prod", "nothing"]}])["Parameters"]
    assert [(p["Name"], p["Value"]) for p in found] == [(name, "two")]
    both = ssm.get_parameters(Names=[name + ":test", name + ":none"])
    assert [p["Value"] for p in both["Parameters"]] == ["three"] and both["InvalidParameters"] == [name + ":none"]
    assert fault(ssm.get_parameter, Name=name + ":none") == fault(ssm.get_parameter, Name=name + ":9") == "ParameterVersionNotFound"
    assert fault(ssm.get_parameter, Name=name + "b:9") == "ParameterNotFound"
    assert fault(ssm.label_parameter_version, Name=name, ParameterVersion=9, Labels=["x"]) == "ParameterVersionNotFound"
    assert fault(ssm.label_parameter_version, Name=name, ParameterVersion=1, Labels=[f"l{i}" for i in range(10)]) == "ParameterVersionLabelLimitExceeded"
    assert history == ssm.get_parameter_history(Name=name)["Parameters"]  # none of the ten was kept
    answer = ssm.unlabel_parameter_version(Name=name, ParameterVersion=2, Labels=["prod", "test"])
    assert (answer["RemovedLabels"], answer["InvalidLabels"]) == (["prod"], ["test"])
    assert fault(ssm.get_parameter, Name=name + ":prod") == "ParameterVersionNotFound"
    ssm.delete_parameter(Name=name)
    ssm.put_parameter(Name=name, Value="new", Type="String")
    assert fault(ssm.get_parameter, Name=name + ":test") == "ParameterVersionNotFound"


def test_list_secrets(quern):
    secrets = quern.client("secretsmanager")
    mark = uuid.uuid4().hex[:8].translate(str.maketrans("0123456789abcdef", "ghijklmnopqrstuv"))  # no word of it is looked for
    for name, description, tag in (("Database892", "The main store", "blue"), ("databaseCopy", "the copy", "red"), ("other", None, None)):
        more = {"Description": description} if description else {}
        secrets.create_secret(Name=f"{mark}/{name}", SecretString="x", **more,
                              **({"Tags": [{"Key": "colour", "Value": tag}]} if tag else {}))

    def listed(*filters, **more):
        filters = [{"Key": "name", "Values": [mark]}] + [{"Key": k, "Values": v} for k, v in filters]
        pages = secrets.get_paginator("list_secrets").paginate(Filters=filters, PaginationConfig={"PageSize": 1}, **more)
        return sorted(s["Name"].split("/")[1] for page in pages for s in page["SecretList"])
    assert listed() == ["Database892", "databaseCopy", "other"]
    assert listed(("name", [mark + "/D"])) == ["Database892"]
    assert listed(("description", ["THE"])) == ["Database892", "databaseCopy"]
    assert listed(("description", ["the copy", "the m"])) == ["Database892", "databaseCopy"]
    assert listed(("tag-key", ["col"])) == ["Database892", "databaseCopy"]
    assert listed(("tag-value", ["Blue"])) == []
    assert listed(("tag-value", ["!blue"])) == ["databaseCopy", "other"]
    assert listed(("all", ["BLUE copy"])) == ["Database892", "databaseCopy"]
    assert listed(("all", ["892"])) == ["Database892"]
    assert listed(("all", ["abase"])) == []
    assert listed(("primary-region", ["us"])) == []
    secrets.delete_secret(SecretId=f"{mark}/other")
    assert listed() == ["Database892", "databaseCopy"]
    helpers.needs(secrets, "ListSecrets", "IncludePlannedDeletion")
    assert listed(IncludePlannedDeletion=True) == ["Database892", "databaseCopy", "other"]


def test_names_of_secrets(quern):
    """A secret is found by its name, its ARN, or its ARN without the random end; a whole ARN is never taken for the latter."""
    secrets = quern.client("secretsmanager")
    name = uuid.uuid4().hex
    arn = secrets.create_secret(Name=name, SecretString="one")["ARN"]
    longer = arn.rsplit(":", 1)[1]  # a name that looks like the first one with its end
    secrets.create_secret(Name=longer, SecretString="two")

    def value(secret):
        return secrets.get_secret_value(SecretId=secret)["SecretString"]
    assert [value(name), value(arn), value(arn[:-7])] == ["one", "one", "one"]
    assert value(longer) == "two"
    assert fault(secrets.get_secret_value, SecretId=arn[:-8]) == "ResourceNotFoundException"
    secrets.update_secret(SecretId=name, KmsKeyId="alias/other", Description="d")
    assert secrets.describe_secret(SecretId=name)["KmsKeyId"] == "alias/other"
    secrets.update_secret(SecretId=name, Description="e")
    assert secrets.describe_secret(SecretId=name)["KmsKeyId"] == "alias/other"
    # what is there no more, or never was, may be forced away
    for secret in (name, name, "never-was"):
        assert secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)["Name"] == secret
    assert fault(secrets.delete_secret, SecretId=name) == "ResourceNotFoundException"


def test_name_after_the_recovery_window(own_quern):
    """When the window is over the name is free, though nobody else was deleted since."""
    own_quern.client("secretsmanager").create_secret(Name="s", SecretString="old")
    own_quern.client("secretsmanager").delete_secret(SecretId="s", RecoveryWindowInDays=7)
    assert fault(own_quern.client("secretsmanager").create_secret, Name="s") == "InvalidRequestException"
    own_quern.down()
    own_quern.sql("UPDATE secret SET purge_ms=1")  # a week later
    own_quern.up()
    secrets = own_quern.client("secretsmanager")
    secrets.create_secret(Name="s", SecretString="new")
    assert secrets.get_secret_value(SecretId="s")["SecretString"] == "new"


def test_stages_of_a_secret(quern):
    secrets = quern.client("secretsmanager")
    name = helpers.unique("stages")
    secrets.create_secret(Name=name)
    assert fault(secrets.get_secret_value, SecretId=name) == "ResourceNotFoundException"
    put = lambda value, *stages, **more: secrets.put_secret_value(SecretId=name, SecretString=value, **({"VersionStages": list(stages)} if stages else {}), **more)  # noqa: E731
    move = lambda stage, **more: secrets.update_secret_version_stage(SecretId=name, VersionStage=stage, **more)  # noqa: E731
    stages = lambda: {v: sorted(s) for v, s in secrets.describe_secret(SecretId=name)["VersionIdsToStages"].items()}  # noqa: E731

    def value(**which):
        answer = secrets.get_secret_value(SecretId=name, **which)
        return answer["SecretString"], sorted(answer["VersionStages"])
    one = put("one", "mine")  # the first is current, whatever it says
    assert sorted(one["VersionStages"]) == ["AWSCURRENT", "mine"]
    one, two = one["VersionId"], put("two")["VersionId"]
    pending = put("three", "AWSPENDING", "mine", ClientRequestToken=str(uuid.uuid4()))
    three = pending["VersionId"]
    assert sorted(pending["VersionStages"]) == ["AWSPENDING", "mine"]
    assert put("three", "other", ClientRequestToken=three)["VersionStages"] == pending["VersionStages"]  # a repetition changes nothing
    assert fault(secrets.put_secret_value, SecretId=name, SecretString="x", ClientRequestToken=three) == "ResourceExistsException"
    assert stages() == {one: ["AWSPREVIOUS"], two: ["AWSCURRENT"], three: ["AWSPENDING", "mine"]}
    assert value() == ("two", ["AWSCURRENT"]) and value(VersionStage="AWSPREVIOUS") == ("one", ["AWSPREVIOUS"])
    assert value(VersionStage="mine") == value(VersionId=three) == value(VersionId=three, VersionStage="AWSPENDING") == ("three", ["AWSPENDING", "mine"])
    assert fault(secrets.get_secret_value, SecretId=name, VersionId=three, VersionStage="AWSCURRENT") == "InvalidRequestException"
    assert fault(secrets.get_secret_value, SecretId=name, VersionStage="none") == "ResourceNotFoundException"

    with pytest.raises(botocore.exceptions.ClientError) as error:  # as a rotation function would, but for RemoveFromVersionId
        move("AWSCURRENT", MoveToVersionId=three)
    assert error.value.response["Error"] == {"Code": "InvalidParameterException", "Message": (
        f"The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version {two}, so you must explicitly reference that version in RemoveFromVersionId.")}
    for bad in ({"MoveToVersionId": three, "RemoveFromVersionId": one}, {"RemoveFromVersionId": two}, {}):
        assert fault(move, stage="AWSCURRENT", **bad) == "InvalidParameterException"
    assert fault(move, stage="new", RemoveFromVersionId=two) == "InvalidParameterException"
    assert fault(move, stage="new", MoveToVersionId=str(uuid.uuid4())) == "ResourceNotFoundException"
    move("AWSCURRENT", MoveToVersionId=three, RemoveFromVersionId=two)
    assert stages() == {two: ["AWSPREVIOUS"], three: ["AWSCURRENT", "AWSPENDING", "mine"]}
    move("AWSPENDING", RemoveFromVersionId=three)
    move("new", MoveToVersionId=one)
    move("AWSCURRENT", MoveToVersionId=two, RemoveFromVersionId=three)  # back
    assert stages() == {one: ["new"], two: ["AWSCURRENT"], three: ["AWSPREVIOUS", "mine"]} and value()[0] == "two"
    move("new", RemoveFromVersionId=one)

    def listed(**more):
        first = secrets.list_secret_version_ids(SecretId=name, MaxResults=1, **more)
        rest = secrets.list_secret_version_ids(SecretId=name, NextToken=first["NextToken"], **more)
        assert len(first["Versions"]) == 1 and "NextToken" not in rest
        return {v["VersionId"]: sorted(v["VersionStages"]) for v in first["Versions"] + rest["Versions"]}
    assert listed() == stages() and listed(IncludeDeprecated=True) == {**stages(), one: []}
    assert value(VersionId=one) == ("one", [])
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    secrets.create_secret(Name=name, SecretString="again")
    assert value()[0] == "again" and len(stages()) == 1


def test_tags_of_parameters(ssm, root):
    """Tags are the parameter's, whatever its version; an overwrite keeps them."""
    name = root + "/tagged"
    ssm.put_parameter(Name=name, Value="1", Type="String", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    this = {"ResourceType": "Parameter", "ResourceId": name}

    def tags():
        return {t["Key"]: t["Value"] for t in ssm.list_tags_for_resource(**this)["TagList"]}
    assert tags() == {"a": "1", "b": "2"}
    ssm.add_tags_to_resource(Tags=[{"Key": "b", "Value": "3"}, {"Key": "c", "Value": "4"}], **this)
    ssm.remove_tags_from_resource(TagKeys=["a", "never"], **this)
    ssm.put_parameter(Name=name, Value="2", Overwrite=True)
    assert tags() == {"b": "3", "c": "4"}
    assert found(ssm, root, ("tag:c", "Equals", ["4"])) == ["/tagged"]
    assert fault(ssm.add_tags_to_resource, Tags=[{"Key": f"k{i}", "Value": "v"} for i in range(49)], **this) == "TooManyTagsError"
    assert tags() == {"b": "3", "c": "4"}
    ssm.put_parameter(Name=root + "/untagged", Value="1", Type="String")
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=root + "/untagged")["TagList"] == []
    for kind, resource in (("Parameter", root + "/none"), ("Document", name)):
        assert fault(ssm.list_tags_for_resource, ResourceType=kind, ResourceId=resource) == "InvalidResourceId"


def test_overwriting_keeps_what_is_not_said(ssm, root):
    name = root + "/kept"
    ssm.put_parameter(Name=name, Value="1", Type="String", Description="d", Tier="Advanced", AllowedPattern="[0-9]")

    def described():
        return ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"][0]
    assert described()["AllowedPattern"] == "[0-9]"
    ssm.put_parameter(Name=name, Value="2", Overwrite=True)
    assert (described()["Description"], described()["Tier"], described()["Type"]) == ("d", "Advanced", "String")
    ssm.put_parameter(Name=name, Value="3", Overwrite=True, Description="e")
    assert described()["Description"] == "e"


def test_tags_and_policy_of_secrets(quern):
    secrets = quern.client("secretsmanager")
    name = uuid.uuid4().hex
    arn = secrets.create_secret(Name=name, SecretString="x")["ARN"]
    assert "Tags" not in secrets.describe_secret(SecretId=name)
    secrets.tag_resource(SecretId=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    secrets.tag_resource(SecretId=arn, Tags=[{"Key": "b", "Value": "3"}])
    secrets.untag_resource(SecretId=name, TagKeys=["a", "never"])
    assert secrets.describe_secret(SecretId=name)["Tags"] == [{"Key": "b", "Value": "3"}]
    assert fault(secrets.tag_resource, SecretId=name, Tags=[{"Key": f"k{i}", "Value": ""} for i in range(50)]) == "InvalidParameterException"
    for call in (secrets.get_resource_policy, secrets.delete_resource_policy):
        answer = call(SecretId=name)
        assert (answer["ARN"], answer["Name"]) == (arn, name) and "ResourcePolicy" not in answer
        assert fault(call, SecretId=name + "-none") == "ResourceNotFoundException"
