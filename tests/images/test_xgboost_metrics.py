"""The metrics that quern-xgboost computes itself, against scikit-learn on the same predictions."""
import numpy
import pytest
from image_job import csv

xgboost = pytest.importorskip("xgboost")
metrics = pytest.importorskip("sklearn.metrics")

CLASS = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": lambda y, p: metrics.f1_score(y, p, average="macro"),
    "f1_macro": lambda y, p: metrics.f1_score(y, p, average="macro"),
    "precision_macro": lambda y, p: metrics.precision_score(y, p, average="macro", zero_division=0),
    "precision_micro": lambda y, p: metrics.precision_score(y, p, average="micro"),
    "recall_macro": lambda y, p: metrics.recall_score(y, p, average="macro"),
    "recall_micro": lambda y, p: metrics.recall_score(y, p, average="micro"),
}
BINARY = {
    **CLASS,
    "f1_binary": metrics.f1_score,
    "precision": lambda y, p: metrics.precision_score(y, p, zero_division=0),
    "recall": metrics.recall_score,
}
REGRESSION = {"mse": metrics.mean_squared_error, "r2": metrics.r2_score}


def check(job, rows, hyperparameters, table, native, to_class):
    train, validation = rows[:500], rows[500:900]
    job.channel("train", csv(train))
    job.channel("validation", csv(validation))
    h = dict(hyperparameters, num_round="4", max_depth="3")
    job.run(dict(h, eval_metric=",".join([*native, *table])))
    assert job.exit_code == 0, job.log
    booster = xgboost.Booster()
    booster.load_model(str(job.model))
    last = job.rounds()[-1]
    expected_names = [f"{d}-{m}" for d in ("train", "validation") for m in [*native, *table]]
    assert list(last) == expected_names
    for data, part in (("train", train), ("validation", validation)):
        a = numpy.array(part, dtype=numpy.float32)
        p = to_class(booster, xgboost.DMatrix(a[:, 1:]))
        for name, f in table.items():
            assert float(last[f"{data}-{name}"]) == pytest.approx(f(a[:, 0], p), abs=1.01e-5), name


def test_binary(job, abalone):
    rows = [[float(r[0] > 9), *r[1:]] for r in abalone]
    check(job, rows, {"objective": "binary:logistic"}, BINARY, ["logloss"],
          lambda b, d: (b.predict(d, output_margin=True) > 0).astype(int))


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_multiclass(job, abalone, objective):
    rows = [[float(min(r[0] // 4, 5)), *r[1:]] for r in abalone]
    check(job, rows, {"objective": objective, "num_class": "6"}, CLASS, ["merror"],
          lambda b, d: b.predict(d, output_margin=True).argmax(axis=1))


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson"])
def test_regression(job, abalone, objective):
    check(job, abalone, {"objective": objective}, REGRESSION, ["mae", "rmse"], lambda b, d: b.predict(d))


def test_our_metrics_alone_leave_the_default_one(job, abalone):
    job.channel("train", csv(abalone[:100]))
    job.run({"num_round": "1", "eval_metric": "mse"})
    assert list(job.rounds()[0]) == ["train-rmse", "train-mse"]


@pytest.mark.parametrize("metric", ["f1_binary", "precision", "recall"])
def test_binary_metric_of_many_classes(job, abalone, metric):
    job.channel("train", csv([[float(i % 3), *r[1:]] for i, r in enumerate(abalone[:90])]))
    job.run({"num_round": "1", "objective": "multi:softmax", "num_class": "3", "eval_metric": metric})
    assert job.failure == ("UserError: Target is multiclass but average='binary'. Please choose another average "
                           "setting, one of [None, 'micro', 'macro', 'weighted'].\n")


def test_class_metric_of_continuous_labels(job, abalone):
    job.channel("train", csv([[r[0] + 0.5, *r[1:]] for r in abalone[:90]]))
    job.run({"num_round": "1", "eval_metric": "accuracy"})
    assert "Classification metrics can't handle a mix of continuous and binary targets" in job.failure


def test_early_stopping_on_our_metric(job, abalone):
    rows = [[float(r[0] > 9), *r[1:]] for r in abalone]
    job.channel("train", csv(rows[:300]))
    job.channel("validation", csv(rows[300:900]))
    job.run({"num_round": "100", "objective": "binary:logistic", "eval_metric": "f1", "early_stopping_rounds": "3"})
    values = [float(r["validation-f1"]) for r in job.rounds()]
    assert len(values) < 100 and max(values) == values[-4]
