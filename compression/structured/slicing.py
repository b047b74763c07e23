"""A narrower model that keeps the chosen units of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.errors import NotApplicable
from compression.structured.groups import Group, complete, find_groups, head_width
from compression.structured.tracing import Trace
from zoo import registry

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, eq=False)
class Narrowed:
    """What is left.

    Attributes:
        model: from the builder, with the kept weights.
        arguments: of the builder.
        kept: path of an old variable → for each of its axes the positions that are left.
        paths: path of an old variable → that of the new one.
    """

    model: keras.Model
    arguments: dict[str, Any]
    kept: Mapping[str, tuple[np.ndarray, ...]]
    paths: Mapping[str, str]

    def sliced(self, path: str, array: np.ndarray) -> np.ndarray:
        """An array of an old variable's shape, without what was removed."""
        for axis, positions in enumerate(self.kept[path]):
            if len(positions) != array.shape[axis]:
                array = np.take(array, positions, axis=axis)
        return array


def narrow(
    model: keras.Model,
    builder: str,
    arguments: Mapping[str, Any],
    kept: Mapping[str, Sequence[np.ndarray]],
) -> Narrowed:
    """Removes all units of some groups but the kept ones.

    Args:
        model: what `builder` made with `arguments`; it stays as it is.
        builder: registered name.
        arguments: of the builder.
        kept: name of a group → units to keep, an array for each of the group's spaces, all of
            one length. Groups that are not named stay whole.

    Raises:
        NotApplicable: the builder does not make a model of these weights.
    """
    trace, groups = Trace(model), find_groups(model, builder, arguments)
    removed = {
        unit
        for group in groups
        for units, some in zip(group.spaces, kept.get(group.name, group.spaces), strict=True)
        for unit in set(units.tolist()) - set(np.asarray(some).tolist())
    }
    counts = {name: len(spaces[0]) for name, spaces in kept.items()}
    fewer = narrower(builder, arguments, groups, counts)
    result = registry.build(builder, **fewer)
    if len(result.weights) != len(model.weights):
        raise not_as_built(builder)
    axes = {
        (member.variable, member.axis): _left(trace.units.roots(member.units), removed)
        for member in trace.members
    }
    positions = {
        variable.path: tuple(
            axes.get((variable.path, axis), np.arange(size))
            for axis, size in enumerate(variable.shape)
        )
        for variable in model.weights
    }
    pairs = list(zip(model.weights, result.weights, strict=True))
    narrowed = Narrowed(result, fewer, positions, {old.path: new.path for old, new in pairs})
    for old, new in pairs:
        value = narrowed.sliced(old.path, np.asarray(old))
        if value.shape != tuple(new.shape):
            raise not_as_built(builder)
        if old.path in trace.scaled:  # the narrower model multiplies it by a smaller root
            value = value * np.sqrt(old.shape[-1] / new.shape[-1], dtype="float32")
        new.assign(value)
    return narrowed


def narrower(
    builder: str, arguments: Mapping[str, Any], groups: Sequence[Group], counts: Mapping[str, int]
) -> dict[str, Any]:
    """The builder's arguments with fewer units.

    The size of attention heads, where it follows from width and number, becomes an argument of
    its own: heads keep their size when there are fewer of them, or a narrower model around them.

    Args:
        builder: registered name.
        arguments: of the builder.
        groups: all groups of the model.
        counts: name of a group → how many units it keeps.
    """
    entry, full, given = registry.get(builder), complete(builder, arguments), dict(arguments)
    new = {**entry.sized(given.pop("size", None)), **given}
    new.update({name: full[name] for name in ("embedding_width",) if name in new})
    changed = [group for group in groups if group.name in counts]
    for argument in {group.argument for group in changed}:
        mine = [group for group in groups if group.argument == argument]
        numbers = [counts.get(g.name, len(g.spaces[0])) * g.step for g in mine]
        one_for_all = isinstance(entry.parameters[argument].default, int)
        single = mine[0].index is None or (one_for_all and len(set(numbers)) == 1)
        new[argument] = numbers[0] if single else tuple(numbers)
    if "head_width" in full and any(group.heads or group.residual for group in changed):
        new["head_width"] = head_width(full)
    return new


def not_as_built(builder: str) -> NotApplicable:
    """For a model whose weights are not those that its builder makes."""
    return NotApplicable(
        f"This model is not what {builder} builds from its arguments, so shrink cannot build a "
        "narrower one: prune, cluster or quantize it, or shrink first in the stack."
    )


def _left(roots: np.ndarray, removed: set[int]) -> np.ndarray:
    return np.flatnonzero([root not in removed for root in roots.tolist()])
