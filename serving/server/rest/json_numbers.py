"""The fast way for most predict requests: one array of numbers, and nothing else that is long.

The array never becomes Python objects: simdjson reads its numbers into a buffer, and the brackets
and commas alone say which shape it has. Whatever is not such a request, or not quite right, is
left to the exact way (json_parse and json_input), whose answers are the same.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import simdjson

from serving.server.servable import Signature, TensorSpec

SHORTEST = 256  # bytes of a body; the exact way is as fast for a shorter one

MOST_AXES = 32

_NAME = rb'"([A-Za-z0-9_./-]*)"'
_SIGNATURE = rb'"signature_name"\s*:\s*' + _NAME
_START = re.compile(
    rb"\s*\{\s*(?:" + _SIGNATURE + rb'\s*,\s*)?(?:"(instances)"\s*:\s*|'
    rb'"inputs"\s*:\s*(?:\{\s*' + _NAME + rb"\s*:\s*)?)(?=\[)"
)
_END = re.compile(rb"\s*(\}\s*)?(?:,\s*" + _SIGNATURE + rb"\s*)?\}\s*")
_LONGEST_END = 1024

_NUMBERS = b"0123456789.eE+- \t\r\n"
_NOT_WHOLE = (b".", b"e", b"E")
_KINDS = {"f": "d", "i": "i", "u": "u"}  # numpy's, and what simdjson calls a buffer of them
_BUFFERS = {"d": np.float64, "i": np.int64, "u": np.uint64}
_parsers = threading.local()


@dataclass(slots=True)
class Numbers:
    """A request that is one array of numbers. See `read`.

    Attributes:
        signature_name: as the request gives it, empty where it has none.
        in_rows: row format (`instances`) or column format (`inputs`).
        name: the input that the request names, None where it names none.
        text: the array.
        joints: its brackets and commas.
        parsed: it again, as simdjson has read it.
    """

    signature_name: str
    in_rows: bool
    name: str | None
    text: bytes
    joints: bytes
    parsed: simdjson.Array

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
        """The numbers as the input's type, in the shape that the joints have."""
        dtype = None if spec.dtype is None else spec.dtype.numpy
        kind = None if dtype is None else _KINDS.get(dtype.kind)
        if kind is None or dtype.itemsize < 4:
            return None
        shape = _shape(self.joints)
        if shape is None or (kind != "d" and any(mark in self.text for mark in _NOT_WHOLE)):
            return None
        try:
            buffer = self.parsed.as_buffer(of_type=kind)
        except (ValueError, TypeError, RuntimeError):  # not all of them are such numbers
            return None
        values = np.frombuffer(buffer, _BUFFERS[kind])
        return _converted(values, dtype, shape) if values.size == math.prod(shape) else None


def read(body: bytes) -> Numbers | None:
    """The request in `body`, if it is one array of numbers."""
    if len(body) < SHORTEST:
        return None
    start = _START.match(body)
    stop = body.rfind(b"]") + 1
    if start is None or stop <= start.end() or len(body) - stop > _LONGEST_END:
        return None
    end = _END.fullmatch(body, stop)
    if end is None or (end[1] is not None) != (start[3] is not None):
        return None
    if start[1] is not None and end[2] is not None:
        return None  # repeated: the first one counts
    text = body[start.end() : stop]
    joints = text.translate(None, _NUMBERS)
    try:
        parsed = _parse(text)
    except (ValueError, RuntimeError):  # no JSON; too deep, or too large a number
        return None
    signature = (start[1] or end[2] or b"").decode()
    name = None if start[3] is None else start[3].decode()
    return Numbers(signature, start[2] is not None, name, text, joints, parsed)


def _converted(values: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray | None:
    """`values` as `dtype`, None where one of them is beyond it."""
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(dtype)
        # One that is too large makes the sum infinite, or not a number. So may large ones that
        # fit: they are left to the exact way as well.
        total = np.add.reduce(array) if dtype.kind == "f" and dtype.itemsize < 8 else 0.0
    if dtype.kind == "f":
        if not math.isfinite(total):
            return None
    elif dtype.itemsize < 8 and not (array == values).all():
        return None
    return array.reshape(shape)


def _parse(text: bytes) -> simdjson.Array:
    """By a parser that keeps its memory from one request to the next."""
    try:
        return _parsers.parser.parse(text)
    except (AttributeError, RuntimeError):  # the first on this thread; what it read is still held
        _parsers.parser = simdjson.Parser()
        return _parsers.parser.parse(text)


def _shape(joints: bytes) -> tuple[int, ...] | None:
    """The shape of the nested lists that these brackets and commas make; None if they are ragged.

    Each size is read off the first list of its depth. Whether all the others are like it, one
    comparison of the whole tells.
    """
    depth = len(joints) - len(joints.lstrip(b"["))
    if depth > MOST_AXES:
        return None
    sizes: list[int] = []
    unit = 0  # the joints of one element
    for level in range(depth, 0, -1):
        if level == 1:  # the whole
            inside = len(joints) - 2
        else:
            end = joints.find(b"]" * (depth - level + 1))
            inside = end + depth - level - level  # joints within the first list of this level
        if inside < 0 or (inside + 1) % (unit + 1):
            return None
        sizes.insert(0, (inside + 1) // (unit + 1))
        unit = inside + 2
    shape = tuple(sizes)
    if not shape or joints != _joints(shape):
        return None
    return shape


@lru_cache(maxsize=64)
def _joints(shape: tuple[int, ...]) -> bytes:
    """The brackets and commas of nested lists of this shape."""
    text = b""
    for size in reversed(shape):
        text = b"[" + b",".join([text] * size) + b"]"
    return text
