"""Processing and training jobs that really run, on a whole Quern: containers, staging, outputs, logs, stop, failures. Needs root for containers."""

import gzip
import io
import json
import os
import signal
import tarfile

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
SKLEARN = f"{ACCOUNT}/sagemaker-scikit-learn:1.2-1-cpu-py3"
XGBOOST = f"{ACCOUNT}/sagemaker-xgboost:1.7-1"
DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "..", "shared", "data", "abalone-dataset.csv")
counter = iter(range(10**6))


@pytest.fixture(scope="module")
def sm(quern):
    return quern.client("sagemaker")


@pytest.fixture(scope="module")
def s3(quern):
    client = quern.client("s3")
    client.create_bucket(Bucket="jobs")
    return client


@pytest.fixture(scope="module")
def logs(quern):
    return quern.client("logs")


def name(prefix):
    return f"{prefix}-{next(counter)}-{os.getpid()}"


def put(s3, key, body):
    s3.put_object(Bucket="jobs", Key=key, Body=body)
    return f"s3://jobs/{key}"


def get(s3, key):
    return s3.get_object(Bucket="jobs", Key=key)["Body"].read()


def keys(s3, prefix):
    return [o["Key"] for o in s3.list_objects_v2(Bucket="jobs", Prefix=prefix).get("Contents", [])]


def wait(quern, describe, key, job, states=("Completed", "Failed", "Stopped")):
    def probe():
        answer = describe(**{key: job})
        return answer if answer.get("ProcessingJobStatus", answer.get("TrainingJobStatus")) in states else None

    return quern.wait(probe)


def process(quern, sm, s3, script, job=None, wait_for=True, inputs=(), outputs=(), count=1, **more):
    job = job or name("proc")
    code = put(s3, f"{job}/code/run.py", script)
    sm.create_processing_job(
        ProcessingJobName=job, RoleArn=quern.role,
        AppSpecification={"ImageUri": SKLEARN, "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/run.py"], **more.pop("app", {})},
        ProcessingResources={"ClusterConfig": {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        ProcessingInputs=[{"InputName": "code", "S3Input": {"S3Uri": code, "LocalPath": "/opt/ml/processing/input/code", "S3DataType": "S3Prefix",
                                                            "S3InputMode": "File"}}]
        + [{"InputName": n, "S3Input": {"S3Uri": u, "LocalPath": p, "S3DataType": "S3Prefix", "S3InputMode": "File", **x}} for n, u, p, x in inputs],
        ProcessingOutputConfig={"Outputs": [{"OutputName": n, "S3Output": {"S3Uri": u, "LocalPath": p, "S3UploadMode": "EndOfJob"}}
                                            for n, u, p in outputs]}, **more)
    return wait(quern, sm.describe_processing_job, "ProcessingJobName", job) if wait_for else job


def train(quern, sm, s3, script, job=None, wait_for=True, channels=None, count=1, **more):
    job = job or name("train")
    code = put(s3, f"{job}/code/train.py", script)
    request = {
        "TrainingJobName": job, "RoleArn": quern.role,
        "AlgorithmSpecification": {"TrainingImage": SKLEARN, "TrainingInputMode": "File",
                                   "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"]},
        "OutputDataConfig": {"S3OutputPath": "s3://jobs/models"},
        "ResourceConfig": {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "InputDataConfig": [{"ChannelName": n, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": u}}}
                            for n, u in {"code": code, **(channels or {})}.items()],
    }
    for key, value in more.items():
        request[key] = {**request.get(key, {}), **value} if isinstance(value, dict) else value
    sm.create_training_job(**request)
    return wait(quern, sm.describe_training_job, "TrainingJobName", job) if wait_for else job


def log_text(quern, logs, group, job):
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=job + "/")["logStreams"]
    return {s["logStreamName"]: "\n".join(e["message"] for e in logs.get_log_events(
        logGroupName=group, logStreamName=s["logStreamName"], startFromHead=True)["events"]) for s in streams}


# ---- processing ----

def test_processing(quern, sm, s3, logs):
    put(s3, "raw/a.csv", "1\n2\n")
    put(s3, "raw/deep/b.csv", "3\n")
    answer = process(quern, sm, s3, """
import json, os, sys
rows = []
for d, _, fs in sorted(os.walk("/opt/ml/processing/raw")):
    for f in sorted(fs):
        rows += open(os.path.join(d, f)).read().split()
open("/opt/ml/processing/raw/a.csv", "w").write("a script may write to its input")
config = json.load(open("/opt/ml/config/processingjobconfig.json"))
os.makedirs("/opt/ml/processing/out/sub")
open("/opt/ml/processing/out/sum.txt", "w").write(str(sum(map(int, rows))))
open("/opt/ml/processing/out/sub/args.json", "w").write(json.dumps([sys.argv[1:], config["ProcessingJobArn"], os.environ["MINE"],
    json.load(open("/opt/ml/config/resourceconfig.json"))["hosts"]]))
os.symlink("/etc/passwd", "/opt/ml/processing/out/link")
open("/opt/ml/output/message", "w").write("done and dusted")
print("hello from processing")
""", inputs=[("raw", "s3://jobs/raw", "/opt/ml/processing/raw", {})], outputs=[("out", "s3://jobs/done/p1", "/opt/ml/processing/out")],
                     app={"ContainerArguments": ["--x", "1"]}, Environment={"MINE": "yes"})
    job = answer["ProcessingJobName"]
    assert answer["ProcessingJobStatus"] == "Completed", (answer, log_text(quern, logs, "/aws/sagemaker/ProcessingJobs", job))
    assert get(s3, "done/p1/sum.txt") == b"6"
    assert json.loads(get(s3, "done/p1/sub/args.json")) == [["--x", "1"], answer["ProcessingJobArn"], "yes", ["algo-1"]]
    assert keys(s3, "done/p1/") == ["done/p1/sub/args.json", "done/p1/sum.txt"]
    assert get(s3, "raw/a.csv") == b"1\n2\n"
    assert answer["ExitMessage"] == "done and dusted"
    assert answer["ProcessingEndTime"] >= answer["ProcessingStartTime"] >= answer["CreationTime"]
    streams = log_text(quern, logs, "/aws/sagemaker/ProcessingJobs", job)
    assert len(streams) == 1 and list(streams)[0].startswith(f"{job}/algo-1-")
    assert "hello from processing" in list(streams.values())[0]


def test_processing_failure(quern, sm, s3, logs):
    answer = process(quern, sm, s3, "import sys; print('on the way'); sys.exit(3)", outputs=[("o", "s3://jobs/done/p2", "/opt/ml/processing/o")])
    assert answer["ProcessingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: , exit code: 3"
    assert keys(s3, "done/p2") == []


def test_a_job_reaches_s3_with_its_own_credentials(quern, sm, s3, logs):
    put(s3, "own/in.txt", "from s3")
    answer = process(quern, sm, s3, """
import os, boto3
s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
text = s3.get_object(Bucket="jobs", Key="own/in.txt")["Body"].read()
s3.put_object(Bucket="jobs", Key="own/out.txt", Body=text + b" and back")
print(boto3.client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).get_caller_identity()["Arn"])
""")
    text = log_text(quern, logs, "/aws/sagemaker/ProcessingJobs", answer["ProcessingJobName"])
    assert answer["ProcessingJobStatus"] == "Completed", (answer, text)
    assert get(s3, "own/out.txt") == b"from s3 and back"
    assert "assumed-role/QuernExecutionRole/SageMaker" in "".join(text.values())


def test_output_inside_output(quern, sm, s3, logs):
    answer = process(quern, sm, s3, """
open("/opt/ml/processing/out/top", "w").write("t")
open("/opt/ml/processing/out/train/deep", "w").write("d")
""", outputs=[("all", "s3://jobs/nest/all", "/opt/ml/processing/out"), ("train", "s3://jobs/nest/train", "/opt/ml/processing/out/train")])
    assert answer["ProcessingJobStatus"] == "Completed", log_text(quern, logs, "/aws/sagemaker/ProcessingJobs", answer["ProcessingJobName"])
    assert keys(s3, "nest/") == ["nest/all/top", "nest/all/train/deep", "nest/train/deep"]


def test_missing_input(quern, sm, s3):
    answer = process(quern, sm, s3, "", inputs=[("x", "s3://jobs/not/there", "/opt/ml/processing/x", {})])
    assert answer["ProcessingJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith('ClientError: Failed to download data. No S3 objects found under S3 URL "s3://jobs/not/there"')


def test_image_that_is_not_there(quern, sm, s3):
    answer = process(quern, sm, s3, "", app={"ImageUri": f"{ACCOUNT}/no-such-image:1"})
    assert answer["ProcessingJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith("ClientError: Cannot pull algorithm container. Either the image does not exist")


def test_entrypoint_that_is_not_there(quern, sm, s3):
    answer = process(quern, sm, s3, "", app={"ContainerEntrypoint": ["/no/such/program"]})
    assert answer["ProcessingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: , exit code: 127"


def test_stop_processing(quern, sm, s3, logs):
    job = process(quern, sm, s3, "import time\nprint('up', flush=True)\ntime.sleep(600)", wait_for=False)
    quern.wait(lambda: sm.describe_processing_job(ProcessingJobName=job).get("ProcessingStartTime"))

    def up():
        try:
            return "up" in log_text(quern, logs, "/aws/sagemaker/ProcessingJobs", job).values()
        except logs.exceptions.ResourceNotFoundException:
            return False

    quern.wait(up)
    sm.stop_processing_job(ProcessingJobName=job)
    answer = wait(quern, sm.describe_processing_job, "ProcessingJobName", job)
    assert answer["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="The request was rejected because the processing job is in status Stopped."):
        sm.stop_processing_job(ProcessingJobName=job)


def test_two_processing_hosts(quern, sm, s3, logs):
    for i in range(4):
        put(s3, f"shards/{i}", str(i))
    answer = process(quern, sm, s3, """
import json, os, socket
r = json.load(open("/opt/ml/config/resourceconfig.json"))
print("I am", r["current_host"], "of", r["hosts"], "with", sorted(os.listdir("/opt/ml/processing/shards")))
for h in r["hosts"]:
    print("resolved", h, socket.gethostbyname(h))
open("/opt/ml/processing/out/" + r["current_host"], "w").write("x")
""", inputs=[("s", "s3://jobs/shards/", "/opt/ml/processing/shards", {"S3DataDistributionType": "ShardedByS3Key"})],
                     outputs=[("o", "s3://jobs/two", "/opt/ml/processing/out")], count=2)
    streams = log_text(quern, logs, "/aws/sagemaker/ProcessingJobs", answer["ProcessingJobName"])
    assert answer["ProcessingJobStatus"] == "Completed", (answer, streams)
    assert len(streams) == 2
    assert keys(s3, "two/") == ["two/algo-1", "two/algo-2"]
    text = "".join(streams.values())
    assert "['0', '2']" in text and "['1', '3']" in text


# ---- training ----

def test_training(quern, sm, s3, logs):
    put(s3, "train/a.csv", "1,2\n")
    answer = train(quern, sm, s3, """
import json, os
hp = json.load(open("/opt/ml/input/config/hyperparameters.json"))
assert open("/opt/ml/input/data/train/a.csv").read() == "1,2\\n"
for i in range(3):
    print("epoch", i, "loss: %.2f;" % (1.0 / (i + 1)), flush=True)
os.makedirs("/opt/ml/model/sub")
open("/opt/ml/model/sub/weights", "w").write(hp["eta"])
open("/opt/ml/output/data/notes.txt", "w").write(os.environ["TRAINING_JOB_NAME"])
""", channels={"train": "s3://jobs/train"}, HyperParameters={"eta": "0.3"},
                   AlgorithmSpecification={"MetricDefinitions": [{"Name": "loss", "Regex": "loss: (.*?);"}]})
    job = answer["TrainingJobName"]
    assert answer["TrainingJobStatus"] == "Completed", (answer, log_text(quern, logs, "/aws/sagemaker/TrainingJobs", job))
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://jobs/models/{job}/output/model.tar.gz"
    tar = tarfile.open(fileobj=io.BytesIO(get(s3, f"models/{job}/output/model.tar.gz")))
    assert [m.name for m in tar.getmembers() if m.isfile()] == ["sub/weights"]
    assert tar.extractfile("sub/weights").read() == b"0.3"
    out = tarfile.open(fileobj=io.BytesIO(get(s3, f"models/{job}/output/output.tar.gz")))
    assert out.extractfile("notes.txt").read().decode() == job
    assert [t["Status"] for t in answer["SecondaryStatusTransitions"]] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert answer["FinalMetricDataList"][0]["MetricName"] == "loss" and abs(answer["FinalMetricDataList"][0]["Value"] - 0.33) < 1e-6
    assert answer["TrainingTimeInSeconds"] >= 1 and answer["BillableTimeInSeconds"] >= 1
    assert answer["TrainingEndTime"] >= answer["TrainingStartTime"]
    assert job in [t["TrainingJobName"] for t in sm.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]]


def test_training_failure_text(quern, sm, s3):
    answer = train(quern, sm, s3, """
import sys
open("/opt/ml/output/failure", "w").write("ValueError: the label is missing\\n")
open("/opt/ml/model/half", "w").write("x")
sys.exit(1)
""")
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: ValueError: the label is missing, exit code: 1"
    assert keys(s3, f"models/{answer['TrainingJobName']}/") == []


def test_out_of_memory(quern, sm, s3):
    answer = train(quern, sm, s3, "x = []\nwhile True: x.append(b'x' * (64 << 20))", ResourceConfig={"InstanceType": "ml.t3.medium"})
    assert answer["TrainingJobStatus"] == "Failed"
    if "exit code" in answer["FailureReason"]:
        pytest.skip("memory is not limited on this machine: " + answer["FailureReason"])
    assert answer["FailureReason"].startswith("ClientError: Please use an instance type with more memory")


def test_max_runtime_keeps_the_model(quern, sm, s3, logs):
    script = "import time\nopen('/opt/ml/model/m', 'w').write('half')\nprint('written', flush=True)\ntime.sleep(600)"
    for seconds in (3, 30, 120):  # a loaded machine may need longer until the script has begun
        answer = train(quern, sm, s3, script, StoppingCondition={"MaxRuntimeInSeconds": seconds})
        if "written" in log_text(quern, logs, "/aws/sagemaker/TrainingJobs", answer["TrainingJobName"]).values():
            break
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert keys(s3, f"models/{answer['TrainingJobName']}/") == [f"models/{answer['TrainingJobName']}/output/model.tar.gz"]


def test_checkpoints_go_on_where_they_were(quern, sm, s3, logs):
    script = """
import os
d = "/opt/ml/checkpoints"
n = len(os.listdir(d))
print("found", n, sorted(os.listdir(d)))
if n:
    open(d + "/0", "a").write(" again")
open(d + "/%d" % n, "w").write(str(n))
"""
    for i in range(3):
        answer = train(quern, sm, s3, script, CheckpointConfig={"S3Uri": "s3://jobs/ckpt"})
        assert answer["TrainingJobStatus"] == "Completed", (answer, log_text(quern, logs, "/aws/sagemaker/TrainingJobs", answer["TrainingJobName"]))
    assert keys(s3, "ckpt/") == ["ckpt/0", "ckpt/1", "ckpt/2"]
    assert get(s3, "ckpt/0") == b"0 again again"


def test_gzip_and_isolation(quern, sm, s3, logs):
    script = put(s3, "isolated/code/train.py", """
import os, socket
assert open("/opt/ml/input/data/gz/a.csv").read() == "1,2,3\\n"
assert "AWS_ACCESS_KEY_ID" not in os.environ
try:
    socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 1)
    raise SystemExit(9)
except OSError:
    pass
""")
    put(s3, "gz/a.csv.gz", gzip.compress(b"1,2,3\n"))
    channel = lambda n, uri, **x: {"ChannelName": n, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}, **x}
    answer = train(quern, sm, s3, "", EnableNetworkIsolation=True, Environment={"PORT": str(quern.port)},
                   InputDataConfig=[channel("code", script), channel("gz", "s3://jobs/gz", CompressionType="Gzip")])
    assert answer["TrainingJobStatus"] == "Completed", (answer, log_text(quern, logs, "/aws/sagemaker/TrainingJobs", answer["TrainingJobName"]))


def test_xgboost_on_abalone(quern, sm, s3, logs):
    if not os.path.exists(DATA):
        pytest.skip("the abalone data set is not beside this checkout")
    rows = []
    with open(DATA, encoding="ascii") as f:
        for line in f:
            part = line.strip().split(",")
            rows.append(",".join([part[8], {"M": "0", "F": "1", "I": "2"}[part[0]], *part[1:8]]))
    put(s3, "abalone/train/data.csv", "\n".join(rows[:3000]))
    put(s3, "abalone/validation/data.csv", "\n".join(rows[3000:]))
    job = name("xgb")
    channel = lambda n: {"ChannelName": n, "ContentType": "text/csv", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix",
                                                                                                       "S3Uri": f"s3://jobs/abalone/{n}"}}}
    sm.create_training_job(TrainingJobName=job, RoleArn=quern.role, AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
                           OutputDataConfig={"S3OutputPath": "s3://jobs/models"}, StoppingCondition={"MaxRuntimeInSeconds": 600},
                           ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 1},
                           HyperParameters={"num_round": "30", "objective": "reg:linear", "eta": "0.2"},
                           InputDataConfig=[channel("train"), channel("validation")])
    answer = wait(quern, sm.describe_training_job, "TrainingJobName", job)
    text = log_text(quern, logs, "/aws/sagemaker/TrainingJobs", job)
    assert answer["TrainingJobStatus"] == "Completed", (answer, text)
    metrics = {m["MetricName"]: m["Value"] for m in answer["FinalMetricDataList"]}
    assert metrics["train:rmse"] < 2.2 and metrics["validation:rmse"] < 2.6
    assert [m.name for m in tarfile.open(fileobj=io.BytesIO(get(s3, f"models/{job}/output/model.tar.gz"))).getmembers()] == ["xgboost-model"]


def test_many_jobs_at_once(quern, sm, s3):
    """More than fit: the rest waits and then runs."""
    jobs = [process(quern, sm, s3, "import time; time.sleep(0.3); print('x')", wait_for=False) for _ in range(12)]
    for job in jobs:
        assert wait(quern, sm.describe_processing_job, "ProcessingJobName", job)["ProcessingJobStatus"] == "Completed"


def test_the_daemon_dies_and_comes_back(own_quern):
    """kill -9 while jobs wait, stage, run and end: every one ends well, once, with its output."""
    q = own_quern
    sm, s3 = q.client("sagemaker"), q.client("s3")
    s3.create_bucket(Bucket="jobs")
    script = """
import os, time
time.sleep(float(os.environ["NAP"]))
open("/opt/ml/processing/out/it", "w").write("done")
print("ran")
"""
    jobs = []
    for i in range(6):
        jobs.append(process(q, sm, s3, script, wait_for=False, outputs=[("o", f"s3://jobs/out/{i}", "/opt/ml/processing/out")],
                            Environment={"NAP": str(0.4 * i)}))
        if i % 2:
            os.kill(q.pid("serve"), signal.SIGKILL)
            q.up()
            sm, s3 = q.client("sagemaker"), q.client("s3")
    logs = q.client("logs")
    for i, job in enumerate(jobs):
        answer = wait(q, sm.describe_processing_job, "ProcessingJobName", job)
        text = log_text(q, logs, "/aws/sagemaker/ProcessingJobs", job)
        assert answer["ProcessingJobStatus"] == "Completed", (answer, text)
        assert list(text.values()) == ["ran"]
        assert get(s3, f"out/{i}/it") == b"done"
    q.wait(lambda: not os.listdir(os.path.join(q.home, "stage")))


def test_nothing_is_left_behind(quern):
    """Stage directories and outputs of ended jobs are gone (the executor needs a moment for the rest)."""
    stage = os.path.join(quern.home, "stage")
    quern.wait(lambda: not os.listdir(stage))
