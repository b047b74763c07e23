"""Pruning of the twin: tfmot's wrappers where they go, masks of our own on the same schedule."""

from __future__ import annotations

# First: it decides what tf.keras is in this process.
import tensorflow_model_optimization as tfmot

# isort: split
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import PruneRegistry
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import (
    PruneLowMagnitude,
)

from compression import masks
from compression.tfmot.job import Job, child, hold

UPDATES = 20  # of the masks while the sparsity grows
GROWING = 0.6  # of the steps; the rest trains with the final masks
FIRST = 0.5  # of the sparsity, at the first update


@child
def run(job: Job) -> None:
    """Options: sparsities by layer, schedule, pattern, epochs, learning_rate, targets, axes."""
    options = job.options
    pattern = masks.parse(options["pattern"])
    refused = {
        name: reason
        for name in options["targets"]
        if (reason := _refusal(job.twin.get_layer(name), pattern))
    }
    steps = job.steps(options["epochs"])
    schedules = {
        name: _schedule(options["schedule"], sparsity, steps)
        for name, sparsity in options["sparsities"].items()
    }
    wrapped = {name: of for name, of in schedules.items() if name not in refused}
    model = _wrapped(job.twin, wrapped, pattern)
    own = OwnMasks(
        {p: job.variables[p] for name in refused for p in options["targets"][name]},
        {int(p): axis for p, axis in options["axes"].items()},
        {p: schedules[name] for name in refused for p in options["targets"][name]},
        pattern,
    )
    facts = job.fine_tune(
        model,
        [
            tfmot.sparsity.keras.UpdatePruningStep(),
            *([own] if refused else []),
            *hold(job, list(job.held)),
        ],
    )
    kept = _final_masks(model, job, own)
    for position, mask in kept.items():
        job.variables[position].assign(job.variables[position] * mask.astype("float32"))
    np.savez(job.folder / "found_masks.npz", **{str(p): m for p, m in kept.items()})
    job.answer(
        [variable.numpy() for variable in job.variables], {"fine_tuning": facts, "refused": refused}
    )


def _refusal(layer: Any, pattern: masks.Pattern) -> str | None:
    """Why tfmot cannot prune a layer with this pattern, or None."""
    kind = type(layer).__name__
    if not PruneRegistry.supports(layer):
        return f"tfmot knows no layer {kind}"
    ranks = {len(weight.shape) for weight in layer.trainable_weights if len(weight.shape) > 1}
    if pattern.two_of_four and not ranks <= {2, 4}:
        return f"tfmot's 2:4 takes weights of two or four axes, not those of {kind}"
    if pattern.block == (1, 1):
        return None
    if ranks != {2}:
        return f"tfmot's blocks take weights of two axes, not those of {kind}"
    (high, wide), weights = pattern.block, layer.trainable_weights
    if any(w.shape[0] <= high or w.shape[1] <= wide for w in weights if len(w.shape) == 2):
        return "tfmot's blocks fail where one alone spans the inputs or the outputs"
    return None


def _schedule(name: str, sparsity: float, steps: int) -> Any:
    """tfmot's schedule; its last update always comes, however few steps there are."""
    every = max(1, int(GROWING * steps) // UPDATES)
    if name == "constant":
        return tfmot.sparsity.keras.ConstantSparsity(sparsity, begin_step=0, frequency=every)
    last = every * max(1, int(GROWING * steps) // every)
    return tfmot.sparsity.keras.PolynomialDecay(
        FIRST * sparsity, sparsity, begin_step=0, end_step=last, frequency=every
    )


def _wrapped(twin: Any, schedules: dict[str, Any], pattern: masks.Pattern) -> Any:
    """The twin with these layers wrapped; all of them share their variables with it."""
    options: dict[str, Any] = {}
    if pattern.two_of_four:
        options["sparsity_m_by_n"] = (2, 4)
    elif pattern.block != (1, 1):
        options["block_size"] = pattern.block

    def wrap(layer: Any) -> Any:
        if layer.name not in schedules:
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(
            layer, pruning_schedule=schedules[layer.name], **options
        )

    return tf_keras.models.clone_model(twin, clone_function=wrap)


class OwnMasks(tf_keras.callbacks.Callback):
    """Masks of `compression.masks` at the steps of a tfmot schedule."""

    def __init__(
        self,
        variables: dict[int, Any],
        axes: dict[int, int],
        schedules: dict[int, Any],
        pattern: masks.Pattern,
    ):
        super().__init__()
        self.variables, self.axes = variables, axes
        self.schedules, self.pattern = schedules, pattern
        self.kept = {p: tf.Variable(tf.ones_like(v)) for p, v in variables.items()}
        self._apply = tf.function(self._mask, autograph=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = int(self.model.optimizer.iterations.numpy())
        for position, variable in self.variables.items():
            due, sparsity = self.schedules[position](step)
            if bool(due):
                weight, axis = variable.numpy(), self.axes[position]
                mask = masks.make(weight, self.pattern, float(sparsity), axis)
                self.kept[position].assign(mask.astype("float32"))
        self._apply()

    def _mask(self) -> None:
        for position, variable in self.variables.items():
            variable.assign(variable * self.kept[position])


def _final_masks(model: Any, job: Job, own: OwnMasks) -> dict[int, np.ndarray]:
    """Position → bool mask; what was zero before stays so."""
    position = {id(variable): index for index, variable in enumerate(job.variables)}
    found = {p: kept.numpy() != 0 for p, kept in own.kept.items()}
    for layer in model.layers:
        if isinstance(layer, PruneLowMagnitude):
            for weight, mask, _ in layer.pruning_vars:
                found[position[id(weight)]] = mask.numpy() != 0
    return {p: mask & (job.held[p] != 0) if p in job.held else mask for p, mask in found.items()}
