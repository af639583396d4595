"""The job as its script sees it: configuration files, directories, SM_* variables, command-line arguments.

DESIGN: one read-only snapshot, built from /opt/ml/input/config (or below SAGEMAKER_BASE_DIR). Names and values of the
variables are those of AWS's training toolkit, because scripts read them.
"""
import json
import os
import shutil
import subprocess

PREFIX = "sagemaker_"
# Parameters of the platform that scripts don't get; other sagemaker_* ones are handed on as framework parameters.
PLATFORM = {
    "sagemaker_program", "sagemaker_submit_directory", "sagemaker_enable_cloudwatch_metrics", "sagemaker_region",
    "sagemaker_container_log_level", "sagemaker_job_name", "default_user_module_name", "_tuning_objective_metric",
    "sagemaker_s3_output",
}
INFO = 20
DISTRIBUTED = ("mpi", "parameter_server", "distributed_dataparallel", "pytorch_ddp", "pytorch_xla_multi_worker",
               "multi_worker_mirrored_strategy", "torch_distributed")


def base_dir():
    return os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"


def read_json(path, otherwise=None):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        if otherwise is None:
            raise
        return otherwise


def decode_hyperparameter(value):
    """Values come JSON-encoded; one that is no JSON counts as it stands."""
    try:
        return json.loads(value)
    except (ValueError, TypeError):
        return value


def num_cpus():
    given = os.environ.get("SM_NUM_CPUS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def num_gpus():
    if not shutil.which("nvidia-smi"):
        return 0
    try:
        out = subprocess.run(["nvidia-smi", "--list-gpus"], stdout=subprocess.PIPE, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in out.splitlines())


def as_text(value):
    """A value as a variable holds it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def as_argument(value):
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in sorted(value.items()))
    return str(value)


def to_arguments(hyperparameters):
    """`--name value` for each hyperparameter, by name; one-letter names get one dash."""
    out = []
    for name in sorted(hyperparameters):
        out.append(f"--{name}" if len(name) > 1 else f"-{name}")
        out.append(as_argument(hyperparameters[name]))
    return out


class Environment:
    """The snapshot. Attributes bear the names of the SM_TRAINING_ENV document."""

    def __init__(self):
        base = base_dir()
        self.code_dir = os.path.join(base, "code")
        self.model_dir = os.path.join(base, "model")
        self.input_dir = os.path.join(base, "input")
        self.input_config_dir = os.path.join(base, "input", "config")
        self.output_dir = os.path.join(base, "output")
        self.output_data_dir = os.path.join(base, "output", "data")
        self.output_intermediate_dir = os.path.join(base, "output", "intermediate")
        self._read_hyperparameters()
        self._read_channels()
        self._read_resources()
        self.num_cpus = num_cpus()
        self.num_gpus = num_gpus()
        self.job_name = os.environ.get("TRAINING_JOB_NAME")
        self.framework_module = os.environ.get("SAGEMAKER_TRAINING_MODULE")

    def _config(self, name):
        return os.path.join(self.input_config_dir, name)

    def _read_hyperparameters(self):
        given = read_json(self._config("hyperparameters.json"), {})
        decoded = {k: decode_hyperparameter(v) for k, v in given.items()}
        ours = {k: v for k, v in decoded.items() if k in PLATFORM or k.startswith(PREFIX)}
        self.platform = ours
        self.hyperparameters = {k: v for k, v in decoded.items() if k not in ours}
        self.additional_framework_parameters = {k: v for k, v in ours.items() if k not in PLATFORM}
        self.user_entry_point = os.environ.get("SAGEMAKER_PROGRAM") or ours.get("sagemaker_program")
        name = self.user_entry_point
        self.module_name = name[:-3] if name and name.endswith(".py") else name
        self.module_dir = str(ours.get("sagemaker_submit_directory")
                              or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or self.code_dir)
        self.log_level = ours.get("sagemaker_container_log_level", INFO)

    def _read_channels(self):
        self.input_data_config = read_json(self._config("inputdataconfig.json"), {})
        data = os.path.join(self.input_dir, "data")
        self.channel_input_dirs = {c: os.path.join(data, c) for c in self.input_data_config}

    def _read_resources(self):
        r = read_json(self._config("resourceconfig.json"), {"current_host": "algo-1", "hosts": ["algo-1"]})
        self.resource_config = r
        self.hosts = r["hosts"]
        self.current_host = r["current_host"]
        self.current_instance_type = r.get("current_instance_type", "local")
        self.current_instance_group = r.get("current_group_name", "homogeneousCluster")
        self.network_interface_name = r.get("network_interface_name", "eth0")
        self.topology = r.get("topology", [])
        groups = r.get("instance_groups", [])
        self.instance_groups = [g["instance_group_name"] for g in groups]
        self.instance_groups_dict = {g["instance_group_name"]: g for g in groups}
        group = self.instance_groups_dict.get(self.current_instance_group, {})
        self.current_instance_group_hosts = group.get("hosts", [])
        self.is_hetero = len(groups) > 1
        self._read_distribution(groups)

    def _read_distribution(self, groups):
        asked = any(self.additional_framework_parameters.get(f"sagemaker_{d}_enabled") for d in DISTRIBUTED)
        self.distribution_instance_groups = self.additional_framework_parameters.get(
            "sagemaker_distribution_instance_groups", [self.current_instance_group] if asked else [])
        if groups:
            self.distribution_hosts = [h for g in groups
                                       if g["instance_group_name"] in self.distribution_instance_groups
                                       for h in g["hosts"]]
        else:
            self.distribution_hosts = list(self.hosts)
        self.master_hostname = (self.distribution_hosts or self.hosts)[0]
        self.is_master = self.current_host == self.master_hostname

    def document(self):
        """The SM_TRAINING_ENV document."""
        names = (
            "additional_framework_parameters", "channel_input_dirs", "current_host", "current_instance_group",
            "current_instance_group_hosts", "current_instance_type", "distribution_hosts",
            "distribution_instance_groups", "framework_module", "hosts", "hyperparameters", "input_config_dir",
            "input_data_config", "input_dir", "instance_groups", "instance_groups_dict", "is_hetero", "is_master",
            "job_name", "log_level", "master_hostname", "model_dir", "module_dir", "module_name",
            "network_interface_name", "num_cpus", "num_gpus", "output_data_dir", "output_dir",
            "output_intermediate_dir", "resource_config", "topology", "user_entry_point")
        return {**{n: getattr(self, n) for n in names}, "num_neurons": 0, "is_modelparallel_enabled": None,
                "is_smddprun_installed": False, "is_smddpmprun_installed": False}

    def variables(self):
        """The SM_* variables, and the few others that scripts know."""
        values = {n: getattr(self, n) for n in (
            "hosts", "network_interface_name", "user_entry_point", "resource_config", "input_data_config",
            "output_data_dir", "current_host", "current_instance_type", "current_instance_group",
            "current_instance_group_hosts", "instance_groups", "instance_groups_dict", "distribution_instance_groups",
            "is_hetero", "module_name", "log_level", "framework_module", "input_dir", "input_config_dir", "output_dir",
            "num_cpus", "num_gpus", "model_dir", "module_dir", "output_intermediate_dir")}
        values.update(
            hps=self.hyperparameters, framework_params=self.additional_framework_parameters, num_neurons=0,
            channels=sorted(self.channel_input_dirs), training_env=self.document(),
            user_args=to_arguments(self.hyperparameters),
            input_training_config_file=self._config("hyperparameters.json"),
            input_data_config_file=self._config("inputdataconfig.json"),
            checkpoint_config_file=self._config("checkpointconfig.json"))
        if self.topology:
            values["topology"] = self.topology
        values.update({f"channel_{c}": d for c, d in self.channel_input_dirs.items()})
        values.update({f"hp_{k}": v for k, v in self.hyperparameters.items()})
        out = {f"SM_{k.upper()}": as_text(v) for k, v in values.items()}
        out["SAGEMAKER_JOB_NAME"] = as_text(self.platform.get("sagemaker_job_name"))
        out["CURRENT_HOST"] = self.current_host
        out["SAGEMAKER_REGION"] = as_text(
            self.platform.get("sagemaker_region") or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION"))
        return out
