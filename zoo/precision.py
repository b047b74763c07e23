"""Mixed precision: the same model with another type of computation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """A copy of a functional model, with equal weights, that computes in another precision.

    Under a mixed precision the layers compute in 16 bits and keep their weights in float32
    (Micikevicius et al., "Mixed Precision Training", 2018). Layers that give the model's outputs
    compute in float32, since 16 bits are too few for a loss.

    Args:
        model: an uncompiled functional model.
        precision: one of `PRECISIONS`.

    Raises:
        InvalidOption: there is no such precision.
    """
    check(precision)
    return recast(model, precision)


def recast(model: keras.Model, policy: str) -> keras.Model:
    """A copy with equal weights whose layers have that dtype policy, but for the outputs' layers.

    Args:
        model: an uncompiled functional model.
        policy: a name that Keras knows, such as "bfloat16", which keeps the weights in it too.
    """
    import keras

    config = model.get_config()
    outputs = {tensor._keras_history.operation.name for tensor in model.outputs}
    for layer in config["layers"]:
        _set_policy(layer["config"], "float32" if layer["name"] in outputs else policy)
    copy = keras.Model.from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def check(precision: str) -> None:
    """Raises InvalidOption for a name that is none of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise InvalidOption(
            f"Unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}."
        )


def _set_policy(config: Any, policy: str) -> None:
    """Changes every dtype policy in a layer's configuration, layers within layers included."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            config["config"]["name"] = policy
            return
        for value in config.values():
            _set_policy(value, policy)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _set_policy(value, policy)
