"""The launcher `train`: script mode and algorithm mode, in a directory that stands for /opt/ml."""
import http.server
import io
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import threading

import pytest
from image_job import ROOT, Job, csv

TRAIN = ROOT / "images/toolkit/train"


@pytest.fixture
def script_job(tmp_path):
    job = Job(tmp_path / "ml", [TRAIN])
    job.env = {"PYTHONUSERBASE": str(tmp_path / "packages"), "SM_NUM_CPUS": "2"}
    job.channel("train", "1,2\n")
    return job


def put_code(job, **files):
    code = job.base / "code"
    code.mkdir(exist_ok=True)
    for name, text in files.items():
        name = name.replace("__", ".")
        (code / name).write_text(text)
    return code


SHOW = """import json, os, sys
json.dump({"args": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()},
          open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w"))
print("hello from the script")
"""


def seen(job):
    return json.loads((job.base / "model/seen.json").read_text())


def test_python_script(script_job):
    job = script_job
    put_code(job, train__py=SHOW)
    job.config("checkpointconfig.json", {"LocalPath": "/opt/ml/checkpoints"})
    job.channel("validation", "1,2\n")
    job.run({"sagemaker_program": '"train.py"', "sagemaker_region": '"eu-west-1"', "sagemaker_job_name": '"j-1"',
             "lr": "0.5", "epochs": "10", "name": '"two words"', "raw": "just text", "flag": "true", "n": "null",
             "d": '{"b": 1, "a": 2}', "x": "1", "list": "[1, 2]", "sagemaker_extra": "7"})
    assert job.exit_code == 0, job.log
    assert "hello from the script" in job.log and "Reporting training SUCCESS" in job.log
    assert (job.base / "output/success").exists() and job.failure is None
    got = seen(job)
    assert got["args"] == ["-d", "a=2,b=1", "--epochs", "10", "--flag", "True", "--list", "[1, 2]", "--lr", "0.5",
                           "-n", "", "--name", "two words", "--raw", "just text", "-x", "1"]
    assert got["cwd"] == str(job.base / "code")
    env = got["env"]
    base = str(job.base)
    expected = {
        "SM_MODEL_DIR": f"{base}/model", "SM_INPUT_DIR": f"{base}/input", "SM_INPUT_CONFIG_DIR": f"{base}/input/config",
        "SM_OUTPUT_DATA_DIR": f"{base}/output/data", "SM_OUTPUT_DIR": f"{base}/output",
        "SM_OUTPUT_INTERMEDIATE_DIR": f"{base}/output/intermediate", "SM_CHANNELS": '["train","validation"]',
        "SM_CHANNEL_TRAIN": f"{base}/input/data/train", "SM_CHANNEL_VALIDATION": f"{base}/input/data/validation",
        "SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1", "SM_NUM_CPUS": "2", "SM_NUM_GPUS": "0",
        "SM_NUM_NEURONS": "0", "SM_HP_LR": "0.5", "SM_HP_NAME": "two words", "SM_HP_FLAG": "true", "SM_HP_N": "",
        "SM_HP_D": '{"a":2,"b":1}', "SM_USER_ENTRY_POINT": "train.py", "SM_MODULE_NAME": "train",
        "SM_MODULE_DIR": f"{base}/code", "SM_LOG_LEVEL": "20", "SM_NETWORK_INTERFACE_NAME": "eth0",
        "SM_FRAMEWORK_MODULE": "", "SM_FRAMEWORK_PARAMS": '{"sagemaker_extra":7}',
        "SM_CURRENT_INSTANCE_TYPE": "local", "SM_CURRENT_INSTANCE_GROUP": "homogeneousCluster",
        "SM_CURRENT_INSTANCE_GROUP_HOSTS": "[]", "SM_INSTANCE_GROUPS": "[]", "SM_INSTANCE_GROUPS_DICT": "{}",
        "SM_DISTRIBUTION_INSTANCE_GROUPS": "[]", "SM_IS_HETERO": "false", "SAGEMAKER_JOB_NAME": "j-1",
        "CURRENT_HOST": "algo-1", "SAGEMAKER_REGION": "eu-west-1",
        "SM_CHECKPOINT_CONFIG_FILE": f"{base}/input/config/checkpointconfig.json",
    }
    assert {k: env.get(k) for k in expected} == expected
    assert json.loads(env["SM_HPS"])["d"] == {"a": 2, "b": 1}
    assert "sagemaker_program" not in env["SM_HPS"]
    assert json.loads(env["SM_USER_ARGS"]) == got["args"]
    assert json.loads(env["SM_RESOURCE_CONFIG"]) == {"current_host": "algo-1", "hosts": ["algo-1"]}
    assert json.loads(env["SM_INPUT_DATA_CONFIG"])["train"]["TrainingInputMode"] == "File"
    document = json.loads(env["SM_TRAINING_ENV"])
    assert document["hyperparameters"]["name"] == "two words" and document["is_master"] is True
    assert document["channel_input_dirs"]["train"] == f"{base}/input/data/train"
    assert env["PYTHONPATH"].startswith(f"{base}/code:")


def test_instance_groups(script_job):
    job = script_job
    put_code(job, t__py=SHOW)
    command, env = job.command({"sagemaker_program": "t.py"})
    job.config("resourceconfig.json", {
        "current_host": "algo-1", "hosts": ["algo-1"], "current_instance_type": "ml.m5.large",
        "current_group_name": "g", "network_interface_name": "eth1",
        "instance_groups": [{"instance_group_name": "g", "instance_type": "ml.m5.large", "hosts": ["algo-1"]}]})
    assert subprocess.run(command, env=env, stdout=subprocess.DEVNULL).returncode == 0
    env = seen(job)["env"]
    assert env["SM_CURRENT_INSTANCE_TYPE"] == "ml.m5.large" and env["SM_CURRENT_INSTANCE_GROUP"] == "g"
    assert env["SM_CURRENT_INSTANCE_GROUP_HOSTS"] == '["algo-1"]' and env["SM_NETWORK_INTERFACE_NAME"] == "eth1"


def test_shell_script(script_job):
    job = script_job
    put_code(job, run__sh='#!/bin/sh\necho "$@" > "$SM_MODEL_DIR/args"\npwd\n')
    job.run({"sagemaker_program": "run.sh", "name": '"two words; $(false)"'})
    assert job.exit_code == 0, job.log
    assert (job.base / "model/args").read_text() == "--name two words; $(false)\n"


def test_package(script_job):
    job = script_job
    put_code(job, setup__py="from setuptools import setup\nsetup(name='quern-probe', py_modules=['probe'])\n",
             probe__py=SHOW)
    pytest.importorskip("setuptools")
    job.env["PIP_NO_INDEX"] = "1"
    job.env["PIP_NO_BUILD_ISOLATION"] = "0"
    job.run({"sagemaker_program": "probe.py", "x": "1"})
    assert job.exit_code == 0, job.log
    assert seen(job)["args"] == ["-x", "1"]


@pytest.mark.parametrize("body,code,first", [
    ("import sys\nprint('working')\nsys.exit(3)\n", 3, ""),
    ("print('a')\nraise ValueError('no such column')\n", 1, "raise ValueError('no such column')\n ValueError: no such "
     "column"),
])
def test_failing_script(script_job, body, code, first):
    job = script_job
    put_code(job, train__py=body)
    job.run({"sagemaker_program": "train.py", "x": "1"})
    assert job.exit_code == code, job.log
    python = "/usr/bin/python3"
    assert job.failure == (f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{first}"\n'
                           f'Command "{python} train.py -x 1"')
    assert "Reporting training FAILURE" in job.log
    assert not (job.base / "output/success").exists()


def test_killed_script(script_job):
    job = script_job
    put_code(job, train__py="import os\nos.kill(os.getpid(), 9)\n")
    job.run({"sagemaker_program": "train.py"})
    assert job.exit_code == 137
    assert 'ExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"' in job.failure


def test_failure_file_of_the_script_stays(script_job):
    job = script_job
    put_code(job, train__py=f"open('{job.base}/output/failure', 'w').write('my reason')\nraise SystemExit(2)\n")
    job.run({"sagemaker_program": "train.py"})
    assert job.exit_code == 2 and job.failure == "my reason"


def test_missing_script(script_job):
    job = script_job
    put_code(job, other__py="")
    job.run({"sagemaker_program": "train.py"})
    assert job.exit_code == 2 and "ExecuteUserScriptError" in job.failure


def test_no_script_and_no_algorithm(script_job):
    job = script_job
    job.run({"lr": "1"})
    assert job.exit_code == 1
    assert job.failure == "this image runs a script: name one in the hyperparameter sagemaker_program"


def test_broken_configuration(script_job):
    job = script_job
    command, env = job.command({})
    (job.base / "input/config/resourceconfig.json").write_text("{")
    assert subprocess.run(command, env=env, stdout=subprocess.DEVNULL).returncode == 1
    assert job.failure.startswith("Framework Error: \nTraceback")


def test_sigterm_reaches_the_script(script_job):
    job = script_job
    put_code(job, train__py="import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
                            "print('ready', flush=True)\ntime.sleep(60)\n")
    process = job.start({"sagemaker_program": "train.py"})
    for line in process.stdout:
        if line == "ready\n":
            break
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    assert process.wait(timeout=20) == 0


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def test_local_archive_and_directory(script_job, tmp_path):
    job = script_job
    tar = tmp_path / "sourcedir.tar.gz"
    tar.write_bytes(archive({"train.py": SHOW, "lib/helper.py": "x = 1\n"}))
    job.run({"sagemaker_program": "train.py", "sagemaker_submit_directory": str(tar)})
    assert job.exit_code == 0, job.log
    assert (job.base / "code/lib/helper.py").exists()
    assert seen(job)["env"]["SM_MODULE_DIR"] == str(tar)
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "train.py").write_text("print('from the directory')")
    for file in sorted((job.base / "code").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    job.run({"sagemaker_program": "train.py", "sagemaker_submit_directory": str(folder)})
    assert "from the directory" in job.log


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/quern-evil.py"])
def test_archive_stays_inside(script_job, tmp_path, name):
    job = script_job
    tar = tmp_path / "sourcedir.tar.gz"
    tar.write_bytes(archive({name: "x", "train.py": "pass"}))
    job.run({"sagemaker_program": "train.py", "sagemaker_submit_directory": str(tar)})
    assert not (job.base / "evil.py").exists() and not pathlib.Path("/tmp/quern-evil.py").exists()


def test_requirements(script_job):
    job = script_job
    code = put_code(job, train__py="import quern_probe\nprint('version', quern_probe.VERSION)\n",
                    requirements__txt="./probe\n")
    (code / "probe").mkdir()
    (code / "probe/setup.py").write_text(
        "from setuptools import setup\nsetup(name='quern-probe', version='1', py_modules=['quern_probe'])\n")
    (code / "probe/quern_probe.py").write_text("VERSION = 42\n")
    job.env.update(PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0")
    job.run({"sagemaker_program": "train.py"})
    assert job.exit_code == 0, job.log
    assert "version 42" in job.log


def test_requirements_that_do_not_exist(script_job):
    job = script_job
    put_code(job, train__py="", requirements__txt="quern-no-such-package==9.9\n")
    job.env["PIP_NO_INDEX"] = "1"
    job.run({"sagemaker_program": "train.py"})
    assert job.exit_code == 1, job.log
    assert job.failure.startswith('InstallRequirementsError:\nExitCode 1\nErrorMessage "ERROR: ')
    assert job.failure.endswith('Command "/usr/bin/python3 -m pip install -r requirements.txt"')


class Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as a download of one object needs."""

    protocol_version = "HTTP/1.1"
    objects = {}
    requests = []

    def answer(self, body):
        data = self.objects.get(self.path.split("?")[0])
        self.requests.append((self.command, self.path, self.headers.get("Host"), self.headers.get("Authorization")))
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if body and data:
            self.wfile.write(data)

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def log_message(self, *args):
        pass


@pytest.fixture
def bucket():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Bucket.objects, Bucket.requests = {}, []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}


@pytest.mark.parametrize("variable", ["S3_ENDPOINT_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_code_from_s3(script_job, bucket, variable):
    pytest.importorskip("boto3")
    job = script_job
    Bucket.objects["/b/p/sourcedir.tar.gz"] = archive({"train.py": SHOW})
    job.env.update(KEYS, **{variable: bucket})
    job.run({"sagemaker_program": "train.py", "sagemaker_submit_directory": '"s3://b/p/sourcedir.tar.gz"'})
    assert job.exit_code == 0, job.log
    assert seen(job)["args"] == []
    assert all("Credential=AKIAEXAMPLE/" in r[3] and "/eu-west-1/s3/" in r[3] for r in Bucket.requests)


def test_code_that_is_not_in_s3(script_job, bucket):
    pytest.importorskip("boto3")
    job = script_job
    job.env.update(KEYS, AWS_ENDPOINT_URL=bucket)
    job.run({"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/none"})
    assert job.exit_code == 1 and job.failure.startswith("Framework Error: \n")


def test_algorithm_mode(tmp_path, trainer, abalone):
    job = Job(tmp_path / "ml", [TRAIN])
    job.env = {"QUERN_IMAGE_ALGORITHM": "xgboost", "PATH": f"{trainer.parent}:{os.environ['PATH']}"}
    job.channel("train", csv(abalone[:300]))
    job.run({"num_round": "3"})
    assert job.exit_code == 0, job.log
    assert len(job.rounds()) == 3 and job.model.exists() and (job.base / "output/success").exists()


def test_script_mode_in_the_algorithm_image(tmp_path, trainer):
    job = Job(tmp_path / "ml", [TRAIN])
    job.env = {"QUERN_IMAGE_ALGORITHM": "xgboost", "PATH": f"{trainer.parent}:{os.environ['PATH']}"}
    put_code(job, train__py=SHOW)
    job.run({"sagemaker_program": "train.py", "num_round": "3"})
    assert job.exit_code == 0 and seen(job)["args"] == ["--num_round", "3"]


def test_as_laid_out_in_the_container(tmp_path):
    """opt/quern/bin/train and opt/quern/lib/quern_toolkit, as images.json has it."""
    quern = tmp_path / "opt/quern"
    (quern / "bin").mkdir(parents=True)
    (quern / "lib").mkdir()
    (quern / "bin/train").write_bytes(TRAIN.read_bytes())
    (quern / "bin/train").chmod(0o755)
    (quern / "lib/quern_toolkit").symlink_to(ROOT / "images/toolkit/quern_toolkit")
    job = Job(tmp_path / "ml", [quern / "bin/train"])
    put_code(job, train__py="print('ran')\n")
    assert "ran" in job.run({"sagemaker_program": "train.py"}).log

