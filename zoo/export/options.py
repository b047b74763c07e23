"""Choices of an export that are fixed in its graph."""

from __future__ import annotations

import dataclasses

from zoo.errors import InvalidOption


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How exported text signatures search.

    Attributes:
        beam: sequences that a translation keeps at every step; 1 is greedy search.
        new_tokens: most tokens of a continuation; None is as many as the model has positions.
    """

    beam: int = 1
    new_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("beam", "new_tokens"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InvalidOption(f"{name} is {value!r}: it must be a whole number above 0.")
