"""Which layers of a model a form leaves as they are, and why."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from compression.quantization.forms import FormInfo

EMBEDDINGS = ("Embedding", "TiedEmbedding")
ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention", "DotProductAttention")
NORMALISATION = ("BatchNormalization", "LayerNormalization", "RMSNormalization")
TABLES = ("LearnedPositions", "Bias")


def named(model: keras.Model, kinds: Collection[str]) -> list[keras.layers.Layer]:
    """Layers of these class names, those inside other layers included."""
    return [layer for layer in model._flatten_layers() if type(layer).__name__ in kinds]


def skipped_layers(model: keras.Model, info: FormInfo) -> dict[str, str]:
    """Layer → why its weights stay as they are."""
    if info.name in ("float32", "float16", "bfloat16"):
        return {}
    found = {}
    for layer in model.layers:
        kind = type(layer).__name__
        if not layer.weights:
            continue
        if kind in NORMALISATION:
            found[layer.name] = "a few numbers for each channel stay in float32"
        elif kind in TABLES:
            found[layer.name] = "it is added, not multiplied: it stays in float32"
        elif info.name == "keras_int8" and not _has_quantize(layer):
            found[layer.name] = f"Keras cannot quantize a {kind}"
    return found


def _has_quantize(layer: keras.layers.Layer) -> bool:
    """Whether Keras's own quantize changes this layer, or one inside it."""
    import keras

    supported = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
    return any(isinstance(inner, supported) for inner in layer._flatten_layers())
