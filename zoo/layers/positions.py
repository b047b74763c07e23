"""Layers that tell attention where in a sequence a step stands."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

LONGEST = 4096  # positions of a sinusoid table for inputs of free length


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


def longest_sequence(model: Any) -> int | None:
    """Most steps that all position layers of a model have; None if they set no bound."""
    sizes = (
        layer.max_length - getattr(layer, "offset", 0)
        for layer in model.layers
        if getattr(layer, "max_length", None)
    )
    return min(sizes, default=None)


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    def steps(x):
        """Size of axis 1: a number where it is known, else a scalar tensor."""
        return x.shape[1] if x.shape[1] is not None else ops.shape(x)[1]

    class SinusoidalPositions(keras.layers.Layer):
        """Scales embeddings by √width and adds the position table.

        float `(batch, steps, width)` → the same shape. See `sinusoids`. The number of steps may
        be free, up to `max_length`; by default it is the input's, or `LONGEST`. `positions`, int
        `(batch, steps)`, says where steps stand that do not begin the sequence.
        """

        def __init__(self, max_length=None, **options):
            super().__init__(**options)
            self.max_length = max_length

        def build(self, shape):
            _, length, width = shape
            self.table = sinusoids(self.max_length or length or LONGEST, width)
            self.built = True

        def call(self, embeddings, positions=None):
            scale = float(np.sqrt(self.table.shape[-1]))
            table = ops.cast(self.table, embeddings.dtype)
            if positions is None:
                return embeddings * scale + table[: steps(embeddings)]
            return embeddings * scale + ops.take(table, positions, axis=0)

        def compute_output_shape(self, shape, *_):
            return shape

        def get_config(self):
            return {**super().get_config(), "max_length": self.max_length}

    class LearnedPositions(keras.layers.Layer):
        """Adds a trained vector for each position: float `(batch, steps, width)`, same shape out.

        Args:
            max_length: rows of the table; a sequence may have fewer steps.
            offset: row of the first step (RoBERTa starts at 2).
            initializer: of the table, "sinusoids" for those of Vaswani et al., 2017, of the same
                size as random numbers would have: attention to the step before is then one
                rotation, which a small model learns far sooner than a vector for each position.
            stddev: root of the table's mean square at the start.

        The call's `positions`, int `(batch, steps)`, says where steps stand that do not begin the
        sequence.

        Gehring et al., "Convolutional Sequence to Sequence Learning", 2017; Devlin et al., 2019.
        """

        def __init__(self, max_length, offset=0, initializer=None, stddev=0.02, **options):
            super().__init__(**options)
            self.max_length, self.offset = max_length, offset
            self.initializer, self.stddev = initializer, stddev

        def build(self, shape):
            initializer = self.initializer or keras.initializers.RandomNormal(stddev=self.stddev)
            if initializer == "sinusoids":
                initializer = self._sinusoids
            self.table = self.add_weight(
                name="table", shape=(self.max_length, shape[-1]), initializer=initializer
            )
            self.built = True

        def _sinusoids(self, shape, dtype="float32", **_):
            table = sinusoids(*shape) * (self.stddev * 2**0.5)  # sines: a mean square of 1/2
            return ops.cast(ops.convert_to_tensor(table), dtype)

        def call(self, x, positions=None):
            table = ops.cast(ops.convert_to_tensor(self.table), x.dtype)
            if positions is not None:
                return x + ops.take(table, positions + self.offset, axis=0)
            return x + table[self.offset : self.offset + steps(x)]

        def compute_output_shape(self, shape, *_):
            return shape

        def get_config(self):
            own = {
                "max_length": self.max_length,
                "offset": self.offset,
                "initializer": self.initializer,
                "stddev": self.stddev,
            }
            return {**super().get_config(), **own}

    return {"SinusoidalPositions": SinusoidalPositions, "LearnedPositions": LearnedPositions}
