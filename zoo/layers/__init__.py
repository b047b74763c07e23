"""The few layers Keras lacks, one body for Keras 3 (every backend) and for tf_keras.

`layers_for(keras)` makes their classes on a Keras namespace. `keras.models.load_model` finds them
once it has run, which `zoo.load_model` does for you.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType, SimpleNamespace

# Each has `make(keras, ops)`: name → class.
MODULES = ("masks", "positions", "embeddings", "bias", "images", "attention")


def layers_for(keras: ModuleType) -> SimpleNamespace:
    """The layer classes of this package, made on the given Keras namespace."""
    return _layers(keras.__name__)


@functools.cache
def _layers(namespace: str) -> SimpleNamespace:
    keras = importlib.import_module(namespace)
    ops = getattr(keras, "ops", None) or _tensorflow_ops(keras)
    serializable = keras.saving.register_keras_serializable(package="zoo")
    classes = {}
    for module in MODULES:
        classes.update(importlib.import_module(f"zoo.layers.{module}").make(keras, ops))
    return SimpleNamespace(**{name: serializable(layer) for name, layer in classes.items()})


def _tensorflow_ops(keras: ModuleType) -> SimpleNamespace:
    """What stands for `keras.ops` with tf_keras.

    Its `backend` holds most of the functions under the same names; TensorFlow has the others.
    """
    import tensorflow as tf

    return SimpleNamespace(
        **{
            **vars(keras.backend),
            "convert_to_tensor": tf.convert_to_tensor,
            "einsum": tf.einsum,
            "logical_and": tf.logical_and,
            "matmul": tf.matmul,
            "take": tf.gather,
        }
    )
