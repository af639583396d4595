"""What the tests of the built-in images share: a job directory like /opt/ml, and the program under test."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_trainer():
    given = os.environ.get("QUERN_XGBOOST")
    if given:
        return pathlib.Path(given)
    for build in sorted(ROOT.glob("build*")):
        program = build / "images" / "xgboost" / "quern-xgboost"
        if program.exists():
            return program
    return None


class Job:
    """A training job's directory, laid out as /opt/ml is."""

    def __init__(self, base, program):
        self.base = pathlib.Path(base)
        self.program = program
        self.env = {}
        self.channels = {}
        for part in ("input/config", "input/data", "model", "output/data"):
            (self.base / part).mkdir(parents=True)

    def config(self, name, value):
        (self.base / "input/config" / name).write_text(json.dumps(value))

    def channel(self, name, text, content_type="text/csv", file="part-0", **more):
        folder = self.base / "input/data" / name
        folder.mkdir(exist_ok=True)
        if text is not None:
            (folder / file).write_text(text)
        entry = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
        if content_type:
            entry["ContentType"] = content_type
        entry.update(more)
        self.channels[name] = entry
        return folder

    def command(self, hyperparameters, hosts=("algo-1",)):
        self.config("hyperparameters.json", hyperparameters)
        self.config("inputdataconfig.json", self.channels)
        self.config("resourceconfig.json", {"current_host": hosts[0], "hosts": list(hosts)})
        env = dict(os.environ, SAGEMAKER_BASE_DIR=str(self.base), OMP_NUM_THREADS="2", **self.env)
        return [str(p) for p in self.program], env

    def run(self, hyperparameters, **more):
        command, env = self.command(hyperparameters, **more)
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.log = done.stdout
        self.exit_code = done.returncode
        return self

    def start(self, hyperparameters, **more):
        command, env = self.command(hyperparameters, **more)
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @property
    def failure(self):
        path = self.base / "output/failure"
        return path.read_text() if path.exists() else None

    @property
    def model(self):
        return self.base / "model" / "xgboost-model"

    def rounds(self):
        """[{metric: value text}] of the log's metric lines."""
        out = []
        for line in self.log.splitlines():
            if line.startswith("[") and "\t" in line:
                out.append(dict(part.rsplit(":", 1) for part in line.split("\t")[1:]))
        return out


def csv(rows):
    return "".join(",".join(repr(v) for v in row) + "\n" for row in rows)


def libsvm(rows):
    return "".join(
        repr(row[0]) + "".join(f" {i}:{v!r}" for i, v in enumerate(row[1:]) if v != 0) + "\n" for row in rows
    )
