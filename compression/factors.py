"""Thin factors of a matrix, of the lowest rank within an error; weighed by a layer's inputs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from compression.subject import Subject

EXAMPLES = 256  # of the training split, of which a layer's inputs are rows at each position
FLAT = 2048  # of them, where each gives one row
CHUNK = 256  # of them at once
LARGEST_ARRAY = 50_000_000  # numbers
LARGEST = 2048  # inputs of a layer, for a moment of every pair of them
ROWS = 20_000  # of a layer's inputs among them, at most
DAMPING = 1e-3  # of the mean square: directions that no example has still count a little


@dataclasses.dataclass(frozen=True, eq=False)
class Factors:
    """What stands for a layer's matrix.

    Attributes:
        first: float32 `(inputs, rank)`.
        second: float32 `(rank, outputs)`.
        error: ‖A − first · second‖ / ‖A‖ of the matrix A that was approximated.
    """

    first: np.ndarray
    second: np.ndarray
    error: float

    @property
    def rank(self) -> int:
        """Columns of the one and rows of the other."""
        return self.first.shape[1]


def approximate(matrix: np.ndarray, error: float, root: np.ndarray | None = None) -> Factors:
    """The factors of lowest rank within the error.

    Args:
        matrix: float `(inputs, outputs)`.
        error: largest relative error in the Frobenius norm; 0 gives the full rank.
        root: symmetric root of the inputs' second moment, `(inputs, inputs)`, or its diagonal
            `(inputs,)`: the norm is then that of root · matrix. None is the matrix's own.
    """
    weight = matrix.astype("float64")
    if root is None:
        root = np.ones(len(weight))
    weighted = root @ weight if root.ndim == 2 else root[:, None] * weight
    left, values, right = np.linalg.svd(weighted, full_matrices=False)
    # tails[r] is the norm of what the first r leave out.
    tails = np.sqrt(np.append(np.cumsum(values[::-1] ** 2)[::-1], 0.0))
    whole = max(tails[0], 1e-300)
    rank = max(1, int(np.argmax(tails <= max(error, 1e-12) * whole)))
    scale = np.sqrt(values[:rank])
    first = left[:, :rank] * scale
    first = np.linalg.solve(root, first) if root.ndim == 2 else first / root[:, None]
    second = scale[:, None] * right[:rank]
    return Factors(first.astype("float32"), second.astype("float32"), float(tails[rank] / whole))


def moment_root(subject: Subject, layer: Any) -> np.ndarray:
    """Symmetric root of E[x xᵀ] over the layer's inputs x, damped; its diagonal where large.

    Returns:
        float64 `(inputs, inputs)`, or `(inputs,)` for an embedding, whose inputs are one token
        each, and for more than `LARGEST` inputs.
    """
    x = layer_inputs(subject, subject.model, layer)
    if type(layer).__name__ == "Embedding":
        counts = np.bincount(x.ravel().astype("int64"), minlength=layer.input_dim)
        return _damped(counts / counts.sum())
    if x.shape[-1] > LARGEST:
        return _damped(np.mean(np.square(x, dtype="float64"), axis=0))
    moment = x.T.astype("float64") @ x / len(x)
    values, vectors = np.linalg.eigh(moment)
    return (vectors * _damped(np.maximum(values, 0.0))) @ vectors.T


def _damped(squares: np.ndarray) -> np.ndarray:
    return np.sqrt(squares + DAMPING * max(squares.mean(), 1e-12))


def layer_inputs(subject: Subject, model: keras.Model, layer: Any) -> np.ndarray:
    """What a layer is given on training examples, those that the seed chooses.

    Args:
        subject: gives the examples.
        model: that the layer is part of; takes what the subject's model takes.
        layer: Dense, Embedding or Conv2D.

    Returns:
        `(rows, inputs)`: tokens for an embedding, patches for a convolution. Two models whose
        layers have as many rows get the same ones.
    """
    import keras

    split, rng = subject.dataset.train, np.random.default_rng(subject.seed)
    calls = calls_of(model, layer)
    chosen = np.sort(rng.permutation(len(split))[: _examples(layer, calls[0])])
    names = {tensor.name: tensor for tensor in model.inputs}
    reader = keras.Model(names if len(names) > 1 else model.inputs[0], calls)
    parts = [
        keras.tree.flatten(reader(split.inputs(chosen[start : start + CHUNK]), training=False))
        for start in range(0, len(chosen), CHUNK)
    ]
    rows = []
    for tensors in zip(*parts, strict=True):
        value = np.concatenate([keras.ops.convert_to_numpy(part) for part in tensors])
        if type(layer).__name__ == "Conv2D":
            value = keras.ops.convert_to_numpy(_patches(layer, value))
        value = value.reshape(-1, value.shape[-1])
        rows.append(value[rng.permutation(len(value))[:ROWS]])
    return np.concatenate(rows)


def calls_of(model: keras.Model, layer: Any) -> list[Any]:
    """The input of each call of a layer within the model."""
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    return [node.input_tensors[0] for node in nodes if node.operation is layer]


def _examples(layer: Any, given: Any) -> int:
    """As many as make enough rows, within bounds of time and memory."""
    if type(layer).__name__ == "Embedding":
        return 10 * FLAT
    if len(given.shape) == 2:
        return FLAT  # a row each
    sizes = [size or 1 for size in given.shape[1:]]
    if type(layer).__name__ == "Conv2D":
        sizes += layer.kernel_size
    return max(1, min(EXAMPLES, LARGEST_ARRAY // int(np.prod(sizes))))


def _patches(layer: Any, images: np.ndarray) -> Any:
    """What each output of a convolution sees: `(batch, H', W', positions · channels)`."""
    from keras import ops

    return ops.image.extract_patches(
        images,
        layer.kernel_size,
        strides=layer.strides,
        dilation_rate=layer.dilation_rate[0],
        padding=layer.padding,
        data_format="channels_last",
    )
