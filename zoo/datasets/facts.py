"""What a loaded data set holds, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.datasets.base import SPLITS, Dataset


def facts(data: Dataset) -> dict[str, Any]:
    """Splits, classes, shapes, types, licence and source, as JSON values.

    `classes` counts the examples of each class by split; a regression has `targets` instead:
    mean, standard deviation, least and largest value of each output in training.
    """
    found: dict[str, Any] = {
        "name": data.name,
        "task": data.task.kind,
        "licence": data.licence,
        "source": data.source,
        "splits": {name: _split(data, name) for name in SPLITS},
        "preprocessing": None if data.preprocessing is None else data.preprocessing.to_json(),
    }
    if data.task.languages:
        found["languages"] = list(data.task.languages)
    if data.task.predicts_classes:
        counts = {name: _counts(data, name) for name in SPLITS}
        found["classes"] = {
            label: {name: int(counts[name][index]) for name in SPLITS}
            for index, label in enumerate(data.task.class_names)
        }
    if data.task.kind == "regression":
        y = data.train.y.astype("float64")
        found["targets"] = [
            {
                "mean": float(column.mean()),
                "std": float(column.std()),
                "least": float(column.min()),
                "largest": float(column.max()),
            }
            for column in y.T
        ]
    return found


def _split(data: Dataset, name: str) -> dict[str, Any]:
    split = data.split(name)
    return {
        "examples": len(split),
        "inputs": {key or "x": _form(array) for key, array in split.arrays().items()},
        "targets": _form(split.y),
    }


def _form(array: np.ndarray) -> dict[str, Any]:
    """Type, and shape of one example."""
    return {"dtype": array.dtype.name, "shape": list(array.shape[1:])}


def _counts(data: Dataset, name: str) -> np.ndarray:
    y = data.split(name).y
    return np.bincount(y.reshape(len(y)).astype("int64"), minlength=len(data.task.class_names))
