"""quern-xgboost against the Python xgboost package on the same data: metrics, models, stopping, resuming."""
import os
import pickle
import re
import signal

import numpy
import pytest
from image_job import csv, libsvm

xgboost = pytest.importorskip("xgboost")

ABALONE = {"objective": "reg:squarederror", "max_depth": "5", "eta": "0.2", "gamma": "4", "min_child_weight": "6",
           "subsample": "1", "num_round": "50"}


def split(rows):
    rows = rows[:3200]
    return rows[:2600], rows[2600:]


def matrix(rows):
    a = numpy.array(rows, dtype=numpy.float32)
    return xgboost.DMatrix(a[:, 1:], label=a[:, 0])


def text_matrix(tmp_path, rows):
    """As the library's text loader reads it: its numbers can differ from Python's in the last bit."""
    path = tmp_path / "rows.csv"
    path.write_text(csv(rows))
    return xgboost.DMatrix(f"{path}?format=csv&label_column=0")


def params(hyperparameters):
    out = dict(hyperparameters)
    out.pop("num_round")
    return out


def reference(hyperparameters, train, validation, **more):
    """Metric lines of the Python package, as the AWS image prints them."""
    result = {}
    booster = xgboost.train(params(hyperparameters), train, int(hyperparameters["num_round"]),
                            evals=[(train, "train"), (validation, "validation")], evals_result=result,
                            verbose_eval=False, **more)
    rounds = []
    for i in range(len(next(iter(result["train"].values())))):
        rounds.append({f"{data}-{m}": f"{v[i]:.5f}" for data, ms in result.items() for m, v in ms.items()})
    return booster, rounds


def load(path):
    booster = xgboost.Booster()
    booster.load_model(str(path))
    return booster


def put(job, train, validation, form=csv, content_type="text/csv"):
    job.channel("train", form(train), content_type)
    if validation is not None:
        job.channel("validation", form(validation), content_type)


@pytest.mark.parametrize("encode", [str, lambda v: f'"{v}"'], ids=["bare", "json"])
def test_abalone_is_the_same_to_five_decimals(job, abalone, encode):
    train, validation = split(abalone)
    put(job, train, validation)
    job.run({k: encode(v) for k, v in ABALONE.items()})
    assert job.exit_code == 0, job.log
    booster, rounds = reference(ABALONE, matrix(train), matrix(validation))
    assert job.rounds() == rounds
    assert len(rounds) == 50
    ours = load(job.model).predict(matrix(validation))
    assert numpy.array_equal(ours, booster.predict(matrix(validation)))
    assert job.model.read_bytes()[:4] == b"binf"
    assert (job.base / "output/success").read_bytes() == b""
    assert job.failure is None


def test_log_lines(job, abalone):
    train, validation = split(abalone)
    put(job, train, validation)
    job.run({"num_round": "2"})
    lines = job.log.splitlines()
    assert any(re.fullmatch(r"\[\d{4}-\d\d-\d\d:\d\d:\d\d:\d\d:INFO\] Train matrix has 2600 rows and 10 columns", s)
               for s in lines)
    assert any(s.endswith("Validation matrix has 600 rows") for s in lines)
    assert any(s.endswith("Determined delimiter of CSV input is ','") for s in lines)
    metric = [s for s in lines if re.fullmatch(r"\[1\]\ttrain-rmse:\d+\.\d{5}\tvalidation-rmse:\d+\.\d{5}", s)]
    assert len(metric) == 1
    # The regex that tuning jobs use for the algorithm, after the log agent's escape of tabs.
    assert re.match(r".*\[[0-9]+\].*#011validation-rmse:(\S+)", metric[0].replace("\t", "#011"))


def test_libsvm_is_the_default(job, abalone):
    train, validation = split(abalone)
    put(job, train, validation, libsvm, None)
    job.run(ABALONE)
    assert job.exit_code == 0, job.log
    paths = [job.base / "input/data" / c / "part-0" for c in ("train", "validation")]
    _, rounds = reference(ABALONE, *(xgboost.DMatrix(f"{p}?format=libsvm") for p in paths))
    assert job.rounds() == rounds


def test_several_files_and_folders_in_name_order(job, abalone, tmp_path):
    train, validation = split(abalone)
    folder = job.channel("train", csv(train[:1000]).rstrip("\n"), file="a?x#1;b.csv")
    (folder / "b").mkdir()
    (folder / "b" / "c.csv").write_text(csv(train[1000:]))
    (folder / "_SUCCESS").write_text("")
    job.channel("validation", csv(validation))
    job.run(dict(ABALONE, subsample="0.7"))
    assert job.exit_code == 0, job.log
    _, rounds = reference(dict(ABALONE, subsample="0.7"), text_matrix(tmp_path, train),
                          text_matrix(tmp_path, validation))
    assert job.rounds() == rounds


def test_many_files(job, abalone):
    train, _ = split(abalone)
    for i in range(100):
        job.channel("train", csv(train[i * 26:(i + 1) * 26]), file=f"part-{i:05}")
    job.run(dict(ABALONE, num_round="5"))
    assert job.exit_code == 0, job.log
    _, rounds = reference(dict(ABALONE, num_round="5"), matrix(train), matrix(train))
    assert job.rounds() == [{"train-rmse": r["train-rmse"]} for r in rounds]


def test_csv_weights(job, abalone):
    train, validation = split(abalone)
    weights = [1 + i % 3 for i in range(len(train))]
    job.channel("train", csv([r[0], w, *r[1:]] for r, w in zip(train, weights)))
    job.channel("validation", csv([r[0], 1, *r[1:]] for r in validation))
    job.run(dict(ABALONE, csv_weights="1"))
    assert job.exit_code == 0, job.log
    weighted = matrix(train)
    weighted.set_weight(weights)
    _, rounds = reference(ABALONE, weighted, matrix(validation))
    assert job.rounds() == rounds


def test_missing_values_and_other_delimiters(job, abalone):
    train, _ = split(abalone)
    text = "\n".join(";".join("" if i == 3 else repr(v) for i, v in enumerate(r)) for r in train)
    job.channel("train", text, "csv")
    job.run(dict(ABALONE, num_round="3"))
    holes = numpy.array(train, dtype=numpy.float32)
    holes[:, 3] = numpy.nan
    _, rounds = reference(dict(ABALONE, num_round="3"), matrix(holes), matrix(holes))
    assert job.rounds() == [{"train-rmse": r["train-rmse"]} for r in rounds]


def test_two_eval_metrics_and_aliases(job, abalone):
    train, validation = split(abalone)
    put(job, train, validation)
    job.run({"objective": "reg:squarederror", "learning_rate": "0.1", "reg_lambda": "2", "reg_alpha": "1",
             "min_split_loss": "0.5", "eval_metric": "mae,rmse", "num_round": "8", "tree_method": "hist"})
    assert job.exit_code == 0, job.log
    _, rounds = reference({"objective": "reg:squarederror", "eta": 0.1, "lambda": 2, "alpha": 1, "gamma": 0.5,
                           "eval_metric": ["mae", "rmse"], "num_round": 8, "tree_method": "hist"},
                          matrix(train), matrix(validation))
    assert job.rounds() == rounds


def test_constraints(job, abalone):
    train, validation = split(abalone)
    put(job, train, validation)
    job.run(dict(ABALONE, tree_method="exact", monotone_constraints="(1,0,0,-1,0,0,0,0,0,0)",
                 interaction_constraints="[[1, 2, 3], [4, 5]]", num_round="6"))
    assert job.exit_code == 0, job.log
    _, rounds = reference(dict(ABALONE, tree_method="exact", monotone_constraints="(1,0,0,-1,0,0,0,0,0,0)",
                               interaction_constraints="[[1, 2, 3], [4, 5]]", num_round=6),
                          matrix(train), matrix(validation))
    assert job.rounds() == rounds


@pytest.mark.parametrize("form", ["json", "ubj", "pickle"])
def test_other_model_formats(job, abalone, form):
    train, validation = split(abalone)
    put(job, train, validation)
    job.env["QUERN_XGBOOST_MODEL_FORMAT"] = form
    job.run(ABALONE)
    assert job.exit_code == 0, job.log
    if form == "pickle":
        with open(job.model, "rb") as f:
            booster = pickle.load(f)
        assert booster.best_iteration == 49
    else:
        copy = job.model.with_suffix("." + form)
        copy.write_bytes(job.model.read_bytes())
        booster = load(copy)
    expected, _ = reference(ABALONE, matrix(train), matrix(validation))
    assert numpy.array_equal(booster.predict(matrix(validation)), expected.predict(matrix(validation)))


def test_early_stopping_keeps_the_best_model(job, abalone):
    train, validation = split(abalone)
    train = train[:300]
    put(job, train, validation)
    h = dict(ABALONE, gamma="0", min_child_weight="1", eta="0.5", num_round="200", eval_metric="rmse,mae")
    job.run(dict(h, early_stopping_rounds="4"))
    assert job.exit_code == 0, job.log
    expected, rounds = reference(
        dict(h, eval_metric=["rmse", "mae"]), matrix(train), matrix(validation),
        callbacks=[xgboost.callback.EarlyStopping(4, metric_name="mae", data_name="validation", save_best=True)])
    assert job.rounds() == rounds
    assert len(rounds) < 200
    ours = load(job.model)
    assert ours.num_boosted_rounds() == expected.num_boosted_rounds() == len(rounds) - 4
    assert ours.attr("best_iteration") == str(len(rounds) - 5)
    assert numpy.array_equal(ours.predict(matrix(validation)), expected.predict(matrix(validation)))


def test_early_stopping_of_a_metric_that_grows(job, abalone):
    train, validation = split([[float(r[0] > 9), *r[1:]] for r in abalone])
    put(job, train[:300], validation)
    job.run({"objective": "binary:logistic", "num_round": "100", "eval_metric": "error,auc", "eta": "0.5",
             "early_stopping_rounds": "3"})
    assert job.exit_code == 0, job.log
    values = [float(r["validation-auc"]) for r in job.rounds()]
    assert len(values) < 100 and max(values) == values[-4]


def test_early_stopping_needs_validation_and_metric(job, abalone):
    train, _ = split(abalone)
    put(job, train, None)
    job.run(dict(ABALONE, early_stopping_rounds="1", eval_metric="rmse", num_round="30"))
    assert len(job.rounds()) == 30
    assert "early_stopping_rounds has no effect without a validation channel" in job.log


def test_tuning_objective_is_reported_and_sorted_in(job, abalone):
    train, validation = split(abalone)
    put(job, train, validation)
    job.run(dict(ABALONE, eval_metric="rmse", _tuning_objective_metric="validation:mae", num_round="2"))
    assert [*job.rounds()[0]] == ["train-mae", "train-rmse", "validation-mae", "validation-rmse"]


def test_checkpoints_and_resume(job, abalone, tmp_path):
    train, validation = split(abalone)
    put(job, train, validation)
    folder = tmp_path / "checkpoints"
    job.config("checkpointconfig.json", {"LocalPath": str(folder)})
    job.run(dict(ABALONE, num_round="12"))
    assert job.exit_code == 0, job.log
    first = job.rounds()
    assert sorted(os.listdir(folder)) == sorted(f"xgboost-checkpoint.{n}" for n in range(7, 12))
    # A damaged newest checkpoint is passed over.
    (folder / "xgboost-checkpoint.12").write_bytes(b"binfgarbage")
    (folder / "xgboost-checkpoint.x").write_text("")
    job.run(ABALONE)
    assert job.exit_code == 0, job.log
    assert "Resuming from iteration 12" in job.log
    assert "\n[12]\t" in job.log and "\n[11]\t" not in job.log
    expected, rounds = reference(ABALONE, matrix(train), matrix(validation))
    assert first + job.rounds() == rounds
    assert numpy.allclose(load(job.model).predict(matrix(validation)), expected.predict(matrix(validation)), atol=1e-5)
    kept = set(os.listdir(folder))
    assert {f"xgboost-checkpoint.{n}" for n in (7, 8, 9, 10, 11, 45, 46, 47, 48, 49)} <= kept
    assert "xgboost-checkpoint.44" not in kept


def wait_for_round(process, n):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(f"[{n}]"):
            return lines
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("keep", ["true", "false"])
def test_sigterm(job, abalone, keep):
    train, validation = split(abalone)
    put(job, train, validation)
    (job.base / "model" / "leftover").write_text("x")
    process = job.start(dict(ABALONE, num_round="100000", save_model_on_termination=keep))
    wait_for_round(process, 20)
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    code = process.wait(timeout=60)
    if keep == "false":
        assert code == 143 and not job.model.exists()
        return
    assert code == 0, rest
    assert load(job.model).num_boosted_rounds() >= 21
    assert os.listdir(job.base / "model") == ["xgboost-model"]
    assert not (job.base / "output/success").exists()


def test_binary_and_multiclass(job, abalone):
    rows = [[float(min(r[0] // 5, 3)), *r[1:]] for r in abalone]
    train, validation = split(rows)
    put(job, train, validation)
    h = {"objective": "multi:softprob", "num_class": "4", "num_round": "5"}
    job.run(dict(h, eval_metric="merror,mlogloss"))
    assert job.exit_code == 0, job.log
    _, rounds = reference(dict(h, eval_metric=["merror", "mlogloss"]), matrix(train), matrix(validation))
    assert job.rounds() == rounds


def test_linear(job, abalone, tmp_path):
    train, validation = split(abalone)
    put(job, train, validation)
    job.run({"booster": "gblinear", "updater": "coord_descent", "num_round": "5", "lambda_bias": "0"})
    assert job.exit_code == 0, job.log
    _, rounds = reference({"booster": "gblinear", "updater": "coord_descent", "num_round": 5},
                          text_matrix(tmp_path, train), text_matrix(tmp_path, validation))
    assert job.rounds() == rounds


def test_kfold(job, abalone):
    rows = [[float(r[0] > 9), *r[1:]] for r in abalone[:900]]
    put(job, rows[:600], rows[600:])
    job.run({"objective": "binary:logistic", "num_round": "10", "_kfold": "3", "_num_cv_round": "2",
             "eval_metric": "logloss,accuracy"})
    assert job.exit_code == 0, job.log
    assert sorted(os.listdir(job.base / "model")) == [f"xgboost-model-{i}" for i in range(6)]
    out = numpy.loadtxt(job.base / "output/data/predictions.csv", delimiter=",")
    assert out.shape == (900, 3)
    assert numpy.array_equal(out[:, 0], [r[0] for r in rows])
    assert (out[:, 0] == out[:, 2]).mean() > 0.7
    assert ((0 <= out[:, 1]) & (out[:, 1] <= 1)).all()
    summary = [s for s in job.log.splitlines() if s.startswith("[10]\t")]
    assert len(summary) == 3
    assert re.fullmatch(r"\[10\]\ttrain-logloss:\S+\tvalidation-logloss:\S+\ttrain-accuracy:\S+"
                        r"\tvalidation-accuracy:\S+", summary[0])


def test_kfold_regression_repeats_itself(job, abalone):
    put(job, abalone[:500], None)
    outs = []
    for _ in range(2):
        job.run({"num_round": "5", "_kfold": "4", "seed": "7"})
        assert job.exit_code == 0, job.log
        outs.append((job.base / "output/data/predictions.csv").read_text())
    assert outs[0] == outs[1] and len(outs[0].splitlines()) == 500
