"""A Quern of the tests' own: started in a data directory of its own below /tmp, with boto3 clients for it."""

import atexit
import contextlib
import functools
import itertools
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import tempfile
import time

import pytest

PATIENCE_S = 300  # for what must happen at last: a loaded machine may be slow, nothing is proved by being quick
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POSTGRES = os.path.join(ROOT, "scripts", "postgres")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@functools.cache
def postgres_server():
    """The directory of a PostgreSQL server that runs as long as the tests do (scripts/postgres)."""
    directory = tempfile.mkdtemp(prefix="quern-test-pg-", dir="/tmp")
    result = subprocess.run([POSTGRES, "start", directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode == 77:
        shutil.rmtree(directory)
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stderr
    atexit.register(subprocess.run, [POSTGRES, "stop", directory], check=False)
    return directory


database_numbers = itertools.count()


def new_database():
    """The address of a new database; skips the test when PostgreSQL is not installed."""
    name = f"quern{next(database_numbers)}"
    return subprocess.run([POSTGRES, "create", postgres_server(), name], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class Quern:
    """One running Quern: its data directory, environment and clients. Its state is in SQLite, or, with QUERN_TEST_STORE=postgres in the
    environment or store="postgres", in a new database of PostgreSQL."""

    def __init__(self, program, store=None):
        self.program = program
        self.home = tempfile.mkdtemp(prefix="quern-test-", dir="/tmp")
        os.chmod(self.home, 0o755)
        self.port = free_port()
        self.own = dict(os.environ, QUERN_HOME=self.home, QUERN_PORT=str(self.port), NO_COLOR="1")
        if (store or os.environ.get("QUERN_TEST_STORE")) == "postgres":
            self.own["QUERN_STORE"] = new_database()
        self.env = {}

    def cli(self, *args, check=True, **kwargs):
        kwargs.setdefault("env", self.own)
        result = subprocess.run([self.program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, **kwargs)
        if check and result.returncode != 0:
            raise AssertionError(f"quern {' '.join(args)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def up(self, *options):
        self.cli("up", *options)
        self.env = json.loads(self.cli("env", "--json").stdout)
        self.account = "000000000000"
        self.role = f"arn:aws:iam::{self.account}:role/service-role/QuernExecutionRole"

    def sql(self, text):
        """Changes the state behind Quern's back; Quern is down."""
        if "QUERN_STORE" in self.own:
            subprocess.run([POSTGRES, "sql", self.own["QUERN_STORE"]], input=text, text=True, check=True)
            return
        with contextlib.closing(sqlite3.connect(os.path.join(self.home, "quern.db"))) as db:
            db.executescript(text)

    def down(self):
        self.cli("down", check=False)

    def pid(self, role="serve"):
        with open(os.path.join(self.home, "run", f"{role}.pid"), encoding="ascii") as f:
            return int(f.read())

    def machine(self):
        """What the executor says of this machine: {"cgroup_mode", "gpus", "rootless", ...}."""
        path = os.path.join(self.home, "run", "executor.sock")
        self.wait(lambda: os.path.exists(path))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            text = json.dumps({"n": 1, "op": "machine"}).encode()
            s.sendall(struct.pack(">I", len(text)) + text)
            stream = s.makefile("rb")
            return json.loads(stream.read(struct.unpack(">I", stream.read(4))[0]))["machine"]

    @property
    def endpoint(self):
        return self.env["AWS_ENDPOINT_URL"]

    def client(self, service, **kwargs):
        import boto3
        from botocore.config import Config

        kwargs.setdefault("config", Config(retries={"max_attempts": 1}))
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            **kwargs,
        )

    def wait(self, probe):
        """Calls probe() until it answers something true, and returns that."""
        end = time.time() + PATIENCE_S
        while time.time() < end:
            value = probe()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {PATIENCE_S} s")


def program():
    path = os.environ.get("QUERN") or os.path.join(ROOT, "build", "dist", "bin", "quern")
    if not os.path.exists(path):
        pytest.skip(f"{path} is not built (run make)")
    return os.path.abspath(path)


def start_quern(store=None):
    q = Quern(program(), store)
    q.up()
    return q
