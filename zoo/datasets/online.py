"""Data sets of `keras.datasets`, fetched by Keras into its own cache folder.

They need the open internet. Without it each fails within seconds with one line that names the
embedded data set to use instead.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo
from zoo.datasets.cache import Cache
from zoo.datasets.images import image_dataset
from zoo.datasets.mnist import DIGITS
from zoo.datasets.text import MAX_LENGTH, Examples, text_dataset
from zoo.errors import DataError

EMBEDDED_IMAGES, EMBEDDED_TEXT = "mnist", "reuters_r8"
SILENCE_SECONDS = 20  # without a byte from the network, before it counts as cut

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SENTIMENTS = ("negative", "positive")
_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS}
REVIEW_LENGTH = 256  # tokens: longer than the median review


def load_mnist(info: DatasetInfo, cache: Cache) -> Dataset:
    """As the embedded `mnist`, fetched by Keras."""
    return _load_images(info, "mnist", DIGITS)


def load_fashion_mnist(info: DatasetInfo, cache: Cache) -> Dataset:
    """55,000 / 5,000 / 10,000 images of clothing, float32 `(n, 28, 28, 1)` in [0, 1]."""
    return _load_images(info, "fashion_mnist", FASHION)


def load_cifar10(info: DatasetInfo, cache: Cache) -> Dataset:
    """45,000 / 5,000 / 10,000 colour images, float32 `(n, 32, 32, 3)` in [0, 1]."""
    return _load_images(info, "cifar10", CIFAR10)


def load_imdb(info: DatasetInfo, cache: Cache) -> Dataset:
    """22,500 / 2,500 / 25,000 film reviews, int32 `(n, 256)` token ids."""
    return _load_texts(info, "imdb", SENTIMENTS, REVIEW_LENGTH)


def load_reuters(info: DatasetInfo, cache: Cache) -> Dataset:
    """News in 46 topics, int32 `(n, 128)` token ids; Keras's own train and test parts."""
    topics = _keras_datasets().reuters.get_label_names()
    return _load_texts(info, "reuters", tuple(topics), MAX_LENGTH)


def _load_images(info: DatasetInfo, module: str, class_names: tuple[str, ...]) -> Dataset:
    source = getattr(_keras_datasets(), module)
    with network(info.name, EMBEDDED_IMAGES):
        train, test = source.load_data()
    return image_dataset(info, train, test, class_names)


def _load_texts(
    info: DatasetInfo, module: str, class_names: tuple[str, ...], length: int
) -> Dataset:
    source = getattr(_keras_datasets(), module)
    with network(info.name, EMBEDDED_TEXT):
        # Ranks as they are in the word index: no marks for start, padding or unknown words.
        train, test = source.load_data(start_char=None, oov_char=None, index_from=0)
        word_index = source.get_word_index()
    train, test = texts_of(train, word_index), texts_of(test, word_index)
    return text_dataset(info, train, test, class_names, length)


def texts_of(examples: tuple[Sequence, np.ndarray], word_index: Mapping[str, int]) -> Examples:
    """Keras's lists of word ranks as texts again.

    Keras ships no raw text, and its ranks were counted over the test part, too. As texts these
    sets go the same way as any other: our tokens, a vocabulary from the train part only.
    """
    sequences, labels = examples
    words = {rank: word for word, rank in word_index.items()}
    return [" ".join(words.get(rank, "") for rank in ranks) for ranks in sequences], labels


@contextlib.contextmanager
def network(name: str, embedded: str, folder: str = "~/.keras/datasets") -> Iterator[None]:
    """Bounds the time of a fetch into `folder`, and makes what goes wrong one `DataError`.

    Whatever the fetching library prints goes to standard error. The time limit is the
    process-wide default of sockets while this lasts: the libraries offer no other way.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:
        problem = _problem(error, folder)
        if problem is None:
            raise
        raise DataError(f"{name} {problem} use the embedded data set {embedded}.") from error
    finally:
        socket.setdefaulttimeout(before)


def _problem(error: Exception, folder: str) -> str | None:
    """What went wrong, between a data set's name and the advice; None if it is no fetch's."""
    # Keras raises a bare Exception for what urllib says.
    if failure := re.match(r"URL fetch failure on \S+: (.*)", str(error)):
        return f"needs the internet, which cannot be reached ({_plain(failure[1])}):"
    if isinstance(error, EOFError | ValueError):  # a short gzip; a wrong hash
        return f"is damaged ({_plain(error)}): remove its files in {folder} and try again, or"
    if getattr(error, "errno", None) in _STORAGE_ERRORS:
        return f"cannot be stored in {folder} ({_plain(error)}): make room there, or"
    if isinstance(error, OSError | http.client.HTTPException):
        return f"needs the internet, which cannot be reached ({_plain(error)}):"
    return None


def _plain(error: object) -> str:
    """The first line of an error's text, without the marks of the libraries it came through."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return re.sub(r"^None -- |<urlopen error |\[Errno -?\d+\] |>$|\.$", "", line)


def _keras_datasets() -> ModuleType:
    import keras

    return keras.datasets
