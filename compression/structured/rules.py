"""What each kind of layer does to the units of its inputs.

A rule gets the trace, the layer and the call's arguments, and returns the units of each output, or
None where the units cannot be followed: the trace then keeps whatever goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from compression.structured.tracing import Trace

Rule = Callable[..., list[np.ndarray] | None]

ELEMENTWISE = [
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
]
GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}

_rules: dict[str, Rule] = {}


def follow(trace: Trace, layer: Any, args: tuple, kwargs: dict) -> list[np.ndarray] | None:
    """Units of a layer's outputs, None for a layer without a rule."""
    rule = _rules.get(type(layer).__name__)
    return None if rule is None else rule(trace, layer, *args, **kwargs)


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def add(function: Rule) -> Rule:
        _rules.update(dict.fromkeys(names, function))
        return function

    return add


def _elementwise(activation: Any) -> bool:
    return activation is None or getattr(activation, "__name__", "") in ELEMENTWISE


# === Layers that make units ===


@_rule("Dense", "Conv1D", "Conv2D", "Conv3D")
def _dense(trace, layer, x, **_):
    if getattr(layer, "groups", 1) != 1 or _channels_first(layer):
        return None
    units = trace.makes(layer.kernel, -1)
    trace.reads(layer.kernel, -2, trace.of(x))
    trace.ties(layer.bias, 0, units)
    if not _elementwise(layer.activation):
        trace.units.fix(units)
    trace.spaces[layer.name] = [units]
    return [units]


@_rule("Embedding")
def _embedding(trace, layer, tokens, **_):
    units = trace.makes(layer.embeddings, 1)
    trace.spaces[layer.name] = [units]
    return [units]


@_rule("TiedEmbedding")
def _tied_embedding(trace, layer, x, reverse=False, **_):
    units = trace.makes(layer.matrix, 1)
    trace.spaces[layer.name] = [units]
    if reverse:
        trace.units.merge(units, trace.of(x))
        return [trace.units.fixed(layer.vocabulary_size)]
    return [units]


@_rule("SimpleRNN", "GRU", "LSTM")
def _recurrent(trace, layer, x, initial_state=None, **_):
    if initial_state is not None or layer.return_state or layer.stateful:
        return None
    units = _cell(trace, layer, x)
    trace.spaces[layer.name] = [units]
    return [units]


@_rule("Bidirectional")
def _bidirectional(trace, layer, x, initial_state=None, **_):
    both = layer.forward_layer, layer.backward_layer
    if initial_state is not None or any(type(part).__name__ not in GATES for part in both):
        return None
    if layer.return_state or layer.stateful or layer.merge_mode is None:
        return None
    ahead, back = (_cell(trace, part, x) for part in both)
    trace.spaces[layer.name] = [ahead, back]
    if layer.merge_mode == "concat":
        return [np.concatenate([ahead, back])]
    trace.units.merge(ahead, back)
    return [ahead]


def _cell(trace, layer, x):
    """A unit is a column of every gate, and a row of the recurrent kernel."""
    cell, gates = layer.cell, GATES[type(layer).__name__]
    kernel = cell.recurrent_kernel
    units = trace.makes(kernel, 0, reads=True)
    of_gates = np.tile(units, gates)
    trace.ties(kernel, 1, of_gates)
    trace.ties(cell.kernel, 1, of_gates)
    trace.reads(cell.kernel, 0, trace.of(x))
    trace.ties(cell.bias, -1, of_gates)
    return units


# === Attention: the units are heads ===


@_rule("MultiHeadAttention")
def _multi_head_attention(trace, layer, query, value, key=None, **options):
    if options.get("return_attention_scores"):
        return None
    sources = {"query": query, "key": value if key is None else key, "value": value}
    heads = trace.makes(layer.query_dense.kernel, 1)
    for name, source in sources.items():
        dense = getattr(layer, f"{name}_dense")
        trace.reads(dense.kernel, 0, trace.of(source))
        trace.ties(dense.kernel, 1, heads)
        trace.ties(dense.bias, 0, heads)
    dense = layer.output_dense
    trace.reads(dense.kernel, 0, heads)
    units = trace.makes(dense.kernel, 2)
    trace.ties(dense.bias, 0, units)
    trace.spaces[layer.name] = [heads]
    return [units]


@_rule("DotProductAttention")
def _dot_product_attention(trace, layer, query, key, value, *_, **__):
    projected = [trace.of(x).reshape(layer.num_heads, -1) for x in (query, key, value)]
    heads = projected[0][:, :1]
    for units in projected:
        trace.units.merge(np.broadcast_to(heads, units.shape), units)
    trace.spaces[layer.name] = [heads[:, 0]]
    return [trace.of(value)]


# === Layers with a weight for each unit ===


@_rule("BatchNormalization")
def _batch_normalization(trace, layer, x, **_):
    if layer.axis not in (-1, len(x.shape) - 1):
        return None
    units = trace.of(x)
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        trace.ties(getattr(layer, name, None), 0, units)
    return [units]


@_rule("LayerNormalization")
def _layer_normalization(trace, layer, x, **_):
    units = trace.of(x)
    for name in ("gamma", "beta"):
        variable = getattr(layer, name, None)
        if variable is not None and len(variable.shape) != 1:
            return None
        trace.ties(variable, 0, units)
    trace.mixes(units)
    return [units]


@_rule("LearnedPositions")
def _learned_positions(trace, layer, x, **_):
    trace.ties(layer.table, 1, trace.of(x))
    return [trace.of(x)]


@_rule("ClassToken")
def _class_token(trace, layer, x, **_):
    trace.ties(layer.token, 2, trace.of(x))
    return [trace.of(x)]


@_rule("Bias")
def _bias(trace, layer, x, **_):
    trace.ties(layer.bias, 0, trace.of(x))
    return [trace.of(x)]


@_rule("SinusoidalPositions")
def _sinusoidal_positions(trace, layer, x, positions=None, **_):
    """A sine and its cosine stay together, so that the columns keep their order.

    The narrower model's frequencies are others, and its scale too; the embedding makes up for the
    scale.
    """
    source = x._keras_history.operation
    units = trace.of(x)
    if type(source).__name__ != "Embedding" or len(units) % 2 or positions is not None:
        return None
    trace.units.merge(units[::2], units[1::2])
    trace.mixes(units)
    trace.scaled.add(source.embeddings.path)
    return [units]


# === Layers without weights ===


@_rule(
    "AveragePooling1D", "AveragePooling2D", "Dropout", "GaussianDropout", "GaussianNoise",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "LeakyReLU", "MaskedMean", "MaxPooling1D", "MaxPooling2D", "ReLU", "SpatialDropout1D",
    "SpatialDropout2D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
)  # fmt: skip
def _same(trace, layer, x, *_, **__):
    return None if _channels_first(layer) else [trace.of(x)]


@_rule("Activation")
def _activation(trace, layer, x, **_):
    return [trace.of(x)] if _elementwise(layer.activation) else None


@_rule("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
def _merged(trace, layer, tensors, **_):
    first, *others = (trace.of(x) for x in tensors)
    if any(len(units) != len(first) for units in others):
        return None
    for units in others:
        trace.units.merge(first, units)
    return [first]


@_rule("Concatenate")
def _concatenate(trace, layer, tensors, **_):
    if layer.axis in (-1, len(tensors[0].shape) - 1):
        return [np.concatenate([trace.of(x) for x in tensors])]
    return _merged(trace, layer, tensors)


@_rule("ZeroChannels")
def _zero_channels(trace, layer, x, **_):
    units = trace.of(x)
    return [np.concatenate([units, trace.units.new(len(units))])]


@_rule("Flatten")
def _flatten(trace, layer, x, **_):
    if _channels_first(layer) or None in x.shape[1:]:
        return None
    return [np.tile(trace.of(x), int(np.prod(x.shape[1:-1])))]


@_rule("Reshape")
def _reshape(trace, layer, x, **_):
    return [trace.of(x)] if layer.target_shape[-1] == x.shape[-1] else None


@_rule("GetItem")
def _get_item(trace, operation, x, key, **_):
    """Indexing that leaves the last axis alone."""
    keys = key if isinstance(key, tuple) else (key,)
    plain = all(part is None or isinstance(part, (int, slice)) for part in keys)
    used = sum(part is not None for part in keys)
    return [trace.of(x)] if plain and used < len(x.shape) else None


def _channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"
