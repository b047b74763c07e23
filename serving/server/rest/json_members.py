"""JSON objects as rapidjson keeps them: every member, one of a repeated name included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Repeated(dict):
    """An object that has a name more than once. As a mapping, the first value of each counts.

    Attributes:
        pairs: all members, in their order.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__()
        self.pairs = pairs
        for name, value in pairs:
            self.setdefault(name, value)


def from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members: a plain dict, unless one is repeated."""
    members = dict(pairs)
    return members if len(members) == len(pairs) else Repeated(pairs)


def every(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """All members of an object, the repeated ones included."""
    return value.pairs if isinstance(value, Repeated) else value.items()
