"""Forms that stay SavedModels: copies of a Keras model that compute in other numbers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from compression.errors import NotApplicable

if TYPE_CHECKING:
    import keras


def in_bfloat16(model: keras.Model) -> keras.Model:
    """A copy that stores and computes in bfloat16; the layers of the outputs stay float32."""
    from zoo.precision import recast

    return recast(model, "bfloat16")


def in_keras_int8(model: keras.Model) -> keras.Model:
    """A copy after Keras's `quantize("int8")`.

    Raises:
        NotApplicable: no layer of the model can be quantized by Keras.
    """
    from compression.quantization.layers import _has_quantize
    from zoo.precision import recast

    if not any(_has_quantize(layer) for layer in model.layers):
        raise NotApplicable(
            f"{model.name} has no layer that Keras quantizes to int8: dynamic_range can take it."
        )
    copy = recast(model, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one for each layer that it leaves alone
        copy.quantize("int8")
    return copy
