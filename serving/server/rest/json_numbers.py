"""The fast way for most predict requests: one array of numbers, and nothing else that is long.

The array never becomes Python objects: `_numbers`, compiled on installation, reads it into a buffer
of doubles (plain_numbers does where no compiler was found). Whatever is not such a request, or not
quite right, is left to the exact way (json_parse and json_input), whose answers are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from serving.server.servable import Signature, TensorSpec

try:
    from serving.server.rest._numbers import read as read_array
except ModuleNotFoundError:  # the server says so when it starts
    from serving.server.rest.plain_numbers import read as read_array

_NAME = rb'"([A-Za-z0-9_./-]*)"'
_SIGNATURE = rb'"signature_name"\s*:\s*' + _NAME
_START = re.compile(
    rb"\s*\{\s*(?:" + _SIGNATURE + rb'\s*,\s*)?(?:"(instances)"\s*:\s*|'
    rb'"inputs"\s*:\s*(?:\{\s*' + _NAME + rb"\s*:\s*)?)(?=\[)"
)
_END = re.compile(rb"\s*(\}\s*)?(?:,\s*" + _SIGNATURE + rb"\s*)?\}\s*")
_LONGEST_END = 1024

_LARGEST_FLOAT = float(np.finfo(np.float32).max)


@dataclass(slots=True)
class Numbers:
    """A request that is one array of numbers. See `read`.

    Attributes:
        signature_name: as the request gives it, empty where it has none.
        in_rows: row format (`instances`) or column format (`inputs`).
        name: the input that the request names, None where it names none.
        shape: of the array.
        values: its doubles, in row-major order.
        largest: the greatest magnitude among them.
        whole: they are all integers, written as such, and none was rounded.
    """

    signature_name: str
    in_rows: bool
    name: str | None
    shape: tuple[int, ...]
    values: bytes
    largest: float
    whole: bool

    def tensors(self, signature: Signature) -> dict[str, np.ndarray] | None:
        """The array for the signature's one input; None where the exact way has to look."""
        if len(signature.inputs) != 1:
            return None
        ((name, spec),) = signature.inputs.items()
        if self.name not in (None, name):
            return None
        array = self._array(spec)
        return None if array is None else {name: array}

    def _array(self, spec: TensorSpec) -> np.ndarray | None:
        """The numbers as the input's type, None where one of them is beyond it."""
        dtype = None if spec.dtype is None else spec.dtype.numpy
        if dtype is None or dtype.itemsize < 4:
            return None
        values = np.ndarray(self.shape, np.float64, self.values)
        if dtype.kind == "f":
            if dtype.itemsize == 4 and self.largest > _LARGEST_FLOAT:
                return None
            return values.astype(dtype)
        if dtype.kind not in "iu" or not self.whole:
            return None
        array = values.astype(np.int64)
        if dtype.itemsize < 8 or dtype.kind == "u":
            limits = np.iinfo(dtype)
            if array.min() < limits.min or array.max() > limits.max:
                return None
            array = array.astype(dtype)
        return array


def read(body: bytes) -> Numbers | None:
    """The request in `body`, if it is one array of numbers."""
    start = _START.match(body)
    if start is None:
        return None
    found = read_array(body, start.end())
    if found is None or len(body) - found[0] > _LONGEST_END:
        return None
    end = _END.fullmatch(body, found[0])
    if end is None or (end[1] is not None) != (start[3] is not None):
        return None
    if start[1] is not None and end[2] is not None:
        return None  # repeated: the first one counts
    signature = (start[1] or end[2] or b"").decode()
    name = None if start[3] is None else start[3].decode()
    return Numbers(signature, start[2] is not None, name, *found[1:])
