"""The SavedModel that the TFLite converter reads: one signature, nothing it cannot convert."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.errors import NotApplicable
from compression.tflite.recurrent import needs_unrolling, recurrent_layers, simple_loops

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

    _check_steps(model, longest)
    with simple_loops(model), _plain_indexing(model):
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


@contextmanager
def _plain_indexing(model: keras.Model) -> Iterator[None]:
    """Inside the block `x[:, None, :]` of the model is an ExpandDims.

    As a StridedSlice with a new axis the converter takes it only where all sizes are known.
    """
    with ExitStack() as restored:
        for operation in model.operations:
            if type(operation).__name__ == "GetItem":
                operation.call = _indexed
                restored.callback(delattr, operation, "call")
        yield


def _indexed(x: Any, key: Any) -> Any:
    import tensorflow as tf

    key = tuple(key) if isinstance(key, list) else key
    whole = slice(None)
    if not isinstance(key, tuple) or any(part not in (None, whole) for part in key):
        return x[key]
    for axis, part in enumerate(key):
        if part is None:
            x = tf.expand_dims(x, axis)
    return x
