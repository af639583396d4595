"""CloudWatch Logs called by boto3: groups, streams, events, pages, filters, retention. The server is logs_server.c."""

import json
import os
import subprocess
import sys
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from api.helpers import knows, needs  # noqa: E402

PROGRAM = os.environ.get("LOGS_SERVER", "")
if not os.path.exists(PROGRAM):
    pytest.skip("LOGS_SERVER is not built", allow_module_level=True)


class Server:
    def __init__(self, home):
        self.home = home
        self.start()

    def start(self):
        self.process = subprocess.Popen([PROGRAM, str(self.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = int(self.process.stdout.readline())
        self.logs = boto3.client("logs", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="AKIDTEST",
                                 aws_secret_access_key="secret", config=Config(retries={"max_attempts": 0}))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("logs"))
    yield s
    s.stop()


@pytest.fixture
def logs(server):
    return server.logs


counter = iter(range(10**6))


@pytest.fixture
def group(logs):
    name = f"/test/group-{next(counter)}"
    logs.create_log_group(logGroupName=name)
    return name


def bytes_read(server):
    with open(f"/proc/{server.process.pid}/io", encoding="ascii") as f:
        return int(f.readline().split()[1])


def refused(code, call, **kwargs):
    with pytest.raises(ClientError) as e:
        call(**kwargs)
    assert e.value.response["Error"]["Code"] == code, e.value
    return e.value.response["Error"]["Message"]


def now_ms():
    return int(time.time() * 1000)


def write_lines(server, group, stream, lines):
    """What a supervisor does: appends records to the stream's file."""
    path = server.ask(f"stream {group} {stream}")
    with open(path, "ab") as f:
        for at, text in lines:
            f.write(b"%d " % at + (text if isinstance(text, bytes) else text.encode()) + b"\n")
    return path


# ---- groups and streams ----

def test_groups(logs):
    for name in ("/a/1", "/a/2", "/b/1"):
        logs.create_log_group(logGroupName=name, tags={"k": name})
    assert refused("ResourceAlreadyExistsException", logs.create_log_group, logGroupName="/a/1") == "The specified log group already exists"
    found = logs.describe_log_groups(logGroupNamePrefix="/a/")["logGroups"]
    assert [g["logGroupName"] for g in found] == ["/a/1", "/a/2"]
    assert found[0]["arn"] == "arn:aws:logs:us-east-1:123456789012:log-group:/a/1:*"
    if knows(logs, "DescribeLogGroups", "logGroupClass"):
        assert found[0]["logGroupArn"] == "arn:aws:logs:us-east-1:123456789012:log-group:/a/1"
    assert abs(found[0]["creationTime"] - now_ms()) < 60000
    assert [g["logGroupName"] for g in logs.describe_log_groups(logGroupNamePattern="b/1")["logGroups"]] == ["/b/1"]
    page = logs.describe_log_groups(logGroupNamePrefix="/a/", limit=1)
    assert [g["logGroupName"] for g in page["logGroups"]] == ["/a/1"]
    page = logs.describe_log_groups(logGroupNamePrefix="/a/", limit=1, nextToken=page["nextToken"])
    assert [g["logGroupName"] for g in page["logGroups"]] == ["/a/2"] and "nextToken" not in page
    logs.delete_log_group(logGroupName="/a/2")
    assert len(logs.describe_log_groups(logGroupNamePrefix="/a/")["logGroups"]) == 1
    refused("ResourceNotFoundException", logs.delete_log_group, logGroupName="/a/2")


def test_tags(logs, group):
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}"
    logs.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    logs.tag_log_group(logGroupName=group, tags={"b": "3"})
    logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "3"}
    logs.untag_log_group(logGroupName=group, tags=["b"])
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {}
    message = refused("TooManyTagsException", lambda **k: [logs.tag_resource(resourceArn=arn, tags={f"{i}-{j}": "" for j in range(40)}) for i in range(2)])
    assert "50" in message


def test_streams(logs, group):
    for name in ("job/algo-1-1", "job/algo-2-1", "other/algo-1-1"):
        logs.create_log_stream(logGroupName=group, logStreamName=name)
    refused("ResourceAlreadyExistsException", logs.create_log_stream, logGroupName=group, logStreamName="job/algo-1-1")
    refused("ResourceNotFoundException", logs.create_log_stream, logGroupName="/no", logStreamName="x")
    # the SageMaker SDK's call: it must get no token when all are there
    page = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="job/", orderBy="LogStreamName", limit=2)
    assert [s["logStreamName"] for s in page["logStreams"]] == ["job/algo-1-1", "job/algo-2-1"]
    assert "nextToken" not in page
    page = logs.describe_log_streams(logGroupName=group, limit=2)
    assert "nextToken" in page
    page = logs.describe_log_streams(logGroupName=group, limit=2, nextToken=page["nextToken"])
    assert [s["logStreamName"] for s in page["logStreams"]] == ["other/algo-1-1"] and "nextToken" not in page
    page = logs.describe_log_streams(logGroupName=group, limit=2, descending=True)
    assert [s["logStreamName"] for s in page["logStreams"]] == ["other/algo-1-1", "job/algo-2-1"]
    page = logs.describe_log_streams(logGroupName=group, limit=2, descending=True, nextToken=page["nextToken"])
    assert [s["logStreamName"] for s in page["logStreams"]] == ["job/algo-1-1"]
    assert refused("InvalidParameterException", logs.describe_log_streams, logGroupName=group, logStreamNamePrefix="job",
                   orderBy="LastEventTime") == "Cannot order by LastEventTime with a logStreamNamePrefix."
    assert refused("ResourceNotFoundException", logs.describe_log_streams, logGroupName="/no") == "The specified log group does not exist."
    logs.delete_log_stream(logGroupName=group, logStreamName="other/algo-1-1")
    assert refused("ResourceNotFoundException", logs.delete_log_stream, logGroupName=group,
                   logStreamName="other/algo-1-1") == "The specified log stream does not exist."


def test_streams_by_time_and_sizes(server, logs, group):
    t = now_ms()
    write_lines(server, group, "old", [(t - 9000, "x"), (t - 8000, "y")])
    write_lines(server, group, "new", [(t - 5000, "x"), (t - 1000, "last")])
    write_lines(server, group, "middle", [(t - 4000, "x")])
    page = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=2)
    assert [s["logStreamName"] for s in page["logStreams"]] == ["new", "middle"]
    first = page["logStreams"][0]
    assert (first["firstEventTimestamp"], first["lastEventTimestamp"]) == (t - 5000, t - 1000)
    assert first["storedBytes"] == len(f"{t} x\n{t} last\n")
    page = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=2, nextToken=page["nextToken"])
    assert [s["logStreamName"] for s in page["logStreams"]] == ["old"] and "nextToken" not in page
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["storedBytes"] > 0


def test_deleted_files_go(server, logs, group):
    path = write_lines(server, group, "s", [(1, "x")])
    other = write_lines(server, group, "t", [(1, "x")])
    logs.delete_log_stream(logGroupName=group, logStreamName="s")
    logs.delete_log_group(logGroupName=group)
    end = time.time() + 10
    while (os.path.exists(path) or os.path.exists(other)) and time.time() < end:
        time.sleep(0.02)
    assert not os.path.exists(path) and not os.path.exists(other)


# ---- putting ----

def test_put_and_get(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    t = now_ms()
    events = [{"timestamp": t, "message": "plain"}, {"timestamp": t, "message": "two\nlines \\n \\"}, {"timestamp": t + 5, "message": "é \U0001f600"}]
    answer = logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events, sequenceToken="ignored")
    assert "rejectedLogEventsInfo" not in answer and answer["nextSequenceToken"]
    got = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)
    assert [(e["timestamp"], e["message"]) for e in got["events"]] == [(e["timestamp"], e["message"]) for e in events]
    assert all(abs(e["ingestionTime"] - t) < 60000 for e in got["events"])


def test_put_rules(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    t = now_ms()
    put = lambda events: logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": a, "message": m} for a, m in events])
    assert "chronological order" in refused("InvalidParameterException", put, events=[(t, "b"), (t - 1, "a")])
    assert "24 hours" in refused("InvalidParameterException", put, events=[(t - 25 * 3600000, "b"), (t, "a")])
    assert "exceeds limit of 1048576" in refused("InvalidParameterException", put, events=[(t, "x" * 600000), (t, "x" * 600000)])
    refused("ResourceNotFoundException", logs.put_log_events, logGroupName=group, logStreamName="none", logEvents=[{"timestamp": t, "message": "m"}])
    assert logs.get_log_events(logGroupName=group, logStreamName="s")["events"] == []
    answer = put([(t - 15 * 86400000, "too old"), (t - 15 * 86400000, "too old")])
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2}
    answer = put([(t, "good"), (t + 3 * 3600000, "too new")])
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName="s")["events"]] == ["good"]


def test_put_out_of_order_batches_are_found_by_time(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    t = now_ms()
    for base in (t - 1000000, t - 5000000, t - 3000000):
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": base + i, "message": f"{base + i}"} for i in range(5)])
    found = logs.filter_log_events(logGroupName=group, startTime=t - 3000000, endTime=t - 2999998)["events"]
    assert [e["timestamp"] for e in found] == [t - 3000000, t - 2999999, t - 2999998]
    everything, token = [], {}
    while True:
        page = logs.filter_log_events(logGroupName=group, limit=4, **token)
        everything += [e["timestamp"] for e in page["events"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert everything == sorted(everything) and len(everything) == 15
    got = logs.get_log_events(logGroupName=group, logStreamName="s", startTime=t - 3000000, endTime=t - 2999998, startFromHead=True)["events"]
    assert [e["timestamp"] for e in got] == [t - 3000000, t - 2999999]


def test_acknowledged_events_survive_a_kill(tmp_path):
    s = Server(tmp_path)
    s.logs.create_log_group(logGroupName="g")
    s.logs.create_log_stream(logGroupName="g", logStreamName="s")
    for i in range(20):
        s.logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[{"timestamp": now_ms(), "message": str(i)}])
    s.kill()
    path = [os.path.join(d, f) for d, _, files in os.walk(tmp_path / "logs") for f in files][0]
    with open(path, "ab") as f:
        f.write(b"123456")  # as if torn
    s.start()
    assert [e["message"] for e in s.logs.get_log_events(logGroupName="g", logStreamName="s", startFromHead=True)["events"]] == [str(i) for i in range(20)]
    s.logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[{"timestamp": now_ms(), "message": "after"}])
    assert s.logs.get_log_events(logGroupName="g", logStreamName="s")["events"][-1]["message"] == "after"
    s.stop()


# ---- getting ----

def test_pages_forwards_and_backwards(server, logs, group):
    t = now_ms() - 100000
    write_lines(server, group, "s", [(t + i, f"line {i}") for i in range(2500)])
    get = lambda **k: logs.get_log_events(logGroupName=group, logStreamName="s", **k)
    page = get(startFromHead=True, limit=1000)
    seen = [e["message"] for e in page["events"]]
    while True:
        following = get(startFromHead=True, limit=1000, nextToken=page["nextForwardToken"])
        if following["nextForwardToken"] == page["nextForwardToken"]:
            assert following["events"] == []
            break
        seen += [e["message"] for e in following["events"]]
        page = following
    assert seen == [f"line {i}" for i in range(2500)]
    # more lines: the same token goes on
    write_lines(server, group, "s", [(t + 2500, "line 2500")])
    assert [e["message"] for e in get(startFromHead=True, nextToken=page["nextForwardToken"])["events"]] == ["line 2500"]
    page = get(limit=1000)
    seen = [e["message"] for e in page["events"]]
    assert seen[-1] == "line 2500" and len(seen) == 1000
    while True:
        before = get(limit=1000, nextToken=page["nextBackwardToken"])
        if before["nextBackwardToken"] == page["nextBackwardToken"]:
            assert before["events"] == []
            break
        seen = [e["message"] for e in before["events"]] + seen
        page = before
    assert seen == [f"line {i}" for i in range(2501)]


def test_time_ranges(server, logs, group):
    t = now_ms() - 10000000
    write_lines(server, group, "s", [(t + i * 1000, f"{i}") for i in range(5000)])
    get = lambda **k: [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName="s", **k)["events"]]
    assert get(startTime=t + 4998000, startFromHead=True) == ["4998", "4999"]
    assert get(startTime=t + 100000, endTime=t + 103000, startFromHead=True) == ["100", "101", "102"]
    assert get(startTime=t + 100000, endTime=t + 103000) == ["100", "101", "102"]
    assert get(endTime=t + 103000, limit=2) == ["101", "102"]
    assert get(startTime=t + 99999999) == []
    refused("InvalidParameterException", logs.get_log_events, logGroupName=group, logStreamName="s", startTime=5, endTime=4)


def test_a_page_is_at_most_a_megabyte(server, logs, group):
    t = now_ms()
    write_lines(server, group, "s", [(t, "x" * 200000) for i in range(20)])
    page = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)
    assert len(page["events"]) == 5
    page = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, nextToken=page["nextForwardToken"])
    assert len(page["events"]) == 5


def test_bad_tokens(server, logs, group):
    write_lines(server, group, "s", [(now_ms(), "abc")])
    for token in ("x", "f/3", "f/99999", "b/-1", "g/0", "f/zz"):
        assert refused("InvalidParameterException", logs.get_log_events, logGroupName=group, logStreamName="s",
                       nextToken=token) == "The specified nextToken is invalid."
    refused("InvalidParameterException", logs.filter_log_events, logGroupName=group, nextToken="nonsense")
    refused("InvalidParameterException", logs.describe_log_streams, logGroupName=group, nextToken="zz")


def test_odd_bytes_and_a_torn_line(server, logs, group):
    t = now_ms()
    path = write_lines(server, group, "s", [(t, b"bad \xff\xfe utf"), (t, b"carriage\rreturn"), (t, b"nul \x00 here"), (t, b"")])
    with open(path, "ab") as f:
        f.write(b"garbage without time\n" + b"%d not finished" % t)
    got = [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)["events"]]
    assert got == ["bad \ufffd\ufffd utf", "carriage\rreturn", "nul \x00 here", ""]


def test_group_by_arn(server, logs, group):
    needs(logs, "DescribeLogGroups", "logGroupClass")  # as old: group names are required
    write_lines(server, group, "s", [(now_ms(), "abc")])
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}"
    for identifier in (arn, group):
        assert logs.get_log_events(logGroupIdentifier=identifier, logStreamName="s")["events"][0]["message"] == "abc"
        assert len(logs.describe_log_streams(logGroupIdentifier=identifier)["logStreams"]) == 1
    refused("InvalidParameterException", logs.describe_log_streams)


# ---- filtering ----

def test_filter_merges_streams_by_time(server, logs, group):
    t = now_ms() - 60000
    for k in range(5):
        write_lines(server, group, f"s{k}", [(t + i * 10 + k, f"{'ERROR' if i % 10 == 0 else 'info'} s{k} {i}") for i in range(300)])
    every, token = [], {}
    while True:
        page = logs.filter_log_events(logGroupName=group, limit=137, **token)
        every += page["events"]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert len(every) == 1500 and len({e["eventId"] for e in every}) == 1500
    order = [(e["timestamp"], e["logStreamName"]) for e in every]
    assert order == sorted(order)
    errors = logs.filter_log_events(logGroupName=group, filterPattern="ERROR", logStreamNames=["s1", "s3"])["events"]
    assert len(errors) == 60 and {e["logStreamName"] for e in errors} == {"s1", "s3"}
    some = logs.filter_log_events(logGroupName=group, filterPattern="?ERROR ?nothing", logStreamNamePrefix="s2", startTime=t + 100, endTime=t + 1002)["events"]
    assert [e["message"] for e in some] == [f"ERROR s2 {i}" for i in range(10, 101, 10)]
    refused("InvalidParameterException", logs.filter_log_events, logGroupName=group, logStreamNamePrefix="s", logStreamNames=["s1"])
    refused("ResourceNotFoundException", logs.filter_log_events, logGroupName=group, logStreamNames=["none"])
    assert "not supported" in refused("InvalidParameterException", logs.filter_log_events, logGroupName=group, filterPattern="[a, b]")


def test_filter_json(server, logs, group):
    write_lines(server, group, "s", [(now_ms(), json.dumps({"level": l, "n": n})) for l, n in (("warn", 1), ("error", 2), ("error", 30))])
    found = logs.filter_log_events(logGroupName=group, filterPattern='{ $.level = "error" && $.n > 10 }')["events"]
    assert [json.loads(e["message"])["n"] for e in found] == [30]


# ---- retention ----

def test_retention(server, logs, group):
    t, day = now_ms(), 86400000
    path = write_lines(server, group, "s", [(t - 40 * day + i, "old " + "x" * 1000) for i in range(200)] + [(t - 2 * day, "young"), (t, "now")])
    size = os.stat(path).st_size
    assert "enum value set" in refused("InvalidParameterException", logs.put_retention_policy, logGroupName=group, retentionInDays=2)
    forward = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=150)["nextForwardToken"]
    logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 30
    read = lambda **k: [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, **k)["events"]]
    assert read() == ["young", "now"]  # before any sweep
    assert len(logs.filter_log_events(logGroupName=group)["events"]) == 2
    assert server.ask("sweep") == "ok"
    assert os.stat(path).st_size == size and os.stat(path).st_blocks * 512 < size / 2
    assert read() == ["young", "now"] and read(nextToken=forward) == ["young", "now"]
    assert logs.describe_log_streams(logGroupName=group)["logStreams"][0]["firstEventTimestamp"] == t - 2 * day
    logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert read() == ["young", "now"]
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    assert server.ask("sweep") == "ok" and read() == ["now"]


# ---- size ----

def test_sizes_are_told_without_reading(server, logs, group):
    for i in range(50):
        with open(server.ask(f"stream {group} s{i}"), "wb") as f:
            f.write(b"1 x\n" * 20000)
    read = bytes_read(server)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["storedBytes"] == 50 * 80000
    assert bytes_read(server) - read < 1 << 20  # of 4 MB



def test_a_large_log_leaves_memory_flat(server, logs, group):
    """256 MiB of lines: a tail, a time range in the middle and a full search, within a few MiB of memory."""
    t = now_ms() - 10**9
    path = server.ask(f"stream {group} big")
    line, n = 256, 1 << 20
    with open(path, "wb") as f:
        for block in range(64):
            f.write(b"".join(b"%d %s\n" % (t + i, (b"%d " % i).ljust(line - 15, b"."))
                             for i in range(block * n // 64, (block + 1) * n // 64)))
    assert os.stat(path).st_size == n * line
    before = int(server.ask("rss"))
    read = bytes_read(server)
    tail = logs.get_log_events(logGroupName=group, logStreamName="big", limit=10)["events"]
    assert tail[-1]["message"].startswith(f"{n - 1} ")
    middle = logs.get_log_events(logGroupName=group, logStreamName="big", startTime=t + n // 2, limit=3, startFromHead=True)["events"]
    assert [e["timestamp"] for e in middle] == [t + n // 2 + i for i in range(3)]
    assert bytes_read(server) - read < 8 << 20  # of 256 MiB
    found, token = [], {}
    while True:
        page = logs.filter_log_events(logGroupName=group, filterPattern=f'"{n - 1} "', **token)
        found += page["events"]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert len(found) == 1
    assert int(server.ask("rss")) - before < 8 * 1024
    logs.delete_log_group(logGroupName=group)
