"""The most frequent token of train, on the masked tokens of another split."""

from __future__ import annotations

import numpy as np

from benchmarks.baselines.unigram import accuracy
from zoo.datasets import Dataset, NoPreprocessing, Split, Task


def test_it_says_the_most_frequent_token_of_train() -> None:
    train = np.array([[1, 7, 7, 7, 9], [1, 9, 2, 2, 2], [1, 2, 2, 0, 0]])
    held = np.array([[0, 7, 0, 9, 0], [0, 0, 7, 0, 8]])
    x = {"tokens": train, "segments": np.zeros_like(train)}
    y = {"tokens": np.full_like(held, 3), "segments": np.zeros_like(held)}
    dataset = Dataset(
        "toy",
        Task("masked_language_model"),
        train=Split(x, train),
        validation=Split(y, held),
        test=Split(y, np.where(held == 8, 7, held)),
        preprocessing=NoPreprocessing(()),
        licence="",
        source="",
        model_arguments={"vocabulary_size": 10},
    )
    assert accuracy(dataset, "validation") == 0.5
    assert accuracy(dataset) == 0.75
