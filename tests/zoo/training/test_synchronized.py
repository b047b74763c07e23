"""Batch normalisation over replicas: the mirrored strategy trains what one device trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The CPU is split once a process, so both trainings run in one of their own.
SCRIPT = """
import sys
from pathlib import Path
import keras, numpy as np
from zoo import datasets, registry
from zoo.training import train
from tests.zoo.training import tiny

datasets.load = lambda name: tiny.images(count=64)
recipe = registry.get("resnet").recipe.replace(
    epochs=1, batch_size=32, warmup_epochs=0, steps_per_execution=1, learning_rate=1e-4
)
def weights(**options):
    run = train("resnet", recipe=recipe, arguments={"depth": 8}, runs=sys.argv[1], **options)
    return run.info["arguments"], run.load_model().get_weights()

mirrored, ours = weights(strategy="mirrored", replicas=2)
plain, theirs = weights()
assert mirrored["synchronized"] and "synchronized" not in plain, (mirrored, plain)
print(max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)))
"""


@pytest.mark.slow
def test_mirrored_resnet_equals_plain_training(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "not synchronized" not in done.stderr
    assert float(done.stdout.split()[-1]) < 1e-5
