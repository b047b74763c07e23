"""The zoo's losses for tf_keras: `zoo.training.losses` in plain TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

EPSILON = 1e-7  # of probabilities, as Keras clips them


def loss_for(task: str, label_smoothing: float = 0.0, tokens: float | None = None) -> Any:
    """The loss that a model of this kind of task was trained with.

    Args:
        task: kind of a `Task`.
        label_smoothing: the recipe's.
        tokens: see `zoo.training.losses.TokenCrossEntropy`.
    """
    if task == "classification":
        return _classes(label_smoothing)
    if task == "binary":
        return tf_keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    if task == "regression":
        return tf_keras.losses.MeanSquaredError()
    return _tokens(label_smoothing, tokens)


def _classes(smoothing: float) -> Any:
    """Targets int `(batch,)`, outputs probabilities float `(batch, classes)` → `(batch,)`."""

    def cross_entropy(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        wanted = _smoothed(tf.reshape(targets, [-1]), outputs, smoothing)
        logs = tf.math.log(tf.clip_by_value(outputs, EPSILON, 1.0 - EPSILON))
        return -tf.reduce_sum(wanted * logs, axis=-1)

    return cross_entropy


def _tokens(smoothing: float, tokens: float | None) -> Any:
    """Targets int `(batch, steps)`, 0 for none, logits `(batch, steps, vocabulary)` → scalar."""

    def token_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if smoothing:
            wanted = _smoothed(targets, logits, smoothing)
            losses = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
        else:
            labels = tf.cast(targets, tf.int32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        keep = tf.cast(tf.not_equal(targets, 0), losses.dtype)
        total = tf.reduce_sum(losses * keep)
        if tokens is None:
            return total / tf.maximum(tf.reduce_sum(keep), 1.0)
        return total / (tf.cast(tf.shape(targets)[0], total.dtype) * tokens)

    return token_cross_entropy


def _smoothed(targets: tf.Tensor, outputs: tf.Tensor, smoothing: float) -> tf.Tensor:
    classes = outputs.shape[-1]
    wanted = tf.one_hot(tf.cast(targets, tf.int32), classes, dtype=outputs.dtype)
    return wanted * (1.0 - smoothing) + smoothing / classes
