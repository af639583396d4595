"""SSM parameters and Secrets Manager secrets: what the list operations find with filters."""
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
