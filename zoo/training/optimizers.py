"""Optimizers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math

import keras
from keras import ops

from zoo.errors import InvalidOption
from zoo.recipe import Recipe


@keras.saving.register_keras_serializable(package="zoo")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warmup to a peak, then a decay that ends at a fraction of it.

    With t from 0 (end of warmup) to 1 (last step) and f the final fraction:
    constant 1, linear 1 - (1 - f) t, cosine f + (1 - f)(1 + cos πt) / 2, exponential f^t.
    inverse_sqrt is √(warmup / step) (Vaswani et al., 2017, 5.3, scaled to the given peak).
    """

    def __init__(self, kind: str, peak: float, steps: int, warmup_steps: int, final: float):
        self.kind, self.peak, self.final = kind, peak, final
        self.steps, self.warmup_steps = steps, warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        after = max(self.steps - self.warmup_steps, 1)
        t = ops.clip((step - self.warmup_steps) / after, 0.0, 1.0)
        rate = self.peak * self._decay(t, step)
        if not self.warmup_steps:
            return rate
        warming = self.peak * (step + 1.0) / self.warmup_steps
        return ops.where(step < self.warmup_steps, warming, rate)

    def _decay(self, t, step):
        if self.kind == "inverse_sqrt":
            warmup = float(max(self.warmup_steps, 1))
            return ops.sqrt(warmup / ops.maximum(step + 1.0, warmup))
        if self.kind == "linear":
            return 1.0 - (1.0 - self.final) * t
        if self.kind == "cosine":
            return self.final + (1.0 - self.final) * 0.5 * (1.0 + ops.cos(math.pi * t))
        if self.kind == "exponential":
            return ops.exp(math.log(self.final) * t)
        return ops.ones_like(t)

    def get_config(self) -> dict:
        return {
            "kind": self.kind,
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "final": self.final,
        }


def learning_rate(recipe: Recipe, steps_per_epoch: int):
    """The recipe's rate: a number where it never changes, else a schedule over steps."""
    warmup_steps = math.ceil(recipe.warmup_epochs * steps_per_epoch)
    if recipe.schedule == "constant" and not warmup_steps:
        return recipe.learning_rate
    return WarmupDecay(
        recipe.schedule,
        recipe.learning_rate,
        steps=recipe.epochs * steps_per_epoch,
        warmup_steps=warmup_steps,
        final=recipe.final_learning_rate,
    )


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule and options; the rest is Keras's default.

    Raises:
        InvalidOption: the optimizer takes no such option.
    """
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "muon": keras.optimizers.Muon,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    try:
        return kinds[recipe.optimizer](
            learning_rate(recipe, steps_per_epoch), **recipe.optimizer_options
        )
    except (TypeError, ValueError) as error:
        options = ", ".join(recipe.optimizer_options)
        raise InvalidOption(
            f"{recipe.optimizer} does not take the options {options} as given: {error}."
        ) from error
