"""What SageMaker does around a script, done by hand: fetch from S3, run the article's programs, store to S3.

    step.py process | train | evaluate        RUN=s3://bucket/prefix of this run, RAW=s3://bucket/prefix of the raw data
"""

import json
import os
import pickle
import subprocess
import sys
import tarfile

import boto3

SETS = ("train", "validation")
CPUS = 4  # of an ml.m5.xlarge; the model file says how many threads made it
HYPERPARAMETERS = {"num_round": "50", "objective": "reg:squarederror"}
BUCKET, _, PREFIX = os.environ["RUN"].removeprefix("s3://").partition("/")
s3 = boto3.client("s3")


def fetch(name, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    s3.download_file(BUCKET, f"{PREFIX}/{name}", path)


def store(path, name):
    s3.upload_file(path, BUCKET, f"{PREFIX}/{name}")
    print(f"stored s3://{BUCKET}/{PREFIX}/{name}")


def process():
    subprocess.run([sys.executable, "/opt/preprocess.py", "--input", os.environ["RAW"], "--output", "/tmp/data"], check=True)
    for name in SETS:
        store(f"/tmp/data/{name}/{name}.csv", f"{name}/{name}.csv")


def write_config(name, value):
    path = f"/opt/ml/input/config/{name}.json"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f)


def train():
    channel = {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    write_config("hyperparameters", HYPERPARAMETERS)
    write_config("inputdataconfig", {name: channel for name in SETS})
    write_config("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})
    for name in SETS:
        fetch(f"{name}/{name}.csv", f"/opt/ml/input/data/{name}/{name}.csv")
    for folder in ("model", "output/data"):
        os.makedirs(f"/opt/ml/{folder}", exist_ok=True)
    threads = str(min(CPUS, len(os.sched_getaffinity(0))))
    subprocess.run(["quern-xgboost", "train"], check=True, env={**os.environ, "OMP_NUM_THREADS": threads, "QUERN_XGBOOST_MODEL_FORMAT": "pickle"})
    with tarfile.open("/tmp/model.tar.gz", "w:gz") as tar:
        tar.add("/opt/ml/model/xgboost-model", "xgboost-model")
    store("/tmp/model.tar.gz", "model/model.tar.gz")


def evaluate():
    import pandas as pd
    import xgboost

    fetch("model/model.tar.gz", "/tmp/model/model.tar.gz")
    fetch("validation/validation.csv", "/tmp/data/validation.csv")
    with tarfile.open("/tmp/model/model.tar.gz") as tar:
        booster = pickle.load(tar.extractfile("xgboost-model"))
    table = pd.read_csv("/tmp/data/validation.csv", header=None)
    predicted = booster.predict(xgboost.DMatrix(table.iloc[:, 1:].to_numpy()))
    rmse = float(((predicted - table[0].to_numpy()) ** 2).mean() ** 0.5)
    with open("/tmp/evaluation.json", "w", encoding="utf-8") as f:
        json.dump({"rmse": rmse, "rows": len(table)}, f)
    print(f"rmse {rmse:.5f}")
    store("/tmp/evaluation.json", "evaluation.json")


if __name__ == "__main__":
    {"process": process, "train": train, "evaluate": evaluate}[sys.argv[1]]()
