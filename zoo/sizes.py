"""Named sizes: the arguments with which a builder makes a published model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


@dataclasses.dataclass(frozen=True)
class Size:
    """A published model as arguments of a builder.

    Attributes:
        arguments: what the builder is told.
        parameters: the published number of parameters, which the built model has.
        source: the paper, and where the count stands if not there.
        trainable: the count leaves out weights that training does not change, such as the
            moving statistics of batch normalisation.
        rounding: the unit to which the count was published; 1 is an exact count.
    """

    arguments: Mapping[str, Any]
    parameters: int
    source: str
    trainable: bool = False
    rounding: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))

    @property
    def counted(self) -> str:
        """What the count counts, in words."""
        weights = "trainable weights" if self.trainable else "all weights"
        return weights if self.rounding == 1 else f"{weights}, to {self.rounding:,}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "arguments": dict(self.arguments)}
