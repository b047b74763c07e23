"""The arrays of a batch: those of its requests made into one, and taken apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.config.batching import Batching
from serving.server.status import invalid
from serving.server.steps import Outputs

MOST_PADDED_DIMENSIONS = 6  # of TensorFlow's Pad


def merged(arrays: Sequence[np.ndarray], padding: int, parameters: Batching) -> np.ndarray:
    """One array of all rows, with `padding` more: copies of a row are sure to be valid input."""
    if parameters.pad_variable_length:
        arrays = _equally_long(arrays)
    if padding:
        arrays = [*arrays, np.repeat(arrays[-1][:1], padding, axis=0)]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _equally_long(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Fill up every dimension but the first with each array's own first value."""
    if arrays[0].ndim > MOST_PADDED_DIMENSIONS:
        raise invalid("Only tensors with rank from 1 to 6 can be padded.")
    largest = np.max([array.shape for array in arrays], axis=0)
    found = []
    for array in arrays:
        if array.shape[1:] == tuple(largest[1:]):
            found.append(array)
            continue
        if not array.size:
            raise invalid("Got empty tensor in batch of non-empty tensors.")
        wide = np.full((len(array), *largest[1:]), array.flat[0], array.dtype)
        wide[tuple(slice(size) for size in array.shape)] = array
        found.append(wide)
    return found


def split(outputs: Mapping[str, np.ndarray], sizes: Sequence[int]) -> list[Outputs]:
    """The outputs of each request, of these numbers of rows; rows that are left are padding."""
    found, start = [], 0
    for size in sizes:
        found.append({name: array[start : start + size] for name, array in outputs.items()})
        start += size
    return found
