"""What a model is trained with. A recipe stands beside its builder and is plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoo.errors import InvalidOption
from zoo.precision import check as check_precision

OPTIMIZERS = ("adam", "adamw", "muon", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "exponential", "inverse_sqrt", "linear")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run besides the builder, its data and the seed.

    Attributes:
        dataset: name of the default data set.
        epochs: passes over the training split.
        batch_size: examples a step, over all replicas together.
        optimizer: one of `OPTIMIZERS`.
        optimizer_options: its arguments besides the learning rate, where they are not Keras's
            defaults.
        learning_rate: peak learning rate.
        schedule: how the learning rate goes on after warmup, one of `SCHEDULES`; all but
            `constant` and `inverse_sqrt` end at `final_learning_rate` of the peak with the last
            step. `inverse_sqrt` falls with one over the root of the step and needs a warmup.
        warmup_epochs: epochs over which the rate rises linearly from zero.
        final_learning_rate: last rate as a fraction of the peak.
        label_smoothing: share of a target that is spread evenly over all classes or tokens.
        augment: policy of `zoo.training.augmentation` that changes training batches, or `none`.
        precision: type of the layers' computation, one of `zoo.precision.PRECISIONS`; the
            trained model is float32 all the same.
        early_stopping: epochs without a better validation loss after which training stops and
            the best weights are taken; 0 is off.
        jit_compile: compile the step with XLA (measured faster for recurrent and small dense
            models, slower for convolutions and attention on a CPU).
        steps_per_execution: training steps in one call of the compiled function.
        arguments: builder arguments that this recipe sets.
    """

    dataset: str
    epochs: int
    batch_size: int
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    final_learning_rate: float = 0.01
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label_smoothing: float = 0.0
    augment: str = "none"
    precision: str = "float32"
    early_stopping: int = 0
    jit_compile: bool = False
    steps_per_execution: int = 32
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "steps_per_execution"):
            if getattr(self, name) < 1:
                raise InvalidOption(f"{name} is {getattr(self, name)}: it must be at least 1.")
        for name in ("warmup_epochs", "early_stopping"):
            if getattr(self, name) < 0:
                raise InvalidOption(f"{name} is {getattr(self, name)}: it must not be negative.")
        if not 0 < self.learning_rate < float("inf"):
            raise InvalidOption(f"learning_rate is {self.learning_rate}: it must be positive.")
        if not 0 < self.final_learning_rate <= 1:
            raise InvalidOption(
                f"final_learning_rate is {self.final_learning_rate}: it is a fraction of the "
                "learning rate, above 0 and at most 1."
            )
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise InvalidOption(
                f"warmup_epochs is {self.warmup_epochs}: it must be below the {self.epochs} epochs."
            )
        if not 0 <= self.label_smoothing < 1:
            raise InvalidOption(
                f"label_smoothing is {self.label_smoothing}: it is a share, from 0 to below 1."
            )
        if self.schedule == "inverse_sqrt" and not self.warmup_epochs:
            raise InvalidOption(
                "The inverse_sqrt schedule has its peak where the warmup ends: give warmup_epochs."
            )
        check_precision(self.precision)
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise InvalidOption(
                    f"Unknown {name} {getattr(self, name)!r}: choose from {', '.join(choices)}."
                )
        for name in ("arguments", "optimizer_options"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def replace(self, **changes: Any) -> Recipe:
        """A copy with these fields changed; a field given as None keeps its value."""
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})

    def to_json(self) -> dict[str, Any]:
        """Plain data, from which `from_json` makes an equal recipe."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        mappings = {
            name: dict(value) for name, value in fields.items() if isinstance(value, Mapping)
        }
        return {**fields, **mappings}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        return cls(**data)
