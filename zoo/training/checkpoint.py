"""The exact state of a training after an epoch: weights, optimizer and random seeds.

Keras's own weight files leave out the seeds that dropout draws from, so a run resumed from them
takes another course. Here every variable is kept, as plain arrays without pickle.
"""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np

from zoo.errors import RunError


def save(model: keras.Model, folder: Path, epochs: int) -> Path:
    """Writes `folder/epoch-NNNN.npz` whole or not at all, and returns it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"epoch-{epochs:04d}.npz"
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            # No fsync: a killed process loses nothing, and small models end many epochs a second.
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"The checkpoint {path} cannot be written: {error.strerror}.") from error
    return path


def restore(model: keras.Model, path: Path) -> None:
    """Puts a saved state into a compiled model of the same architecture.

    Raises:
        RunError: the file is missing, damaged, or of another model.
    """
    variables = _variables(model)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[f"v{i}"] for i in range(len(file.files))]
    except Exception as error:  # zipfile, numpy and the file system raise their own kinds
        raise RunError(f"The checkpoint {path} cannot be read: {error}.") from error
    if [tuple(v.shape) for v in variables] != [a.shape for a in arrays]:
        raise RunError(f"The checkpoint {path} is of another model than the run says.")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _variables(model: keras.Model) -> list:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
