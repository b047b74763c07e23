"""The few layers Keras lacks, one body for Keras 3 (every backend) and for tf_keras.

`keras.models.load_model` finds them once this module's `layers_for(keras)` has run, which
`zoo.load_model` does for you.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType, SimpleNamespace

import numpy as np


def sinusoids(length: int, width: int) -> np.ndarray:
    """Position table: sine in the even columns, cosine in the odd ones.

    table[p, 2i] = sin(p / 10000^(2i / width)), table[p, 2i + 1] = cos(the same).

    Returns:
        float32 `(length, width)`.

    Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
    """
    position = np.arange(length)[:, None]
    pair = np.arange(width)[None, :] // 2
    angle = position / np.power(10000.0, 2 * pair / width)
    even = np.arange(width) % 2 == 0
    return np.where(even, np.sin(angle), np.cos(angle)).astype("float32")


def layers_for(keras: ModuleType) -> SimpleNamespace:
    """The layer classes of this module, made on the given Keras namespace."""
    return _layers(keras.__name__)


@functools.cache
def _layers(namespace: str) -> SimpleNamespace:
    keras = importlib.import_module(namespace)
    # tf_keras has no `ops`; its `backend` holds the same functions under the same names.
    ops = getattr(keras, "ops", None) or keras.backend
    serializable = keras.saving.register_keras_serializable(package="zoo")

    @serializable
    class PaddingMask(keras.layers.Layer):
        """True where a token id is not padding: int `(batch, steps)` → bool `(batch, steps)`."""

        def call(self, tokens):
            return ops.not_equal(tokens, 0)

        def compute_output_shape(self, shape):
            return shape

        def compute_output_spec(self, tokens):
            return keras.KerasTensor(tokens.shape, dtype="bool")

    @serializable
    class SinusoidalPositions(keras.layers.Layer):
        """Scales embeddings by √width and adds the position table.

        float `(batch, steps, width)` → the same shape. See `sinusoids`.
        """

        def build(self, shape):
            _, length, width = shape
            self.table = sinusoids(length, width)
            self.built = True

        def call(self, embeddings):
            scale = float(np.sqrt(self.table.shape[-1]))
            return embeddings * scale + ops.cast(self.table, embeddings.dtype)

        def compute_output_shape(self, shape):
            return shape

    @serializable
    class MaskedMean(keras.layers.Layer):
        """Mean over the steps that a mask keeps; zeros where it keeps none.

        float `(batch, steps, width)`, bool `(batch, steps)` → float `(batch, width)`. Keras's
        GlobalAveragePooling1D divides by zero where a text has no token at all.
        """

        def call(self, values, keep):
            weight = ops.expand_dims(ops.cast(keep, values.dtype), -1)  # (B, T, 1)
            count = ops.sum(weight, axis=1)  # (B, 1)
            return ops.sum(values * weight, axis=1) / ops.maximum(count, 1.0)

        def compute_output_shape(self, shape, *_):
            return shape[0], shape[-1]

    return SimpleNamespace(
        PaddingMask=PaddingMask, SinusoidalPositions=SinusoidalPositions, MaskedMean=MaskedMean
    )
