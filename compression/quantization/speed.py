"""Forms that are known to be slower than float32 on this machine, before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compression import cpu
from compression.quantization.layers import ATTENTION, named

if TYPE_CHECKING:
    import keras


def expected_slower(form: str, model: keras.Model) -> str | None:
    """A sentence that says why `form` would be slower than float32 here; None where it is not.

    Rules from measurements, one for each form that they are known of: bfloat16 without AMX ran at
    0.32 (AVX512) and 0.8 (AVX512_BF16) of the speed of float32; Keras's int8 at 0.08 to 0.8 for
    one example; attention in full int8 at 0.5 for 32 examples.
    """
    if form == "bfloat16" and "amx_bf16" not in cpu.features():
        return "Without amx_bf16 this processor computes bfloat16 more slowly than float32."
    if form == "keras_int8" and named(model, ("Dense", "Conv2D")):
        return "Single examples are slower in Keras's int8 than in float32."
    if form == "int8" and named(model, ATTENTION):
        return "Attention is slower in full int8 than in float32 at large batches."
    return None
