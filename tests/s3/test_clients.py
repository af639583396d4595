"""The same server under clients other than boto3: aws CLI, AWS SDK for JavaScript, s3fs, pyarrow, DuckDB. Each is skipped when it is not installed."""
import json
import os
import shutil
import subprocess

import pytest

from conftest import KEYS


@pytest.fixture(scope="module")
def env(endpoint):
    out = dict(os.environ)
    if not out.get("AWS_ENDPOINT_URL"):
        out.update(AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID=KEYS[0][0], AWS_SECRET_ACCESS_KEY=KEYS[0][1])
    out.update(AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true")
    return out


def test_aws_cli(env, bucket, tmp_path):
    aws = shutil.which(os.environ.get("QUERN_AWS_CLI", "aws"))
    if not aws:
        pytest.skip("no aws CLI")

    def run(*args):
        done = subprocess.run([aws, "--endpoint-url", env["AWS_ENDPOINT_URL"], *args], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
    tree = tmp_path / "tree"
    for name, size in (("a.txt", 5), ("dir/b ä.bin", 9_000), ("dir/c.bin", 20 << 20)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(os.urandom(size))
        os.utime(tree / name, (1_700_000_000, 1_700_000_000))  # S3's times have whole seconds: a file of this second looks newer
    run("s3", "sync", str(tree), f"s3://{bucket}/t/")
    assert run("s3", "sync", str(tree), f"s3://{bucket}/t/").strip() == ""  # nothing to do the second time
    assert "PRE dir/" in run("s3", "ls", f"s3://{bucket}/t/")
    run("s3", "cp", f"s3://{bucket}/t/dir/c.bin", f"s3://{bucket}/copy")
    run("s3", "mv", f"s3://{bucket}/t/a.txt", f"s3://{bucket}/moved")
    run("s3", "cp", "--recursive", f"s3://{bucket}/t/", str(tmp_path / "back"))
    assert (tmp_path / "back/dir/c.bin").read_bytes() == (tree / "dir/c.bin").read_bytes()
    assert (tmp_path / "back/dir/b ä.bin").read_bytes() == (tree / "dir/b ä.bin").read_bytes()
    assert json.loads(run("s3api", "head-object", "--bucket", bucket, "--key", "copy", "--output", "json"))["ContentLength"] == 20 << 20
    url = run("s3", "presign", f"s3://{bucket}/moved").strip()
    assert subprocess.run(["curl", "-sf", url], capture_output=True).stdout == (tree / "a.txt").read_bytes()
    run("s3", "rm", "--recursive", f"s3://{bucket}")
    run("s3", "rb", f"s3://{bucket}")


JS = """
const { S3Client, PutObjectCommand, GetObjectCommand, DeleteObjectsCommand, ListObjectsV2Command, HeadObjectCommand, CreateMultipartUploadCommand } = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");
const { Readable } = require("stream");
const assert = require("assert");
const Bucket = process.argv[2];
const c = new S3Client({ endpoint: process.env.AWS_ENDPOINT_URL, region: "us-east-1", forcePathStyle: true });
(async () => {
  const body = Buffer.alloc(70000, "q");
  await c.send(new PutObjectCommand({ Bucket, Key: "buffer", Body: body, ContentType: "text/plain", Metadata: { a: "b" } }));
  await c.send(new PutObjectCommand({ Bucket, Key: "stream", Body: Readable.from([body, body]), ContentLength: 140000 }));
  for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"])
    await c.send(new PutObjectCommand({ Bucket, Key: "sum-" + ChecksumAlgorithm, Body: body, ChecksumAlgorithm }));
  const got = await c.send(new GetObjectCommand({ Bucket, Key: "stream" }));
  assert.equal((await got.Body.transformToByteArray()).length, 140000);
  const head = await c.send(new HeadObjectCommand({ Bucket, Key: "buffer" }));
  assert.deepEqual([head.ContentLength, head.ContentType, head.Metadata.a], [70000, "text/plain", "b"]);
  const big = Buffer.alloc(12 << 20, "z");
  await new Upload({ client: c, params: { Bucket, Key: "multi", Body: Readable.from([big, big]) } }).done();
  const back = await c.send(new GetObjectCommand({ Bucket, Key: "multi", Range: "bytes=0-9" }));
  assert.equal(await back.Body.transformToString(), "zzzzzzzzzz");
  const put = await getSignedUrl(c, new PutObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
  const done = await fetch(put, { method: "PUT", body: "by url" });
  assert.equal(done.status, 200, await done.text());
  const url = await getSignedUrl(c, new GetObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
  assert.equal(await (await fetch(url)).text(), "by url");
  const page = await c.send(new ListObjectsV2Command({ Bucket }));
  assert.equal(page.KeyCount, 8);
  await assert.rejects(c.send(new GetObjectCommand({ Bucket, Key: "absent" })), { name: "NoSuchKey" });
  const gone = await c.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: page.Contents.map((o) => ({ Key: o.Key })) } }));
  assert.equal(gone.Deleted.length, 8);
  console.log("ok");
})().catch((e) => { console.error(e); process.exit(1); });
"""


def test_javascript(env, bucket, tmp_path):
    modules = os.environ.get("QUERN_JS_MODULES", os.path.join(os.path.dirname(__file__), "..", "..", "node_modules"))
    if not shutil.which("node") or not os.path.isdir(os.path.join(modules, "@aws-sdk", "client-s3")):
        pytest.skip("no node or no @aws-sdk/client-s3 (set QUERN_JS_MODULES)")
    script = tmp_path / "t.js"
    script.write_text(JS)
    done = subprocess.run(["node", str(script), bucket], env={**env, "NODE_PATH": modules}, capture_output=True, text=True)
    assert done.returncode == 0 and "ok" in done.stdout, done.stderr


def test_s3fs(env, bucket):
    s3fs = pytest.importorskip("s3fs")
    fs = s3fs.S3FileSystem(key=env["AWS_ACCESS_KEY_ID"], secret=env["AWS_SECRET_ACCESS_KEY"], endpoint_url=env["AWS_ENDPOINT_URL"])
    with fs.open(f"{bucket}/dir/a.csv", "w") as f:
        f.write("a,b\n1,2\n")
    with fs.open(f"{bucket}/dir/big", "wb", block_size=5 << 20) as f:
        f.write(b"x" * (11 << 20))
    assert fs.cat(f"{bucket}/dir/a.csv") == b"a,b\n1,2\n"
    assert fs.info(f"{bucket}/dir/big")["size"] == 11 << 20
    assert sorted(fs.ls(f"{bucket}/dir")) == [f"{bucket}/dir/a.csv", f"{bucket}/dir/big"]
    fs.rm(f"{bucket}/dir", recursive=True)
    assert not fs.exists(f"{bucket}/dir/a.csv")


def test_pyarrow(env, bucket):
    pa, pq, pafs = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.fs")
    scheme, host = env["AWS_ENDPOINT_URL"].split("://")
    fs = pafs.S3FileSystem(access_key=env["AWS_ACCESS_KEY_ID"], secret_key=env["AWS_SECRET_ACCESS_KEY"], endpoint_override=host, scheme=scheme, region="us-east-1")
    table = pa.table({"x": list(range(100_000)), "y": ["v"] * 100_000})
    pq.write_table(table, f"{bucket}/d/t.parquet", filesystem=fs)
    assert pq.read_table(f"{bucket}/d/t.parquet", filesystem=fs).equals(table)
    assert [f.path for f in fs.get_file_info(pafs.FileSelector(f"{bucket}/d"))] == [f"{bucket}/d/t.parquet"]
    with fs.open_output_stream(f"{bucket}/d/large") as f:
        f.write(b"z" * (25 << 20))
    assert fs.get_file_info(f"{bucket}/d/large").size == 25 << 20
    fs.delete_dir(f"{bucket}/d")


def test_duckdb(env, bucket):
    duckdb = pytest.importorskip("duckdb")
    db = duckdb.connect()
    try:
        try:
            from duckdb_extensions import import_extension
            import_extension("httpfs")  # from the package duckdb-extension-httpfs, when that is installed
        except ImportError:
            pass
        db.execute("LOAD httpfs")
    except Exception as error:
        pytest.skip(f"DuckDB's httpfs extension is not installed: {str(error)[:80]}")
    host = env["AWS_ENDPOINT_URL"].split("://")[1]
    db.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{env['AWS_ACCESS_KEY_ID']}', SECRET '{env['AWS_SECRET_ACCESS_KEY']}', ENDPOINT '{host}', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false)")
    db.execute(f"COPY (SELECT range AS x FROM range(1000)) TO 's3://{bucket}/t.parquet'")
    assert db.execute(f"SELECT sum(x) FROM 's3://{bucket}/*.parquet'").fetchone() == (499500,)
    for region in ("REGION '', ", ""):  # without one it signs over an empty region
        db.execute(f"CREATE OR REPLACE SECRET (TYPE s3, KEY_ID '{env['AWS_ACCESS_KEY_ID']}', SECRET '{env['AWS_SECRET_ACCESS_KEY']}', ENDPOINT '{host}', {region}URL_STYLE 'path', USE_SSL false)")
        assert db.execute(f"SELECT count(x) FROM 's3://{bucket}/*.parquet'").fetchone() == (1000,)
