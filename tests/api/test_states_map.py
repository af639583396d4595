"""Distributed Map: what feeds it, how its items become children, what becomes of results, and how much memory it takes, with boto3."""

import gzip
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from api import helpers

DONE = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


@pytest.fixture(scope="module")
def sfn(quern):
    return quern.client("stepfunctions")


@pytest.fixture(scope="module")
def s3(quern):
    return quern.client("s3")


@pytest.fixture(scope="module")
def bucket(s3):
    name = helpers.unique("map")
    s3.create_bucket(Bucket=name)
    return name


def start(quern, sfn, definition, given=None):
    arn = sfn.create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=quern.role)["stateMachineArn"]
    return sfn.start_execution(stateMachineArn=arn, input=json.dumps(given if given is not None else {}))["executionArn"]


def ended(quern, sfn, arn):
    return quern.wait(lambda: (lambda d: d["status"] in DONE and d)(sfn.describe_execution(executionArn=arn)))


def distributed(processor=None, kind="STANDARD", **fields):
    config = {"Mode": "DISTRIBUTED", "ExecutionType": kind}
    state = {"Type": "Map", "End": True, "Label": "L", "ItemProcessor": {"ProcessorConfig": config, **(processor or PASS)}, **fields}
    return {"StartAt": "M", "States": {"M": state}}


def reader(bucket, key, config, **params):
    return {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config, "Parameters": {"Bucket": bucket, "Key": key, **params}}


def read(quern, sfn, item_reader, **fields):
    """The state's output, or (error, cause)."""
    d = ended(quern, sfn, start(quern, sfn, distributed(ItemReader=item_reader, **fields)))
    return json.loads(d["output"]) if d["status"] == "SUCCEEDED" else (d["error"], d.get("cause", ""))


def of_object(quern, sfn, s3, bucket, body, config, **fields):
    key = helpers.unique("object")
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    return read(quern, sfn, reader(bucket, key, config), **fields)


# ---- readers ----


def test_json(quern, sfn, s3, bucket):
    def items(body, **config):
        return of_object(quern, sfn, s3, bucket, body, {"InputType": "JSON", **config})

    assert items(b'\xef\xbb\xbf [1, "a,]}", {"b": [2, {"c": "\\"]"}]}, null, 1.5e3]\n') == [1, "a,]}", {"b": [2, {"c": '"]'}]}, None, 1500.0]
    assert items(b"[]") == []
    assert items(b'{"a": 1, "b": [2]}') == [{"Key": "a", "Value": 1}, {"Key": "b", "Value": [2]}]
    deep = json.dumps({"x": {"a/b": 1}, "y": [0, {"n~": {"list": list(range(7))}}], "z": ["]"]}).encode()
    assert items(deep, ItemsPointer="/y/1/n~0/list") == list(range(7))
    assert items(deep, ItemsPointer="/y/1/n~0/list", MaxItems=3) == [0, 1, 2]
    assert items(deep, ItemsPointer="/x") == [{"Key": "a/b", "Value": 1}]
    for pointer in ("/nothing", "/y/9", "/x/a~1b", "/y/1/n~0/list/0"):
        assert items(deep, ItemsPointer=pointer) == ("States.ItemReaderFailed", "Attempting to map over non-iterable node.")


def test_hostile_json(quern, sfn, s3, bucket):
    """Broken documents fail the state, whatever was read before; nothing is taken for an item that is none."""
    bodies = [b"[1, 2", b"[1 2]", b"[1,,2]", b"[1,]", b'["a\nb"]', b"[tru]", b"[01]", b"[1]]", b"[1] x", b'["\xff\xfe"]', b'{"a" 1}', b'{"a": [1}]', b"[1, {]]",
              b"[" * 5000, b"[" + b"[" * 1500 + b"]" * 1500 + b"]", b'["' + b"x" * (9 << 20) + b'"]', b'{"a": [1], "a": ', b"[NaN]", b"", b"[[\0]]", b"[1\0]"]
    for body in bodies:
        answer = of_object(quern, sfn, s3, bucket, body, {"InputType": "JSON"})
        assert answer[0] == "States.ItemReaderFailed" and answer[1], body[:60]
    pointed = b'{"x": [1}, "items": [1, 2]}'
    assert of_object(quern, sfn, s3, bucket, pointed, {"InputType": "JSON", "ItemsPointer": "/items"})[0] == "States.ItemReaderFailed"
    for nul in (b'{"x": [\0], "items": [1]}', b'{"x": [1\0], "items": [1]}', b'{"items": [1], "x": [[\0]]}'):
        assert of_object(quern, sfn, s3, bucket, nul, {"InputType": "JSON", "ItemsPointer": "/items"})[0] == "States.ItemReaderFailed"
    behind = b'{"items": [1, 2], "x": [1}}'
    assert of_object(quern, sfn, s3, bucket, behind, {"InputType": "JSON", "ItemsPointer": "/items"})[0] == "States.ItemReaderFailed"


def test_json_lines(quern, sfn, s3, bucket):
    config = {"InputType": "JSONL"}
    assert of_object(quern, sfn, s3, bucket, b'{"a":1}\r\n\n  [2]\n"x"', config) == [{"a": 1}, [2], "x"]
    assert of_object(quern, sfn, s3, bucket, b"", config) == []
    assert of_object(quern, sfn, s3, bucket, b"1\n2\n3\n", {**config, "MaxItems": 2}) == [1, 2]
    for body in (b"1\nnot json\n", b"1\n" + b"9" * (9 << 20)):
        assert of_object(quern, sfn, s3, bucket, body, config)[0] == "States.ItemReaderFailed"


def test_csv(quern, sfn, s3, bucket):
    first, given = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}, {"InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["x", "y"]}

    def items(body, config):
        return of_object(quern, sfn, s3, bucket, body, config)

    quoted = 'a,b\r\n"1,""one""","two\nlines"\r\n\r\n3\r\n4,5,6\n,\n'.encode()
    assert items(quoted, first) == [{"a": '1,"one"', "b": "two\nlines"}, {"a": "3", "b": ""}, {"a": "4", "b": "5"}, {"a": "", "b": ""}]
    assert items(b"\xef\xbb\xbfa,b\n1,2\n", first) == [{"a": "1", "b": "2"}]
    assert items(b"1,2\n3,4", given) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]
    assert items(b"", first) == []
    for name, sign in (("PIPE", "|"), ("SEMICOLON", ";"), ("SPACE", " "), ("TAB", "\t"), ("COMMA", ",")):
        assert items(f"1{sign}é\n".encode(), {**given, "CSVDelimiter": name}) == [{"x": "1", "y": "é"}]
    # members come in the order of a Java HashMap, as in the developer guide's example
    d = ended(quern, sfn, start(quern, sfn, distributed(ItemReader=reader(bucket, put(s3, bucket, b"userId,movieId,rating,timestamp\n1,307,3.5,12\n"), first))))
    assert d["output"] == '[{"rating":"3.5","movieId":"307","userId":"1","timestamp":"12"}]'


def test_hostile_csv(quern, sfn, s3, bucket):
    first = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}
    for body in (b'a\n"never closed', b"a,a\n1,2\n", b"a\n\xff\n", b"\xff\n1\n", b"h" * 20000 + b"\n1\n", b'a\n"' + b'x""' * (5 << 20) + b'"\n'):
        assert of_object(quern, sfn, s3, bucket, body, first)[0] == "States.ItemReaderFailed", body[:20]
    wide = ",".join(f"c{i}" for i in range(1500)).encode()
    assert of_object(quern, sfn, s3, bucket, wide + b"\n" + b"," * 1000000 + b"\n", first) == [{f"c{i}": "" for i in range(1500)}]


def put(s3, bucket, body):
    key = helpers.unique("object")
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    return key


def test_listing(quern, sfn, s3, bucket):
    folder = helpers.unique("list") + "/"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: s3.put_object(Bucket=bucket, Key=f"{folder}{i:05d}", Body=b"x" * (i % 7)), range(1203)))
    listing = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": bucket, "Prefix": folder}}
    keys = read(quern, sfn, listing, ItemSelector={"k.$": "$$.Map.Item.Value.Key", "i.$": "$$.Map.Item.Index"}, ItemBatcher={"MaxItemsPerBatch": 500}, ResultSelector={"n.$": "$[*].Items[*]"})
    assert [(k["k"], k["i"]) for k in keys["n"]] == [(f"{folder}{i:05d}", i) for i in range(1203)]
    one = read(quern, sfn, {**listing, "ReaderConfig": {"MaxItems": 1}})
    head = s3.head_object(Bucket=bucket, Key=f"{folder}00000")
    assert one == [{"Etag": head["ETag"], "Key": f"{folder}00000", "LastModified": int(head["LastModified"].timestamp()), "Size": 0, "StorageClass": "STANDARD"}]
    assert read(quern, sfn, {**listing, "Parameters": {"Bucket": "no-such-bucket-here"}})[0] == "States.ItemReaderFailed"


def test_listing_loaded(quern, sfn, s3, bucket):
    folder = helpers.unique("load") + "/"
    for i in range(3):
        s3.put_object(Bucket=bucket, Key=f"{folder}{i}", Body=json.dumps([i, i + 10]).encode())
    listing = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": bucket, "Prefix": folder}}
    assert read(quern, sfn, {**listing, "ReaderConfig": {"InputType": "JSON", "Transformation": "LOAD_AND_FLATTEN"}}) == [0, 10, 1, 11, 2, 12]


def inventory(s3, bucket, rows, schema="Bucket, Key, Size", file_format="CSV", damage=lambda b: b):
    """A manifest of as many data files as `rows` has lists."""
    files = []
    for part in rows:
        text = "".join('"' + '","'.join(map(str, row)) + '"\n' for row in part)
        half = len(text) // 2
        files.append({"key": put(s3, bucket, damage(gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode()))), "size": 1, "MD5checksum": "0"})
    manifest = {"sourceBucket": "source", "destinationBucket": f"arn:aws:s3:::{bucket}", "version": "2016-11-30", "fileFormat": file_format, "fileSchema": schema, "files": files}
    return put(s3, bucket, json.dumps(manifest).encode())


def test_inventory(quern, sfn, s3, bucket):
    config = {"InputType": "MANIFEST", "ManifestType": "S3_INVENTORY"}
    rows = [[("source", f"a{i}", i) for i in range(1200)], [("source", "b%20b", 7)]]
    key = inventory(s3, bucket, rows)
    answer = read(quern, sfn, reader(bucket, key, config), ItemBatcher={"MaxItemsPerBatch": 400}, ResultSelector={"n.$": "$[*].Items[*]"})
    assert answer["n"] == [{"Bucket": "source", "Key": k, "Size": str(n)} for part in rows for _, k, n in part]
    assert read(quern, sfn, reader(bucket, key, {"InputType": "MANIFEST", "MaxItems": 2})) == [{"Bucket": "source", "Key": f"a{i}", "Size": str(i)} for i in range(2)]
    for broken in (inventory(s3, bucket, rows, damage=lambda b: b[: len(b) // 2]), inventory(s3, bucket, rows, damage=lambda b: b[:40] + b"\xff" * 40 + b[80:]),
                   inventory(s3, bucket, rows, file_format="ORC"), put(s3, bucket, b"{}"), put(s3, bucket, b"not json")):
        assert read(quern, sfn, reader(bucket, broken, config))[0] == "States.ItemReaderFailed"


def test_unload_manifest(quern, sfn, s3, bucket):
    parts = [put(s3, bucket, gzip.compress(b'{"a":1}\n{"a":2}\n')), put(s3, bucket, b'{"a":3}\n')]
    manifest = put(s3, bucket, "".join(f"s3://{bucket}/{p}\n" for p in parts).encode())
    assert read(quern, sfn, reader(bucket, manifest, {"InputType": "JSONL", "ManifestType": "ATHENA_DATA"})) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_what_is_not_read(quern, sfn, s3, bucket):
    assert read(quern, sfn, reader(bucket, "k", {"InputType": "PARQUET"})) == ("States.ItemReaderFailed", "Quern does not read items of type PARQUET yet.")
    assert read(quern, sfn, reader(bucket, "no-such-key", {"InputType": "JSON"}))[0] == "States.ItemReaderFailed"


def test_version(quern, sfn, s3):
    name = helpers.unique("versions")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=name, Key="k", Body=b"[1]")["VersionId"]
    s3.put_object(Bucket=name, Key="k", Body=b"[2]")
    assert read(quern, sfn, reader(name, "k", {"InputType": "JSON"})) == [2]
    assert read(quern, sfn, reader(name, "k", {"InputType": "JSON"}, VersionId=old)) == [1]


# ---- batches ----


def test_batches(quern, sfn):
    batcher = {"MaxItemsPerBatch": 3, "BatchInput": {"who.$": "$$.StateMachine.Name"}}
    d = ended(quern, sfn, start(quern, sfn, distributed(ItemBatcher=batcher, ItemsPath="$.l"), {"l": list(range(8))}))
    batches = json.loads(d["output"])
    assert [b["Items"] for b in batches] == [[0, 1, 2], [3, 4, 5], [6, 7]] and batches[0]["BatchInput"]["who"].startswith("m")
    run = sfn.list_map_runs(executionArn=d["executionArn"])["mapRuns"][0]["mapRunArn"]
    counts = sfn.describe_map_run(mapRunArn=run)
    assert (counts["itemCounts"]["succeeded"], counts["executionCounts"]["succeeded"]) == (8, 3)
    d = ended(quern, sfn, start(quern, sfn, distributed(ItemBatcher={"MaxInputBytesPerBatch": 100}), ["x" * 30] * 7))
    batches = json.loads(d["output"])
    assert sum(len(b["Items"]) for b in batches) == 7 and all(len(json.dumps(b, separators=(",", ":"))) <= 100 for b in batches) and len(batches) == 4


def test_jsonata_items(quern, sfn):
    helpers.needs_jsonata(quern.program)
    state = distributed({"StartAt": "P", "States": {"P": {"Type": "Pass", "Output": "{% $states.input.v * 2 %}", "End": True}}}, ItemSelector={"v": "{% $states.context.Map.Item.Value + $base %}"})
    state["QueryLanguage"] = "JSONata"
    state["States"]["A"] = {"Type": "Pass", "Assign": {"base": 100}, "Next": "M"}
    state["StartAt"] = "A"
    state["States"]["M"]["Items"] = "{% $states.input.l %}"
    d = ended(quern, sfn, start(quern, sfn, state, {"l": [1, 2, 3]}))
    assert json.loads(d["output"]) == [202, 204, 206]
    state["States"]["M"]["ItemSelector"] = {"v": "{% $states.context.Map.Item.Value.nothing %}"}
    d = ended(quern, sfn, start(quern, sfn, state, {"l": [1, 2, 3]}))
    assert (d["status"], d["error"]) == ("FAILED", "States.QueryEvaluationError") and "ItemSelector/v" in d["cause"]


# ---- failures ----

BAD = {"StartAt": "C", "States": {"C": {"Type": "Choice", "Choices": [{"Variable": "$", "NumericLessThan": 3, "Next": "F"}], "Default": "P"},
                                  "F": {"Type": "Fail", "Error": "E", "Cause": "bad"}, "P": {"Type": "Pass", "End": True}}}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("tolerated,good", [({}, False), ({"ToleratedFailureCount": 3}, True), ({"ToleratedFailureCount": 2}, False), ({"ToleratedFailurePercentage": 30}, True),
                                            ({"ToleratedFailurePercentage": 29}, False)])
def test_tolerance(quern, sfn, s3, bucket, waits, tolerated, good):
    """Three of ten fail: run where they never wait, and as executions of their own."""
    bad = json.loads(json.dumps(BAD))
    if waits:
        bad["States"]["P"] = {"Type": "Wait", "Seconds": 0, "End": True}
    item_reader = reader(bucket, put(s3, bucket, json.dumps(list(range(10))).encode()), {"InputType": "JSON"})
    d = ended(quern, sfn, start(quern, sfn, distributed(bad, ItemReader=item_reader, **tolerated)))
    run = sfn.list_map_runs(executionArn=d["executionArn"])["mapRuns"][0]["mapRunArn"]
    m = sfn.describe_map_run(mapRunArn=run)
    if good:
        assert json.loads(d["output"]) == [{"Error": "E", "Cause": "bad"}] * 3 + list(range(3, 10))
        assert (m["status"], m["itemCounts"]["failed"], m["itemCounts"]["succeeded"]) == ("SUCCEEDED", 3, 7)
    else:
        assert (d["status"], d["error"], m["status"]) == ("FAILED", "States.ExceedToleratedFailureThreshold", "FAILED")


def test_a_run_that_fails_ends_its_children(quern, sfn):
    """One of two children at work fails: the other does not go on, and what had not begun does not begin."""
    inner = {"StartAt": "C", "States": {"C": {"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": 1, "Next": "S"}], "Default": "W"},
                                        "S": {"Type": "Wait", "Seconds": 1, "Next": "F"}, "F": {"Type": "Fail", "Error": "E"}, "W": {"Type": "Wait", "Seconds": 600, "End": True}}}
    d = ended(quern, sfn, start(quern, sfn, distributed(inner, MaxConcurrency=2), [0, 1, 2]))
    assert (d["status"], d["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    run = sfn.list_map_runs(executionArn=d["executionArn"])["mapRuns"][0]["mapRunArn"]
    children = sfn.list_executions(mapRunArn=run)["executions"]
    assert sorted(c["status"] for c in children) == ["ABORTED", "FAILED"], children
    assert sfn.describe_map_run(mapRunArn=run)["executionCounts"]["running"] == 0


# ---- results ----


def results(s3, answer):
    """{status: values of all its files}, and the manifest."""
    where = answer["ResultWriterDetails"]
    manifest = json.loads(s3.get_object(Bucket=where["Bucket"], Key=where["Key"])["Body"].read())
    found = {}
    for status, files in manifest["ResultFiles"].items():
        found[status] = []
        for n, f in enumerate(files):
            body = s3.get_object(Bucket=where["Bucket"], Key=f["Key"])["Body"].read()
            assert len(body) == f["Size"] and f"/{status}_{n}.json" in f["Key"]
            found[status] += [json.loads(line) for line in body.splitlines()] if f["Key"].endswith("l") else json.loads(body)
    return found, manifest


def writer(bucket, **config):
    w = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "out"}}
    return {**w, "WriterConfig": config} if config else w


def test_result_writer(quern, sfn, s3, bucket):
    state = distributed(BAD, ResultWriter=writer(bucket), ToleratedFailureCount=5)
    arn = start(quern, sfn, state, [1, 5, 6])
    answer = json.loads(ended(quern, sfn, arn)["output"])
    found, manifest = results(s3, answer)
    assert manifest["DestinationBucket"] == bucket and manifest["MapRunArn"] == answer["MapRunArn"] and found["PENDING"] == []
    good, bad = found["SUCCEEDED"][0], found["FAILED"][0]
    assert [json.loads(r["Output"]) for r in found["SUCCEEDED"]] == [5, 6] and (bad["Error"], bad["Cause"], bad["Status"], bad["Input"]) == ("E", "bad", "FAILED", "1")
    assert set(good) == {"ExecutionArn", "Input", "InputDetails", "Name", "Output", "OutputDetails", "RedriveCount", "RedriveStatus", "RedriveStatusReason", "StartDate", "StateMachineArn",
                         "Status", "StopDate"}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", good["Name"]) and good["ExecutionArn"].endswith("/L:" + good["Name"])
    child = sfn.describe_execution(executionArn=good["ExecutionArn"])
    assert (child["status"], child["output"], child["mapRunArn"]) == ("SUCCEEDED", "5", answer["MapRunArn"])
    events = [e["type"] for e in sfn.get_execution_history(executionArn=good["ExecutionArn"])["events"]]
    assert events == ["ExecutionStarted", "ChoiceStateEntered", "ChoiceStateExited", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    run = sfn.describe_map_run(mapRunArn=answer["MapRunArn"])
    assert run["executionCounts"]["resultsWritten"] == 3


@pytest.mark.parametrize("kind", ["JSON", "JSONL"])
def test_transformations(quern, sfn, s3, bucket, kind):
    lists = [[1, 2], [], "x", [[3]]]
    for how, wanted in (("COMPACT", lists), ("FLATTEN", [1, 2, "x", [3]])):
        arn = start(quern, sfn, distributed(ResultWriter=writer(bucket, OutputType=kind, Transformation=how), kind="EXPRESS"), lists)
        found, _ = results(s3, json.loads(ended(quern, sfn, arn)["output"]))
        assert found["SUCCEEDED"] == wanted
        d = ended(quern, sfn, start(quern, sfn, distributed(ResultWriter={"WriterConfig": {"OutputType": "JSON", "Transformation": how}}), lists))
        assert json.loads(d["output"]) == wanted


def failed_run(quern, sfn, s3, bucket, lines, **fields):
    """A run over JSON Lines that fails: (error, cause), its result files, or None when it wrote none, and the run's last events."""
    key = put(s3, bucket, b"\n".join(lines))
    arn = start(quern, sfn, distributed(BAD, ItemReader=reader(bucket, key, {"InputType": "JSONL"}), ResultWriter=writer(bucket), **fields))
    d = ended(quern, sfn, arn)
    run = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    where = {"Bucket": bucket, "Key": f"out/{run.rsplit(':', 1)[1]}/manifest.json"}
    there = s3.list_objects_v2(Bucket=bucket, Prefix=where["Key"])["KeyCount"]
    found = results(s3, {"ResultWriterDetails": where})[0] if there else None
    return (d["error"], d["cause"]), found, [e["type"] for e in sfn.get_execution_history(executionArn=arn, reverseOrder=True)["events"]][:3]


def test_pending_results_that_cannot_be_read(quern, sfn, s3, bucket):
    """The run says that the files lack items, and why."""
    (error, cause), found, events = failed_run(quern, sfn, s3, bucket, [b"1", b"5", b"6", b"no json", b"7"])
    assert error == "States.ExceedToleratedFailureThreshold" and events == ["ExecutionFailed", "MapStateFailed", "MapRunFailed"]
    assert cause == ("The specified tolerated failure threshold was exceeded. Items that had not begun could not be read, so the PENDING files lack them: "
                     "States.ItemReaderFailed: Invalid JSON Lines file: a line is not valid JSON.")
    assert [r["Input"] for r in found["PENDING"]] == ["5", "6"] and [r["Input"] for r in found["FAILED"]] == ["1"] and not found["SUCCEEDED"]


def test_a_reader_that_fails_in_the_middle(quern, sfn, s3, bucket):
    """What was done before is written; a run without children writes nothing."""
    why, found, events = failed_run(quern, sfn, s3, bucket, [b"5", b"6", b"no json", b"7"])
    assert why == ("States.ItemReaderFailed", "Invalid JSON Lines file: a line is not valid JSON.") and events == ["ExecutionFailed", "MapStateFailed", "MapRunFailed"]
    assert [r["Output"] for r in found["SUCCEEDED"]] == ["5", "6"] and not found["FAILED"] and not found["PENDING"]
    why, found, _ = failed_run(quern, sfn, s3, bucket, [b"no json", b"5"])
    assert why[0] == "States.ItemReaderFailed" and found is None


def test_pending_results(quern, sfn, s3, bucket):
    """A run that fails writes what it has, and what it has not begun; a redrive finishes it."""
    helpers.needs(sfn, "RedriveExecution")
    key = put(s3, bucket, json.dumps(list(range(700))).encode())
    arn = start(quern, sfn, distributed({"StartAt": "R", "States": {"R": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Bucket": bucket, "Key": key + "2"},
                                                                         "ResultSelector": {"ok": 1}, "End": True}}},
                                        ItemReader=reader(bucket, key, {"InputType": "JSON"}), ResultWriter=writer(bucket), MaxConcurrency=2))
    d = ended(quern, sfn, arn)
    assert (d["status"], d["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    run = sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
    found, _ = results(s3, {"ResultWriterDetails": {"Bucket": bucket, "Key": f"out/{run.rsplit(':', 1)[1]}/manifest.json"}})
    assert found["SUCCEEDED"] == [] and 1 <= len(found["FAILED"]) <= 2 and len(found["FAILED"]) + len(found["PENDING"]) == 700
    assert [int(r["Input"]) for r in found["PENDING"]] == list(range(len(found["FAILED"]), 700)) and {r["Status"] for r in found["PENDING"]} == {"PENDING"}
    s3.put_object(Bucket=bucket, Key=key + "2", Body=b"x")
    sfn.redrive_execution(executionArn=arn)
    d = ended(quern, sfn, arn)
    assert d["status"] == "SUCCEEDED", d.get("cause")
    found, _ = results(s3, json.loads(d["output"]))
    assert [int(r["Input"]) for r in found["SUCCEEDED"]] == list(range(700)) and found["FAILED"] == found["PENDING"] == []


def test_results_too_large(quern, sfn, s3, bucket):
    body = json.dumps(["x" * 1000] * 300).encode()
    assert of_object(quern, sfn, s3, bucket, body, {"InputType": "JSON"})[0] == "States.DataLimitExceeded"
    assert of_object(quern, sfn, s3, bucket, json.dumps(["x" * 300000]).encode(), {"InputType": "JSON"})[0] == "States.DataLimitExceeded"
    d = ended(quern, sfn, start(quern, sfn, distributed(ResultWriter={**writer(bucket), "Parameters": {"Bucket": "no-such-bucket-here"}}), [1]))
    assert (d["status"], d["error"]) == ("FAILED", "States.ResultWriterFailed")


# ---- concurrency, size ----


def test_concurrency(quern, sfn):
    waiting = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": True}}}
    arn = start(quern, sfn, distributed(waiting, MaxConcurrency=3), list(range(7)))
    run = quern.wait(lambda: sfn.list_map_runs(executionArn=arn)["mapRuns"])[0]["mapRunArn"]
    seen = []

    def probe():
        m = sfn.describe_map_run(mapRunArn=run)
        seen.append(m["executionCounts"]["running"])
        return m["status"] != "RUNNING"

    quern.wait(probe)
    assert max(seen) == 3
    assert json.loads(ended(quern, sfn, arn)["output"]) == list(range(7))


def resident_kib(q, field):
    with open(f"/proc/{q.pid()}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def items_object(q, n):
    s3 = q.client("s3")
    s3.create_bucket(Bucket="big")
    s3.put_object(Bucket="big", Key="items", Body=json.dumps([{"id": i, "text": f"item number {i} " + "x" * 200} for i in range(n)]).encode())
    return s3


def check_all(q, answer, n):
    s3, sfn = q.client("s3"), q.client("stepfunctions")
    found, _ = results(s3, answer)
    assert [json.loads(r["Output"])["id"] for r in found["SUCCEEDED"]] == list(range(n)) and len({r["ExecutionArn"] for r in found["SUCCEEDED"]}) == n
    assert found["FAILED"] == found["PENDING"] == []
    m = sfn.describe_map_run(mapRunArn=answer["MapRunArn"])
    assert (m["itemCounts"]["succeeded"], m["itemCounts"]["total"], m["executionCounts"]["total"], m["itemCounts"]["resultsWritten"]) == (n, n, n, n)


@pytest.mark.skipif("QUERN_SANITIZED" in os.environ, reason="memory is not judged under sanitizers")
def test_memory(own_quern):
    """20,000 children: all of them, and the daemon's memory stays what a piece of the items takes."""
    q, n = own_quern, 20000
    items_object(q, n)
    sfn = q.client("stepfunctions")
    warm = start(q, sfn, distributed(ItemReader=reader("big", "items", {"InputType": "JSON", "MaxItems": 500}), ResultWriter=writer("big")))
    assert ended(q, sfn, warm)["status"] == "SUCCEEDED"
    with open(f"/proc/{q.pid()}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")
    before = resident_kib(q, "VmRSS")
    arn = start(q, sfn, distributed(ItemReader=reader("big", "items", {"InputType": "JSON"}), ResultWriter=writer("big")))
    d = ended(q, sfn, arn)
    assert d["status"] == "SUCCEEDED", d.get("cause")
    grown = resident_kib(q, "VmHWM") - before
    check_all(q, json.loads(d["output"]), n)
    assert grown < 24 << 10, f"{grown} KiB more"  # the items alone take 5 MiB, their children and histories 40


def test_kill(own_quern):
    """kill -9 in the middle: after the start the run goes on, each item has one child."""
    q, n = own_quern, 6000
    items_object(q, n)
    sfn = q.client("stepfunctions")
    arn = start(q, sfn, distributed(ItemReader=reader("big", "items", {"InputType": "JSON"}), ResultWriter=writer("big")))
    for at in (500, 2500):
        run = q.wait(lambda: sfn.list_map_runs(executionArn=arn)["mapRuns"])[0]["mapRunArn"]
        q.wait(lambda: sfn.describe_map_run(mapRunArn=run)["executionCounts"]["succeeded"] >= at)
        os.kill(q.pid(), signal.SIGKILL)
        q.up()
    d = ended(q, sfn, arn)
    assert d["status"] == "SUCCEEDED", d.get("cause")
    check_all(q, json.loads(d["output"]), n)
