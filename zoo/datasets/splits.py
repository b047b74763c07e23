"""Fixed rules that divide examples: the same on every machine and for every training seed."""

from __future__ import annotations

import numpy as np

VALIDATION = 0.1  # of the training examples
TEST = 0.2  # of all examples, where a data set has no official split


def hold_out(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the kept and of the held-out examples, each in ascending order.

    Every class gives `fraction` of its examples, rounded: the small sets would otherwise be
    held out by luck. A class too rare for that stays in the kept part. For targets that are
    no classes pass one constant label: one seeded draw.
    """
    # RandomState's stream is frozen across numpy versions, Generator's is not.
    random = np.random.RandomState(0)
    held = [
        random.permutation(members)[: round(len(members) * fraction)]
        for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    held = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held), held


def stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Ascending indices of `count` examples, drawn so that every class keeps its share.

    The places that rounding leaves go to the classes with the largest remainders; where there
    are enough places, no class goes without one.
    """
    random = np.random.RandomState(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * count / len(labels)
    wanted = np.floor(shares).astype(int)
    if count >= len(classes):
        wanted = np.maximum(wanted, 1)
    order = np.argsort(wanted - shares, kind="stable")
    for index in np.resize(order, max(count - wanted.sum(), 0)):
        wanted[index] += 1
    while wanted.sum() > count:  # the single ones of rare classes were too many
        wanted[wanted.argmax()] -= 1
    drawn = [
        random.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in zip(classes, wanted, strict=True)
    ]
    return np.sort(np.concatenate(drawn))
