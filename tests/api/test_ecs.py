"""ECS with real boto3: task definitions, tasks that really run, their ends, and what they can ask for."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from api import ecs_images, helpers


def container(quern, script=None, name="main", **kwargs):
    out = {"name": name, "image": ecs_images.push_busybox(quern), "memory": 64, **kwargs}
    if script is not None:
        out["command"] = ["sh", "-c", script]
    return out


def register(quern, *containers, **kwargs):
    family = helpers.unique("family")
    return quern.client("ecs").register_task_definition(family=family, containerDefinitions=list(containers), **kwargs)["taskDefinition"]["taskDefinitionArn"]


def run(quern, definition, **kwargs):
    answer = quern.client("ecs").run_task(taskDefinition=definition, **kwargs)
    assert not answer["failures"], answer["failures"]
    return answer["tasks"][0]["taskArn"]


def describe(quern, arn):
    return quern.client("ecs").describe_tasks(tasks=[arn])["tasks"][0]


def stopped(quern, arn, timeout=90):
    def probe():
        task = describe(quern, arn)
        return task if task["lastStatus"] == "STOPPED" else None

    return quern.wait(probe, timeout)


def running(quern, arn):
    def probe():
        task = describe(quern, arn)
        assert task["lastStatus"] != "STOPPED", task
        return task if task["lastStatus"] == "RUNNING" else None

    return quern.wait(probe, 90)


def awslogs(group, prefix="p", **options):
    return {"logDriver": "awslogs", "options": {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": prefix, "awslogs-create-group": "true", **options}}


def lines(quern, group, stream):
    events = quern.client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def output(quern, script, timeout=90, **kwargs):
    """Runs a script in busybox; returns the stopped task and its lines."""
    group = helpers.unique("/ecs/test")
    definition = register(quern, container(quern, script, logConfiguration=awslogs(group), **kwargs.pop("container", {})), **kwargs.pop("definition", {}))
    arn = run(quern, definition, **kwargs)
    task = stopped(quern, arn, timeout)
    try:
        return task, lines(quern, group, "p/main/" + arn.rsplit("/", 1)[1])
    except ClientError:
        return task, []


def code_of(call, *args, **kwargs):
    with pytest.raises(ClientError) as info:
        call(*args, **kwargs)
    error = info.value.response["Error"]
    return error["Code"], error["Message"]


def test_one_container(quern):
    task, text = output(quern, 'echo "hello from $FROM_IMAGE"; echo oops >&2; exit 7')
    assert text == ["hello from yes", "oops"]
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    one = task["containers"][0]
    assert one["exitCode"] == 7 and one["lastStatus"] == "STOPPED" and one["imageDigest"].startswith("sha256:")
    assert task["createdAt"] <= task["pullStartedAt"] <= task["startedAt"] <= task["stoppedAt"]
    assert task["version"] >= 4 and task["desiredStatus"] == "STOPPED"


def test_built_in_image(quern):
    definition = register(quern, {"name": "main", "image": helpers.SKLEARN, "memory": 256, "entryPoint": ["python3", "-c"], "command": ["import sys; sys.exit(3)"]})
    assert stopped(quern, run(quern, definition))["containers"][0]["exitCode"] == 3
