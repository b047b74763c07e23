"""Fine-tuning of a compressed model with its recipe's data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compression.subject import Subject
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras
    import numpy as np
    from rich.console import Console

RATE = 0.3  # of the recipe's learning rate: the weights are near a minimum already


def fine_tune(
    subject: Subject,
    model: keras.Model,
    *,
    epochs: float,
    learning_rate: float | None = None,
    masks: Mapping[str, np.ndarray] | None = None,
    targets: np.ndarray | None = None,
    loss: Any = None,
    metrics: list[Any] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Trains `model` in place on the subject's training split; the learning rate falls to zero.

    Args:
        subject: gives data, recipe, seed, and the masks where none are given.
        model: what is trained; its inputs and outputs are those of the subject's model.
        epochs: passes over the training split; a fraction stops early in the last one. 0 does
            nothing.
        learning_rate: the first one; default: `RATE` of the recipe's.
        masks: path of a variable → bool array; weights where it is False stay zero.
        targets: in place of the split's own, such as a teacher's soft labels
            `(examples, classes)`.
        loss: in place of the task's.
        metrics: in place of the task's, beside a `loss` of one's own.
        console: where progress goes; None for nowhere.

    Returns:
        `epochs`, `steps`, `loss` of the last epoch.

    Raises:
        TrainingDiverged: a loss that is not finite.
    """
    import keras
    import tensorflow as tf

    from zoo.datasets import Split
    from zoo.training.callbacks import EpochNumber, ProgressLines, StopOnNaN
    from zoo.training.fit import compile_model
    from zoo.training.objectives import objective_for
    from zoo.training.pipeline import training_batches

    dataset, objective = subject.dataset, objective_for(subject.dataset.task)
    split = dataset.train if targets is None else Split(dataset.train.x, targets)
    batch = min(subject.recipe.batch_size, len(split))
    per_epoch = len(split) // batch
    steps = round(epochs * per_epoch)
    if not steps:
        return {"epochs": 0, "steps": 0, "loss": None}
    whole = max(1, -(-steps // per_epoch))
    per_epoch = -(-steps // whole)
    recipe = subject.recipe.replace(
        epochs=whole,
        warmup_epochs=0.0,
        schedule="cosine",
        learning_rate=learning_rate or subject.recipe.learning_rate * RATE,
        early_stopping=0,
        optimizer_options=_options(subject.recipe.optimizer_options, whole * per_epoch),
    )
    keras.utils.set_random_seed(subject.seed)
    compile_model(model, dataset.task, recipe, per_epoch, None, objective.tokens(split))
    if loss is not None:
        model.compile(
            optimizer=model.optimizer,
            loss=loss,
            metrics=objective.metrics() if metrics is None else metrics,
            jit_compile=recipe.jit_compile,
            steps_per_execution=min(recipe.steps_per_execution, per_epoch),
        )
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    batches = (
        training_batches(
            split,
            batch,
            subject.seed,
            epoch,
            transform=objective.transform(dataset),
            bucketed=objective.bucketed,
        )
        .take(per_epoch)
        .apply(tf.data.experimental.assert_cardinality(per_epoch))
    )
    callbacks = [EpochNumber(epoch), StopOnNaN()]
    if console is not None:
        callbacks.append(ProgressLines(console, whole, per_epoch))
    held = subject.masks if masks is None else masks
    with _held_at_zero(model, held):
        history = model.fit(batches, epochs=whole, shuffle=False, verbose=0, callbacks=callbacks)
    return {
        "epochs": round(steps / (len(split) // batch), 3),
        "steps": whole * per_epoch,
        "loss": float(history.history["loss"][-1]),
    }


def _options(options: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """With an average of the weights, if any, over the last tenth of the steps at most.

    It begins at the weights as they are: one of a longer memory would end near those.
    """
    options = dict(options)
    if options.get("use_ema"):
        longest = max(0.0, 1 - 10 / steps)
        options["ema_momentum"] = min(options.get("ema_momentum", 0.99), longest)
    return options


def check_tuning(technique: str, epochs: float, learning_rate: float | None) -> None:
    """Raises InvalidOption for a length or a rate of fine-tuning that makes no sense."""
    if not (math.isfinite(epochs) and epochs >= 0):
        raise InvalidOption(f"{technique} fine-tunes for 0 or more epochs, not {epochs!r}.")
    if learning_rate is not None and not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InvalidOption(f"{technique} takes a learning_rate above 0, not {learning_rate!r}.")


def check_fit(subject: Subject) -> None:
    """Raises ShapeError where the subject's data set does not fit its model."""
    from zoo.training import objectives

    objectives.check_fit(subject.model, subject.builder, subject.dataset)


class _held_at_zero:  # noqa: N801 - a context manager
    """While it lasts, every update of a masked variable is followed by its mask."""

    def __init__(self, model: keras.Model, masks: Mapping[str, np.ndarray]):
        self._variables = {v.path: v for v in model.trainable_weights if v.path in masks}
        self._masks, self._before = masks, {}

    def __enter__(self) -> None:
        from keras import ops

        for path, variable in self._variables.items():
            mask = ops.convert_to_tensor(self._masks[path], dtype="bool")
            self._before[path] = variable.constraint
            # Not a product: that makes -0.0 of negative numbers, and two kinds of zero do not
            # compress.
            variable.constraint = lambda value, mask=mask: ops.where(mask, value, 0.0)
            variable.assign(variable.constraint(variable))

    def __exit__(self, *_: Any) -> None:
        for path, variable in self._variables.items():
            variable.constraint = self._before[path]
