"""Units: what a structured removal takes out as a whole, and which slices of weights belong to it.

Every position of a tensor's last axis, and of an axis of a variable, carries the number of a unit.
Where the model adds two tensors, or one layer's weights meet another's output, their units are the
same ones: they are merged. What must keep its size is merged with unit `FIXED`.
"""

from __future__ import annotations

import numpy as np

FIXED = 0


class Units:
    """Numbered units that can be merged: disjoint sets with path compression.

    Tarjan, "Efficiency of a Good But Not Linear Set Union Algorithm", 1975.
    """

    def __init__(self) -> None:
        self._parent = [FIXED]

    def new(self, count: int) -> np.ndarray:
        """`count` units that are no other's: int64 `(count,)`."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def fixed(self, count: int) -> np.ndarray:
        """Positions that nothing may remove: int64 `(count,)`."""
        return np.full(count, FIXED)

    def merge(self, one: np.ndarray, other: np.ndarray) -> None:
        """Makes the units at equal positions the same; arrays of one shape."""
        for pair in np.unique(np.stack([one.ravel(), other.ravel()], axis=1), axis=0):
            low, high = sorted(map(self._root, pair.tolist()))
            self._parent[high] = low

    def fix(self, units: np.ndarray) -> None:
        """None of these may be removed."""
        self.merge(units, np.full_like(units, FIXED))

    def roots(self, units: np.ndarray) -> np.ndarray:
        """The number by which each is known after all merging; same shape."""
        values, inverse = np.unique(units, return_inverse=True)
        found = np.array([self._root(value) for value in values.tolist()], dtype=np.int64)
        return found[inverse].reshape(units.shape)

    def _root(self, unit: int) -> int:
        parent = self._parent
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit
