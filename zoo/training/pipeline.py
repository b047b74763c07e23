"""tf.data pipelines over arrays that are in memory.

Shuffling whole examples costs more than a small model's step. So only indices are shuffled, a
batch is one gather, and the order is a function of seed and epoch alone, which is what lets a
resumed run go on exactly as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.datasets import Split

# (x, y, key) → (x, y): changes a training batch; whatever it draws, it draws from `key`.
Transform = Callable[[Any, Any, tf.Tensor], tuple[Any, Any]]

WINDOW = 256  # batches among which a bucketed epoch sorts examples by length
ROUNDING = 2  # lengths of bucketed batches are multiples of it, so that kernels meet fewer shapes
OWN_AXIS = "source"  # the one input whose steps are not those of the targets


def training_batches(
    split: Split,
    batch_size: int,
    seed: int,
    epoch: tf.Variable,
    *,
    transform: Transform | None = None,
    bucketed: bool = False,
) -> tf.data.Dataset:
    """One shuffled epoch, the remainder that fills no batch left out.

    Args:
        split: arrays; first axis is examples.
        batch_size: examples a batch.
        seed: of the run.
        epoch: int64 scalar that is read whenever an iteration begins.
        transform: changes every batch; its key, int64 `(2,)`, is another one for each batch and
            the same whenever the same seed comes to the same step.
        bucketed: the arrays are token ids that end in zeros: a batch holds examples of like
            length and leaves out the steps that are padding for all of them.

    Returns:
        `(x, y)` batches; every epoch leaves out another remainder.
    """
    count, steps = len(split), len(split) // batch_size
    arrays = _on_host(split)
    lengths = tf.constant(_lengths(split)) if bucketed else None

    def order(_):
        key = tf.stack([tf.constant(seed, tf.int64), epoch.read_value()])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(count), seed=key)
        shuffled = shuffled[: steps * batch_size]
        if bucketed:
            shuffled = _sorted_in_windows(shuffled, lengths, WINDOW * batch_size)
        batches = tf.reshape(shuffled, (steps, batch_size))
        if bucketed:
            batches = tf.random.experimental.stateless_shuffle(batches, seed=key + 1)
        first = epoch.read_value() * steps
        numbers = tf.range(first, first + steps)
        return tf.data.Dataset.from_tensor_slices((numbers, batches))

    def gather(number, indices):
        x, y = tf.nest.map_structure(lambda array: tf.gather(array, indices), arrays)
        if bucketed:
            x, y = _without_padding(x, y)
        if transform is not None:
            x, y = transform(x, y, tf.stack([tf.constant(seed, tf.int64), number]))
        return x, y

    batches = tf.data.Dataset.range(1).flat_map(order).map(gather)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    split: Split, batch_size: int = 512, replicas: int = 1, *, bucketed: bool = False
) -> tf.data.Dataset:
    """The examples in order (by length if `bucketed`), cached after the first pass.

    With Keras 3 under a mirrored strategy, replicas that get unequal parts of a batch end
    evaluation with an error; so up to `replicas - 1` examples at the end are left out there.
    """
    rows = np.argsort(_lengths(split), kind="stable") if bucketed else np.arange(len(split))
    rows = rows[: len(split) - len(split) % replicas]
    arrays = _on_host(Split(split.inputs(rows), split.y[rows]))
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size * replicas)
    if bucketed:
        batches = batches.map(_without_padding)
    return batches.cache().prefetch(tf.data.AUTOTUNE)


def _on_host(split: Split) -> tuple[Any, tf.Tensor]:
    with tf.device("CPU:0"):
        x = {name: tf.constant(array) for name, array in split.arrays().items()}
        return x.get("", x), tf.constant(split.y)


def _lengths(split: Split) -> np.ndarray:
    """What bucketing sorts by: int64 `(n,)`, first by the steps of the targets.

    Then by those of the input with its own steps: sorting by the sum of both would put a long
    source with a short target beside the reverse, and pad both.
    """
    shared, own = np.zeros(len(split), np.int64), np.zeros(len(split), np.int64)
    for name, array in split.arrays().items():
        steps = (array.shape[1] - np.argmax(array[:, ::-1] != 0, axis=1)) * np.any(array, axis=1)
        if name == OWN_AXIS:
            own = steps
        else:
            shared = np.maximum(shared, steps)
    return shared * (own.max(initial=0) + 1) + own


def _sorted_in_windows(indices: tf.Tensor, lengths: tf.Tensor, window: int) -> tf.Tensor:
    """Indices sorted by length within each run of `window` of them; equal ones keep their order."""
    longest = tf.reduce_max(lengths) + 1
    windows = tf.range(tf.size(indices, out_type=lengths.dtype)) // window
    return tf.gather(
        indices, tf.argsort(windows * longest + tf.gather(lengths, indices), stable=True)
    )


def _without_padding(x: Any, y: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Cuts off the steps at the end that hold no token in any example of the batch."""
    inputs = x if isinstance(x, dict) else {"": x}
    shared = [y, *(array for name, array in inputs.items() if name != OWN_AXIS)]
    steps = tf.reduce_max([_used(array) for array in shared])
    cut = {
        name: array[:, : (_rounded(_used(array)) if name == OWN_AXIS else _rounded(steps))]
        for name, array in inputs.items()
    }
    return (cut if isinstance(x, dict) else cut[""]), y[:, : _rounded(steps)]


def _used(tokens: tf.Tensor) -> tf.Tensor:
    """Steps up to the last one that is no padding everywhere; at least one."""
    positions = tf.range(1, tf.shape(tokens)[1] + 1)
    return tf.reduce_max(tf.where(tf.reduce_any(tokens != 0, axis=0), positions, 1))


def _rounded(steps: tf.Tensor) -> tf.Tensor:
    return -(-steps // ROUNDING) * ROUNDING
