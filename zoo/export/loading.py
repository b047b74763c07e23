"""Load a version folder and call its signatures with numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, InvalidOption, StoreError

from .store import reason

if TYPE_CHECKING:
    import numpy as np

    Signature = Callable[..., dict[str, np.ndarray]]


def load(version: Path | str) -> dict[str, Signature]:
    """Signature name → function from named arrays to named arrays.

    >>> load("store/cnn/1")["predict_bytes"](image_bytes=[png])["label"]  # doctest: +SKIP
    array([b'7'], dtype=object)

    Raises StoreError for a folder that holds no readable SavedModel. A signature raises
    InvalidOption for wrong input names, DataError for values that it cannot take.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(version))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise StoreError(f"{version} holds no readable SavedModel: {reason(error)}.") from error
    return {name: _callable(name, function, loaded) for name, function in loaded.signatures.items()}


def _callable(name: str, function: Any, owner: Any) -> Signature:
    import tensorflow as tf

    specs = dict(function.structured_input_signature[1])

    def call(**values: Any) -> dict[str, np.ndarray]:
        if values.keys() != specs.keys():
            raise InvalidOption(
                f"Signature {name!r} takes {', '.join(specs)} and was given "
                f"{', '.join(values) or 'nothing'}."
            )
        try:
            tensors = {key: tf.constant(values[key], specs[key].dtype) for key in specs}
            return {key: value.numpy() for key, value in function(**tensors).items()}
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise DataError(
                f"Signature {name!r} cannot take these values: {reason(error)}."
            ) from error

    call.__name__ = name
    call.owner = owner  # a signature holds its variables weakly
    return call
