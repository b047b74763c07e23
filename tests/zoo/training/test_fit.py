"""Training small models for real: what the run folder holds, and how training ends."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

import zoo
from zoo import datasets
from zoo.errors import InvalidOption, RunError, ShapeError, TrainingDiverged
from zoo.training import evaluation, resume, train
from zoo.training.runs import Run


def quick(name: str, runs: Path, **changes) -> Run:
    options = {key: changes.pop(key) for key in ("seed", "arguments") if key in changes}
    recipe = zoo.get(name).recipe.replace(**changes)
    return train(name, recipe=recipe, runs=runs, console=Console(file=StringIO()), **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick("softmax_regression", tmp_path_factory.mktemp("runs"), epochs=4, seed=5)


def test_the_run_folder_is_complete(run: Run) -> None:
    names = {path.name for path in run.folder.iterdir()} - {".lock"}
    assert names == {
        "run.json",
        "history.csv",
        "metrics.json",
        "model.keras",
        "best.weights.h5",
        "last.weights.h5",
        "curves.png",
        "confusion_matrix.png",
        "tensorboard",
    }
    info = json.loads((run.folder / "run.json").read_text())
    assert (info["state"], info["epochs"], info["seed"]) == ("complete", 4, 5)
    assert info["recipe"]["optimizer"] == "sgd"
    assert info["versions"]["keras"] == keras.__version__
    assert list((run.folder / "tensorboard").rglob("events.out.tfevents.*"))


def test_history_has_a_row_an_epoch(run: Run) -> None:
    rows = list(csv.DictReader((run.folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["val_accuracy"]) > float(rows[0]["val_accuracy"])


def test_pictures_are_pictures(run: Run) -> None:
    for name in ("curves.png", "confusion_matrix.png"):
        assert min(imread(run.folder / name).shape[:2]) > 300


def test_the_model_file_gives_the_test_metrics(run: Run) -> None:
    data = datasets.load("digits")
    model = run.load_model()
    outputs = model.predict(data.test.x, verbose=0)
    accuracy = float(np.mean(outputs.argmax(axis=1) == data.test.y))
    assert run.metrics()["test"]["accuracy"] == pytest.approx(accuracy)
    assert run.metrics()["parameters"] == model.count_params()
    assert accuracy > 0.6


def test_last_weights_are_the_models(run: Run) -> None:
    model = zoo.build("softmax_regression")
    model.load_weights(run.folder / "last.weights.h5")
    for ours, theirs in zip(model.get_weights(), run.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_same_seed_trains_the_same_weights(run: Run, tmp_path: Path) -> None:
    again = quick("softmax_regression", tmp_path, epochs=4, seed=5)
    other = quick("softmax_regression", tmp_path, epochs=4, seed=6)
    ours, same, different = (r.load_model().get_weights()[0] for r in (run, again, other))
    np.testing.assert_array_equal(ours, same)
    assert not np.array_equal(ours, different)


def test_regression_has_its_own_metrics(tmp_path: Path) -> None:
    done = quick("mlp_regressor", tmp_path, epochs=20)
    assert set(done.metrics()["test"]) == {"r2", "mse", "mae"}
    assert not (done.folder / "confusion_matrix.png").exists()
    assert (done.folder / "curves.png").exists()


def test_a_loss_that_is_not_finite_stops_with_epoch_and_rate(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged) as error:
        quick("mlp_regressor", tmp_path, optimizer="sgd", learning_rate=50.0, schedule="constant")
    assert "in epoch 1 at learning rate 50" in str(error.value)
    (folder,) = (tmp_path / "mlp_regressor").iterdir()
    assert Run.open(folder).info["state"] == "diverged"
    with pytest.raises(RunError, match="smaller --learning-rate"):
        resume(folder)


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    done = quick(
        "mlp_regressor", tmp_path, epochs=400, learning_rate=0.1, early_stopping=5, batch_size=64
    )
    rows = list(csv.DictReader((done.folder / "history.csv").open()))
    losses = [float(row["val_loss"]) for row in rows]
    best = int(np.argmin(losses)) + 1
    assert len(rows) == best + 5 < 400
    assert done.metrics()["epoch"] == done.metrics()["best_epoch"] == best
    model = zoo.build("mlp_regressor")
    model.load_weights(done.folder / "best.weights.h5")
    for ours, theirs in zip(model.get_weights(), done.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_complete_run_is_not_resumed(run: Run) -> None:
    with pytest.raises(RunError, match="nothing to resume"):
        resume(run.folder)


def test_two_processes_do_not_train_into_one_folder(run: Run, tmp_path: Path) -> None:
    copy = Run.create(tmp_path, {**run.info})
    with filelock.FileLock(copy.folder / ".lock"), pytest.raises(RunError, match="another process"):
        resume(copy.folder)


@pytest.mark.parametrize(
    ("name", "changes", "error", "words"),
    [
        ("softmax_regression", {"batch_size": 5000}, InvalidOption, "larger than the 1295"),
        ("softmax_regression", {"dataset": "diabetes"}, ShapeError, "diabetes"),
        ("softmax_regression", {"dataset": "japanese_vowels"}, ShapeError, "features"),
        ("cnn", {"dataset": "digits"}, ShapeError, "height, width, channels"),
        ("lstm", {"dataset": "japanese_vowels"}, ShapeError, "classification task of width 9"),
        ("simple_rnn", {"dataset": "italy_power_demand"}, ShapeError, "binary"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    name: str, changes: dict, error: type, words: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as raised:
        quick(name, tmp_path, **changes)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_metrics_of_known_predictions() -> None:
    task = datasets.Task("classification", ("a", "b", "c"))
    outputs = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]], "f4")
    found = evaluation.metrics(task, np.array([0, 1, 1, 2]), outputs)
    assert found["accuracy"] == 0.75
    assert found["loss"] == pytest.approx(-np.log([0.8, 0.7, 0.3, 0.8]).mean(), rel=1e-5)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    binary = evaluation.metrics(
        datasets.Task("binary", ("no", "yes")),
        np.array([[0.0], [1.0], [1.0], [0.0]], "f4"),
        np.array([[0.2], [0.9], [0.4], [0.1]], "f4"),
    )
    assert binary["accuracy"] == 0.75
    values = evaluation.metrics(
        datasets.Task("regression"), np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])
    )
    assert values == {"r2": 0.5, "mse": 0.5, "mae": 0.5}
