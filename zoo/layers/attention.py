"""Attention without weights of its own, so that its keys and values may come from a cache.

Queries, keys and values are made by Dense layers that stand before it in the model by name. A
decoding step then calls the very same layers and puts older keys and values beside the new ones.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

MASKED = -1e9  # added to a score that must not count; finite, so that no row turns into NaN


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    class CausalMask(keras.layers.Layer):
        """True where a step may look: at itself and earlier steps that are not padding.

        int `(batch, steps)` → bool `(batch, steps, steps)`, `mask[b, query, key]`.

        Vaswani et al., "Attention Is All You Need", 2017, section 3.2.3.
        """

        def call(self, tokens):
            position = ops.cumsum(ops.ones_like(tokens), axis=1)
            earlier = ops.expand_dims(position, 1) <= ops.expand_dims(position, 2)  # (B, T, T)
            return ops.logical_and(earlier, ops.expand_dims(ops.not_equal(tokens, 0), 1))

        def compute_output_shape(self, shape):
            return (*shape, shape[-1])

        def compute_output_spec(self, tokens):
            return keras.KerasTensor((*tokens.shape, tokens.shape[-1]), dtype="bool")

    class DotProductAttention(keras.layers.Layer):
        """softmax(Q Kᵀ / √d) V in each head; heads are equal slices of the last axis.

        query float `(batch, steps, width)`, key and value float `(batch, others, width)`, mask
        bool `(batch, others)` or `(batch, steps, others)` → float `(batch, steps, width)`. A step
        whose mask is False everywhere gets the mean of all values.

        Args:
            num_heads: heads; they divide the width.
            dropout: rate for the attention weights.

        Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
        """

        def __init__(self, num_heads, dropout=0.0, **options):
            super().__init__(**options)
            self.num_heads, self.rate = num_heads, dropout
            self.dropout = keras.layers.Dropout(dropout)

        def call(self, query, key, value, mask, training=False):
            size = query.shape[-1] // self.num_heads
            query, key, value = (self._heads(x, size) for x in (query, key, value))
            # The weights are float32 in every precision: float16 has no number like MASKED.
            scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", query * size**-0.5, key), "float32")
            mask = ops.expand_dims(mask, 1)
            mask = ops.expand_dims(mask, 1) if len(mask.shape) == 3 else mask  # (B, 1, ?, K)
            scores = scores + (1.0 - ops.cast(mask, "float32")) * MASKED
            weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)  # (B, H, Q, K)
            weights = self.dropout(weights, training=training)
            attended = ops.einsum("bhqk,bkhd->bqhd", weights, value)
            shape = ops.shape(attended)
            return ops.reshape(attended, (shape[0], shape[1], size * self.num_heads))

        def _heads(self, x, size):
            shape = ops.shape(x)
            return ops.reshape(x, (shape[0], shape[1], self.num_heads, size))

        def build(self, query_shape, key_shape=None, value_shape=None, mask_shape=None):
            self.built = True

        def compute_output_shape(self, query_shape, *_):
            return query_shape

        def compute_output_spec(self, query, key, value, mask, training=False):
            return keras.KerasTensor(query.shape, dtype=self.compute_dtype)

        def get_config(self):
            own = {"num_heads": self.num_heads, "dropout": self.rate}
            return {**super().get_config(), **own}

    return {"CausalMask": CausalMask, "DotProductAttention": DotProductAttention}
