"""Every text with which quern-xgboost refuses a job, and where it leaves it."""

import signal
import subprocess

import pytest
from image_job import csv

METRICS = ("['accuracy', 'auc', 'aucpr', 'balanced_accuracy', 'f1', 'f1_binary', 'f1_macro', 'map', 'ndcg', 'precision', "
           "'r2', 'recall', 'precision_macro', 'precision_micro', 'recall_macro', 'recall_micro', 'aft-nloglik', "
           "'cox-nloglik', 'error', 'gamma-deviance', 'gamma-nloglik', 'interval-regression-accuracy', 'logloss', 'mae', "
           "'mape', 'merror', 'mlogloss', 'mphe', 'mse', 'poisson-nloglik', 'rmse', 'rmsle', 'tweedie-nloglik']")

HYPERPARAMETERS = [
    ({}, "Missing required hyperparameter: num_round"),
    ({"num_round": "10", "foo": "1"}, "Extraneous hyperparameter found: foo"),
    ({"num_round": "ten"}, "Hyperparameter num_round: could not parse value (caused by ValueError)"),
    ({"num_round": "7.0"}, "Hyperparameter num_round: could not parse value (caused by ValueError)"),
    ({"num_round": ""}, "Hyperparameter num_round: could not parse value (caused by ValueError)"),
    ({"num_round": None}, "Hyperparameter num_round: could not parse value (caused by ValueError)"),
    ({"num_round": "99999999999999999999"}, "Hyperparameter num_round: could not parse value (caused by ValueError)"),
    ({"num_round": "0"}, "Hyperparameter num_round: 0 is not in [1, +inf)"),
    ({"eta": "7"}, "Hyperparameter eta: 7.0 is not in [0, 1]"),
    ({"eta": 7}, "Hyperparameter eta: 7.0 is not in [0, 1]"),
    ({"eta": "\"7\""}, "Hyperparameter eta: 7.0 is not in [0, 1]"),
    ({"eta": "0x1p-3"}, "Hyperparameter eta: could not parse value (caused by ValueError)"),
    ({"learning_rate": "-0.1"}, "Hyperparameter eta: -0.1 is not in [0, 1]"),
    ({"learning_rate": "x"}, "Hyperparameter eta: could not parse value (caused by ValueError)"),
    ({"gamma": "-1e-7"}, "Hyperparameter gamma: -1e-07 is not in [0, +inf)"),
    ({"min_split_loss": "-1"}, "Hyperparameter gamma: -1.0 is not in [0, +inf)"),
    ({"reg_lambda": "-1"}, "Hyperparameter lambda: -1.0 is not in [0, +inf)"),
    ({"reg_alpha": "-1"}, "Hyperparameter alpha: -1.0 is not in [0, +inf)"),
    ({"lambda": "-inf"}, "Hyperparameter lambda: -inf is not in [0, +inf)"),
    ({"subsample": "0"}, "Hyperparameter subsample: 0.0 is not in (0, 1]"),
    ({"colsample_bytree": "1.5"}, "Hyperparameter colsample_bytree: 1.5 is not in (0, 1]"),
    ({"max_depth": "-1"}, "Hyperparameter max_depth: -1 is not in [0, +inf)"),
    ({"verbosity": "4"}, "Hyperparameter verbosity: 4 is not in [0, 3]"),
    ({"nthread": "0"}, "Hyperparameter nthread: 0 is not in [1, +inf)"),
    ({"csv_weights": "2"}, "Hyperparameter csv_weights: 2 is not in [0, 1]"),
    ({"early_stopping_rounds": "0"}, "Hyperparameter early_stopping_rounds: 0 is not in [1, +inf)"),
    ({"scale_pos_weight": "0"}, "Hyperparameter scale_pos_weight: 0.0 is not in (0, +inf)"),
    ({"sketch_eps": "1"}, "Hyperparameter sketch_eps: 1.0 is not in (0, 1)"),
    ({"tweedie_variance_power": "2"}, "Hyperparameter tweedie_variance_power: 2.0 is not in (1, 2)"),
    ({"seed": "2147483647"}, "Hyperparameter seed: 2147483647 is not in (-2147483648, 2147483647)"),
    ({"prob_buffer_row": "1"}, "Hyperparameter prob_buffer_row: 1 is not in (1.0, +inf)"),
    ({"booster": "tree"}, "Hyperparameter booster: tree is not in ['gbtree', 'gblinear', 'dart']"),
    ({"booster": "\"tree\""}, "Hyperparameter booster: tree is not in ['gbtree', 'gblinear', 'dart']"),
    ({"tree_method": "fast"},
     "Hyperparameter tree_method: fast is not in ['auto', 'exact', 'approx', 'hist', 'gpu_hist']"),
    ({"save_model_on_termination": "yes"},
     "Hyperparameter save_model_on_termination: yes is not in ['true', 'false']"),
    ({"updater": "magic"}, "Hyperparameter updater: value ['magic'] not in range ['grow_colmaker', 'distcol', "
     "'grow_histmaker', 'grow_skmaker', 'sync', 'refresh', 'prune', 'grow_colmaker', 'distcol', 'grow_histmaker', "
     "'grow_colmaker', 'shotgun', 'coord_descent', 'refresh', 'prune']"),
    ({"booster": "gblinear", "updater": "prune"},
     "Linear updater should be one of these options: 'shotgun', 'coord_descent'."),
    ({"process_type": "update", "updater": "grow_colmaker"},
     "process_type 'update' can only be used with updater 'refresh' and 'prune'"),
    ({"updater": "shotgun"}, "Tree updater should be selected from these options: 'grow_colmaker', 'distcol', "
     "'grow_histmaker', 'grow_skmaker', 'grow_quantile_histmaker', 'sync', 'refresh', 'prune', 'shortgun', "
     "'coord_descent'."),
    ({"updater": "grow_colmaker,distcol"}, "Only one tree grow plugin can be selected. Choose one from thefollowing: "
     "'grow_colmaker', 'distcol', 'grow_histmaker', 'grow_skmaker'"),
    ({"objective": "multi:softmax"}, "Require input for parameter 'num_class' for multi-classification"),
    ({"objective": "multi:softprob", "num_class": "1"}, "Hyperparameter num_class: 1 is not in [2, +inf)"),
    ({"num_class": "3"}, "Do not need to setup parameter 'num_class' for learning task other than "
     "multi-classification."),
    ({"eval_metric": "rmse,speed"}, "Hyperparameter eval_metric: value ['rmse', 'speed'] not in range " + METRICS),
    ({"eval_metric": "it's"}, "Hyperparameter eval_metric: value [\"it's\"] not in range " + METRICS),
    ({"eval_metric": "<function f>"}, "User defined evaluation metric <function f> is not supported yet."),
    ({"eval_metric": "rmse@2"}, "Metric 'rmse@2' is not supported. Parameter 'eval_metric' with customized threshold "
     "should be one of these options: 'error', 'ndcg', 'map'."),
    ({"eval_metric": "error@half"}, "Threshold value 't' in 'error@t' expects float input."),
    ({"eval_metric": "auc"}, "Metric 'auc' can only be applied for classification and ranking problems."),
    ({"eval_metric": "aft-nloglik"}, "Metric 'aft-nloglik' can only be applied for 'survival:aft' objective."),
    ({"_tuning_objective_metric": "validation:speed"}, "Hyperparameter _tuning_objective_metric: validation:speed is "
     "not in " + METRICS.replace("'", "\1").replace("\1,", "',").replace("\1]", "']").replace("\1", "'validation:")),
    ({"monotone_constraints": "(1, 0)"}, "monotone_constraints can be used only when the tree_method parameter is set "
     "to either 'exact' or 'hist'."),
    ({"tree_method": "hist", "monotone_constraints": "(2,)"},
     "Hyperparameter monotone_constraints: value (2,) not in range [-1, 0, 1]"),
    ({"tree_method": "hist", "monotone_constraints": "__import__('os').system('true')"},
     "Hyperparameter monotone_constraints: could not parse value (caused by ValueError)"),
    ({"interaction_constraints": "[[1, 2]]"}, "interaction_constraints can be used only when the tree_method "
     "parameter is set to either 'exact', 'hist' or 'approx'."),
    ({"tree_method": "hist", "interaction_constraints": "[[0, 2]]"},
     "Hyperparameter interaction_constraints: value [[0, 2]] not in range [1, +inf)"),
    ({"tree_method": "hist", "interaction_constraints": "[1, 2]"},
     "Hyperparameter interaction_constraints: could not parse value (caused by ValueError)"),
    ({"_kfold": "1"}, "Hyperparameter _kfold: 1 is not in [2, +inf)"),
]


def refused(job, message, kind="UserError"):
    assert job.exit_code == 1, job.log
    assert job.failure == f"{kind}: {message}\n"
    assert "Reporting training FAILURE" in job.log
    assert not job.model.exists() and not (job.base / "output/success").exists()


@pytest.mark.parametrize("hyperparameters,message", HYPERPARAMETERS, ids=lambda v: v if isinstance(v, str) else None)
def test_hyperparameter(job, hyperparameters, message):
    job.channel("train", "1,2\n")
    if message != HYPERPARAMETERS[0][1]:
        hyperparameters = {"num_round": "1", **hyperparameters}
    refused(job.run(hyperparameters), message)


ROWS = csv([[float(i % 2), float(i), float(i * i % 7)] for i in range(40)])
ONE = {"num_round": "1"}


def test_channels(job):
    refused(job.run(ONE), "Missing required channel: train")


def test_extraneous_channel(job):
    job.channel("train", ROWS)
    job.channel("test", ROWS)
    refused(job.run(ONE), "Extraneous channel found: test")


@pytest.mark.parametrize("content_type,message", [
    ("text/xml", "text/xml is not an accepted ContentType: csv, libsvm, parquet, recordio-protobuf, text/csv, "
     "text/libsvm, text/x-libsvm, application/x-parquet, application/x-recordio-protobuf."),
    ("text/csv; label_size=2", "text/csv; label_size=2 is not an accepted csv ContentType. Optional parameter "
     "label_size must be equal to 1"),
])
def test_content_type(job, content_type, message):
    job.channel("train", ROWS, content_type)
    refused(job.run(ONE), message)


def test_parquet_is_named(job):
    job.channel("train", "PAR1", "application/x-parquet")
    refused(job.run(ONE), "ContentType application/x-parquet of channel 'train' is not supported by this image; use "
            "text/csv or text/libsvm", "AlgorithmError")


def test_pipe_mode(job):
    job.channel("train", ROWS, TrainingInputMode="Pipe")
    refused(job.run(ONE), "Pipe mode for CSV is no longer supported. Please use Fast File mode (default) instead. Set "
            "input_mode='File' in your SageMaker Estimator or TrainingInput.")


def test_unknown_distribution(job):
    job.channel("train", ROWS, None, S3DistributionType="Odd")
    refused(job.run(ONE), "Channel configuration for 'train' channel is not supported: {'TrainingInputMode': 'File', "
            "'S3DistributionType': 'Odd', 'RecordWrapperType': 'None'}")


def test_several_hosts(job):
    job.channel("train", ROWS)
    refused(job.run(ONE, hosts=["algo-1", "algo-2"]), "Distributed training with 2 hosts is not supported by this "
            "image; set the instance count to 1", "AlgorithmError")


def test_hidden_file(job):
    job.channel("train", ROWS)
    job.channel("train", "x", file=".hidden")
    refused(job.run(ONE), "Hidden file found in the data path! Remove that before training.")


@pytest.mark.parametrize("channel", ["train", "validation"])
def test_no_data(job, channel):
    job.channel("train", ROWS)
    job.channel("validation", ROWS)
    (job.base / "input/data" / channel / "part-0").unlink()
    name = {"train": "training", "validation": "validation"}[channel]
    refused(job.run(ONE), f"No data in {name} channel path {job.base}/input/data/{channel}")


def test_csv_given_as_libsvm(job):
    job.channel("train", "M,0.4,0.3\n", "text/libsvm", file="a.csv")
    refused(job.run(ONE), "First line 'M,0.4,0.3...' of file 'a.csv' is not 'LIBSVM' format. Please ensure the file is "
            "in 'LIBSVM' format.")


def test_no_delimiter(job):
    job.channel("train", "15\n16\n")
    refused(job.run(ONE), "Could not determine delimiter on line 15:\nCould not determine delimiter")


def test_header_line_is_warned_about(job):
    job.channel("train", "label,a,b\n" + ROWS)
    assert job.run(ONE).exit_code == 0
    assert "The first line of part-0 holds no number. A header line counts as a row here: remove it." in job.log


def test_same_files_are_warned_about(job):
    job.channel("train", ROWS)
    job.channel("validation", ROWS)
    assert "Suspected identical files found." in job.run(ONE).log


def test_label_out_of_range(job):
    job.channel("train", csv([[float(i), 1.0, 2.0] for i in range(9)]))
    job.run({"num_round": "1", "objective": "binary:logistic"})
    assert job.exit_code == 1
    assert job.failure.startswith("UserError: ")
    assert "label must be in [0,1] for logistic regression" in job.failure
    assert "Stack trace" not in job.failure and ".cc:" not in job.failure and len(job.failure) < 200


def test_error_of_the_library(job):
    job.channel("train", ROWS)
    job.run({"num_round": "1", "tree_method": "gpu_hist"})
    assert job.exit_code == 1
    assert job.failure.startswith("AlgorithmError: XGB train call failed with exception:\n ")
    assert "Stack trace" not in job.failure


def test_dask(job):
    job.channel("train", ROWS)
    job.run({"num_round": "1", "use_dask_gpu_training": "true"})
    assert job.failure.startswith("UserError: Some configurations unsuitable for Dask GPU training were found: ")


@pytest.mark.parametrize("text", ["", "[]", "{", "nonsense"])
def test_bad_config_file(job, text):
    job.channel("train", ROWS)
    job.run(ONE)
    command, env = job.command(ONE)
    for part in ("output/success", "model/xgboost-model"):
        (job.base / part).unlink()
    (job.base / "input/config/hyperparameters.json").write_text(text)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert job.failure.startswith(f"PlatformError: read `{job.base}/input/config/hyperparameters.json`: ")


def test_first_failure_stays(job):
    (job.base / "output/failure").write_text("before")
    job.run(ONE)
    assert job.exit_code == 1 and job.failure == "before"


def test_bad_model_format(job):
    job.channel("train", ROWS)
    job.env["QUERN_XGBOOST_MODEL_FORMAT"] = "onnx"
    refused(job.run(ONE), "QUERN_XGBOOST_MODEL_FORMAT is `onnx`, not binary, json, ubj or pickle", "PlatformError")


def test_unused_hyperparameters_are_named(job):
    job.channel("train", ROWS)
    job.run({"num_round": "1", "booster": "gblinear", "max_depth": "3"})
    assert job.exit_code == 0
    assert "max_depth" in job.log and "not" in job.log


def test_ragged_rows(job):
    job.channel("train", "1,2,3\n1\n")
    job.run(ONE)
    assert job.exit_code == 1
    assert job.failure.startswith("UserError: Failed to load csv data with exception:\nEncountered parser error:\n"
                                  "Delimiter ',' is not found in the line.")


def test_crash_leaves_a_failure(job):
    job.channel("train", ROWS)
    command, env = job.command({"num_round": "100000"})
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("[3]"):
            break
    process.send_signal(signal.SIGSEGV)
    process.stdout.read()
    assert process.wait(timeout=20) == 1
    assert job.failure.startswith("AlgorithmError: the trainer crashed;")
