"""Small tables that come with scikit-learn, so that nothing has to be fetched."""

from __future__ import annotations

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.preprocessing import Standardization
from zoo.datasets.splits import TEST, VALIDATION, hold_out


def load_digits(info: DatasetInfo, cache: Cache) -> Dataset:
    """Optical recognition of handwritten digits: 8 × 8 counts from 0 to 16, float32 `(n, 64)`."""
    from sklearn.datasets import load_digits

    table = load_digits()
    names = tuple(str(name) for name in table.target_names)
    task = Task("classification", names)
    return tabular_dataset(info, task, table.data, table.target.astype(np.int32))


def load_breast_cancer(info: DatasetInfo, cache: Cache) -> Dataset:
    """Breast cancer Wisconsin (diagnostic): 30 measurements of cell nuclei, float32 `(n, 30)`."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    task = Task("binary", tuple(str(name) for name in table.target_names))
    y = table.target.astype(np.float32)[:, np.newaxis]
    return tabular_dataset(info, task, table.data, y)


def load_diabetes(info: DatasetInfo, cache: Cache) -> Dataset:
    """Disease progression after a year from 10 measurements, float32 `(n, 10)`.

    Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", 2004.
    """
    from sklearn.datasets import load_diabetes

    table = load_diabetes(scaled=False)
    y = table.target.astype(np.float32)[:, np.newaxis]
    return tabular_dataset(info, Task("regression"), table.data, y)


def tabular_dataset(info: DatasetInfo, task: Task, features: np.ndarray, y: np.ndarray) -> Dataset:
    """Features `(n, f)` without an official test split, standardised by the train part."""
    features = features.astype(np.float32)
    strata = np.zeros(len(y)) if task.kind == "regression" else y.ravel()
    rest, test = hold_out(strata, TEST)
    kept, held = hold_out(strata[rest], VALIDATION)
    parts = {"train": rest[kept], "validation": rest[held], "test": test}
    preprocessing = Standardization.fit(features[parts["train"]])
    sizes = {
        "classification": {"num_classes": len(task.class_names)},
        "binary": {},
        "regression": {"num_outputs": y.shape[-1]},
    }
    return Dataset(
        name=info.name,
        task=task,
        **{
            name: Split(preprocessing.from_features(features[part]), y[part])
            for name, part in parts.items()
        },
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={"input_shape": features.shape[1:], **sizes[task.kind]},
        originals={name: features[part] for name, part in parts.items()},
    )
