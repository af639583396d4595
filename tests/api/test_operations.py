"""Operations that no other test calls: each is called, and what it does is seen."""

import json
import os
import re
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from api import helpers
from api.test_ecr import Registry, digest

# Called without a client's method: a browser's form, preflights.
BY_HAND = {"s3:PostObject", "s3:OptionsBucket", "s3:OptionsObject"}


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as info:
        call(**arguments)
    assert info.value.response["Error"]["Code"] == code, info.value
    return info.value.response["Error"]["Message"]


def test_every_operation_is_called_by_a_test(quern):
    def method(operation):
        return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", operation)).lower()

    tests = os.path.join(helpers.ROOT, "tests")
    text = ""
    for folder, _, names in os.walk(tests):
        for name in names:
            if name.endswith((".py", ".c")) and "conformance" not in name:  # recorded cases are not part of the project
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    text += f.read()
    built = json.loads(quern.cli("api", "--json").stdout)
    unseen = {f"{s}:{o}" for s in built for o in built[s]["implemented"] if not re.search(rf"\b{method(o)}\b|[\"' ]{o}\b", text)}
    assert unseen == BY_HAND


# ---- S3 ----

def test_s3_settings(quern):
    s3, name = quern.client("s3"), helpers.unique("settings")
    s3.create_bucket(Bucket=name)
    rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert s3.get_bucket_request_payment(Bucket=name)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=name)
    assert set(s3.get_bucket_notification_configuration(Bucket=name)) == {"ResponseMetadata"}
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    for call, more in ((s3.put_bucket_acl, {}), (s3.put_object_acl, {"Key": "k"})):
        assert refused("AccessControlListNotSupported", call, Bucket=name, ACL="public-read", **more)
    for call in (s3.get_bucket_logging, s3.get_bucket_request_payment, s3.get_bucket_ownership_controls):
        refused("NoSuchBucket", call, Bucket="no-such-bucket-here")


def test_s3_object_attributes(quern):
    s3, name = quern.client("s3"), helpers.unique("attributes")
    s3.create_bucket(Bucket=name)
    etag = s3.put_object(Bucket=name, Key="k", Body=b"12345")["ETag"]
    got = s3.get_object_attributes(Bucket=name, Key="k", ObjectAttributes=["ETag", "ObjectSize", "StorageClass"])
    assert (got["ETag"], got["ObjectSize"], got["StorageClass"]) == (etag.strip('"'), 5, "STANDARD")
    assert "ETag" not in s3.get_object_attributes(Bucket=name, Key="k", ObjectAttributes=["ObjectSize"])
    refused("NoSuchKey", s3.get_object_attributes, Bucket=name, Key="none", ObjectAttributes=["ETag"])
    upload = s3.create_multipart_upload(Bucket=name, Key="parts", ChecksumAlgorithm="SHA256")["UploadId"]
    parts = []
    for number, size in ((1, 5 << 20), (2, 5 << 20), (3, 7)):
        done = s3.upload_part(Bucket=name, Key="parts", UploadId=upload, PartNumber=number, Body=b"x" * size, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumSHA256": done["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=name, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    page = s3.get_object_attributes(Bucket=name, Key="parts", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1)["ObjectParts"]
    assert (page["TotalPartsCount"], page["PartNumberMarker"], page["NextPartNumberMarker"], page["IsTruncated"]) == (3, 1, 2, True)
    assert [(p["PartNumber"], p["Size"], p["ChecksumSHA256"]) for p in page["Parts"]] == [(2, 5 << 20, parts[1]["ChecksumSHA256"])]


# ---- ECR ----

def test_ecr(quern):
    ecr, repo = quern.client("ecr"), helpers.unique("ops")
    ecr.create_repository(repositoryName=repo)
    ecr.put_image_scanning_configuration(repositoryName=repo, imageScanningConfiguration={"scanOnPush": True})
    assert ecr.describe_repositories(repositoryNames=[repo])["repositories"][0]["imageScanningConfiguration"] == {"scanOnPush": True}
    ecr.set_repository_policy(repositoryName=repo, policyText=json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": "s", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}))
    assert ecr.delete_repository_policy(repositoryName=repo)["repositoryName"] == repo
    refused("RepositoryPolicyNotFoundException", ecr.get_repository_policy, repositoryName=repo)
    rule = {"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}
    ecr.put_lifecycle_policy(repositoryName=repo, lifecyclePolicyText=json.dumps({"rules": [rule]}))
    assert json.loads(ecr.delete_lifecycle_policy(repositoryName=repo)["lifecyclePolicyText"]) == {"rules": [rule]}
    refused("LifecyclePolicyNotFoundException", ecr.get_lifecycle_policy, repositoryName=repo)
    assert ecr.describe_registry()["registryId"] == quern.account
    if helpers.knows(ecr, "PutImageTagMutability", "imageTagMutabilityExclusionFilters"):
        some = [{"filterType": "WILDCARD", "filter": "dev*"}]
        refused("InvalidParameterException", ecr.put_image_tag_mutability, repositoryName=repo, imageTagMutability="IMMUTABLE", imageTagMutabilityExclusionFilters=some)
        refused("InvalidParameterException", ecr.put_image_tag_mutability, repositoryName=repo, imageTagMutability="IMMUTABLE_WITH_EXCLUSION")
        ecr.put_image_tag_mutability(repositoryName=repo, imageTagMutability="IMMUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=some)
        ecr.put_image_tag_mutability(repositoryName=repo, imageTagMutability="MUTABLE")
    data = os.urandom(5000)
    Registry(quern).push_blob(repo, data)
    url = ecr.get_download_url_for_layer(repositoryName=repo, layerDigest=digest(data))["downloadUrl"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as answer:  # the address alone is enough, as on AWS
        assert answer.read() == data
    secret = Registry(quern).push_blob(repo, b"another layer")
    for other in (url.split("?")[0], url[:-4] + "0000", url.replace(digest(data), secret), url.replace("expires=", "expires=9")):
        with pytest.raises(urllib.error.HTTPError) as info:
            opener.open(other)
        assert info.value.code == 401
    with pytest.raises(urllib.error.HTTPError) as info:
        opener.open(urllib.request.Request(url, method="DELETE"))
    assert info.value.code == 401
    refused("LayersNotFoundException", ecr.get_download_url_for_layer, repositoryName=repo, layerDigest=digest(b"none"))


# ---- ECS ----

def test_ecs_clusters(quern):
    ecs, name = quern.client("ecs"), helpers.unique("cluster")
    arn = ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"]
    assert arn in [a for page in ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 1}) for a in page["clusterArns"]]
    insights = [{"name": "containerInsights", "value": "enabled"}]
    assert ecs.update_cluster_settings(cluster=name, settings=insights)["cluster"]["settings"] == insights
    configuration = {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    assert ecs.update_cluster(cluster=name, configuration=configuration)["cluster"]["clusterName"] == name
    shown = ecs.describe_clusters(clusters=[name], include=["SETTINGS", "CONFIGURATIONS"])["clusters"][0]
    assert shown["settings"] == insights and shown["configuration"] == configuration
    assert shown["capacityProviders"] == shown["defaultCapacityProviderStrategy"] == []
    strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    made = ecs.put_cluster_capacity_providers(cluster=name, capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=strategy)["cluster"]
    assert made["capacityProviders"] == ["FARGATE"] and made["defaultCapacityProviderStrategy"] == strategy
    assert "was not found" in refused("InvalidParameterException", ecs.stop_task, cluster=name, task="0" * 32)
    refused("ClusterNotFoundException", ecs.update_cluster_settings, cluster="nobody", settings=insights)


# ---- Lambda, SSM, Secrets Manager ----

def test_lambda_concurrency(quern):
    from api.test_lambda import create

    client = quern.client("lambda")
    name = create(quern, client)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 7
    client.delete_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    client.delete_function(FunctionName=name)
    refused("ResourceNotFoundException", client.get_function_concurrency, FunctionName=name)


def test_parameters_go(quern):
    ssm, at = quern.client("ssm"), "/" + helpers.unique("gone")
    for name in "abc":
        ssm.put_parameter(Name=f"{at}/{name}", Value=name, Type="String")
    ssm.delete_parameter(Name=f"{at}/a")
    refused("ParameterNotFound", ssm.get_parameter, Name=f"{at}/a")
    got = ssm.get_parameters(Names=[f"{at}/a", f"{at}/b"])
    assert ([p["Value"] for p in got["Parameters"]], got["InvalidParameters"]) == (["b"], [f"{at}/a"])
    refused("ParameterNotFound", ssm.delete_parameter, Name=f"{at}/a")
    done = ssm.delete_parameters(Names=[f"{at}/b", f"{at}/none"])
    assert (done["DeletedParameters"], done["InvalidParameters"]) == ([f"{at}/b"], [f"{at}/none"])
    assert [p["Name"] for p in ssm.get_parameters_by_path(Path=at)["Parameters"]] == [f"{at}/c"]


def test_secrets(quern):
    secrets, name = quern.client("secretsmanager"), helpers.unique("secret")
    made = secrets.create_secret(Name=name, SecretString="one", Tags=[{"Key": "k", "Value": "v"}])
    updated = secrets.update_secret(SecretId=name, SecretString="two", Description="d")
    assert updated["ARN"] == made["ARN"] and updated["VersionId"] != made["VersionId"]
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "two"
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    shown = secrets.describe_secret(SecretId=made["ARN"])
    assert (shown["Name"], shown["Description"], shown["Tags"]) == (name, "d", [{"Key": "k", "Value": "v"}])
    assert shown["VersionIdsToStages"] == {made["VersionId"]: ["AWSPREVIOUS"], updated["VersionId"]: ["AWSCURRENT"]}
    secrets.delete_secret(SecretId=name)
    refused("InvalidRequestException", secrets.get_secret_value, SecretId=name)
    assert "DeletedDate" in secrets.describe_secret(SecretId=name)
    secrets.restore_secret(SecretId=name)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "two"


# ---- SageMaker, IAM, STS ----

def test_sagemaker_lists(quern):
    sagemaker, stem = quern.client("sagemaker"), helpers.unique("group")
    for i in range(3):
        sagemaker.create_model_package_group(ModelPackageGroupName=f"{stem}-{i}")
    pages = sagemaker.get_paginator("list_model_package_groups").paginate(NameContains=stem, SortBy="Name", SortOrder="Descending", PaginationConfig={"PageSize": 2})
    assert [g["ModelPackageGroupName"] for page in pages for g in page["ModelPackageGroupSummaryList"]] == [f"{stem}-{i}" for i in (2, 1, 0)]
    execution, steps = helpers.run(quern, [helpers.processing_step(quern, "Quick", "print(1)")])
    job = helpers.job_of(steps["Quick"])
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    helpers.needs(sagemaker, "DeleteProcessingJob")
    sagemaker.delete_processing_job(ProcessingJobName=job)
    with pytest.raises(ClientError):
        sagemaker.describe_processing_job(ProcessingJobName=job)


TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


def test_iam(quern):
    iam, name = quern.client("iam"), helpers.unique("ops")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    changed = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"Service": "lambda.amazonaws.com"}}]}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(changed))
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == changed
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    made = iam.create_policy(PolicyName=name, PolicyDocument=document, Tags=[{"Key": "k", "Value": "v"}])["Policy"]
    assert made["Tags"] == [{"Key": "k", "Value": "v"}]
    assert iam.get_policy(PolicyArn=made["Arn"])["Policy"]["Tags"] == made["Tags"]
    assert made["Arn"] in [p["Arn"] for page in iam.get_paginator("list_policies").paginate(Scope="Local", PaginationConfig={"PageSize": 1}) for p in page["Policies"]]
    iam.create_user(UserName=name)
    assert name in [u["UserName"] for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1}) for u in page["Users"]]
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    assert quern.client("sts").get_access_key_info(AccessKeyId=key)["Account"] == quern.account


# ---- Step Functions ----

def pass_(result):
    return json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": result, "End": True}}})


def test_versions_and_aliases(quern):
    sfn = quern.client("stepfunctions")
    helpers.needs(sfn, "UpdateStateMachineAlias")
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=pass_(1), roleArn=quern.role, publish=True)["stateMachineArn"]
    other = sfn.create_state_machine(name=helpers.unique("m"), definition=pass_(1), roleArn=quern.role, publish=True)["stateMachineVersionArn"]
    sfn.update_state_machine(stateMachineArn=machine, definition=pass_(2), publish=True)
    versions = [f"{machine}:{n}" for n in (2, 1)]
    assert [v["stateMachineVersionArn"] for v in sfn.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]] == versions
    alias = sfn.create_state_machine_alias(name="live", routingConfiguration=[{"stateMachineVersionArn": versions[1], "weight": 100}])["stateMachineAliasArn"]
    before = sfn.describe_state_machine_alias(stateMachineAliasArn=alias)
    routes = [{"stateMachineVersionArn": versions[0], "weight": 100}]
    updated = sfn.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=routes, description="d")
    shown = sfn.describe_state_machine_alias(stateMachineAliasArn=alias)
    assert (shown["name"], shown["description"], shown["routingConfiguration"]) == ("live", "d", routes)
    assert shown["updateDate"] == updated["updateDate"] >= before["updateDate"] and shown["creationDate"] == before["creationDate"]
    refused("ValidationException", sfn.update_state_machine_alias, stateMachineAliasArn=alias)
    refused("ValidationException", sfn.update_state_machine_alias, stateMachineAliasArn=alias, routingConfiguration=[{"stateMachineVersionArn": other, "weight": 100}])
    arn = sfn.start_execution(stateMachineArn=alias)["executionArn"]
    quern.wait(lambda: sfn.describe_execution(executionArn=arn)["status"] == "SUCCEEDED")
    assert sfn.describe_execution(executionArn=arn)["output"] == "2"
    found = sfn.describe_state_machine_for_execution(executionArn=arn)
    assert found["definition"] == pass_(2) and found["stateMachineArn"].startswith(machine)
    assert [a["stateMachineAliasArn"] for a in sfn.list_state_machine_aliases(stateMachineArn=machine)["stateMachineAliases"]] == [alias]
    refused("ConflictException", sfn.delete_state_machine_version, stateMachineVersionArn=versions[0])
    sfn.delete_state_machine_version(stateMachineVersionArn=versions[1])
    assert [v["stateMachineVersionArn"] for v in sfn.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]] == versions[:1]
    sfn.delete_state_machine_alias(stateMachineAliasArn=alias)
    refused("ResourceNotFound", sfn.describe_state_machine_alias, stateMachineAliasArn=alias)


def test_activities(quern):
    sfn, name = quern.client("stepfunctions"), helpers.unique("a")
    arn = sfn.create_activity(name=name)["activityArn"]
    assert sfn.describe_activity(activityArn=arn)["name"] == name
    assert arn in [a["activityArn"] for page in sfn.get_paginator("list_activities").paginate(PaginationConfig={"PageSize": 1}) for a in page["activities"]]
    sfn.delete_activity(activityArn=arn)
    refused("ActivityDoesNotExist", sfn.describe_activity, activityArn=arn)


def test_a_map_run_is_changed_while_it_runs(quern):
    """Its concurrency is raised: children that waited begin."""
    sfn = quern.client("stepfunctions")
    helpers.needs(sfn, "UpdateMapRun")
    inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}}
    definition = {"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": inner, "End": True}}}
    machine = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=quern.role)["stateMachineArn"]
    arn = sfn.start_execution(stateMachineArn=machine, input="[1, 2, 3]")["executionArn"]
    run = quern.wait(lambda: sfn.list_map_runs(executionArn=arn)["mapRuns"])[0]["mapRunArn"]

    def running(n):
        counts = sfn.describe_map_run(mapRunArn=run)["itemCounts"]
        return counts["running"] == n and counts["pending"] == 3 - n

    quern.wait(lambda: running(1))
    sfn.update_map_run(mapRunArn=run, maxConcurrency=3, toleratedFailureCount=2)
    quern.wait(lambda: running(3))
    shown = sfn.describe_map_run(mapRunArn=run)
    assert (shown["maxConcurrency"], shown["toleratedFailureCount"]) == (3, 2)
    sfn.stop_execution(executionArn=arn)


def test_a_state_is_tested(quern):
    """TestState: what comes next, what the state made of its input, what it does not support."""
    sfn = quern.client("stepfunctions")
    helpers.needs(sfn, "TestState")
    from botocore.config import Config

    sfn = quern.client("stepfunctions", config=Config(inject_host_prefix=False, retries={"max_attempts": 1}))

    def test(state, value, **more):
        return sfn.test_state(definition=json.dumps(state), roleArn=quern.role, input=json.dumps(value), **more)

    choice = {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericGreaterThan": 3, "Next": "Big"}], "Default": "Small"}
    assert [(d["status"], d["nextState"]) for d in (test(choice, {"n": 5}), test(choice, {"n": 1}))] == [("SUCCEEDED", "Big"), ("SUCCEEDED", "Small")]
    d = test({"Type": "Pass", "InputPath": "$.a", "Parameters": {"b.$": "$.x"}, "ResultPath": "$.r", "Next": "N"}, {"a": {"x": 7}}, inspectionLevel="DEBUG")
    assert (json.loads(d["output"]), d["nextState"]) == ({"a": {"x": 7}, "r": {"b": 7}}, "N")
    assert json.loads(d["inspectionData"]["afterInputPath"]) == {"x": 7} and json.loads(d["inspectionData"]["afterParameters"]) == {"b": 7}
    d = test({"Type": "Fail", "Error": "E", "Cause": "C"}, {})
    assert (d["status"], d["error"], d["cause"]) == ("FAILED", "E", "C")
    activity = sfn.create_activity(name=helpers.unique("a"))["activityArn"]
    for resource in (activity, "arn:aws:states:::ecs:runTask.sync"):
        d = test({"Type": "Task", "Resource": resource, "Parameters": {"TaskDefinition": "t"}, "End": True}, {})
        assert d["status"] == "FAILED" and "does not support" in d["cause"], d

