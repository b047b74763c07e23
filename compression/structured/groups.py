"""Groups of units that one number of a builder's arguments counts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.structured.tracing import Trace
from compression.structured.widths import Width, widths_of
from zoo import registry

if TYPE_CHECKING:
    import keras

TIED = "its units are also inputs or outputs of the model, or of a layer that cannot be followed"
UNEVEN = "its layers do not have as many units as the argument says"
NO_HEAD_WIDTH = "its blocks have heads of different sizes"


@dataclasses.dataclass(frozen=True)
class Group:
    """Units of which a builder makes as many as one of its numbers says.

    Attributes:
        name: of its layer, or of the argument where several layers share the number.
        argument: of the builder.
        index: which of the argument's numbers; None for a single number.
        size: that number.
        spaces: one array of units for each set that keeps as many but may keep others, such as
            the two directions of a bidirectional layer; roots, in the order of the weights.
        layers: that make the units.
        residual: the width that all blocks share.
        exact: units that are zero everywhere can go without any change; not so where a layer
            normalises over them.
        heads: a unit is an attention head.
        obstacle: why nothing can be removed; None if it can.
    """

    name: str
    argument: str
    index: int | None
    size: int
    spaces: tuple[np.ndarray, ...]
    layers: tuple[str, ...]
    residual: bool
    exact: bool
    heads: bool
    obstacle: str | None = None

    @property
    def step(self) -> int:
        """By how much the number falls with one unit: two where sine and cosine are a pair."""
        return self.size // len(self.spaces[0])


def find_groups(model: keras.Model, builder: str, arguments: Mapping[str, Any]) -> list[Group]:
    """All groups of a model that `builder` made with `arguments`, in the model's order.

    A builder whose widths nobody declared has none.
    """
    trace, full = Trace(model), complete(builder, arguments)
    names = [layer.name for layer in model.layers]
    found = []
    for width in widths_of(builder) or ():
        layers = [name for name in names if re.fullmatch(width.pattern(full), name)]
        value = full[width.argument]
        if layers and not (value is None and not width.each):
            found += _groups(trace, width, layers, value, full)
    return found


def complete(builder: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments with its defaults and those of a named size."""
    entry = registry.get(builder)
    given = dict(arguments)
    defaults = {
        name: parameter.default
        for name, parameter in entry.parameters.items()
        if parameter.default is not parameter.empty
    }
    full = {**defaults, **entry.sized(given.pop("size", None)), **given}
    if full.get("embedding_width") == full.get("width"):
        full.pop("embedding_width", None)  # the default, which follows the width
        full.update({"embedding_width": None} if "embedding_width" in defaults else {})
    return full


def _groups(
    trace: Trace, width: Width, layers: list[str], value: Any, full: Mapping[str, Any]
) -> list[Group]:
    if isinstance(value, (tuple, list)) or width.each:
        return [
            _group(trace, width, [layer], index, _number(trace, layer, value, index), full)
            for index, layer in enumerate(layers)
        ]
    return [_group(trace, width, layers, None, value, full)]


def _number(trace: Trace, layer: str, value: Any, index: int) -> int:
    if isinstance(value, (tuple, list)):
        return value[index]
    return len(trace.spaces[layer][0]) if value is None else value


def _group(
    trace: Trace,
    width: Width,
    layers: list[str],
    index: int | None,
    size: int,
    full: Mapping[str, Any],
) -> Group:
    arrays = [units for layer in layers for units in trace.spaces.get(layer, [])]
    # Units in the order of the weights; several positions of one unit follow each other.
    spaces = tuple(_distinct(trace.units.roots(units)) for units in arrays)
    heads = "num_heads" in width.argument
    mixed = trace.mixed()
    return Group(
        name=layers[0] if len(layers) == 1 and not width.residual else width.argument,
        argument=width.argument,
        index=index,
        size=size,
        spaces=spaces,
        layers=tuple(layers),
        residual=width.residual,
        exact=not any(root in mixed for units in spaces for root in units.tolist()),
        heads=heads,
        obstacle=_obstacle(spaces, size, heads or width.residual, full),
    )


def _distinct(roots: np.ndarray) -> np.ndarray:
    _, first = np.unique(roots, return_index=True)
    return roots[np.sort(first)]


def _obstacle(
    spaces: tuple[np.ndarray, ...], size: int, of_heads: bool, full: Mapping[str, Any]
) -> str | None:
    if not spaces or any(0 in units for units in spaces):
        return TIED
    if any(size % len(units) or len(units) != len(spaces[0]) for units in spaces):
        return UNEVEN
    if of_heads and "num_heads" in full and head_width(full) is None:
        return NO_HEAD_WIDTH
    return None


def head_width(full: Mapping[str, Any]) -> int | None:
    """Features of a head under these arguments; None where blocks differ."""
    if full.get("head_width") is not None:
        return full["head_width"]
    heads = full["num_heads"]
    sizes = {full["width"] // n for n in (heads if isinstance(heads, (tuple, list)) else [heads])}
    return sizes.pop() if len(sizes) == 1 else None
