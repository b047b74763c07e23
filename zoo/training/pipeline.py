"""tf.data pipelines over arrays that are in memory.

Shuffling whole examples costs more than a small model's step. So only indices are shuffled, a
batch is one gather, and the order is a function of seed and epoch alone, which is what lets a
resumed run go on exactly as an uninterrupted one.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.datasets import Split


def training_batches(
    split: Split, batch_size: int, seed: int, epoch: tf.Variable
) -> tf.data.Dataset:
    """One shuffled epoch, the remainder that fills no batch left out.

    Args:
        split: arrays; first axis is examples.
        batch_size: examples a batch.
        seed: of the run.
        epoch: int64 scalar that is read whenever an iteration begins.

    Returns:
        `(x, y)` batches; every epoch leaves out another remainder.
    """
    count, steps = len(split.x), len(split.x) // batch_size
    x, y = _on_host(split.x), _on_host(split.y)

    def order(_):
        key = tf.stack([tf.constant(seed, tf.int64), epoch.read_value()])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(count), seed=key)
        batches = tf.reshape(shuffled[: steps * batch_size], (steps, batch_size))
        return tf.data.Dataset.from_tensor_slices(batches)

    def gather(indices):
        return tf.gather(x, indices), tf.gather(y, indices)

    batches = tf.data.Dataset.range(1).flat_map(order).map(gather)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(split: Split, batch_size: int = 512, replicas: int = 1) -> tf.data.Dataset:
    """The examples in order, cached after the first pass.

    With Keras 3 under a mirrored strategy, replicas that get unequal parts of a batch end
    evaluation with an error; so up to `replicas - 1` examples at the end are left out there.
    """
    count = len(split.x) - len(split.x) % replicas
    arrays = _on_host(split.x[:count]), _on_host(split.y[:count])
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size * replicas)
    return batches.cache().prefetch(tf.data.AUTOTUNE)


def _on_host(array: np.ndarray) -> tf.Tensor:
    with tf.device("CPU:0"):
        return tf.constant(array)
