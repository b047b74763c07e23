"""Data sets of a few made-up examples, for what has to be trained many times."""

from __future__ import annotations

import numpy as np

from zoo.datasets import Dataset, Split, Task
from zoo.datasets.preprocessing import ImagePreprocessing, TextPreprocessing

WORDS = tuple("abcdefghijklmnopqrst")


def images(count: int = 96, side: int = 12, channels: int = 1) -> Dataset:
    """A bright bar in the upper, middle or lower third: uint8 in all but name."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 2 * count).astype("int32")
    x = rng.integers(0, 40, (2 * count, side, side, channels)).astype("float32")
    for image, third in zip(x, y, strict=True):
        image[third * side // 3 : third * side // 3 + 2] += 200
    x /= 255
    return Dataset(
        name="bars",
        task=Task("classification", ("upper", "middle", "lower")),
        train=Split(x[:count], y[:count]),
        validation=Split(x[count : count + count // 2], y[count : count + count // 2]),
        test=Split(x[count + count // 2 :], y[count + count // 2 :]),
        preprocessing=ImagePreprocessing(side, side, channels),
        licence="none needed",
        source="made up",
        model_arguments={"input_shape": (side, side, channels), "num_classes": 3},
    )


def texts(count: int = 96, steps: int = 10) -> Dataset:
    """Words whose first one tells the class; texts of several lengths, zeros behind them."""
    rng = np.random.default_rng(0)
    x = rng.integers(4, len(WORDS) + 2, (2 * count, steps)).astype("int32")
    y = rng.integers(0, 2, 2 * count).astype("int32")
    x[:, 0] = y + 2
    x[np.arange(steps) >= rng.integers(1, steps + 1, 2 * count)[:, None]] = 0
    return Dataset(
        name="letters",
        task=Task("classification", ("a", "b")),
        train=Split(x[:count], y[:count]),
        validation=Split(x[count : count + count // 2], y[count : count + count // 2]),
        test=Split(x[count + count // 2 :], y[count + count // 2 :]),
        preprocessing=TextPreprocessing(WORDS, steps),
        licence="none needed",
        source="made up",
        model_arguments={
            "vocabulary_size": len(WORDS) + 2,
            "max_length": steps,
            "num_classes": 2,
        },
    )
