"""Trace recurrent layers without cuDNN, so that a model exported anywhere runs anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras


@contextmanager
def without_cudnn(model: keras.Model) -> Iterator[None]:
    """Every recurrent layer of `model`, however deep, has use_cudnn=False inside the block.

    With use_cudnn="auto" Keras decides while it traces (keras/src/backend/tensorflow/rnn.py,
    `cudnn_ok`): on a machine that has a GPU, LSTM and GRU become the op CudnnRNNV3, which has no
    CPU kernel, so the SavedModel fails on every server without one; on a machine without a GPU
    they become a while loop. An export must not depend on where it was made.
    """
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "use_cudnn")]
    before = [layer.use_cudnn for layer in layers]
    try:
        for layer in layers:
            layer.use_cudnn = False
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.use_cudnn = value


def check_stateless(model: keras.Model) -> None:
    """InvalidOption for a layer that would carry one request's state into the next."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            raise InvalidOption(
                f"Layer {layer.name!r} of model {model.name!r} is stateful, so one request's "
                "answer would depend on the last one: build it with stateful=False and export."
            )
