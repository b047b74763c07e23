"""Layers of image models."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def make(keras: ModuleType, ops: Any) -> dict[str, type]:
    """The classes of this module on a Keras namespace."""

    class ZeroChannels(keras.layers.Layer):
        """Doubles the channels with zeros: float `(batch, H, W, C)` → `(batch, H, W, 2 C)`.

        The parameter-free shortcut, option A, of He et al., "Deep Residual Learning for Image
        Recognition", 2016, section 3.3.
        """

        def call(self, x):
            return ops.concatenate([x, ops.zeros_like(x)], axis=-1)

        def compute_output_shape(self, shape):
            return *shape[:-1], 2 * shape[-1]

    class ClassToken(keras.layers.Layer):
        """Puts a trained vector before the patches: float `(batch, N, W)` → `(batch, N + 1, W)`.

        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, equation 1.
        """

        def build(self, shape):
            self.token = self.add_weight(
                name="token", shape=(1, 1, shape[-1]), initializer=keras.initializers.Zeros()
            )
            self.built = True

        def call(self, x):
            token = ops.zeros_like(x[:, :1]) + ops.cast(self.token, x.dtype)
            return ops.concatenate([token, x], axis=1)

        def compute_output_shape(self, shape):
            return shape[0], None if shape[1] is None else shape[1] + 1, shape[2]

    return {"ZeroChannels": ZeroChannels, "ClassToken": ClassToken}
