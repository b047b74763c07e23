"""Small tables that come with scikit-learn, so that nothing has to be fetched."""

from __future__ import annotations

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.preprocessing import Standardization
from zoo.datasets.splits import TEST, VALIDATION, hold_out

Table = tuple[np.ndarray, np.ndarray]
"""Features `(n, f)` and targets."""


def load_digits(info: DatasetInfo, cache: Cache) -> Dataset:
    """Optical recognition of handwritten digits: 8 × 8 counts from 0 to 16, float32 `(n, 64)`."""
    from sklearn.datasets import load_digits

    table = load_digits()
    names = tuple(str(name) for name in table.target_names)
    task = Task("classification", names)
    return _divide(info, task, table.data, table.target.astype(np.int32))


def load_breast_cancer(info: DatasetInfo, cache: Cache) -> Dataset:
    """Breast cancer Wisconsin (diagnostic): 30 measurements of cell nuclei, float32 `(n, 30)`."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    task = Task("binary", tuple(str(name) for name in table.target_names))
    y = table.target.astype(np.float32)[:, np.newaxis]
    return _divide(info, task, table.data, y)


def load_diabetes(info: DatasetInfo, cache: Cache) -> Dataset:
    """Disease progression after a year from 10 measurements, float32 `(n, 10)`.

    Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", 2004.
    """
    from sklearn.datasets import load_diabetes

    table = load_diabetes(scaled=False)
    y = table.target.astype(np.float32)[:, np.newaxis]
    return _divide(info, Task("regression"), table.data, y)


def _divide(info: DatasetInfo, task: Task, features: np.ndarray, y: np.ndarray) -> Dataset:
    """A table without an official test split: a fifth of it, by the fixed rule."""
    kept, held = hold_out(_strata(task, y), TEST)
    return tabular_dataset(info, task, (features[kept], y[kept]), (features[held], y[held]))


def tabular_dataset(info: DatasetInfo, task: Task, train: Table, test: Table) -> Dataset:
    """Features, standardised by the train part, and targets in the form that `task` asks for."""
    (features, y), (test_features, test_y) = train, test
    kept, held = hold_out(_strata(task, y), VALIDATION)
    parts = {
        "train": (features[kept].astype(np.float32), y[kept]),
        "validation": (features[held].astype(np.float32), y[held]),
        "test": (test_features.astype(np.float32), test_y),
    }
    preprocessing = Standardization.fit(parts["train"][0])
    sizes = {
        "classification": {"num_classes": len(task.class_names)},
        "binary": {},
        "regression": {"num_outputs": y.shape[-1]},
    }
    return Dataset(
        name=info.name,
        task=task,
        **{
            name: Split(preprocessing.from_features(rows), targets)
            for name, (rows, targets) in parts.items()
        },
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={"input_shape": features.shape[1:], **sizes[task.kind]},
        originals={name: rows for name, (rows, _) in parts.items()},
    )


def _strata(task: Task, y: np.ndarray) -> np.ndarray:
    """The classes to draw evenly from; a single one if the targets are values."""
    return np.zeros(len(y)) if task.kind == "regression" else y.ravel()
