"""The state in PostgreSQL: the article's pipeline, state machines, S3; kill -9 under load; what is refused.

The whole suite runs on it with QUERN_TEST_STORE=postgres; here is a short selection. The server is started for the tests (scripts/postgres).
"""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from api import helpers, test_article
from api.daemon import POSTGRES, start_quern

PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "W"}, "W": {"Type": "Wait", "Seconds": 1, "Next": "B"}, "B": {"Type": "Pass", "Result": "done", "End": True}}}


@pytest.fixture(scope="module")
def postgres_quern():
    q = start_quern(store="postgres")
    yield q
    q.down()
    shutil.rmtree(q.home, ignore_errors=True)


@pytest.fixture
def own_postgres_quern():
    q = start_quern(store="postgres")
    yield q
    q.down()
    shutil.rmtree(q.home, ignore_errors=True)


def maps(q):
    with open(f"/proc/{q.pid()}/maps", encoding="utf-8") as f:
        return f.read()


def create_machine(q, definition):
    return q.client("stepfunctions").create_state_machine(name=helpers.unique("m"), definition=json.dumps(definition), roleArn=q.role)["stateMachineArn"]


def test_only_who_asks_loads_libpq(own_quern, postgres_quern):
    assert "libpq" in maps(postgres_quern) and not os.path.exists(os.path.join(postgres_quern.home, "quern.db"))
    if "QUERN_STORE" not in own_quern.own:
        assert "libpq" not in maps(own_quern) and os.path.exists(os.path.join(own_quern.home, "quern.db"))


def test_the_articles_pipeline(postgres_quern, tmp_path):
    q = postgres_quern
    helpers.put_article_data(q)
    python = test_article.PYTHON
    result = subprocess.run([python, os.path.join(helpers.ARTICLE, "start_json.py"), "FromJson"], env=dict(os.environ, **q.env), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    test_article.check_result(q, result.stdout.strip().splitlines()[-1], tmp_path)
    assert "Succeeded" in q.cli("ps", "-a").stdout


def test_keys_are_in_the_order_of_their_bytes(postgres_quern):
    s3 = postgres_quern.client("s3")
    s3.create_bucket(Bucket="sorted")
    keys = ["B", "a", "b", "Ä", "ä", "_", "a/b", "a b", "a-b", "Z" * 1000, "\U0001f33e", "é"]
    for key in keys:
        s3.put_object(Bucket="sorted", Key=key, Body=bytes(range(256)), Metadata={"note": "x"})
    listed = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="sorted", PaginationConfig={"PageSize": 5}) for o in page["Contents"]]
    assert listed == sorted(keys, key=lambda key: key.encode())
    assert s3.get_object(Bucket="sorted", Key="ä")["Body"].read() == bytes(range(256))


def test_nothing_acknowledged_is_lost(own_postgres_quern):
    """Clients that write without a pause while the daemon is killed three times: all that was answered is there, executions end."""
    q = own_postgres_quern
    machine = create_machine(q, PASS)
    q.client("s3").create_bucket(Bucket="kept")
    stop, kept, started = threading.Event(), [], []

    def write(number):
        n = 0
        s3, sfn = q.client("s3"), q.client("stepfunctions")
        while not stop.is_set():
            n += 1
            try:
                s3.put_object(Bucket="kept", Key=f"{number}/{n}", Body=f"{number}-{n}".encode())
                kept.append(f"{number}/{n}")
                if n % 3 == 0:
                    started.append(sfn.start_execution(stateMachineArn=machine, name=f"e{number}-{n}")["executionArn"])
            except (BotoCoreError, ClientError):
                time.sleep(0.02)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(kept)
            q.wait(lambda before=before: len(kept) > before + 40)
            os.kill(q.pid(), signal.SIGKILL)
            q.cli("up")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    s3, sfn = q.client("s3"), q.client("stepfunctions")
    there = {o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="kept") for o in page["Contents"]}
    assert set(kept) <= there and len(started) > 20
    for key in kept[:: max(1, len(kept) // 20)]:
        assert s3.get_object(Bucket="kept", Key=key)["Body"].read().decode() == key.replace("/", "-")
    for arn in started:
        done = q.wait(lambda arn=arn: (lambda d: d if d["status"] != "RUNNING" else None)(sfn.describe_execution(executionArn=arn)))
        assert (done["status"], done["output"]) == ("SUCCEEDED", '"done"')


def test_one_daemon_for_a_database(postgres_quern, tmp_path):
    second = dict(postgres_quern.own, QUERN_HOME=str(tmp_path / "second"), QUERN_PORT=str(postgres_quern.port + 1))
    os.chmod(tmp_path.parent.parent, 0o755)
    os.chmod(tmp_path.parent, 0o755)
    os.chmod(tmp_path, 0o755)
    result = postgres_quern.cli("up", check=False, env=second)
    assert result.returncode != 0 and "another process has it open" in result.stderr, result.stderr


def test_addresses_that_are_refused(own_quern):
    own_quern.down()
    for address, words in [("/var/lib/quern.db", "postgresql://"), ("postgresql://u:secret@/nowhere?host=/nowhere", "No such file"), ("postgresql://u:secret@h:1:2/x", "invalid integer")]:
        result = own_quern.cli("up", "--store", address, check=False)
        assert result.returncode != 0 and words in result.stderr and "secret" not in result.stderr, result.stderr
    with open(os.path.join(own_quern.home, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"store": "postgresql://u@/nowhere?host=/nowhere"}, f)
    own_quern.own.pop("QUERN_STORE", None)
    assert "No such file" in own_quern.cli("up", check=False).stderr


def test_server_goes_away(own_postgres_quern):
    """The database is restarted: no write is acknowledged after that, and a new start of Quern finds all."""
    q = own_postgres_quern
    s3 = q.client("s3")
    s3.create_bucket(Bucket="before")
    database = q.own["QUERN_STORE"].split("@/")[1].split("?")[0]
    other = q.own["QUERN_STORE"].replace(database, "postgres")
    subprocess.run([POSTGRES, "sql", other], input=f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='{database}'", text=True, check=True, stdout=subprocess.DEVNULL)
    with pytest.raises((ClientError, BotoCoreError)):
        s3.create_bucket(Bucket="after")
    q.cli("down")
    q.cli("up")
    assert [b["Name"] for b in q.client("s3").list_buckets()["Buckets"]] == ["before"]
