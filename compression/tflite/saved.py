"""The SavedModel that the TFLite converter reads: one signature, nothing it cannot convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compression.errors import NotApplicable
from compression.tflite.layers import NEVER, lean_layers
from compression.tflite.recurrent import needs_unrolling, recurrent_layers, simple_loops

if TYPE_CHECKING:
    import keras


def write(model: keras.Model, folder: Path, longest: int, *, never: float = NEVER) -> None:
    """Write `model` with the signature `serving_default` of zoo.export, in lean operations.

    Args:
        longest: the most steps that a recurrent layer is unrolled for which recurrent.py has no
            loop.
        never: added to the scores that attention must not count.

    Raises:
        NotApplicable: such a layer over more steps, or over a free number of them.
        InvalidOption: a model that cannot be exported at all.
    """
    import tensorflow as tf

    from zoo.export import signatures

    _check_steps(model, longest)
    with simple_loops(model), lean_layers(model, never=never):
        module, functions = signatures.build(model, None)
        tf.saved_model.save(module, str(folder), signatures=functions)


def _check_steps(model: keras.Model, longest: int) -> None:
    layers = [layer for layer in recurrent_layers(model) if needs_unrolling(layer)]
    if not layers:
        return
    sizes = [tensor.shape[1] for tensor in model.inputs if len(tensor.shape) > 1]
    if None not in sizes and max(sizes, default=0) <= longest:
        return
    given = "a free number of" if None in sizes else str(max(sizes))
    raise NotApplicable(
        f"Layer {layers[0].name!r} of {model.name} reads {given} steps and TFLite takes recurrent "
        f"layers unrolled, up to {longest} of them: build it for shorter sequences, or keep the "
        "SavedModel."
    )
