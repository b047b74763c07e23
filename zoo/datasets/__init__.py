"""Named data sets: `load(name)` gives arrays that are ready to train on.

The embedded ones need no more than the package index, and that only once; others come from
`keras.datasets` or TensorFlow Datasets and need the internet. Importing this package, listing
and describing load no TensorFlow.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.catalog import CATALOG, find
from zoo.datasets.preprocessing import (
    ImagePreprocessing,
    NoPreprocessing,
    Preprocessing,
    Standardization,
    SubwordPreprocessing,
    TextPreprocessing,
)
from zoo.datasets.progress import Progress

__all__ = [
    "Dataset",
    "DatasetInfo",
    "ImagePreprocessing",
    "NoPreprocessing",
    "Preprocessing",
    "Progress",
    "Split",
    "Standardization",
    "SubwordPreprocessing",
    "Task",
    "TextPreprocessing",
    "describe",
    "list_datasets",
    "load",
]


def load(name: str, *, cache_dir: Path | None = None, progress: Progress | None = None) -> Dataset:
    """The data set of that name, fetched if it is not in the cache.

    Args:
        name: one of `list_datasets()`, or `tfds:NAME`.
        cache_dir: where fetched files are kept; by default the folder that the environment
            variable ZOO_CACHE names, else the user's cache folder.
        progress: called with what is being fetched, the bytes so far and the bytes in all;
            by default a bar on a terminal, one line elsewhere.

    Raises:
        UnknownName: there is no such data set.
        DataError: it cannot be fetched, verified, read or written to the cache.
        MissingExtra: it needs a package that is not installed.
    """
    return find(name).load(Cache.open(cache_dir, progress))


def list_datasets(pattern: str = "*") -> list[str]:
    """Names that match the shell pattern, the embedded data sets first."""
    return [name for name in CATALOG if fnmatch.fnmatchcase(name, pattern)]


def describe(name: str) -> DatasetInfo:
    """What is known of a data set without fetching it.

    Raises:
        UnknownName: there is no such data set.
    """
    return find(name).info
