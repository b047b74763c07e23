"""tf.distribute strategies, and what of a recipe each of them can keep.

With Keras 3, MirroredStrategy equals one device to 1e-7 as long as the global batch divides by
the replicas, several steps are not fused into one call, and XLA is off; with any of these it
stops with an internal error. So recipes are adapted, and explicit wishes for them are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf

from zoo.errors import InvalidOption
from zoo.recipe import Recipe

KINDS = ("auto", "one", "mirrored")


def make_strategy(kind: str, replicas: int | None = None) -> tf.distribute.Strategy | None:
    """The strategy of a name; None is plain Keras without one.

    Args:
        kind: `auto` (mirrored over several GPUs, otherwise none), `one` or `mirrored`.
        replicas: for `mirrored`, how many; without so many GPUs the CPU is split into logical
            devices. Default: every GPU, or one CPU.
    """
    if kind not in KINDS:
        raise InvalidOption(f"Unknown strategy {kind!r}: choose from {', '.join(KINDS)}.")
    if replicas is not None and kind != "mirrored":
        raise InvalidOption(f"--replicas goes with --strategy mirrored, not with {kind}.")
    if replicas is not None and replicas < 1:
        raise InvalidOption(f"replicas is {replicas}: it must be at least 1.")
    if kind != "auto" and keras.backend.backend() != "tensorflow":
        raise InvalidOption(
            f"--strategy {kind} is TensorFlow's, and Keras runs on {keras.backend.backend()} here: "
            "leave it out, or set KERAS_BACKEND=tensorflow."
        )
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "auto":
        _refuse_several_workers()
        several = len(gpus) > 1 and keras.backend.backend() == "tensorflow"
        return tf.distribute.MirroredStrategy() if several else None
    if kind == "one":
        return tf.distribute.OneDeviceStrategy("/GPU:0" if gpus else "/CPU:0")
    if replicas is None:
        return tf.distribute.MirroredStrategy(None if gpus else ["/CPU:0"])
    if len(gpus) >= replicas:
        return tf.distribute.MirroredStrategy([f"/GPU:{i}" for i in range(replicas)])
    _split_cpu(replicas)
    return tf.distribute.MirroredStrategy([f"/CPU:{i}" for i in range(replicas)])


def scope(strategy: tf.distribute.Strategy | None) -> contextlib.AbstractContextManager:
    """The strategy's scope, or none."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def adapt(
    recipe: Recipe, strategy: tf.distribute.Strategy | None, explicit: Collection[str] = ()
) -> Recipe:
    """The recipe as this strategy can run it.

    Args:
        recipe: as the user asked for.
        strategy: of `make_strategy`.
        explicit: names of the fields that the user set; these are refused instead of changed.

    Raises:
        InvalidOption: a field that the strategy cannot keep.
    """
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        return recipe
    replicas = strategy.num_replicas_in_sync
    if recipe.batch_size % replicas:
        raise InvalidOption(
            f"The batch size {recipe.batch_size} does not divide by the {replicas} replicas of the "
            "mirrored strategy: choose a multiple."
        )
    if recipe.steps_per_execution > 1 and "steps_per_execution" in explicit:
        raise InvalidOption("The mirrored strategy needs steps_per_execution 1 in Keras 3.")
    if recipe.jit_compile and "jit_compile" in explicit:
        raise InvalidOption("The mirrored strategy cannot be combined with jit_compile in Keras 3.")
    return recipe.replace(steps_per_execution=1, jit_compile=False)


def model_arguments(strategy: tf.distribute.Strategy | None) -> dict[str, Any]:
    """Builder arguments with which replicas train as one device does."""
    several = strategy is not None and strategy.num_replicas_in_sync > 1
    return {"synchronized": True} if several else {}


def warnings_for(model: Any, strategy: tf.distribute.Strategy | None) -> list[str]:
    """Sentences on what makes replicas differ from training on one device."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return []
    layers = list(model._flatten_layers())
    kinds = {type(layer).__name__ for layer in layers}
    found = []
    if any("Dropout" in kind for kind in kinds) or any(
        getattr(layer, "dropout", 0) for layer in layers
    ):
        found.append(
            "Dropout draws its own numbers on each replica: weights will drift from those of a "
            "run on one device."
        )
    if any(
        type(layer).__name__ == "BatchNormalization" and not layer.synchronized for layer in layers
    ):
        found.append(
            "BatchNormalization is not synchronized: each replica normalises by its own part of "
            "the batch."
        )
    optimizer = getattr(model, "optimizer", None)
    if getattr(optimizer, "global_clipnorm", None):
        found.append("global_clipnorm clips on each replica: weights will drift.")
    return found


def _refuse_several_workers() -> None:
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    if len(cluster.get("worker", [])) > 1:
        raise InvalidOption(
            "TF_CONFIG names several workers, which zoo train does not run on: unset it, or "
            "choose --strategy one or mirrored for this machine alone."
        )


def _split_cpu(count: int) -> None:
    """Makes logical CPU devices; TensorFlow allows it only before its first operation."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or []) == count:
        return
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        raise InvalidOption(
            f"The CPU can no longer be split into {count} devices in this process: start a new one."
        ) from error
