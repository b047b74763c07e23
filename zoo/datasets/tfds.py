"""Any data set of TensorFlow Datasets that is an image, a text or a row of numbers each.

Needs the extra `tfds` and the open internet. Prepared data stays where TensorFlow Datasets keeps
it (~/tensorflow_datasets, or TFDS_DATA_DIR).
"""

from __future__ import annotations

import contextlib
import importlib.util
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Task
from zoo.datasets.cache import Cache
from zoo.datasets.catalog import TFDS
from zoo.datasets.images import image_dataset
from zoo.datasets.online import (
    EMBEDDED_IMAGES,
    EMBEDDED_TEXT,
    REVIEW_LENGTH,
    SILENCE_SECONDS,
    network,
)
from zoo.datasets.splits import TEST, VALIDATION, hold_out
from zoo.datasets.tabular import tabular_dataset
from zoo.datasets.text import text_dataset
from zoo.errors import DataError, MissingExtra, UnknownName

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

Arrays = tuple[np.ndarray, np.ndarray]


def load_tfds(info: DatasetInfo, cache: Cache) -> Dataset:
    """The data set as supervised pairs, by the kind of its first feature.

    Images of one size → float32 in [0, 1]; texts → token ids; number vectors → standardised.

    Raises:
        MissingExtra: TensorFlow Datasets is not installed.
        DataError: it cannot be fetched, or holds something else.
    """
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise MissingExtra("tensorflow-datasets", "tfds")
    builder = _builder(info.name)
    kind, names = _supervised(builder)
    _prepare(builder, info.name, EMBEDDED_TEXT if kind == "text" else EMBEDDED_IMAGES)
    train, test = _read_splits(builder)
    if kind == "features":
        task = Task("classification", names)
        return tabular_dataset(info, task, *((x, y.astype(np.int32)) for x, y in (train, test)))
    if kind == "text":
        texts = [([text.decode("utf-8", "replace") for text in x], y) for x, y in (train, test)]
        return text_dataset(info, *texts, names, REVIEW_LENGTH)
    kept, held = hold_out(train[1], VALIDATION)
    order = np.concatenate([kept, held])
    train = train[0][order], train[1][order]
    return image_dataset(info, train, test, names, validation=len(held))


def _builder(name: str) -> tfds.core.DatasetBuilder:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name.removeprefix(TFDS))
    except tfds.core.DatasetNotFoundError:
        known = [f"{TFDS}{known}" for known in tfds.list_builders(with_community_datasets=False)]
        raise UnknownName("data set", name, known) from None


def _supervised(builder: tfds.core.DatasetBuilder) -> tuple[str, tuple[str, ...]]:
    """The kind of the first feature (image, text or features) and the class names."""
    import tensorflow_datasets as tfds

    keys, features = builder.info.supervised_keys, builder.info.features
    name = f"{TFDS}{builder.name}"
    if not keys or not all(isinstance(key, str) for key in keys):
        raise DataError(f"{name} has no single input and label: choose another data set.")
    feature, label = features[keys[0]], features[keys[1]]
    if not isinstance(label, tfds.features.ClassLabel):
        raise DataError(f"{name} has labels that are no classes: choose another data set.")
    if isinstance(feature, tfds.features.Image) and None not in feature.shape:
        kind = "image"
    elif isinstance(feature, tfds.features.Text):
        kind = "text"
    elif type(feature) is tfds.features.Tensor and len(feature.shape) == 1:
        kind = "features"
    else:
        raise DataError(
            f"{name} holds {type(feature).__name__} of shape {feature.shape}, and not images of "
            "one size, texts or number vectors: choose another data set."
        )
    return kind, tuple(label.names)


def _prepare(builder: tfds.core.DatasetBuilder, name: str, embedded: str) -> None:
    with network(name, embedded, str(builder.data_path.parent)):
        if not builder.data_path.exists():
            # Its downloader tries for minutes before it believes that there is no network.
            for url in list(builder.url_infos or ())[:1]:
                _reach(url)
        builder.download_and_prepare()


def _reach(url: str) -> None:
    """Raises an OSError if the host cannot be reached; what it answers does not matter."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - TensorFlow Datasets' URL
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=SILENCE_SECONDS).close()  # noqa: S310


def _read_splits(builder: tfds.core.DatasetBuilder) -> tuple[Arrays, Arrays]:
    """Train and test: its own test split, else its validation split, else a part of train."""
    names = builder.info.splits.keys()
    if "train" not in names:
        raise DataError(f"{TFDS}{builder.name} has no train split: choose another data set.")
    x, y = _read(builder, "train")
    for test in ("test", "validation"):
        if test in names:
            return (x, y), _read(builder, test)
    kept, held = hold_out(y, TEST)
    return (x[kept], y[kept]), (x[held], y[held])


def _read(builder: tfds.core.DatasetBuilder, split: str) -> Arrays:
    import tensorflow_datasets as tfds

    pairs = builder.as_dataset(split=split, as_supervised=True, batch_size=-1)
    return tfds.as_numpy(pairs)
