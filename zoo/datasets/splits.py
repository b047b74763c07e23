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
