"""The text of a stack: names, strengths, epochs, and the recipes with names of their own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from compression.errors import BadStack
from zoo.errors import UnknownName

RECIPES: Mapping[str, str] = MappingProxyType(
    {
        "safe": "dynamic_range",
        "fast": "shrink:0.5+distill+dynamic_range",
        "small": "shrink:0.5+distill+prune:0.6+cluster:16+dynamic_range",
        "transport": "prune:0.8+cluster:16+dynamic_range",
        "aware": "prune:0.6+cluster:16+qat",
    }
)


@dataclasses.dataclass(frozen=True)
class Part:
    """One technique of a stack.

    Attributes:
        technique: its name.
        options: what its strength stands for, such as `{"sparsity": 0.6}`.
        epochs: of its training; None for the default.
        text: as it was written.
    """

    technique: str
    options: Mapping[str, Any]
    epochs: float | None
    text: str

    @property
    def trains(self) -> bool:
        return self.technique in TECHNIQUES

    @property
    def quantizes(self) -> bool:
        return self.technique == "qat" or not self.trains


@dataclasses.dataclass(frozen=True)
class Stack:
    """Techniques in an order that works."""

    parts: tuple[Part, ...]
    text: str

    def __str__(self) -> str:
        return self.text


def names() -> list[str]:
    """All that a part may be called: techniques, then forms."""
    from compression.quantization import FORMS

    return [*TECHNIQUES, *FORMS]


def parse(text: str) -> Stack:
    """The stack of a text or of a recipe's name, checked.

    Raises:
        UnknownName: a technique that there is not, with the nearest names.
        BadStack: a strength out of range, or an order that cannot work.
    """
    from compression.stacks import order

    stack = RECIPES.get(text.strip(), text)
    parts = tuple(_part(piece.strip()) for piece in stack.split("+"))
    order.check(parts)
    return Stack(parts, "+".join(part.text for part in parts))


def _part(text: str) -> Part:
    head, at, count = text.partition("@")
    name, colon, strength = (piece.strip() for piece in head.partition(":"))
    if not name:
        raise BadStack("A stack is names joined by +, such as shrink:0.5+distill+dynamic_range.")
    if name not in names():
        raise UnknownName("technique or recipe", name, [*names(), *RECIPES])
    if (at or colon) and name not in TECHNIQUES:
        raise BadStack(f"{name} takes no strength and no epochs: write it alone, not {text!r}.")
    options = {}
    if colon:
        options = TECHNIQUES[name](name, strength)
    epochs = None
    if at:
        epochs = _number(name, "@" + count, count, "epochs from 0", lambda n: n >= 0)
    return Part(name, MappingProxyType(options), epochs, text)


def _prune(name: str, text: str) -> dict[str, Any]:
    """A sparsity or a pattern, then `,LAYER` for each layer where not all are meant.

    Or `0.8,LAYER=0.5,…`: a sparsity for all layers and others for some, or without the first one
    for those alone.
    """
    if "=" in text:
        meaning = "a sparsity above 0 and below 1 for each layer"
        return {"layers": _by_layer(name, text, meaning, lambda n: 0 < n < 1)}
    first, *layers = (piece.strip() for piece in text.split(","))
    if not all(layers):
        raise BadStack(f"{name}:{text} is not understood: write prune:0.8,LAYER,LAYER.")
    chosen = {"layers": layers} if layers else {}
    if first == "2:4" or first.startswith("block:"):
        return {"pattern": first, **chosen}
    meaning = "a sparsity above 0 and below 1, or a pattern such as 2:4 or block:4x4"
    return {"sparsity": _number(name, text, first, meaning, lambda n: 0 < n < 1), **chosen}


def _cluster(name: str, text: str) -> dict[str, Any]:
    meaning = "a whole number of values from 2 to 256"
    number = _number(name, text, text, meaning, lambda n: 2 <= n <= 256 and n == int(n))
    return {"clusters": int(number)}


def _shrink(name: str, text: str) -> dict[str, Any]:
    """`0.5`, or `LAYER=0.25,…`, or both, where the bare one is for all that are not named."""
    meaning = "the fraction of units to keep, above 0 up to 1"
    keep = _by_layer(name, text, meaning, lambda n: 0 < n <= 1)
    return {"keep": keep["*"] if list(keep) == ["*"] else keep}


def _by_layer(
    name: str, text: str, meaning: str, right: Callable[[float], bool]
) -> dict[str, float]:
    """Pattern of layers → number; a number alone is that of `*`, all of them."""
    found: dict[str, float] = {}
    for piece in text.split(","):
        layer, equals, value = (part.strip() for part in piece.rpartition("="))
        if bool(equals) != bool(layer) or (layer or "*") in found:
            raise BadStack(f"{name}:{text} is not understood: write {name}:0.5,LAYER=0.25.")
        found[layer or "*"] = _number(name, text, value, meaning, right)
    return found


def _lowrank(name: str, text: str) -> dict[str, Any]:
    meaning = "a relative error above 0 and below 1"
    return {"error": _number(name, text, text, meaning, lambda n: 0 < n < 1)}


def _distill(name: str, text: str) -> dict[str, Any]:
    meaning = "a temperature above 0"
    return {"temperature": _number(name, text, text, meaning, lambda n: n > 0)}


def _qat(name: str, text: str) -> dict[str, Any]:
    raise BadStack(f"{name} takes no strength: write it alone, not {name}:{text}.")


TECHNIQUES: Mapping[str, Callable[[str, str], dict[str, Any]]] = MappingProxyType(
    {
        "shrink": _shrink,
        "lowrank": _lowrank,
        "distill": _distill,
        "prune": _prune,
        "cluster": _cluster,
        "qat": _qat,
    }
)


def _number(
    name: str, written: str, text: str, meaning: str, right: Callable[[float], bool]
) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and right(value)):
        colon = "" if written.startswith("@") else ":"
        raise BadStack(f"{name}{colon}{written} is not understood: {name} takes {meaning}.")
    return value
