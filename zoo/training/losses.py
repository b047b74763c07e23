"""Losses and metrics that Keras has no ready form of.

The token ones take targets int `(batch, steps)`, 0 where there is nothing to predict, and logits
float `(batch, steps, vocabulary)`; they are means over the tokens that count.
"""

from __future__ import annotations

import keras
from keras import ops

IGNORED = 0  # the padding id


@keras.saving.register_keras_serializable(package="zoo")
class ClassCrossEntropy(keras.losses.Loss):
    """Cross-entropy of probabilities, against class numbers or against soft labels.

    Targets int `(batch,)`, or float `(batch, classes)` as MixUp makes them; outputs float
    `(batch, classes)`. With label smoothing e a class number stands for 1 - e on that class and
    e / classes on every one (Szegedy et al., 2016).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, targets, outputs):
        if targets.ndim != outputs.ndim:
            if not self.label_smoothing:
                return keras.losses.sparse_categorical_crossentropy(targets, outputs)
            targets = ops.one_hot(ops.cast(targets, "int32"), outputs.shape[-1])
        return keras.losses.categorical_crossentropy(
            targets, outputs, label_smoothing=self.label_smoothing
        )

    def get_config(self) -> dict:
        return {"label_smoothing": self.label_smoothing, "name": self.name}


@keras.saving.register_keras_serializable(package="zoo")
class ClassAccuracy(keras.metrics.Mean):
    """Fraction of examples whose likeliest class is the target's (the largest of soft labels)."""

    def __init__(self, name: str = "accuracy", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, targets, outputs, sample_weight=None):
        if targets.ndim == outputs.ndim:
            targets = ops.argmax(targets, axis=-1)
        found = ops.argmax(outputs, axis=-1)
        super().update_state(ops.equal(ops.cast(targets, found.dtype), found), sample_weight)


@keras.saving.register_keras_serializable(package="zoo")
class TokenCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy a token, in nats, with label smoothing (Vaswani et al., 2017, 5.4).

    Args:
        label_smoothing: share of a target that is spread over the vocabulary.
        tokens: how many targets an example has on average. The batch's sum is then divided by
            what a batch has of them on average, not by its own: where batches hold examples of
            like length, a token of a long one otherwise counts for a fraction of a short one's.
        name: of the loss.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        tokens: float | None = None,
        name: str = "token_cross_entropy",
    ):
        super().__init__(name=name)
        self.label_smoothing, self.tokens = label_smoothing, tokens

    def call(self, targets, logits):
        if self.label_smoothing:
            # Backends fuse this with its gradient: two thirds of the time of the mean of all
            # -log p beside the sparse form.
            classes = logits.shape[-1]
            wanted = ops.one_hot(ops.cast(targets, "int32"), classes, dtype=logits.dtype)
            wanted = wanted * (1 - self.label_smoothing) + self.label_smoothing / classes
            losses = ops.categorical_crossentropy(wanted, logits, from_logits=True)
        else:
            losses = token_losses(targets, logits)
        keep = _counted(targets, losses.dtype)
        total = ops.sum(losses * keep)
        if self.tokens is None:
            return total / ops.maximum(ops.sum(keep), 1.0)
        return total / (ops.cast(ops.shape(targets)[0], total.dtype) * self.tokens)

    def get_config(self) -> dict:
        return {"label_smoothing": self.label_smoothing, "tokens": self.tokens, "name": self.name}


@keras.saving.register_keras_serializable(package="zoo")
class TokenLoss(keras.metrics.Mean):
    """Mean cross-entropy a token, in nats, without smoothing; e to it is the perplexity."""

    def __init__(self, name: str = "token_loss", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, targets, logits, sample_weight=None):
        losses = token_losses(targets, logits)
        super().update_state(*_flat(losses, _counted(targets, losses.dtype)))


@keras.saving.register_keras_serializable(package="zoo")
class TokenAccuracy(keras.metrics.Mean):
    """Fraction of tokens that the logits rank first, each after the true tokens before it."""

    def __init__(self, name: str = "accuracy", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, targets, logits, sample_weight=None):
        found = ops.argmax(logits, axis=-1)
        right = ops.cast(ops.equal(ops.cast(targets, found.dtype), found), "float32")
        super().update_state(*_flat(right, _counted(targets, "float32")))


def token_losses(targets, logits):
    """-log p of every target: float `(batch, steps)`, without regard to padding."""
    return ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)


def _flat(values, weights):
    """In one axis: Keras's Mean would first take means over steps, and batches differ in those."""
    return ops.reshape(values, (-1,)), ops.reshape(weights, (-1,))


def _counted(targets, dtype):
    return ops.cast(ops.not_equal(targets, IGNORED), dtype)
