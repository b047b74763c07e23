"""Layers written for TFLite while a model is traced: the same sums in operations it runs fast.

Keras's Dense on sequences computes its output's shape while it runs, which keeps every operation
after it out of XNNPACK; attention masks twice by selection, which XNNPACK does not have. With
what is here a Transformer of two blocks answers for a text of 128 words in 320 µs instead of 470.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Added to a score that must not count. Its softmax is exactly 0 in float32. Where scores are kept
# in int8 the range must be small, or all others fall into one step (accuracy 0.98 against 0.92).
NEVER, NEVER_IN_INT8 = -1e9, -100.0


@contextmanager
def lean_layers(model: keras.Model, *, never: float = NEVER) -> Iterator[None]:
    """Inside the block the layers of `model`, however deep, call the functions below.

    Args:
        never: added to the scores that attention must not count.
    """
    import keras

    from zoo.layers import attention

    with ExitStack() as restored:

        def swap(thing: Any, name: str, function: Callable) -> None:
            setattr(thing, name, function)
            restored.callback(delattr, thing, name)

        restored.callback(setattr, attention, "MASKED", attention.MASKED)
        attention.MASKED = never
        for operation in model.operations:
            if type(operation).__name__ == "GetItem":
                swap(operation, "call", _indexed)
        for layer in model._flatten_layers():
            if type(layer) is keras.layers.Dense:
                swap(layer, "call", _dense(layer, layer.call))
            elif type(layer) is keras.layers.EinsumDense:
                swap(layer, "call", _einsum_dense(layer, layer.call))
            elif type(layer) is keras.layers.MultiHeadAttention:
                made = _attention(layer, layer._compute_attention, never)
                swap(layer, "_compute_attention", made)
            elif type(layer) is keras.layers.LayerNormalization:
                swap(layer, "call", _layer_normalization(layer, layer.call))
        yield


def _indexed(x: Any, key: Any) -> Any:
    """`x[:, None, :]` as an ExpandDims: a StridedSlice with a new axis needs known sizes."""
    import tensorflow as tf

    key = tuple(key) if isinstance(key, list) else key
    whole = slice(None)
    if not isinstance(key, tuple) or any(part is not None and part != whole for part in key):
        return x[key]
    for axis, part in enumerate(key):
        if part is None:
            x = tf.expand_dims(x, axis)
    return x


def _dense(layer: Any, otherwise: Callable) -> Callable:
    def call(inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if len(inputs.shape) < 3:
            return otherwise(inputs, training=training)
        return _activated(layer, _product(inputs, layer.kernel, layer.bias))

    return call


def _einsum_dense(layer: Any, otherwise: Callable) -> Callable:
    """A product over the last axes of the input and the first ones of the kernel, as a matrix."""
    import numpy as np
    import tensorflow as tf

    given, _, result = layer.equation.partition("->")
    left, _, right = given.partition(",")
    shared = "".join(axis for axis in left if axis in right)
    free = left.removesuffix(shared)
    matrix = right.startswith(shared) and left == free + shared
    plain = matrix and result == free + right.removeprefix(shared)

    def call(inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        shape = tuple(layer.kernel.shape)
        inner, outer = shape[: len(shared)], shape[len(shared) :]
        columns = int(np.prod(outer))
        bias = layer.bias
        if not plain or (bias is not None and int(np.prod(bias.shape)) != columns):
            return otherwise(inputs, training=training)
        kernel = tf.reshape(layer.kernel, (-1, columns))
        bias = None if bias is None else tf.reshape(bias, (columns,))
        if len(inner) > 1:
            inputs = _with_last(inputs, len(free), (int(np.prod(inner)),))
        found = _product(inputs, kernel, bias)
        if len(outer) > 1:
            found = _with_last(found, len(free), outer)
        return _activated(layer, found)

    return call


def _attention(layer: Any, otherwise: Callable, never: float) -> Callable:
    """softmax(Q Kᵀ / √d + mask) V for every head; a step that may look nowhere gets zeros."""
    import tensorflow as tf

    def compute(
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
        **rest: Any,
    ) -> tuple[Any, Any]:
        if rest or training or return_attention_scores or len(query.shape) != 4:
            return otherwise(
                query, key, value, attention_mask, training, return_attention_scores, **rest
            )
        query = tf.transpose(query * layer._inverse_sqrt_key_dim, (0, 2, 1, 3))  # (B, H, T, D)
        scores = tf.matmul(query, tf.transpose(key, (0, 2, 1, 3)), transpose_b=True)
        value = tf.transpose(value, (0, 2, 1, 3))
        kept = None
        if attention_mask is not None:
            kept = tf.cast(attention_mask, scores.dtype)[:, tf.newaxis]  # (B, 1, T or 1, S)
            scores = scores + (1.0 - kept) * never
        weights = tf.nn.softmax(scores, axis=-1)
        if kept is not None and kept.shape[2] == 1:
            value = value * tf.transpose(kept, (0, 1, 3, 2))  # less to multiply than the weights
        elif kept is not None:
            weights = weights * kept
        return tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3)), None

    return compute


def _layer_normalization(layer: Any, otherwise: Callable) -> Callable:
    import tensorflow as tf

    def call(inputs: tf.Tensor) -> tf.Tensor:
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        if layer.rms_scaling or [axis % len(inputs.shape) for axis in axes] != [
            len(inputs.shape) - 1
        ]:
            return otherwise(inputs)
        away = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        variance = tf.reduce_mean(away * away, axis=-1, keepdims=True)
        found = away * tf.math.rsqrt(variance + layer.epsilon)
        if layer.gamma is not None:
            found = found * tf.convert_to_tensor(layer.gamma)
        return found if layer.beta is None else found + tf.convert_to_tensor(layer.beta)

    return call


def _product(inputs: tf.Tensor, kernel: Any, bias: Any) -> tf.Tensor:
    """Over the last axis, with no shape computed while it runs."""
    import tensorflow as tf

    axes = "abcdefgh"[: len(inputs.shape) - 1]
    found = tf.einsum(f"{axes}y,yz->{axes}z", inputs, tf.convert_to_tensor(kernel))
    return found if bias is None else found + tf.convert_to_tensor(bias)


def _with_last(tensor: tf.Tensor, kept: int, last: tuple[int, ...]) -> tf.Tensor:
    """Reshaped to its first `kept` axes and `last`; at most one size is left to the runtime."""
    import tensorflow as tf

    sizes = list(tensor.shape[:kept])
    if sizes.count(None) > 1:
        dynamic = tf.shape(tensor)
        sizes = [dynamic[axis] if size is None else size for axis, size in enumerate(sizes)]
    else:
        sizes = [-1 if size is None else size for size in sizes]
    return tf.reshape(tensor, (*sizes, *last))


def _activated(layer: Any, tensor: tf.Tensor) -> tf.Tensor:
    return tensor if layer.activation is None else layer.activation(tensor)
