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


def stopped(quern, arn):
    def probe():
        task = describe(quern, arn)
        return task if task["lastStatus"] == "STOPPED" else None

    return quern.wait(probe)


def running(quern, arn):
    def probe():
        task = describe(quern, arn)
        assert task["lastStatus"] != "STOPPED", task
        return task if task["lastStatus"] == "RUNNING" else None

    return quern.wait(probe)


def awslogs(group, prefix="p", **options):
    return {"logDriver": "awslogs", "options": {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": prefix, "awslogs-create-group": "true", **options}}


def lines(quern, group, stream):
    events = quern.client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def output(quern, script, **kwargs):
    """Runs a script in busybox; returns the stopped task and its lines."""
    group = helpers.unique("/ecs/test")
    definition = register(quern, container(quern, script, logConfiguration=awslogs(group), **kwargs.pop("container", {})), **kwargs.pop("definition", {}))
    arn = run(quern, definition, **kwargs)
    task = stopped(quern, arn)
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
    assert task["createdAt"] <= task["pullStartedAt"] <= task["startedAt"] <= task["stoppingAt"] <= task["stoppedAt"]
    assert task["version"] >= 4 and task["desiredStatus"] == "STOPPED"


def test_built_in_image(quern):
    definition = register(quern, {"name": "main", "image": helpers.SKLEARN, "memory": 256, "entryPoint": ["python3", "-c"], "command": ["import sys; sys.exit(3)"]})
    assert stopped(quern, run(quern, definition))["containers"][0]["exitCode"] == 3


ROLE = "arn:aws:iam::000000000000:role/task-role"
VPC = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}


def test_credentials_and_metadata(quern):
    script = 'wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo; wget -qO- $ECS_CONTAINER_METADATA_URI_V4; echo; wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task; echo; (httpd -f -p 80 & sleep 0.2; kill %1 && echo port 80 is free)'
    task, text = output(quern, script, definition={"taskRoleArn": ROLE, "networkMode": "awsvpc"}, networkConfiguration=VPC)
    assert len(text) == 4, (task, text)
    key = json.loads(text[0])
    assert key["RoleArn"] == ROLE and key["Expiration"].endswith("Z")
    mine, whole = json.loads(text[1]), json.loads(text[2])
    assert mine["Name"] == "main" and mine["KnownStatus"] in ("RUNNING", "PENDING") and mine["Limits"]["Memory"] == 64
    assert whole["KnownStatus"] in ("RUNNING", "PENDING") and whole["DesiredStatus"] == "RUNNING"
    assert whole["TaskARN"] == task["taskArn"] and whole["Containers"][0]["DockerId"] == mine["DockerId"]
    assert text[3] == "port 80 is free"
    import boto3

    sts = boto3.client("sts", endpoint_url=quern.endpoint, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key["Token"])
    assert ":assumed-role/task-role/" in sts.get_caller_identity()["Arn"]


def test_containers_of_a_task_meet_on_loopback(quern):
    group = helpers.unique("/ecs/meet")
    server = container(quern, "echo from the sidecar > /tmp/x; cd /tmp; httpd -f -p 8080", name="side", essential=False, stopTimeout=1)
    client = container(quern, "for i in $(seq 50); do wget -qO- http://127.0.0.1:8080/x && exit 0; sleep 0.1; done; exit 1", logConfiguration=awslogs(group))
    arn = run(quern, register(quern, server, client, networkMode="awsvpc"), networkConfiguration=VPC)
    task = stopped(quern, arn)
    assert lines(quern, group, "p/main/" + arn.rsplit("/", 1)[1])[-1] == "from the sidecar"
    assert {c["name"]: c.get("exitCode") for c in task["containers"]}["main"] == 0


def test_built_in_image_with_boto3(quern):
    """The stock SDK in a task finds endpoint, region and credentials of the role by itself."""
    quern.client("iam").create_role(RoleName="task-role", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}))
    quern.client("iam").put_role_policy(RoleName="task-role", PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))
    helpers.make_bucket(quern)
    script = "import boto3; boto3.client('s3').put_object(Bucket='my-bucket', Key='from-task', Body=b'made in a task')"
    group = helpers.unique("/ecs/boto")
    definition = register(quern, {"name": "main", "image": helpers.SKLEARN, "memory": 512, "entryPoint": ["python3", "-c"], "command": [script], "logConfiguration": awslogs(group)}, taskRoleArn=ROLE)
    arn = run(quern, definition)
    task = stopped(quern, arn)
    if task["containers"][0]["exitCode"]:
        text = "\n".join(lines(quern, group, "p/main/" + arn.rsplit("/", 1)[1]))
        if "No module named 'boto3'" in text:
            pytest.skip("the built-in image has no boto3 on this machine")
        raise AssertionError(text)
    assert quern.client("s3").get_object(Bucket="my-bucket", Key="from-task")["Body"].read() == b"made in a task"


def test_order_of_containers(quern):
    """init must succeed, db must be healthy, then main starts; all write to one shared volume."""
    shared = {"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]}
    init = container(quern, "sleep 0.3; echo init >> /data/order", name="init", essential=False, **shared)
    db = container(quern, "echo db >> /data/order; sleep 2; touch /tmp/ready; sleep 60", name="db", essential=False, stopTimeout=2,
                   healthCheck={"command": ["CMD-SHELL", "test -f /tmp/ready"], "interval": 5, "retries": 3}, dependsOn=[{"containerName": "init", "condition": "SUCCESS"}], **shared)
    group = helpers.unique("/ecs/order")
    main = container(quern, "echo main >> /data/order; cat /data/order; sleep 4", dependsOn=[{"containerName": "db", "condition": "HEALTHY"}, {"containerName": "init", "condition": "COMPLETE"}], logConfiguration=awslogs(group), **shared)
    arn = run(quern, register(quern, main, db, init, volumes=[{"name": "data"}]))
    task = running(quern, arn)
    by_name = {c["name"]: c for c in task["containers"]}
    assert by_name["init"]["lastStatus"] == "STOPPED" and by_name["init"]["exitCode"] == 0
    assert by_name["db"]["healthStatus"] == "HEALTHY"
    task = stopped(quern, arn)
    assert lines(quern, group, "p/main/" + arn.rsplit("/", 1)[1]) == ["init", "db", "main"]
    by_name = {c["name"]: c for c in task["containers"]}
    assert by_name["main"]["exitCode"] == 0 and by_name["db"]["exitCode"] in (137, 143), task


def test_failed_dependency_stops_the_task(quern):
    init = container(quern, "exit 3", name="init", essential=False)
    main = container(quern, "echo never", dependsOn=[{"containerName": "init", "condition": "SUCCESS"}])
    task = stopped(quern, run(quern, register(quern, main, init)))
    by_name = {c["name"]: c for c in task["containers"]}
    assert by_name["init"]["exitCode"] == 3
    assert "exitCode" not in by_name["main"] and "did not exit successfully" in by_name["main"]["reason"]
    assert task["stopCode"] == "TaskFailedToStart"


def get(url):
    """None as long as the program behind the port does not listen."""
    import urllib.request

    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60).read()
    except ConnectionError:
        return None


def test_published_ports(quern):
    web = container(quern, "echo served from inside > /tmp/x; cd /tmp; httpd -f -p 8000", portMappings=[{"containerPort": 8000}], stopTimeout=1)
    arn = run(quern, register(quern, web, networkMode="bridge"))
    running(quern, arn)
    binding = quern.wait(lambda: describe(quern, arn)["containers"][0].get("networkBindings"))[0]
    assert binding["containerPort"] == 8000 and binding["bindIP"] == "127.0.0.1"
    assert quern.wait(lambda: get(f"http://127.0.0.1:{binding['hostPort']}/x")) == b"served from inside\n"
    # the same port again is refused with Docker's words
    clash = container(quern, "sleep 5", portMappings=[{"containerPort": 80, "hostPort": binding["hostPort"]}])
    task = stopped(quern, run(quern, register(quern, clash, networkMode="bridge")))
    assert task["stopCode"] == "TaskFailedToStart" and "port is already allocated" in task["stoppedReason"]
    answer = quern.client("ecs").stop_task(task=arn, reason="enough")["task"]
    assert answer["desiredStatus"] == "STOPPED"
    task = stopped(quern, arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] in (137, 143)


def test_secrets_files_and_overrides(quern):
    s3 = helpers.make_bucket(quern)
    s3.put_object(Bucket="my-bucket", Key="env/app.env", Body=b"# comment\nFROM_FILE=file\nBOTH=file\n\nEMPTY=\n")
    quern.client("ssm").put_parameter(Name="/ecs/word", Value="param-value", Type="SecureString")
    secret = quern.client("secretsmanager").create_secret(Name=helpers.unique("s"), SecretString=json.dumps({"user": "u1", "password": "p1"}))["ARN"]
    main = {"environment": [{"name": "BOTH", "value": "definition"}, {"name": "PLAIN", "value": "x"}], "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::my-bucket/env/app.env"}],
            "secrets": [{"name": "WORD", "valueFrom": "/ecs/word"}, {"name": "PASSWORD", "valueFrom": f"{secret}:password::"}]}
    overrides = {"containerOverrides": [{"name": "main", "command": ["sh", "-c", "echo $FROM_FILE $BOTH $PLAIN $WORD $PASSWORD $EXTRA"], "environment": [{"name": "EXTRA", "value": "run"}, {"name": "PLAIN", "value": "overridden"}]}]}
    task, text = output(quern, "echo not this", container=main, definition={"executionRoleArn": quern.role}, overrides=overrides)
    assert text == ["file definition overridden param-value p1 run"]
    assert "param-value" not in json.dumps(task, default=str)
    main["secrets"][0]["valueFrom"] = "/ecs/absent"
    task, text = output(quern, "echo never", container=main, definition={"executionRoleArn": quern.role})
    assert task["stopCode"] == "TaskFailedToStart" and task["stoppedReason"].startswith("ResourceInitializationError: unable to pull secrets")
    assert "exitCode" not in task["containers"][0]
    code, message = code_of(run, quern, task["taskDefinitionArn"], overrides={"containerOverrides": [{"name": "nobody"}]})
    assert (code, message) == ("InvalidParameterException", "Override for container named nobody is not a container in the TaskDefinition.")


def test_ends(quern):
    task, text = output(quern, "exec dd if=/dev/zero of=/dev/null bs=200M count=1", container={"memory": 32})
    one = task["containers"][0]
    assert one["exitCode"] == 137 and one["reason"] == "OutOfMemoryError: Container killed due to memory usage", (one, text)
    task = stopped(quern, run(quern, register(quern, {"name": "main", "image": "nowhere/nothing:9", "memory": 16})))
    assert task["stopCode"] == "TaskFailedToStart" and task["stoppedReason"].startswith("CannotPullContainerError") and "nowhere/nothing:9" in task["stoppedReason"]
    task = stopped(quern, run(quern, register(quern, {**container(quern), "command": ["/no/such/program"]})))
    assert "CannotStartContainerError" in task["stoppedReason"] and "/no/such/program" in task["stoppedReason"]
    missing = {"logDriver": "awslogs", "options": {"awslogs-group": "/not/there", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}}
    task = stopped(quern, run(quern, register(quern, container(quern, "true", logConfiguration=missing))))
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to validate logger args") and "log group does not exist" in task["stoppedReason"]


def test_user_workdir_readonly(quern):
    task, text = output(quern, "id; pwd; echo x > /etc/x || echo read-only; echo y > /data/y && echo volume", container={
        "user": "worker:others", "workingDirectory": "/tmp", "readonlyRootFilesystem": True, "linuxParameters": {"initProcessEnabled": True, "tmpfs": [{"containerPath": "/data", "size": 4}]},
        "ulimits": [{"name": "nofile", "softLimit": 128, "hardLimit": 256}]})
    assert text and text[0].startswith("uid=1234(worker) gid=3456(others)"), (task, text)
    assert text[1] == "/tmp" and text[-2:] == ["read-only", "volume"]
    for closed in (True, False):  # root may write where it is open
        _, text = output(quern, "echo x > /etc/x && echo open", container={"readonlyRootFilesystem": closed})
        assert (text[-1:] == ["open"]) is not closed, text


def test_layers(quern):
    """Whiteouts, opaque directories, hard links, parents that a layer does not name, and shared layers."""
    registry = ecs_images.Registry(quern)
    base = ecs_images.busybox_layer()
    second = ecs_images.layer({"a": ("dir", 0o750), "a/keep": b"keep\n", "a/gone": b"gone\n", "b": ("dir", 0o755), "b/old": b"old\n", "c/one": b"one\n", "c/two": ("hard", "c/one"), "abs": ("link", "/a/keep")})
    third = ecs_images.layer({"a/.wh.gone": b"", "b/.wh..wh..opq": b"", "b/new": b"new\n", "a/more": b"more\n"}, compress=False)
    image = registry.push("layers", "1", [base, second, third], Entrypoint=["sh", "-c"], Cmd=["ls /a /b; cat /abs /c/two; stat -c %a:%h /a /c/two; echo $0 $V"], Env=["PATH=/bin", "V=from config"], WorkingDir="/c")
    group = helpers.unique("/ecs/layers")
    arn = run(quern, register(quern, {"name": "main", "image": image, "memory": 32, "logConfiguration": awslogs(group)}))
    task = stopped(quern, arn)
    text = lines(quern, group, "p/main/" + arn.rsplit("/", 1)[1])
    assert text[:6] == ["/a:", "keep", "more", "", "/b:", "new"], (task, text)
    assert text[6:10] == ["keep", "one", "750:2", "644:2"] or text[6:9] == ["keep", "one", "750:1"], text


@pytest.mark.parametrize("evil", [{"../../escape": b"x"}, {"d": ("link", "/etc"), "d/../../../x": b"x"}, {"x": ("hard", "../../../../etc/passwd")}, {"node": ("node",)}, {"x": ("hard", "absent")}])
def test_hostile_layers(quern, evil):
    image = ecs_images.Registry(quern).push("evil", helpers.unique("t"), [ecs_images.busybox_layer(), ecs_images.layer(evil)], Cmd=["true"])
    task = stopped(quern, run(quern, register(quern, {"name": "main", "image": image, "memory": 32})))
    assert task["stopCode"] == "TaskFailedToStart" and task["stoppedReason"].startswith("CannotPullContainerError"), task


def test_symlink_in_a_layer_stays_inside(quern):
    evil = ecs_images.layer({"d": ("link", "/tmp"), "d/escaped-quern-test": b"inside\n"})
    image = ecs_images.Registry(quern).push("evil", helpers.unique("t"), [ecs_images.busybox_layer(), evil], Cmd=["true"])
    task = stopped(quern, run(quern, register(quern, {"name": "main", "image": image, "memory": 32})))
    import os

    assert not os.path.exists("/tmp/escaped-quern-test"), task


def test_crash_of_the_daemon(own_quern):
    """kill -9 of the daemon while tasks run: they go on, their ends are seen, a stop works."""
    import os
    import signal

    quern = own_quern
    group = helpers.unique("/ecs/crash")
    short = run(quern, register(quern, container(quern, "echo begin; sleep 3; echo end; exit 5", logConfiguration=awslogs(group))))
    long = run(quern, register(quern, container(quern, "sleep 600", stopTimeout=1)))
    running(quern, short), running(quern, long)
    before = describe(quern, short)
    instances = quern.client("ecs").list_container_instances()["containerInstanceArns"]
    os.kill(quern.pid("serve"), signal.SIGKILL)
    time.sleep(4)
    quern.up()
    assert quern.client("ecs").list_container_instances()["containerInstanceArns"] == instances
    task = stopped(quern, short)
    assert task["containers"][0]["exitCode"] == 5 and task["startedAt"] == before["startedAt"]
    assert lines(quern, group, "p/main/" + short.rsplit("/", 1)[1]) == ["begin", "end"]
    assert describe(quern, long)["lastStatus"] == "RUNNING"
    os.kill(quern.pid("executor"), signal.SIGKILL)
    quern.wait(lambda: quern.up() is None)
    quern.client("ecs").stop_task(task=long)
    assert stopped(quern, long)["stopCode"] == "UserInitiated"


def test_lost_task(own_quern):
    """A supervisor that is killed: the task is said to be lost, and nothing of it goes on."""
    import os
    import signal
    import subprocess

    quern = own_quern
    seconds = 100000 + os.getpid()
    arn = run(quern, register(quern, container(quern, f"sleep {seconds}")))
    running(quern, arn)
    name = "ecs-" + arn.rsplit("/", 1)[1]
    with open(os.path.join(quern.home, "tasks", name, "exec", "state.json"), encoding="utf-8") as f:
        os.kill(json.load(f)["pid"], signal.SIGKILL)
    task = stopped(quern, arn)
    assert "lost" in task["stoppedReason"].lower(), task
    assert task["containers"][0].get("exitCode") is None
    left = lambda: not subprocess.run(["pgrep", "-fx", f"sleep {seconds}"], stdout=subprocess.PIPE, text=True).stdout.split()
    assert quern.wait(left)


def test_waiters_lists_tokens_and_tags(quern):
    ecs = quern.client("ecs")
    helpers.needs(ecs, "RunTask", "clientToken")
    cluster = helpers.unique("cluster")
    made = ecs.create_cluster(clusterName=cluster, tags=[{"key": "k", "value": "v"}])["cluster"]
    assert made["status"] == "ACTIVE" and made["clusterArn"].endswith(":cluster/" + cluster)
    definition = register(quern, container(quern, "sleep 600", stopTimeout=1), tags=[{"key": "team", "value": "ml"}])
    family = definition.rsplit("/", 1)[1].split(":")[0]
    arguments = dict(cluster=cluster, taskDefinition=family, count=2, startedBy="me", clientToken="same", propagateTags="TASK_DEFINITION", tags=[{"key": "run", "value": "1"}])
    first = ecs.run_task(**arguments)["tasks"]
    again = ecs.run_task(**arguments)["tasks"]
    arns = sorted(t["taskArn"] for t in first)
    assert len(arns) == 2 and arns == sorted(t["taskArn"] for t in again)
    assert first[0]["lastStatus"] == "PROVISIONING"
    assert code_of(ecs.run_task, **{**arguments, "count": 1})[0] == "ConflictException"
    ecs.get_waiter("tasks_running").wait(cluster=cluster, tasks=arns, WaiterConfig={"Delay": 1})
    assert sorted(ecs.list_tasks(cluster=cluster, family=family, startedBy="me")["taskArns"]) == arns
    assert ecs.list_tasks(cluster=cluster, startedBy="you")["taskArns"] == []
    page = ecs.list_tasks(cluster=cluster, maxResults=1)
    assert len(page["taskArns"]) == 1 and ecs.list_tasks(cluster=cluster, maxResults=1, nextToken=page["nextToken"])["taskArns"] != page["taskArns"]
    shown = ecs.describe_clusters(clusters=[cluster, "absent"], include=["TAGS"])
    assert shown["clusters"][0]["runningTasksCount"] == 2 and shown["clusters"][0]["tags"] == [{"key": "k", "value": "v"}]
    assert shown["failures"][0]["reason"] == "MISSING"
    assert code_of(ecs.delete_cluster, cluster=cluster)[0] == "ClusterContainsTasksException"
    ecs.tag_resource(resourceArn=arns[0], tags=[{"key": "x", "value": "y"}])
    ecs.untag_resource(resourceArn=arns[0], tagKeys=["run"])
    assert sorted(t["key"] for t in ecs.list_tags_for_resource(resourceArn=arns[0])["tags"]) == ["team", "x"]
    for arn in arns:
        ecs.stop_task(cluster=cluster, task=arn.rsplit("/", 1)[1], reason="done")
    ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=arns, WaiterConfig={"Delay": 1})
    assert ecs.describe_tasks(cluster=cluster, tasks=arns + ["0" * 32])["failures"][0]["reason"] == "MISSING"
    assert ecs.list_tasks(cluster=cluster)["taskArns"] == [] and sorted(ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]) == arns
    assert ecs.delete_cluster(cluster=cluster)["cluster"]["status"] == "INACTIVE"
    assert code_of(ecs.list_tasks, cluster=cluster) == ("ClusterNotFoundException", "Cluster not found.")
    instance = ecs.list_container_instances()["containerInstanceArns"]
    assert ecs.describe_container_instances(containerInstances=instance)["containerInstances"][0]["agentConnected"] is True


def test_definitions(quern):
    ecs = quern.client("ecs")
    family = helpers.unique("def")
    one = {"name": "main", "image": "busybox", "memory": 64, "portMappings": [{"containerPort": 80}]}
    arns = [ecs.register_task_definition(family=family, containerDefinitions=[one])["taskDefinition"]["taskDefinitionArn"] for _ in range(3)]
    assert [a.rsplit(":", 1)[1] for a in arns] == ["1", "2", "3"]
    assert ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"] == arns
    assert ecs.list_task_definitions(familyPrefix=family, sort="DESC", maxResults=2)["taskDefinitionArns"] == arns[:0:-1]
    assert ecs.deregister_task_definition(taskDefinition=arns[2])["taskDefinition"]["status"] == "INACTIVE"
    assert ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]["revision"] == 2
    assert ecs.describe_task_definition(taskDefinition=arns[2])["taskDefinition"]["status"] == "INACTIVE"
    assert code_of(ecs.run_task, taskDefinition=arns[2])[0] == "ClientException"
    if helpers.knows(ecs, "DeleteTaskDefinitions"):
        deleted = ecs.delete_task_definitions(taskDefinitions=[arns[2], arns[1]])
        assert deleted["taskDefinitions"][0]["taskDefinitionArn"] == arns[2] and deleted["failures"][0]["arn"] == arns[1]
        assert code_of(ecs.describe_task_definition, taskDefinition=arns[2]) == ("ClientException", "Unable to describe task definition.")
    assert family in ecs.list_task_definition_families(familyPrefix=family, status="ACTIVE")["families"]
    fargate = dict(family=family, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", containerDefinitions=[{"name": "m", "image": "x"}])
    made = ecs.register_task_definition(**fargate, cpu=".25 vCPU", memory="0.5GB")["taskDefinition"]
    assert (made["cpu"], made["memory"], made["compatibilities"]) == ("256", "512", ["EC2", "FARGATE"])
    cases = [
        (dict(fargate, cpu="256", memory="4096"), "No Fargate configuration exists for given values"),
        (dict(fargate, cpu="0x100", memory="512"), "Invalid 'cpu' setting for task."),
        (dict(fargate, cpu="256", memory="5.12e2"), "Invalid 'memory' setting for task."),
        (dict(fargate, memory="512"), "Fargate requires that 'cpu' be defined at the task level."),
        (dict(fargate, cpu="256", memory="512", networkMode="bridge"), "Fargate only supports network mode"),
        (dict(family=family, containerDefinitions=[{"name": "m", "image": "x"}]), "Invalid setting for container 'm'. At least one of 'memory' or 'memoryReservation' must be specified."),
        (dict(family=family, containerDefinitions=[]), "containerDefinitions should not be null or empty"),
        (dict(family="bad name", containerDefinitions=[one]), "Invalid family name"),
        (dict(family=family, containerDefinitions=[one, one]), "unique"),
        (dict(family=family, containerDefinitions=[dict(one, essential=False)]), "essential"),
        (dict(family=family, containerDefinitions=[dict(one, mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])]), "Unknown volume 'v'."),
        (dict(family=family, containerDefinitions=[dict(one, dependsOn=[{"containerName": "two", "condition": "START"}]), dict(one, name="two", dependsOn=[{"containerName": "main", "condition": "START"}])]), "cycle"),
        (dict(family=family, networkMode="awsvpc", containerDefinitions=[dict(one, portMappings=[{"containerPort": 80, "hostPort": 81}])]), "must match"),
    ]
    for arguments, text in cases:
        code, message = code_of(ecs.register_task_definition, **arguments)
        assert code == "ClientException" and text in message, (arguments, message)
    assert code_of(ecs.run_task, taskDefinition=made["taskDefinitionArn"], launchType="FARGATE") == ("InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    big = ecs.register_task_definition(**fargate, cpu="16384", memory="32768")["taskDefinition"]["taskDefinitionArn"]
    answer = ecs.run_task(taskDefinition=big, launchType="FARGATE", networkConfiguration=VPC)
    assert answer["tasks"] == [] and answer["failures"][0]["reason"] in ("RESOURCE:CPU", "RESOURCE:MEMORY")
    assert code_of(ecs.create_service, serviceName="s", taskDefinition=big) == ("NotImplementedException", "Quern does not implement ecs:CreateService yet.")


def test_a_cluster_has_a_strategy_of_its_own(quern):
    """Without a launch type and a strategy in the request the cluster's default counts (API reference, RunTask)."""
    ecs, cluster = quern.client("ecs"), helpers.unique("c")
    ecs.create_cluster(clusterName=cluster, capacityProviders=["FARGATE", "FARGATE_SPOT"], defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}])
    fargate = register(quern, container(quern, "true"), requiresCompatibilities=["FARGATE"], cpu="256", memory="512", networkMode="awsvpc", executionRoleArn=quern.role)
    task = ecs.run_task(cluster=cluster, taskDefinition=fargate, networkConfiguration=VPC)["tasks"][0]
    assert (task["launchType"], task["capacityProviderName"]) == ("FARGATE", "FARGATE_SPOT")
    quern.wait(lambda: ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"][0]["lastStatus"] == "STOPPED")
    other = register(quern, container(quern, "true"))
    assert code_of(ecs.run_task, cluster=cluster, taskDefinition=other)[0] == "InvalidParameterException"
    here = ecs.run_task(cluster=cluster, taskDefinition=other, launchType="EC2")["tasks"][0]
    assert here["launchType"] == "EC2" and "capacityProviderName" not in here


def test_a_revision_is_deregistered(quern):
    ecs, arn = quern.client("ecs"), register(quern, container(quern, "true"))
    family = arn.rpartition("/")[2].partition(":")[0]
    assert code_of(ecs.deregister_task_definition, taskDefinition=family) == ("ClientException", "Revision is missing.")
    assert ecs.deregister_task_definition(taskDefinition=f"{family}:1")["taskDefinition"]["status"] == "INACTIVE"


def test_sagemaker_job_with_an_image_of_the_registry(quern):
    ecs_images.push_busybox(quern)
    sagemaker = quern.client("sagemaker")
    name = helpers.unique("job")
    sagemaker.create_processing_job(ProcessingJobName=name, RoleArn=quern.role, AppSpecification={"ImageUri": quern.busybox, "ContainerEntrypoint": ["sh", "-c", "echo $FROM_IMAGE; exit 4"]},
                                    ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}})
    job = quern.wait(lambda: (lambda d: d if d["ProcessingJobStatus"] != "InProgress" else None)(sagemaker.describe_processing_job(ProcessingJobName=name)))
    assert job["ProcessingJobStatus"] == "Failed" and "4" in job["FailureReason"], job


def test_quern_exec(quern):
    arn = run(quern, register(quern, container(quern, "sleep 600", stopTimeout=1, user="worker"), container(quern, "sleep 600", name="side", stopTimeout=1)))
    running(quern, arn)
    assert quern.cli("exec", arn, "--", "sh", "-c", "id -u; echo $FROM_IMAGE; hostname").stdout.split() == ["1234", "yes", "main"]
    assert quern.cli("exec", arn.rsplit("/", 1)[1], "-c", "side", "--", "id", "-u").stdout.strip() == "0"
    assert quern.cli("exec", arn, "--", "sh", "-c", "exit 9", check=False).returncode == 9
    quern.client("ecs").stop_task(task=arn)
    stopped(quern, arn)
    assert "stopped" in quern.cli("exec", arn, check=False).stderr or "no task" in quern.cli("exec", arn, check=False).stderr
