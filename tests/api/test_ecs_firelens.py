"""FireLens: containers with log driver awsfirelens send their output to the task's log router, here a small one in Python."""

import json
import os
import signal
import time

from api import helpers
from api.test_ecs import ROLE, awslogs, code_of, container, describe, lines, register, run, running, stopped

# Decodes the forward protocol as far as it is used: prints its configuration, then each message; ends when told to and all has been read.
ROUTER = r'''
import json, os, select, signal, socket, struct, sys, threading

CONFIG = sys.argv[1]
for line in open(CONFIG):
    print("config " + line.rstrip("\n"), flush=True)
    if line.startswith("@include ") or line.startswith("@INCLUDE "):
        for more in open(line.split()[1]):
            print("included " + more.rstrip("\n"), flush=True)
print("secret " + os.environ.get("Token_1", ""), flush=True)
if len(sys.argv) > 2:
    sys.exit(int(sys.argv[2]))

def take(f, n):
    data = f.read(n)
    if len(data) < n:
        raise EOFError
    return data

def decode(f):
    b = take(f, 1)[0]
    number = lambda n: int.from_bytes(take(f, n), "big")
    text = lambda n: take(f, n).decode()
    if b < 0x80: return b
    if b < 0x90: return {decode(f): decode(f) for _ in range(b & 15)}
    if b < 0xa0: return [decode(f) for _ in range(b & 15)]
    if b < 0xc0: return text(b & 31)
    if b == 0xd7:
        assert take(f, 1) == b"\0"
        return {"time": struct.unpack(">II", take(f, 8))}
    if b in (0xd9, 0xda, 0xdb): return text(number(1 << b - 0xd9))
    raise ValueError(hex(b))

lock = threading.Lock()

def serve(c):
    f = c.makefile("rb")
    try:
        while True:
            message = decode(f)
            with lock:
                print("message " + json.dumps(message), flush=True)
    except EOFError:
        pass

told, tell = os.pipe()
signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"x"))
s = socket.socket(socket.AF_UNIX)
s.bind("/var/run/fluent.sock")
s.listen()
s.setblocking(False)
threads = []

ready = []
while told not in ready:
    ready = select.select([s, told], [], [])[0]
    try:
        while True:
            c = s.accept()[0]
            c.setblocking(True)
            threads.append(threading.Thread(target=serve, args=(c,)))
            threads[-1].start()
    except BlockingIOError:
        pass
for t in threads:
    t.join()
'''


def router(group, kind="fluentbit", code=None, options=None, **kwargs):
    path = {"fluentbit": "/fluent-bit/etc/fluent-bit.conf", "fluentd": "/fluentd/etc/fluent.conf"}[kind]
    command = ["-c", ROUTER, path] + ([str(code)] if code is not None else [])
    return {"name": "router", "image": helpers.SKLEARN, "memory": 256, "entryPoint": ["python3"], "command": command, "logConfiguration": awslogs(group),
            "firelensConfiguration": {"type": kind, "options": options or {}}, **kwargs}


def firelens(**options):
    return {"logDriver": "awsfirelens", "options": options}


def printed(quern, group, arn):
    """What the router printed: (its configuration, the messages)."""
    all_lines = lines(quern, group, "p/router/" + arn.rsplit("/", 1)[1])
    return [line for line in all_lines if not line.startswith("message ")], [json.loads(line[8:]) for line in all_lines if line.startswith("message ")]


def test_two_containers_and_both_streams(quern):
    """What they print comes as one message a line, with the members that Docker's driver gives."""
    group = helpers.unique("/ecs/firelens")
    script = "echo out; echo err >&2; echo; printf 'no end'"
    definition = register(quern, router(group), container(quern, "echo first", name="b", essential=False, logConfiguration=firelens(Name="null")),
                          container(quern, script, name="a", dependsOn=[{"containerName": "b", "condition": "COMPLETE"}], logConfiguration=firelens(Name="stdout", Format="json")))
    arn = run(quern, definition)
    task = stopped(quern, arn)
    ends = {c["name"]: c.get("exitCode") for c in task["containers"]}
    config, messages = printed(quern, group, arn)
    assert ends["router"] == 0 and ends["a"] == 0, (task, config)
    task_id = arn.rsplit("/", 1)[1]
    of = lambda name: [m for m in messages if m[0] == f"{name}-firelens-{task_id}"]  # noqa: E731
    assert [m[2]["log"] for m in of("b")] == ["first"] and len(messages) == len(of("a")) + 1
    ids = {c["name"]: c["runtimeId"] for c in task["containers"]}
    said = lambda source: [m[2]["log"] for m in of("a") if m[2]["source"] == source]  # noqa: E731
    assert said("stdout") == ["out", "", "no end"] and said("stderr") == ["err"]
    assert all(set(m[2]) == {"container_id", "container_name", "source", "log"} and m[2]["container_id"] == ids["a"] and m[2]["container_name"] == "a" for m in of("a"))
    assert all(abs(m[1]["time"][0] - time.time()) < 3600 and m[1]["time"][1] < 10 ** 9 for m in messages)
    text = "\n".join(line[7:] for line in config if line.startswith("config "))
    parts = ["unix_path /var/run/fluent.sock", "Listen 0.0.0.0\n    Port 24224", "Record ecs_cluster default", f"Record ecs_task_arn {arn}", "Record ecs_task_definition " + definition.rsplit("/", 1)[1],
             "Match a-firelens*\n    ", "Name stdout", "Format json", "Match b-firelens*\n    Name null"]
    assert all(part in text for part in parts), text


def test_long_line(quern):
    """In pieces of 16 KiB, as from Docker."""
    group = helpers.unique("/ecs/firelens")
    script = "dd if=/dev/zero bs=40000 count=1 2>/dev/null | busybox tr '\\0' x; echo; echo $FLUENT_HOST $FLUENT_PORT"
    arn = run(quern, register(quern, router(group), container(quern, script, logConfiguration=firelens(Name="null"))))
    task = stopped(quern, arn)
    config, messages = printed(quern, group, arn)
    records = [m[2] for m in messages]
    assert [len(r["log"]) for r in records[:3]] == [16384, 16384, 40000 - 32768], (task, config, records)
    assert [(r["partial_message"], r["partial_ordinal"], r["partial_last"]) for r in records[:3]] == [("true", "1", "false"), ("true", "2", "false"), ("true", "3", "true")]
    assert len({r["partial_id"] for r in records[:3]}) == 1
    assert records[3]["log"] == "router 24224" and "partial_id" not in records[3] and len(records) == 4


def test_own_configuration_from_s3_secrets_and_a_router_that_ends(quern):
    """Without metadata; the router that is not essential ends, and holds up nobody."""
    group = helpers.unique("/ecs/firelens")
    helpers.make_bucket(quern)
    quern.client("s3").put_object(Bucket="my-bucket", Key="extra.conf", Body=b"# mine\n")
    name = helpers.unique("token")
    quern.client("ssm").put_parameter(Name=name, Value="hush", Type="String")
    log = {**firelens(**{"@type": "http", "exclude-pattern": "^noise"}), "secretOptions": [{"name": "Token", "valueFrom": name}]}
    options = {"enable-ecs-log-metadata": "false", "config-file-type": "s3", "config-file-value": "arn:aws:s3:::my-bucket/extra.conf"}
    many = "busybox head -c 3000000 /dev/zero | busybox tr '\\0' '\\n'; exit 7"
    arn = run(quern, register(quern, router(group, "fluentd", code=3, options=options, essential=False), container(quern, many, logConfiguration=log)))
    task = stopped(quern, arn)
    assert {c["name"]: c.get("exitCode") for c in task["containers"]} == {"router": 3, "main": 7}, task
    config, messages = printed(quern, group, arn)
    assert not messages and "included # mine" in config and "secret hush" in config, config
    text = "\n".join(line[7:] for line in config if line.startswith("config "))
    parts = ["@type unix\n  path /var/run/fluent.sock", "<match main-firelens**>\n    @type http", "Token \"#{ENV['Token_1']}\"", "pattern /^noise/"]
    assert all(part in text for part in parts) and "ecs_cluster" not in text and "hush" not in text, text


def test_router_is_essential(quern):
    group = helpers.unique("/ecs/firelens")
    arn = run(quern, register(quern, router(group, code=4), container(quern, "sleep 600", stopTimeout=1, logConfiguration=firelens(Name="null"))))
    task = stopped(quern, arn)
    assert task["stopCode"] == "EssentialContainerExited" and {c["name"]: c["exitCode"] for c in task["containers"]}["router"] == 4


def test_crash_of_the_daemon(own_quern):
    """The supervisor sends: nothing is lost or doubled while the daemon is away."""
    quern = own_quern
    group = helpers.unique("/ecs/firelens")
    script = "for i in $(seq 40); do echo $i; sleep 0.1; done"
    arn = run(quern, register(quern, router(group), container(quern, script, logConfiguration=firelens(Name="null"))))
    running(quern, arn)
    os.kill(quern.pid("serve"), signal.SIGKILL)
    time.sleep(1)
    quern.up()
    task = stopped(quern, arn)
    config, messages = printed(quern, group, arn)
    assert [m[2]["log"] for m in messages] == [str(i + 1) for i in range(40)], (task, config)
    assert describe(quern, arn)["lastStatus"] == "STOPPED"


def test_definitions(quern):
    """In AWS's words where they are known."""
    ecs = quern.client("ecs")
    main = lambda **options: container(quern, "true", logConfiguration=firelens(**options))  # noqa: E731
    answer = ecs.register_task_definition(family=helpers.unique("family"), executionRoleArn=ROLE, containerDefinitions=[router("/g", options={"config-file-type": "file", "config-file-value": "/x.conf"}), main()])
    names = {a["name"] for a in answer["taskDefinition"]["requiresAttributes"]}
    assert {"com.amazonaws.ecs.capability.logging-driver.awsfirelens", "ecs.capability.firelens.fluentbit", "ecs.capability.firelens.options.config.file"} <= names
    wrong = [
        ([main()], "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be configured in one of the containers."),
        ([router("/g")], "When a firelensConfiguration object is specified, at least one container has to be configured with the awsfirelens log driver."),
        ([router("/g", options={"config-file-type": "s4", "config-file-value": "x"}), main()], "config-file-type must be file or s3"),
        ([router("/g", options={"config-file-type": "file"}), main()], "must be given together"),
        ([router("/g", options={"nonsense": "x"}), main()], "'nonsense' is not an option"),
        ([router("/g", options={"enable-ecs-log-metadata": "perhaps"}), main()], "enable-ecs-log-metadata must be true or false"),
        ([router("/g"), main(**{"log-driver-buffer-limit": "many"})], "log-driver-buffer-limit must be a number"),
    ]
    for containers, text in wrong:
        code, message = code_of(ecs.register_task_definition, family=helpers.unique("family"), containerDefinitions=containers)
        assert code == "ClientException" and text in message, message
