"""The most frequent token, whatever is around: what a masked language model must beat."""

from __future__ import annotations

import numpy as np

from zoo.datasets import Dataset, SubwordPreprocessing


def accuracy(dataset: Dataset, split: str = "test") -> float:
    """Fraction of a split's masked tokens that are the training split's most frequent one.

    Args:
        dataset: of the task masked_language_model.
        split: whose masked tokens are predicted.
    """
    tokens = dataset.train.x["tokens"]
    guess = np.bincount(tokens[tokens >= SubwordPreprocessing.FIRST_BYTE]).argmax()
    targets = dataset.split(split).y
    return float(np.mean(targets[targets != 0] == guess))
