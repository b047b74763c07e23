"""Models that end in logits where the zoo's end in probabilities, with the same weights."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.datasets import Task

SMALLEST = 1e-7


def logits_view(model: keras.Model, task: Task) -> keras.Model:
    """The model up to its logits: float `(batch, classes)`, or per step as it is for token tasks.

    A sigmoid's logit z gives two columns, 0 and z, whose softmax are the two probabilities. Where
    the last layer is not dense, the logits are the logarithms of the probabilities, which have
    the same softmax.
    """
    if task.predicts_tokens:
        return model
    head = _dense_head(model)
    if head is not None:
        logits = HeadLogits(head, name=f"{head.name}_logits")(head.input)
    else:
        logits = LogProbabilities(name="log_probabilities")(model.output)
    return keras.Model(model.inputs, logits, name=f"{model.name}_logits")


def _dense_head(model: keras.Model) -> Any:
    """The layer that gives the output, if it is a dense one with a softmax or a sigmoid."""
    layer = next((layer for layer in model.layers if layer.name == model.output_names[0]), None)
    if type(layer) is not keras.layers.Dense or layer.output is not model.output:
        return None
    ends = (keras.activations.softmax, keras.activations.sigmoid)
    return layer if layer.activation in ends else None


class HeadLogits(keras.layers.Layer):
    """A dense layer's weights without its activation."""

    def __init__(self, head: keras.layers.Dense, **rest: Any):
        super().__init__(**rest)
        self.head = head

    def call(self, x):
        logits = ops.matmul(x, self.head.kernel)
        if self.head.bias is not None:
            logits = logits + self.head.bias
        return _columns(logits)


class LogProbabilities(keras.layers.Layer):
    """log p, of both classes where the model gives one probability."""

    def call(self, p):
        if p.shape[-1] == 1:
            p = ops.concatenate([1 - p, p], axis=-1)
        return ops.log(ops.clip(p, SMALLEST, 1.0))


def _columns(logits):
    if logits.shape[-1] > 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
