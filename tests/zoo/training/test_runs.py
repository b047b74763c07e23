"""Run folders, histories and checkpoints: whole files, and clear words for damaged ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.errors import RunError
from zoo.training import checkpoint
from zoo.training.history import History
from zoo.training.runs import Run, latest_run

INFO = {
    "model": "dense",
    "arguments": {},
    "dataset": "mnist",
    "recipe": {"dataset": "mnist", "epochs": 2, "batch_size": 8},
    "seed": 0,
}


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    first, second = Run.create(tmp_path, INFO), Run.create(tmp_path, INFO)
    assert first.folder != second.folder
    assert first.folder.parent == second.folder.parent == tmp_path / "dense"
    assert Run.open(first.folder).recipe.epochs == 2


def test_folders_that_hold_no_readable_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run\.json"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text('{"model": "dense"}', encoding="utf-8")
    with pytest.raises(RunError, match="it lacks arguments"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text(
        json.dumps({**INFO, "recipe": {"colour": "red"}, "state": "complete", "epochs": 2}),
        encoding="utf-8",
    )
    with pytest.raises(RunError, match="no readable recipe"):
        _ = Run.open(tmp_path).recipe


def test_the_newest_complete_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="zoo train dense"):
        latest_run(tmp_path, "dense")
    older, newer, unfinished = (Run.create(tmp_path, INFO) for _ in range(3))
    for run, stamp in ((older, "20250101-000000"), (newer, "20260101-000000")):
        run.update(state="complete")
        run.folder.rename(run.folder.parent / stamp)
    assert not unfinished.complete
    assert latest_run(tmp_path, "dense").folder.name == "20260101-000000"


def test_a_file_in_the_way_of_the_run_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="--runs"):
        Run.create(tmp_path / "runs", INFO)


def test_an_incomplete_run_has_no_model(tmp_path: Path) -> None:
    run = Run.create(tmp_path, INFO)
    with pytest.raises(RunError, match="--resume"):
        run.load_model()
    with pytest.raises(RunError, match="complete"):
        run.metrics()


def test_a_damaged_model_file(tmp_path: Path) -> None:
    run = Run.create(tmp_path, INFO)
    run.update(state="complete")
    with pytest.raises(RunError, match="does not exist"):
        run.load_model()
    (run.folder / "model.keras").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(RunError, match="not a readable Keras model") as error:
        run.load_model()
    assert "\n" not in str(error.value)


def test_histories_survive_their_file_and_are_cut(tmp_path: Path) -> None:
    history = History()
    for epoch, loss in enumerate((0.5, 0.25, 1 / 3), 1):
        history.append(epoch, {"val_loss": loss, "accuracy": 0.1 * epoch})
    assert history.best_epoch == 2
    path = tmp_path / "history.csv"
    path.write_text(history.to_csv(), encoding="utf-8")
    assert History.read(path, 3).rows == history.rows
    assert History.read(path, 1).column("val_loss") == [0.5]
    with pytest.raises(RunError, match="4 epochs"):
        History.read(path, 4)
    with pytest.raises(RunError, match="cannot be read"):
        History.read(tmp_path / "nothing.csv", 1)


def compiled(units: int = 4) -> keras.Model:
    inputs = keras.Input((3,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(units)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def step(model: keras.Model) -> None:
    x = np.linspace(-1, 1, 24, dtype="float32").reshape(8, 3)
    model.fit(x, x[:, :1], epochs=1, batch_size=4, shuffle=False, verbose=0)


def test_a_checkpoint_holds_weights_optimizer_and_seeds(tmp_path: Path) -> None:
    model = compiled()
    step(model)
    path = checkpoint.save(model, tmp_path / "checkpoint", 1)
    assert os.listdir(path.parent) == ["epoch-0001.npz"]
    copy = compiled()
    checkpoint.restore(copy, path)
    step(model)
    step(copy)
    for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_checkpoints_that_cannot_be_restored(tmp_path: Path) -> None:
    model = compiled()
    path = checkpoint.save(model, tmp_path / "checkpoint", 1)
    with pytest.raises(RunError, match="another model"):
        checkpoint.restore(compiled(5), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.restore(model, path)
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.restore(model, tmp_path / "nothing.npz")
