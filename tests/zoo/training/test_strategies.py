"""Strategies train the weights that one device trains, or say why they cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.errors import InvalidOption
from zoo.training import strategies
from zoo.training.runs import Run

TRAIN = [sys.executable, "-m", "zoo.cli", "train"]


def weights(runs: Path, *options: str) -> list[np.ndarray]:
    """Weights of `zoo train` in a process of its own: the CPU is split once a process."""
    runs.mkdir()
    done = subprocess.run(
        [*TRAIN, *options, "--runs", str(runs)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = runs.glob("*/*/run.json")
    return Run.open(path.parent).load_model().get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["softmax_regression", "lstm"])
def test_mirrored_and_one_equal_plain_training(model: str, tmp_path: Path) -> None:
    options = [model, "--epochs", "3", "--steps-per-execution", "1", "--no-jit"]
    plain = weights(tmp_path / "plain", *options)
    mirrored = weights(
        tmp_path / "mirrored", model, "--epochs", "3", "--strategy", "mirrored", "--replicas", "2"
    )
    one = weights(tmp_path / "one", *options, "--strategy", "one")
    for a, b, c in zip(plain, mirrored, one, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(a, c)


@pytest.mark.slow
def test_mirrored_resumes_and_warns_of_dropout(tmp_path: Path) -> None:
    command = [*TRAIN, "gru", "--epochs", "2", "--strategy", "mirrored", "--replicas", "2"]
    done = subprocess.run([*command, "--runs", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Dropout draws its own numbers on each replica" in done.stderr
    (folder,) = (tmp_path / "gru").iterdir()
    info = json.loads((folder / "run.json").read_text())
    assert info["recipe"]["steps_per_execution"] == 1
    assert info["recipe"]["jit_compile"] is False


def test_mirrored_adapts_recipes_and_refuses_wishes() -> None:
    mirrored = tf.distribute.MirroredStrategy(["/CPU:0"])
    recipe = zoo.get("lstm").recipe
    adapted = strategies.adapt(recipe, mirrored)
    assert (adapted.steps_per_execution, adapted.jit_compile) == (1, False)
    with pytest.raises(InvalidOption, match="steps_per_execution 1"):
        strategies.adapt(recipe, mirrored, ["steps_per_execution"])
    with pytest.raises(InvalidOption, match="jit_compile"):
        strategies.adapt(recipe, mirrored, ["jit_compile"])
    assert strategies.adapt(recipe, None) is recipe


def test_a_batch_that_does_not_divide_is_refused() -> None:
    done = subprocess.run(
        [*TRAIN, "cnn", "--batch-size", "65", "--strategy", "mirrored", "--replicas", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "Error: The batch size 65 does not divide by the 2 replicas of the mirrored strategy: "
        "choose a multiple."
    )


@pytest.mark.parametrize(
    ("kind", "replicas", "words"),
    [
        ("mirrord", None, "choose from auto, one, mirrored"),
        ("one", 2, "--strategy mirrored"),
        ("mirrored", 0, "at least 1"),
    ],
)
def test_strategies_that_do_not_exist(kind: str, replicas: int | None, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        strategies.make_strategy(kind, replicas)


def test_auto_on_one_device_is_plain_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if len(tf.config.list_physical_devices("GPU")) < 2:
        assert strategies.make_strategy("auto") is None
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(InvalidOption, match="TF_CONFIG names several workers"):
        strategies.make_strategy("auto")
