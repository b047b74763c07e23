"""Layers that make padding masks and use them."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    class PaddingMask(keras.layers.Layer):
        """True where a token id is not padding: int `(batch, steps)` → bool `(batch, steps)`."""

        def call(self, tokens):
            return ops.not_equal(tokens, 0)

        def compute_output_shape(self, shape):
            return shape

        def compute_output_spec(self, tokens):
            return keras.KerasTensor(tokens.shape, dtype="bool")

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

    return {"PaddingMask": PaddingMask, "MaskedMean": MaskedMean}
