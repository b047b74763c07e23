"""Parameters and multiply-accumulate operations of a Keras model, from its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

RECURRENT = ("SimpleRNN", "LSTM", "GRU")
# Layers with weights that only look up, add or scale: no products of matrices.
FREE = (
    "Embedding", "BatchNormalization", "LayerNormalization", "LearnedPositions", "Bias",
    "ClassToken", "RMSNormalization", "GroupNormalization",
)  # fmt: skip

Shape = tuple[int, ...]


def weights(model: keras.Model) -> dict[str, int]:
    """`parameters`, and `nonzero`: how many of them are not zero."""
    import numpy as np

    arrays = [variable.numpy() for variable in model.weights]
    return {
        "parameters": sum(array.size for array in arrays),
        "nonzero": sum(int(np.count_nonzero(array)) for array in arrays),
    }


def macs(model: keras.Model, steps: int | None = None) -> tuple[int, list[str]]:
    """Multiply-accumulate operations for one example, and layers that could not be counted.

    Products of matrices and convolutions count, sums, activations and norms do not. A recurrent
    layer counts once a step. Nothing is taken off for weights that are zero.

    Args:
        model: functional.
        steps: length of axes that the model leaves free.

    Returns:
        The number, and the names of layers with weights of a kind that is not known here.
    """
    total, unknown = 0, []
    for operation, inputs, outputs in _calls(model, steps):
        if hasattr(_graph(operation), "_nodes_by_depth"):  # a model in the model
            count, inside = macs(operation, steps)
            unknown += inside
        else:
            count = _of_layer(operation, inputs, outputs)
        if count is None:
            unknown.append(operation.name)
        total += count or 0
    return total, unknown


def _calls(
    model: keras.Model, steps: int | None
) -> Iterator[tuple[Any, Sequence[Shape], Sequence[Shape]]]:
    """Every call of a layer in the graph, with the shapes of what goes in and comes out.

    A layer that is shared comes once for each of its calls.
    """

    def shape(tensor: Any) -> Shape:
        return (1, *(steps or 1 if size is None else size for size in tensor.shape[1:]))

    for nodes in _graph(model)._nodes_by_depth.values():
        for node in nodes:
            if not node.is_input:
                yield (
                    node.operation,
                    [shape(tensor) for tensor in node.input_tensors],
                    [shape(tensor) for tensor in node.outputs],
                )


def _graph(model: Any) -> Any:
    """What holds the graph: a Sequential keeps it inside."""
    return getattr(model, "_functional", None) or model


def _of_layer(layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    """Operations of one call; None where the kind of layer is not known."""
    kind = type(layer).__name__
    if kind == "Dense":
        return math.prod(outputs[0][1:-1]) * _size(layer.kernel)
    if kind.startswith("Conv") and kind.endswith("Transpose"):
        return math.prod(inputs[0][1:-1]) * _size(layer.kernel)
    if kind.startswith(("Conv", "DepthwiseConv")):
        return math.prod(outputs[0][1:-1]) * _size(layer.kernel)
    if kind.startswith("SeparableConv"):
        kernels = _size(layer.depthwise_kernel) + _size(layer.pointwise_kernel)
        return math.prod(outputs[0][1:-1]) * kernels
    if kind in RECURRENT:
        return inputs[0][1] * (_size(layer.cell.kernel) + _size(layer.cell.recurrent_kernel))
    if kind == "Bidirectional":
        ways = (layer.forward_layer, layer.backward_layer)
        return sum(_of_layer(way, inputs, outputs) or 0 for way in ways)
    if kind in ("MultiHeadAttention", "GroupQueryAttention"):
        return _attention(layer, inputs)
    if kind == "EinsumDense":
        return _einsum(layer.equation, inputs[0], tuple(layer.kernel.shape))
    if kind == "DotProductAttention":
        query, key = inputs[:2]
        return 2 * query[1] * key[1] * query[2]
    if kind == "TiedEmbedding":
        reverse = outputs[0][-1] == layer.vocabulary_size and len(inputs[0]) == 3
        return math.prod(inputs[0][1:-1]) * _size(layer.matrix) if reverse else 0
    known = kind in FREE or not getattr(layer, "weights", None)
    return 0 if known else None


def _attention(layer: Any, inputs: Sequence[Shape]) -> int:
    """Projections of queries, keys, values and output, and the two products in every head."""
    steps, others = inputs[0][1], inputs[1][1]  # there are as many keys as values
    kernels = {
        name: _size(getattr(layer, f"_{name}_dense").kernel) for name in ("query", "key", "value")
    }
    projections = (
        steps * (kernels["query"] + _size(layer._output_dense.kernel))
        + others * (kernels["key"] + kernels["value"])
    )  # fmt: skip
    heads = layer._query_dense.kernel.shape[-2]
    sizes = (layer._query_dense.kernel.shape[-1], layer._value_dense.kernel.shape[-1])
    return projections + heads * steps * others * sum(sizes)


def _einsum(equation: str, given: Shape, kernel: Shape) -> int:
    """Product of the sizes of all letters; `...` stands for the axes in front."""
    left, _ = equation.split("->")
    first, second = left.split(",")
    sizes = dict(zip(second, kernel, strict=True))
    bare = first.replace(".", "")
    front = given[: len(given) - len(bare)]
    sizes.update(zip(bare, given[len(front) :], strict=True))
    return math.prod(sizes.values()) * math.prod(front[1:])


def _size(variable: Any) -> int:
    return math.prod(variable.shape)
