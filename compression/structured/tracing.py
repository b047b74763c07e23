"""A walk over a model's graph that finds which slices of which weights each unit owns."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.structured import rules
from compression.structured.units import Units

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Member:
    """An axis of a variable whose positions are units.

    Attributes:
        variable: path of the variable.
        axis: of the variable, not negative.
        units: int64 `(size of the axis,)`; numbers before merging.
        reads: the axis takes the units in, such as the rows of a kernel; else it makes them.
    """

    variable: str
    axis: int
    units: np.ndarray
    reads: bool


class Trace:
    """The units of a functional model.

    Attributes:
        units: numbers and merges.
        spaces: layer → arrays of the units that it makes, one for each direction of a
            bidirectional layer, one of heads for attention.
        scaled: paths of embeddings that the model multiplies by the root of their width.
    """

    def __init__(self, model: keras.Model):
        self.units = Units()
        self.spaces: dict[str, list[np.ndarray]] = {}
        self.scaled: set[str] = set()
        self._mixed: list[np.ndarray] = []
        self._axes: dict[tuple[str, int], Member] = {}
        self._tensors: dict[int, np.ndarray] = {}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                self._visit(node)
        for tensor in model.outputs:
            self.units.fix(self.of(tensor))

    def _visit(self, node: Any) -> None:
        arguments = node.arguments
        outputs = rules.follow(self, node.operation, arguments.args, arguments.kwargs)
        if outputs is None:  # a layer that no rule knows: everything it touches stays
            for tensor in node.input_tensors:
                self.units.fix(self.of(tensor))
            outputs = [self.units.fixed(_last(tensor)) for tensor in node.outputs]
        for tensor, units in zip(node.outputs, outputs, strict=True):
            self._tensors[id(tensor)] = units

    @property
    def members(self) -> list[Member]:
        """All axes of all variables that were met."""
        return list(self._axes.values())

    def mixed(self) -> set[int]:
        """Roots of units over which a layer normalises: without one the others change a little."""
        return {root for units in self._mixed for root in self.units.roots(units).tolist()}

    # === What rules say ===

    def of(self, tensor: Any) -> np.ndarray:
        """Units of a tensor's last axis."""
        return self._tensors.get(id(tensor), self.units.fixed(_last(tensor)))

    def makes(self, variable: Any, axis: int, *, reads: bool = False) -> np.ndarray:
        """The units of this axis of a variable, new ones at the first use of its layer.

        `reads` says that the axis takes in what the same layer makes, as a recurrent kernel's
        rows do.
        """
        axis %= len(variable.shape)
        key = (variable.path, axis)
        if key not in self._axes:
            self._axes[key] = Member(*key, self.units.new(variable.shape[axis]), reads)
        return self._axes[key].units

    def ties(self, variable: Any, axis: int, units: np.ndarray, *, reads: bool = False) -> None:
        """This axis of a variable has these units; nothing for a missing variable."""
        if variable is None:
            return
        axis %= len(variable.shape)
        key = (variable.path, axis)
        if key in self._axes:
            self.units.merge(self._axes[key].units, units)
        else:
            self._axes[key] = Member(*key, units, reads)

    def reads(self, variable: Any, axis: int, units: np.ndarray) -> None:
        """This axis of a variable takes these units in."""
        self.ties(variable, axis, units, reads=True)

    def mixes(self, units: np.ndarray) -> None:
        """The layer's answer for each unit depends on all of them."""
        self._mixed.append(units)


def _last(tensor: Any) -> int:
    """Size of the last axis; 0 where it is free or there is none."""
    return (tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0
