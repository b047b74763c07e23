"""A model's outputs as TensorFlow Serving lays them out in JSON.

Numbers go through orjson, which writes the shortest digits that read back to the same value. What
it cannot write so (NaN, Infinity, strings that are not UTF-8) takes the slower way, element by
element.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving import dtypes
from serving.server.rest.json_print import number
from serving.server.status import invalid

_STEP = b"    "
_PLAIN = frozenset("fd?bBhilqIQL")  # numpy's letters of what orjson writes, but for uint16
_ESCAPES = {i: b"\\u%04X" % i for i in range(32)} | {
    ord('"'): b'\\"', ord("\\"): b"\\\\", 8: b"\\b", 12: b"\\f", 10: b"\\n", 13: b"\\r", 9: b"\\t",
}  # fmt: skip


def row(outputs: Mapping[str, np.ndarray]) -> bytes:
    """`{"predictions": [...]}`: one element for each row of the batch.

    Raises:
        ServingError: an output without a batch dimension, or with another batch size.
    """
    size = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size not in (-1, len(array)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        elements = _on_one_line(name, array, b"        ")
        elements = elements[:-1] + b"\n    ]"
    else:
        columns = [
            (orjson.dumps(name), _row_values(name, array)) for name, array in outputs.items()
        ]
        objects = [
            b",\n".join(b"            " + name + b": " + values[i] for name, values in columns)
            for i in range(size)
        ]
        inside = b",\n".join(b"        {\n" + text + b"\n        }" for text in objects)
        elements = b"[\n" + inside + b"\n    ]" if objects else b"[]"
    return b'{\n    "predictions": ' + elements + b"\n}"


def columnar(outputs: Mapping[str, np.ndarray]) -> bytes:
    """`{"outputs": ...}`: the bare tensor where there is one, else an object of all of them."""
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        body = _over_lines(name, array, _STEP)
    else:
        members = [
            b"        " + orjson.dumps(name) + b": " + _over_lines(name, array, _STEP * 2)
            for name, array in outputs.items()
        ]
        body = b"{\n" + b",\n".join(members) + b"\n    }"
    return b'{\n    "outputs": ' + body + b"\n}"


def _row_values(name: str, array: np.ndarray) -> list[bytes]:
    """Each row of `array` as JSON, as it stands inside an object."""
    plain = _compact(array)
    if plain is not None:
        if array.ndim == 1:
            return plain[1:-1].split(b",") if len(array) else []
        joint = b"]" * (array.ndim - 1) + b"," + b"[" * (array.ndim - 1)
        if array.shape[1:] and 0 not in array.shape:
            inner = plain[1:-1][array.ndim - 1 : 1 - array.ndim]
            opening, closing = b"[" * (array.ndim - 1), b"]" * (array.ndim - 1)
            return [
                (opening + piece + closing).replace(b",", b", ") for piece in inner.split(joint)
            ]
    return [_elements(name, element, b"            ") for element in array]


def _on_one_line(name: str, array: np.ndarray, indent: bytes) -> bytes:
    """`[1.0, 2.0]`: arrays on one line, however deep."""
    plain = _compact(array)
    return _elements(name, array, indent) if plain is None else plain.replace(b",", b", ")


def _over_lines(name: str, array: np.ndarray, indent: bytes) -> bytes:
    """Every element on a line of its own, indented by its depth."""
    plain = _compact(array)
    if plain is not None and 0 not in array.shape:
        return _spread(plain, array.ndim, indent)
    if array.ndim == 0:
        return _element(name, array[()], indent)
    if not len(array):
        return b"[]"
    inner = indent + _STEP
    write = _over_lines if array.ndim > 1 else _element
    pieces = [inner + write(name, element, inner) for element in array]
    return b"[\n" + b",\n".join(pieces) + b"\n" + indent + b"]"


def _spread(plain: bytes, rank: int, indent: bytes) -> bytes:
    """Compact JSON of `rank` nested lists, spread over lines by splitting it at its joints."""
    if rank == 0:
        return plain
    inner = indent + _STEP
    if rank == 1:
        body = plain[1:-1].replace(b",", b",\n" + inner)
    else:
        opening, closing = b"[" * (rank - 1), b"]" * (rank - 1)
        pieces = plain[rank:-rank].split(closing + b"," + opening)
        body = (b",\n" + inner).join(
            _spread(opening + piece + closing, rank - 1, inner) for piece in pieces
        )
    return b"[\n" + inner + body + b"\n" + indent + b"]"


def _compact(array: np.ndarray) -> bytes | None:
    """orjson's text for an array of finite numbers or booleans, None for all others."""
    if array.dtype.char not in _PLAIN:
        return None
    if array.ndim == 0:
        text = orjson.dumps(array.reshape(1), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    else:
        text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    return None if b"null" in text else text  # which stands for what is not finite


def _elements(name: str, value: Any, indent: bytes) -> bytes:
    if isinstance(value, np.ndarray) and value.ndim:
        return b"[" + b", ".join(_elements(name, element, indent) for element in value) + b"]"
    return _element(name, value, indent)


def _element(name: str, value: Any, indent: bytes) -> bytes:
    if isinstance(value, bytes):
        if name.endswith("_bytes"):
            inner = indent + _STEP
            encoded = base64.b64encode(value)
            return b"{\n" + inner + b'"b64": "' + encoded + b'"\n' + indent + b"}"
        return string(value)
    if isinstance(value, (bool, np.bool_)):
        return b"true" if value else b"false"
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.uint16):
        return b"%d" % int(value)
    return decimal(value)


def decimal(value: Any) -> bytes:
    """A float or double: the shortest digits that read back to it.

    Raises:
        ServingError: an element type that has no JSON form.
    """
    if isinstance(value, np.float32):
        if not math.isfinite(value):
            return number(float(value)).encode()
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    if dtypes.of_array(np.asarray(value)) not in (dtypes.FLOAT, dtypes.DOUBLE):
        kind = dtypes.of_array(np.asarray(value))
        raise invalid(
            f"Failed to write JSON value for tensor type: {kind.name if kind else 'unknown'}"
        )
    return number(float(value)).encode()


def string(value: bytes) -> bytes:
    """A JSON string of the very bytes, UTF-8 or not, as TensorFlow Serving writes it."""
    try:
        return orjson.dumps(value.decode())
    except UnicodeDecodeError:
        return b'"' + b"".join(_ESCAPES.get(byte, bytes((byte,))) for byte in value) + b'"'
