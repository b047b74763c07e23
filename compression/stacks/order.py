"""Which order of techniques can work, and why another cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compression.errors import BadStack

if TYPE_CHECKING:
    from compression.stacks.parts import Part

SHAPES = ("shrink", "lowrank", "distill")
RESHAPED = ("shrink", "lowrank")


def check(parts: Sequence[Part]) -> None:
    """Raises BadStack, with what would work, unless every technique keeps what came before."""
    seen: list[str] = []
    for part in parts:
        _check_next(part, seen)
        seen.append(part.technique)


def _check_next(part: Part, seen: Sequence[str]) -> None:
    name = part.technique
    if any(before not in (*SHAPES, "prune", "cluster") for before in seen):
        raise BadStack(
            f"{name} cannot follow {seen[-1]}: a stack ends with its one quantized form."
        )
    if name in SHAPES:
        for other in ("prune", "cluster"):
            if other in seen:
                raise BadStack(f"{name} after {other} would undo it: put {name} before {other}.")
    if name == "shrink" and "lowrank" in seen:
        raise BadStack(
            "shrink calls the builder again, which knows nothing of lowrank's pairs of layers: "
            "put shrink before lowrank."
        )
    if name == "distill" and not set(seen) & set(RESHAPED):
        raise BadStack(
            "distill in a stack brings a changed model back with the original as its teacher: "
            "put shrink or lowrank before it."
        )
    if name == "prune" and "cluster" in seen:
        raise BadStack("prune after cluster would undo it: put prune before cluster.")
    if name in ("prune", "cluster", "lowrank") and name in seen:
        raise BadStack(f"{name} comes twice: once, with one strength, is enough.")
    if name == "qat" and "lowrank" in seen:
        raise BadStack(
            "qat builds the model anew for tf_keras, which cannot be done after lowrank: end "
            "with dynamic_range or int8 instead."
        )
