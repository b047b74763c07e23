"""Recipes train on the JAX backend too, and what they leave loads in TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo import datasets
from zoo.training.runs import Run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", ["softmax_regression", "gru"])
def test_trained_on_jax_loaded_in_tensorflow(model: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zoo.cli", "train", model, "--epochs", "3", "--json"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    run = Run.open(tmp_path / json.loads(done.stdout)["run"])
    assert run.info["versions"]["backend"] == "jax"
    test = datasets.load(run.info["dataset"]).test
    outputs = run.load_model().predict(test.x, verbose=0)
    accuracy = float(np.mean(outputs.argmax(axis=1) == test.y))
    assert run.metrics()["test"]["accuracy"] == pytest.approx(accuracy, abs=0.005)
    assert accuracy > 1.5 / outputs.shape[1]
