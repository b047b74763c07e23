"""The SavedModel that the TFLite converter reads: one signature, recurrent layers unrolled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compression.errors import NotApplicable

if TYPE_CHECKING:
    import keras


def write(model: keras.Model, folder: Path, longest: int) -> None:
    """Write `model` with the signature `serving_default` of zoo.export, its loops unrolled.

    The converter cannot make a loop over a batch of free size (`'tf.TensorListReserve' op
    requires element_shape to be static`), so each step becomes operations of its own.

    Args:
        longest: the most steps that are unrolled.

    Raises:
        NotApplicable: a recurrent layer over more steps, or over a free number of them.
        InvalidOption: a model that cannot be exported at all.
    """
    import tensorflow as tf

    from zoo.export import signatures

    with unrolled(model, longest):
        module, functions = signatures.build(model, None)
        tf.saved_model.save(module, str(folder), signatures=functions)


@contextmanager
def unrolled(model: keras.Model, longest: int) -> Iterator[None]:
    """Every recurrent layer of `model`, however deep, has unroll=True inside the block."""
    layers = recurrent_layers(model)
    for layer in layers:
        _check_steps(model, layer, longest)
    before = [layer.unroll for layer in layers]
    try:
        for layer in layers:
            layer.unroll = True
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.unroll = value


def recurrent_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """SimpleRNN, LSTM, GRU and RNN layers, those inside Bidirectional included."""
    return [layer for layer in model._flatten_layers() if hasattr(layer, "unroll")]


def _check_steps(model: keras.Model, layer: keras.layers.Layer, longest: int) -> None:
    steps = max(
        (tensor.shape[1] or 0 for tensor in model.inputs if len(tensor.shape) > 1), default=0
    )
    free = any(len(tensor.shape) > 1 and tensor.shape[1] is None for tensor in model.inputs)
    if not free and steps <= longest:
        return
    given = "a free number of" if free else str(steps)
    raise NotApplicable(
        f"Layer {layer.name!r} of {model.name} reads {given} steps and TFLite takes recurrent "
        f"layers unrolled, up to {longest} of them: build it for shorter sequences, or keep the "
        "SavedModel."
    )
