"""A bias without a kernel."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    class Bias(keras.layers.Layer):
        """Adds a trained number to every entry of the last axis; any shape, the same out.

        The output bias of a tied decoder: Devlin et al., "BERT", 2019.
        """

        def build(self, shape):
            self.bias = self.add_weight(
                name="bias", shape=(shape[-1],), initializer=keras.initializers.Zeros()
            )
            self.built = True

        def call(self, x):
            return x + ops.cast(ops.convert_to_tensor(self.bias), x.dtype)

        def compute_output_shape(self, shape):
            return shape

    return {"Bias": Bias}
