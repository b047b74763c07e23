"""Masks of weight matrices: the smallest weights, 2 of every 4, or whole blocks.

Numpy alone, so that the same masks serve where tfmot refuses a layer and where there is no tfmot.
A mask is a bool array of the weight's shape, True where the weight stays.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras

# Names of the variables that are matrices of a linear map or a table of vectors. Biases, norms and
# trained positions are too small and too sensitive to be worth a mask.
MATRICES = ("kernel", "recurrent_kernel", "embeddings", "matrix")
_BLOCK = re.compile(r"block:([1-9]\d*)x([1-9]\d*)")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Which weights go together: `unstructured`, `2:4`, or blocks of `(rows, columns)`."""

    text: str
    block: tuple[int, int] = (1, 1)

    @property
    def two_of_four(self) -> bool:
        return self.text == "2:4"


def parse(text: str) -> Pattern:
    """A pattern by its name: `unstructured`, `2:4`, or `block:RxC` such as `block:4x4`.

    Raises:
        InvalidOption: none of these.
    """
    if text in ("unstructured", "2:4"):
        return Pattern(text)
    found = _BLOCK.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidOption(
            f"Unknown pattern {text!r}: choose unstructured, 2:4 or block:RxC such as block:4x4."
        )
    return Pattern(text, (int(found[1]), int(found[2])))


def targets(model: keras.Model, layers: Iterable[str]) -> dict[str, list[int]]:
    """Layer → positions of its matrices in `model.weights`, for the layers that match a pattern.

    Args:
        model: Keras 3.
        layers: shell patterns of layer names; a single string is one pattern.

    Raises:
        InvalidOption: a pattern that matches no layer, or none with a matrix.
    """
    matrices = with_matrices(model)
    found: dict[str, list[int]] = {}
    for pattern in [layers] if isinstance(layers, str) else layers:
        names = fnmatch.filter(matrices, pattern)
        if not names:
            raise InvalidOption(
                f"No layer of {model.name} with a weight matrix matches {pattern!r}: choose from "
                f"{', '.join(matrices)}."
            )
        found.update((name, matrices[name]) for name in names)
    if not found:
        raise InvalidOption("No layers were chosen: give at least one pattern, such as '*'.")
    return {name: matrices[name] for name in matrices if name in found}


def with_matrices(model: keras.Model) -> dict[str, list[int]]:
    """Layer → positions of its matrices in `model.weights`; layers without any are left out."""
    position = {id(variable): index for index, variable in enumerate(model.weights)}
    found = {}
    for layer in model.layers:
        mine = [v for v in layer.trainable_weights if v.path.rsplit("/", 1)[-1] in MATRICES]
        if mine:
            found[layer.name] = [position[id(variable)] for variable in mine]
    return found


def input_axis(path: str, rank: int) -> int:
    """Which axis of a matrix counts inputs: the last but one, as tfmot takes them.

    Only the query, key and value kernels of a MultiHeadAttention are `(inputs, heads, size)`.
    """
    return 0 if rank == 3 and "attention_output" not in path else -2


def make(weight: np.ndarray, pattern: Pattern, sparsity: float, inputs: int = -2) -> np.ndarray:
    """The mask of a weight: bool of its shape, with about `sparsity` of it False.

    Args:
        weight: float, two axes or more.
        pattern: what goes together.
        sparsity: share of weights to lose; 2:4 takes half whatever it is.
        inputs: see `input_axis`.
    """
    if pattern.two_of_four:
        return two_of_four(weight, inputs)
    if pattern.block == (1, 1):
        return largest(np.abs(weight), sparsity)
    return blocks(weight, sparsity, pattern.block, inputs)


def largest(size: np.ndarray, sparsity: float) -> np.ndarray:
    """True at the largest entries: all but `sparsity` of them, at least one; ties by position."""
    kept = max(1, round(size.size * (1.0 - sparsity)))
    mask = np.zeros(size.size, bool)
    mask[np.argsort(-size, axis=None, kind="stable")[:kept]] = True
    return mask.reshape(size.shape)


def two_of_four(weight: np.ndarray, inputs: int = -2) -> np.ndarray:
    """The two largest of every four weights along the inputs (Mishra et al., 2021).

    Where four do not divide the inputs, two of the rest stay.
    """
    size = np.moveaxis(np.abs(weight), inputs, -1)  # (..., inputs)
    count = size.shape[-1]
    size = np.pad(size, [(0, 0)] * (size.ndim - 1) + [(0, -count % 4)], constant_values=-1.0)
    groups = size.reshape(*size.shape[:-1], -1, 4)
    rank = np.argsort(np.argsort(-groups, axis=-1, kind="stable"), axis=-1, kind="stable")
    mask = (rank < 2).reshape(size.shape)[..., :count]
    return np.moveaxis(mask, -1, inputs)


def blocks(
    weight: np.ndarray, sparsity: float, block: tuple[int, int], inputs: int = -2
) -> np.ndarray:
    """Whole blocks of the weight as a matrix `(inputs, outputs)`, by mean magnitude."""
    rows = weight.shape[0] if inputs == 0 else -1
    matrix = np.abs(weight).reshape(rows, -1 if inputs == 0 else weight.shape[-1])
    (rows, columns), (high, wide) = matrix.shape, block
    padded = np.pad(matrix, ((0, -rows % high), (0, -columns % wide)))
    ones = np.pad(np.ones_like(matrix), ((0, -rows % high), (0, -columns % wide)))

    def pooled(values: np.ndarray) -> np.ndarray:
        shape = (values.shape[0] // high, high, values.shape[1] // wide, wide)
        return values.reshape(shape).sum(axis=(1, 3))

    kept = largest(pooled(padded) / pooled(ones), sparsity)
    mask = np.repeat(np.repeat(kept, high, axis=0), wide, axis=1)[:rows, :columns]
    return mask.reshape(weight.shape)


def keeps_two_of_four(weight: np.ndarray, inputs: int = -2) -> bool:
    """Whether no four neighbours along the inputs have more than two that are not zero."""
    used = np.moveaxis(np.asarray(weight) != 0, inputs, -1)
    used = np.pad(used, [(0, 0)] * (used.ndim - 1) + [(0, -used.shape[-1] % 4)])
    return bool((used.reshape(-1, 4).sum(axis=1) <= 2).all())


def zeros(weights: Mapping[str, Any] | Sequence[Any]) -> float:
    """Share of the entries of all these arrays that are zero."""
    arrays = list(weights.values()) if isinstance(weights, Mapping) else list(weights)
    count = sum(array.size for array in arrays)
    return sum(int((array == 0).sum()) for array in arrays) / count if count else 0.0
