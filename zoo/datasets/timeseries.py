"""Two small sets of the UCR/UEA time-series archive, in its `.ts` text format."""

from __future__ import annotations

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.preprocessing import NoPreprocessing, Standardization
from zoo.datasets.splits import VALIDATION, hold_out
from zoo.datasets.wheels import Wheel

WHEEL = Wheel("sktime", size=8_201_107)

JAPANESE_VOWELS_STEPS = 29  # the longest utterance; the archive documents 7 to 29


def load_japanese_vowels(info: DatasetInfo, cache: Cache) -> Dataset:
    """243 / 27 / 370 utterances of 9 speakers, float32 `(n, 29, 12)`.

    Twelve LPC cepstrum coefficients a step, standardised over the real steps of the training
    part; zeros after the last real step. Kudo, Toyama, Shimbo, 1999.
    """
    (train, train_labels), (test, test_labels) = _read(cache, "JapaneseVowels")
    classes = sorted(set(train_labels))
    train_y, test_y = _indices(train_labels, classes), _indices(test_labels, classes)
    kept, held = hold_out(train_y, VALIDATION)
    parts = {
        "train": ([train[i] for i in kept], train_y[kept]),
        "validation": ([train[i] for i in held], train_y[held]),
        "test": (test, test_y),
    }
    padded = {name: _pad(series, JAPANESE_VOWELS_STEPS) for name, (series, _) in parts.items()}
    preprocessing = Standardization.fit(padded["train"], steps=JAPANESE_VOWELS_STEPS)
    return Dataset(
        name=info.name,
        task=Task("classification", tuple(f"speaker {name}" for name in classes)),
        **{
            name: Split(preprocessing.from_features(padded[name]), y)
            for name, (_, y) in parts.items()
        },
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={"input_shape": (JAPANESE_VOWELS_STEPS, 12), "num_classes": len(classes)},
        originals={name: series for name, (series, _) in parts.items()},
    )


def load_italy_power_demand(info: DatasetInfo, cache: Cache) -> Dataset:
    """61 / 6 / 1,029 days of hourly power demand, float32 `(n, 24, 1)`; is it summer?

    The archive holds each day normalised to mean 0 and standard deviation 1, so nothing is
    left to preprocess. Keogh et al., "Intelligent Icons", 2006.
    """
    (train, train_labels), (test, test_labels) = _read(cache, "ItalyPowerDemand")
    train_x, test_x = np.stack(train), np.stack(test)
    # "1": October to March, the evening peak is at 18 to 19 h; "2": April to September.
    train_y, test_y = (
        (np.asarray(labels) == "2").astype(np.float32)[:, np.newaxis]
        for labels in (train_labels, test_labels)
    )
    kept, held = hold_out(train_y[:, 0], VALIDATION)
    return Dataset(
        name=info.name,
        task=Task("binary", ("October to March", "April to September")),
        train=Split(train_x[kept], train_y[kept]),
        validation=Split(train_x[held], train_y[held]),
        test=Split(test_x, test_y),
        preprocessing=NoPreprocessing(train_x.shape[1:]),
        licence=info.licence,
        source=info.source,
        model_arguments={"input_shape": train_x.shape[1:]},
    )


def _read(cache: Cache, name: str) -> list[tuple[list[np.ndarray], list[str]]]:
    """The official train and test part: series, float32 `(steps, dimensions)`, and labels."""
    with WHEEL.open(cache) as wheel:
        return [
            parse_ts(wheel.read(f"sktime/datasets/data/{name}/{name}_{part}.ts").decode())
            for part in ("TRAIN", "TEST")
        ]


def parse_ts(text: str) -> tuple[list[np.ndarray], list[str]]:
    """Series and labels of a `.ts` file.

    A line holds the dimensions, comma-separated values each, and the label, with `:` between.
    """
    series, labels = [], []
    for line in text.splitlines():
        if not line.strip() or line[0] in "#@":
            continue
        *dimensions, label = line.split(":")
        values = [np.array(dimension.split(","), np.float32) for dimension in dimensions]
        series.append(np.stack(values, axis=-1))
        labels.append(label.strip())
    return series, labels


def _indices(labels: list[str], classes: list[str]) -> np.ndarray:
    return np.array([classes.index(label) for label in labels], np.int32)


def _pad(series: list[np.ndarray], steps: int) -> np.ndarray:
    """float32 `(n, steps, dimensions)`, zeros after each series' own end."""
    padded = np.zeros((len(series), steps, series[0].shape[-1]), np.float32)
    for row, one in zip(padded, series, strict=True):
        row[: len(one)] = one
    return padded
