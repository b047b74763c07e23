"""Layers that make padding masks and use them."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    class PaddingMask(keras.layers.Layer):
        """True where a step is not padding: a token id, or a vector of zeros only, is 0.

        int `(batch, steps)`, or float `(batch, steps, features)` → bool `(batch, steps)`.
        """

        def call(self, x):
            kept = ops.not_equal(x, 0)
            return kept if len(x.shape) == 2 else ops.any(kept, axis=-1)

        def compute_output_shape(self, shape):
            return shape[:2]

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape[:2], dtype="bool")

    class MaskedMean(keras.layers.Layer):
        """Mean over the steps that a mask keeps; zeros where it keeps none.

        float `(batch, steps, width)`, bool `(batch, steps)` → float `(batch, width)`. Keras's
        GlobalAveragePooling1D divides by zero where a text has no token at all.
        """

        def call(self, values, keep):
            weight = ops.expand_dims(ops.cast(keep, values.dtype), -1)  # (B, T, 1)
            count = ops.sum(weight, axis=1)  # (B, 1)
            return ops.sum(values * weight, axis=1) / ops.maximum(count, 1.0)

        def compute_mask(self, *_):
            return None  # the steps end here

        def compute_output_shape(self, shape, *_):
            return shape[0], shape[-1]

    return {"PaddingMask": PaddingMask, "MaskedMean": MaskedMean}
