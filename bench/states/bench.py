"""Step Functions: what the issue asks of speed and size, beside peers in the same run.

  sync      StartSyncExecution of five Pass states: server CPU a call and latency of a lone keep-alive client
  inline    an express execution of an inline Map over 10,000 items
  chain     transitions a second of standard executions of 200 Pass states
  step      a step that waits: Task states in a chain, each a call that is durable before and after
  waits     executions that wait for an hour: resident memory each
  map       a distributed Map of Pass states over an object of S3, standard and express children: time, peak resident memory

Usage: bench.py QUERN [part ...]. Needs wrk. MAP_ITEMS (1,000,000) and WAITS (50,000) make it smaller.
The client's cost is not measured: CPU is the server's, requests are signed once and repeated by wrk."""

import http.client
import json
import os
import shutil
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "wire"), os.path.join(ROOT, "bench"), HERE]
os.environ["QUERN"] = sys.argv[1]

import budgets  # noqa: E402
import conftest  # noqa: E402
import load  # noqa: E402
import peers  # noqa: E402

MAP_ITEMS = int(os.environ.get("MAP_ITEMS", "1000000"))
WAITS = int(os.environ.get("WAITS", "50000"))
PEER_MAP_ITEMS, PEER_WAITS, CHAIN = 2000, 1000, 200
PASS = {"Type": "Pass", "End": True}


def chain(n, state):
    return {"StartAt": "S0", "States": {f"S{i}": {**state, **({"Next": f"S{i + 1}"} if i + 1 < n else {"End": True})} for i in range(n)}}


def inline(n):
    return {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$", "End": True, "ItemProcessor": {"StartAt": "P", "States": {"P": PASS}}}}}


def distributed(kind, bucket, key, input_type, writer=True):
    m = {"Type": "Map", "End": True, "Label": "L", "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "StartAt": "P", "States": {"P": PASS}},
         "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": input_type, **({"CSVHeaderLocation": "FIRST_ROW"} if input_type == "CSV" else {})}, "Parameters": {"Bucket": bucket, "Key": key}}}
    if writer:
        m["ResultWriter"] = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "out"}}
    return {"StartAt": "M", "States": {"M": m}}


def verdict(value, goal, more=False):
    return "met" if (value >= goal if more else value <= goal) else "MISSED"


def line(what, value, unit, goal, peer=None, more=False):
    text = f"{what}: {value:,.2f} {unit} (goal {'>=' if more else '<='} {goal:,} {unit}: {verdict(value, goal, more)})"
    if peer is not None:
        name, theirs = peer
        ratio = value / theirs if more else theirs / value
        text += f"; {name} {theirs:,.2f} {unit}, ratio {ratio:,.1f}"
    print(text, flush=True)
    budgets.note(what.strip(), goal, round(value, 3), unit, more, text.partition("; ")[2])


class Target:
    """A server under measurement, Quern or MiniStack."""

    count = 0

    def __init__(self, name, endpoint, keys, pid, account):
        self.name, self.endpoint, self.keys, self.pid, self.account = name, endpoint, keys, pid, account
        self.host = endpoint.split("//")[1]
        self.sfn, self.s3 = self.client("stepfunctions"), self.client("s3")
        self.role = f"arn:aws:iam::{account}:role/bench"

    def client(self, service):
        import boto3
        from botocore.config import Config

        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=self.keys[0], aws_secret_access_key=self.keys[1],
                            config=Config(inject_host_prefix=False, read_timeout=300, retries={"max_attempts": 1}))

    def machine(self, definition, kind="STANDARD"):
        Target.count += 1
        return self.sfn.create_state_machine(name=f"b{Target.count}", definition=json.dumps(definition), roleArn=self.role, type=kind)["stateMachineArn"]

    def request(self, operation, body):
        return load.signed(self.host, self.keys, operation, json.dumps(body).encode())

    def finish(self, arn, each=None, pause=0.02):
        while True:
            d = self.sfn.describe_execution(executionArn=arn)
            if d["status"] != "RUNNING":
                return d
            if each:
                each()
            time.sleep(pause)


def both(quern, peer, fn, *args):
    """fn of Quern, and of the peer where there is one; a peer that cannot do it is said to be so."""
    mine = fn(quern, *args)
    if not peer:
        return mine, None
    try:
        return mine, (peer.name, fn(peer, *args))
    except Exception as e:  # noqa: BLE001
        print(f"{peer.name}: {fn.__name__} failed there: {str(e)[:200]}")
        return mine, None


# ---- parts ----


def sync_cost(target):
    arn = target.machine(chain(5, {"Type": "Pass"}), "EXPRESS")
    request = target.request("StartSyncExecution", {"stateMachineArn": arn, "input": '{"a":1}'})
    connection = http.client.HTTPConnection(target.host, timeout=60)
    samples = []
    for i in range(300):
        begin = time.perf_counter()
        connection.request("POST", "/", request.body, request.headers)
        answer = json.loads(connection.getresponse().read())
        samples.append((time.perf_counter() - begin) * 1e6)
        if answer.get("status") != "SUCCEEDED":
            raise RuntimeError(str(answer))
    before = load.cpu_us(target.pid)
    count, rate = request.wrk(target.host, 2, 16)
    cost = (load.cpu_us(target.pid) - before) / count
    print(f"  {target.name}: {rate:,.0f} calls/s by wrk; a lone client sees {statistics.median(samples):,.0f} us")
    return cost


def bench_sync(quern, ministack, restate):
    mine, theirs = both(quern, ministack, sync_cost)
    line("StartSyncExecution, five Pass states, server CPU", mine, "us", 200, theirs)


def inline_ms(target, kind, n):
    arn = target.machine(inline(n), kind)
    samples = []
    for _ in range(5 if target.name == "Quern" else 1):
        begin = time.perf_counter()
        if kind == "EXPRESS":
            d = target.sfn.start_sync_execution(stateMachineArn=arn, input=json.dumps([0] * n))
        else:
            d = target.finish(target.sfn.start_execution(stateMachineArn=arn, input=json.dumps([0] * n))["executionArn"], pause=0.002)
        took = time.perf_counter() - begin  # a whole turn has one time: the dates of a standard execution say nothing
        if d["status"] != "SUCCEEDED":
            raise RuntimeError(f"{d['status']} {d.get('error')} {d.get('cause')}")
        if len(json.loads(d["output"])) != n:
            raise RuntimeError("the output is short")
        samples.append(took * 1000)
    return statistics.median(samples)


def bench_inline(quern, ministack, restate):
    mine, theirs = both(quern, ministack, inline_ms, "EXPRESS", 10000)
    line("inline Map of 10,000 Pass states, express, with the client", mine, "ms", 200, theirs)
    mine, theirs = both(quern, ministack, inline_ms, "STANDARD", 6000)
    line("inline Map of 6,000 Pass states, standard (24,000 events), with the client", mine, "ms", 200, theirs)


def chain_rate(target):
    """Starts executions for some seconds and waits until all have ended."""
    arn = target.machine(chain(CHAIN, {"Type": "Pass"}))
    request = target.request("StartExecution", {"stateMachineArn": arn, "input": "{}"})
    begin = time.time()
    count, _ = request.wrk(target.host, 3, 16)
    while target.sfn.list_executions(stateMachineArn=arn, statusFilter="RUNNING", maxResults=1)["executions"]:
        time.sleep(0.02)
    return count * CHAIN / (time.time() - begin)


def bench_chain(quern, ministack, restate):
    mine, theirs = both(quern, ministack, chain_rate)
    line("transitions of standard executions of 200 Pass states", mine, "/s", 50000, theirs, more=True)


def sync_ms(folder):
    """What the disk takes for the least durable write: 4 KiB appended and synced."""
    samples = []
    with tempfile.TemporaryFile(dir=folder) as f:
        for _ in range(200):
            begin = time.perf_counter()
            os.write(f.fileno(), b"x" * 4096)
            os.fdatasync(f.fileno())
            samples.append((time.perf_counter() - begin) * 1000)
    return statistics.median(samples)


def bench_step(quern, ministack, restate):
    n = 50
    arn = quern.machine(chain(n, {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sts:getCallerIdentity", "ResultPath": None}))
    samples, theirs, disk = [], [], []
    for _ in range(9):
        disk.append(sync_ms("/tmp"))
        d = quern.finish(quern.sfn.start_execution(stateMachineArn=arn)["executionArn"])
        if d["status"] != "SUCCEEDED":
            raise RuntimeError(d.get("cause"))
        samples.append((d["stopDate"] - d["startDate"]).total_seconds() * 1000 / n)
        if restate:
            theirs.append(restate.run(n) / n)
    line("a step that waits (Task calling an operation), median of chains of 50", statistics.median(samples), "ms", 0.5,
         ("Restate", statistics.median(theirs)) if theirs else None)
    print(f"  one synced write of 4 KiB in the same minutes: {statistics.median(disk):.2f} ms, the step is {statistics.median(samples) / statistics.median(disk):.2f} of it")


def wait_bytes(target, n):
    arn = target.machine(chain(1, {"Type": "Wait", "Seconds": 36000}))
    request = target.request("StartExecution", {"stateMachineArn": arn, "input": "{}"})
    request.wrk(target.host, 1, 8)  # what the first executions cost is not theirs
    load.settle(target.pid)
    before, count = load.memory_kib(target.pid, "VmRSS"), 0
    while count < n:
        count += request.wrk(target.host, 1, 16)[0]
    load.settle(target.pid)
    after = load.memory_kib(target.pid, "VmRSS")
    print(f"  {target.name}: {count:,} executions in Wait, resident {before / 1024:,.1f} -> {after / 1024:,.1f} MiB")
    return (after - before) / count


def bench_waits(quern, ministack, restate):
    mine = wait_bytes(quern, WAITS)
    theirs = None
    if ministack:
        try:
            theirs = (ministack.name, wait_bytes(ministack, PEER_WAITS))
        except Exception as e:  # noqa: BLE001
            print(f"{ministack.name}: {e}")
    if theirs and theirs[1] <= 0:
        theirs = None
    line(f"an execution in Wait, resident memory, {WAITS:,} of them", max(mine, 0.01), "KiB", 2, theirs)


def object_of(n, kind, path):
    with open(path, "w", encoding="ascii") as f:
        if kind == "CSV":
            f.write("id,name\n")
            f.writelines(f"{i},item number {i}\n" for i in range(n))
        elif kind == "JSONL":
            f.writelines('{"id":%d,"name":"item number %d"}\n' % (i, i) for i in range(n))
        else:
            f.write("[")
            f.writelines((", " if i else "") + '{"id":%d,"name":"item number %d"}' % (i, i) for i in range(n))
            f.write("]")


def map_run(target, n, kind, input_type, writer=True):
    """Seconds and peak resident MiB of one run."""
    with tempfile.TemporaryDirectory(prefix="quern-bench-") as folder:
        object_of(n, input_type, os.path.join(folder, "items"))
        target.s3.upload_file(os.path.join(folder, "items"), "bench", "items." + input_type)
    arn = target.machine(distributed(kind, "bench", "items." + input_type, input_type, writer))
    load.settle(target.pid, 10)
    load.forget_peak(target.pid)
    begin = time.time()
    d = target.finish(target.sfn.start_execution(stateMachineArn=arn)["executionArn"], pause=0.25 if n > 10000 else 0.02)
    seconds, peak = time.time() - begin, load.memory_kib(target.pid, "VmHWM") / 1024
    if d["status"] != "SUCCEEDED":
        raise RuntimeError(f"{d['status']} {d.get('error')} {d.get('cause')}")
    if writer:
        check_results(target, d, n)
    elif len(json.loads(d["output"])) != n:
        raise RuntimeError("the output is short")
    return seconds, peak


def check_results(target, d, n):
    """Every item has its record, counted piece by piece."""
    where, wanted, found = json.loads(d["output"])["ResultWriterDetails"], b'"Status":"SUCCEEDED"', 0
    manifest = json.loads(target.s3.get_object(Bucket=where["Bucket"], Key=where["Key"])["Body"].read())
    for one in manifest["ResultFiles"]["SUCCEEDED"]:
        body, tail = target.s3.get_object(Bucket=where["Bucket"], Key=one["Key"])["Body"], b""
        for piece in body.iter_chunks(1 << 20):
            piece = tail + piece
            found += piece.count(wanted)
            tail = piece[-(len(wanted) - 1):]  # shorter than the text, so nothing counts twice
        body.close()
    if found != n:
        raise RuntimeError(f"{found} of {n} results")


def bench_map(quern, ministack, restate):
    quern.s3.create_bucket(Bucket="bench")
    theirs = None
    if ministack:
        try:
            ministack.s3.create_bucket(Bucket="bench")
            theirs = map_run(ministack, PEER_MAP_ITEMS, "STANDARD", "JSON", writer=False)
            mine = map_run(quern, PEER_MAP_ITEMS, "STANDARD", "JSON", writer=False)
            line(f"distributed Map of {PEER_MAP_ITEMS:,} Pass states, a child", mine[0] * 1e6 / PEER_MAP_ITEMS, "us", 1000, (ministack.name, theirs[0] * 1e6 / PEER_MAP_ITEMS))
        except Exception as e:  # noqa: BLE001
            print(f"{ministack.name}: distributed Map failed there: {str(e)[:200]}")
    for kind, input_type in (("STANDARD", "JSON"), ("EXPRESS", "CSV"), ("STANDARD", "JSONL")):
        seconds, peak = map_run(quern, MAP_ITEMS, kind, input_type)
        print(f"  {MAP_ITEMS:,} {kind} children, items from {input_type}: {seconds:,.1f} s, {MAP_ITEMS / seconds:,.0f} children/s")
        line("  peak resident memory of the daemon", peak, "MiB", 256)


PARTS = {"sync": bench_sync, "inline": bench_inline, "chain": bench_chain, "step": bench_step, "waits": bench_waits, "map": bench_map}


def main():
    if not shutil.which("wrk"):
        sys.exit("bench.py: wrk is not installed")
    wanted = sys.argv[2:] or list(PARTS)
    q = conftest.start_quern()
    mini = peers.ministack() if set(wanted) - {"step"} else None
    rest = peers.restate() if "step" in wanted else None
    try:
        quern = Target("Quern", q.endpoint, (q.env["AWS_ACCESS_KEY_ID"], q.env["AWS_SECRET_ACCESS_KEY"]), q.pid(), q.account)
        peer = Target(mini.name, mini.endpoint, mini.keys, mini.pid, "000000000000") if mini else None
        for part in wanted:
            PARTS[part](quern, peer, rest)
    finally:
        for p in (mini, rest):
            if p:
                p.close()
        q.down()
        shutil.rmtree(q.home, ignore_errors=True)


if __name__ == "__main__":
    main()
