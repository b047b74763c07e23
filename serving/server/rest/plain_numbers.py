"""What `_numbers` does, without a compiler: the same answers, several times as slow.

Python objects cannot be avoided here, but a list for each innermost element can: the numbers are
parsed as one flat list, and the brackets and commas alone say which shape they have.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import orjson

MOST_AXES = 32
EXACT = 2**53  # the first integer that a double may have been rounded to

_NUMBERS = b"0123456789.eE+- \t\r\n"
_SPACES = b" \t\r\n"
_FLAT = bytes.maketrans(b"[]", b"  ")
_DIGITS_ALIKE = bytes.maketrans(b"123456789-", b"0000000000")
_DIGIT, _OPENING, _CLOSING = b"0[]"


def read(body: bytes, start: int) -> tuple[int, tuple[int, ...], bytes, float, bool] | None:
    """The array of numbers that begins at `body[start]`. See `_numbers.read`."""
    stop = body.rfind(b"]") + 1
    text = body[start:stop]
    shape = _shape(text.translate(None, _NUMBERS))
    if shape is None:
        return None
    try:
        numbers = orjson.loads(b"[" + text.translate(_FLAT) + b"]")
        values = np.fromiter(numbers, np.float64, len(numbers))
    except (orjson.JSONDecodeError, OverflowError):
        return None
    if values.size != math.prod(shape) or _is_misplaced(text):
        return None
    largest = float(np.abs(values).max())
    if not math.isfinite(largest):
        return None
    whole = largest < EXACT and not any(mark in text for mark in (b".", b"e", b"E"))
    return stop, shape, values.tobytes(), largest, whole


def _is_misplaced(text: bytes) -> bool:
    """Whether a number stands before an opening bracket, or behind a closing one."""
    packed = np.frombuffer(text.translate(_DIGITS_ALIKE, _SPACES), np.uint8)
    digit, before, after = packed == _DIGIT, packed[:-1], packed[1:]
    return bool(
        (digit[:-1] & (after == _OPENING)).any() or ((before == _CLOSING) & digit[1:]).any()
    )


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
