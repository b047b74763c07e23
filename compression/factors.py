"""Thin factors of a matrix, of the lowest rank within an error; weighed by a layer's inputs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from compression.subject import Subject

EXAMPLES = 256  # of the training split, from which the weighting is measured
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
    x = _inputs(subject, layer)
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


def _inputs(subject: Subject, layer: Any) -> np.ndarray:
    """What a layer is given: `(rows, inputs)`, patches for a convolution."""
    import keras

    split = subject.dataset.train
    rng = np.random.default_rng(subject.seed)
    if type(layer).__name__ == "Embedding":
        chosen = np.arange(len(split))  # counting costs nothing
    else:
        chosen = np.sort(rng.permutation(len(split))[:EXAMPLES])
    x = keras.tree.map_structure(lambda array: array[chosen], split.x)
    tensors = _tensors(subject.model, layer)
    reader = keras.Model(subject.model.inputs, tensors)
    rows = []
    for value in reader.predict(x, batch_size=32, verbose=0):
        if type(layer).__name__ == "Conv2D":
            value = keras.ops.convert_to_numpy(_patches(layer, value))
        value = value.reshape(-1, value.shape[-1])
        rows.append(value[rng.permutation(len(value))[:ROWS]] if value.ndim > 1 else value)
    return np.concatenate(rows)


def _tensors(model: keras.Model, layer: Any) -> list[Any]:
    """The input of each call of a layer within the model."""
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    return [node.input_tensors[0] for node in nodes if node.operation is layer]


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
