"""Token embeddings whose matrix also gives the output's logits."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    def _leading(x):
        """Sizes of all axes but the last, as numbers where they are known."""
        sizes = ops.shape(x)
        return [size if size is not None else sizes[axis] for axis, size in enumerate(x.shape[:-1])]

    class TiedEmbedding(keras.layers.Layer):
        """One matrix E for both ends of a language model.

        `layer(tokens)`: int `(batch, steps)` → float `(batch, steps, width)`, rows of E.
        `layer(states, reverse=True)`: float `(batch, steps, width)` → float
        `(batch, steps, vocabulary)`, states Eᵀ.

        Press, Wolf, "Using the Output Embedding to Improve Language Models", 2017.
        """

        def __init__(self, vocabulary_size, width, stddev=None, **options):
            super().__init__(**options)
            self.vocabulary_size, self.width = vocabulary_size, width
            self.stddev = stddev or width**-0.5

        def build(self, shape):
            self.matrix = self.add_weight(
                name="matrix",
                shape=(self.vocabulary_size, self.width),
                initializer=keras.initializers.RandomNormal(stddev=self.stddev),
            )
            self.built = True

        def call(self, inputs, reverse=False):
            matrix = ops.cast(ops.convert_to_tensor(self.matrix), self.compute_dtype)
            if reverse:
                # One flat product: TensorFlow 2.21 broadcasts matrices slowly, and for some ranks
                # with oneDNN wrongly (tensorflow/tensorflow issue 117700).
                flat = ops.matmul(ops.reshape(inputs, (-1, self.width)), ops.transpose(matrix))
                return ops.reshape(flat, (*_leading(inputs), self.vocabulary_size))
            return ops.take(matrix, inputs, axis=0)

        def compute_output_spec(self, inputs, reverse=False):
            last = self.vocabulary_size if reverse else self.width
            return keras.KerasTensor((*inputs.shape[:2], last), dtype=self.compute_dtype)

        def get_config(self):
            own = {
                "vocabulary_size": self.vocabulary_size,
                "width": self.width,
                "stddev": self.stddev,
            }
            return {**super().get_config(), **own}

    return {"TiedEmbedding": TiedEmbedding}
