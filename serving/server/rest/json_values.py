"""JSON values to arrays, in two ways that agree.

`whole` reads the common case, numbers or strings in lists of equal length, at once. `one_by_one`
reads anything that TensorFlow Serving accepts (base64 objects among strings) and finds the first
error in the order in which TensorFlow Serving finds it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from serving import dtypes
from serving.server.rest.json_members import Repeated
from serving.server.rest.json_print import printed, type_name
from serving.server.servable import TensorSpec
from serving.server.status import Code, ServingError, invalid
from serving.tensor_proto import MAX_RANK

_INT32 = (-(1 << 31), (1 << 31) - 1)
# What JSON integers an element type takes; the narrow ones wrap, as TensorProto's int_val does.
_INTEGER_RANGE = {
    "int8": _INT32, "uint8": _INT32, "int16": _INT32, "int32": _INT32,
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}  # fmt: skip


# === Values, read whole ===


def whole(values: list, dtype: dtypes.DType | None) -> np.ndarray | None:
    """The array of nested lists of plain values; None where anything is unusual."""
    shape, flat = [len(values)], values
    kinds = set(map(type, flat))
    while kinds == {list}:
        sizes = set(map(len, flat))
        if len(sizes) != 1:
            return None
        shape.append(sizes.pop())
        flat = list(chain.from_iterable(flat))
        kinds = set(map(type, flat))
    convert = _CONVERTERS.get(dtype.name) if dtype else None
    if convert is None or len(shape) > MAX_RANK:
        return None
    array = convert(flat, kinds)
    return None if array is None else array.reshape(shape)


def _floats(dtype: np.dtype) -> Callable[[list, set], np.ndarray | None]:
    def convert(flat: list, kinds: set) -> np.ndarray | None:
        if not kinds <= {int, float}:
            return None
        with np.errstate(over="ignore"):  # 1e39 is Infinity for a float
            try:
                return np.array(flat, np.float64).astype(dtype)
            except OverflowError:
                return None

    return convert


def _integers(name: str) -> Callable[[list, set], np.ndarray | None]:
    wide = np.int32 if _INTEGER_RANGE[name] == _INT32 else np.dtype(name)

    def convert(flat: list, kinds: set) -> np.ndarray | None:
        if not kinds <= {int}:
            return None
        try:
            return np.array(flat, wide).astype(name, copy=False)
        except OverflowError:
            return None

    return convert


def _booleans(flat: list, kinds: set) -> np.ndarray | None:
    return np.array(flat, bool) if kinds <= {bool} else None


def _strings(flat: list, kinds: set) -> np.ndarray | None:
    if not kinds <= {str}:
        return None
    array = np.empty(len(flat), object)
    array[:] = [text.encode("utf-8", "surrogateescape") for text in flat]
    return array


_CONVERTERS: dict[str, Callable[[list, set], np.ndarray | None]] = {
    "float": _floats(np.dtype(np.float32)),
    "double": _floats(np.dtype(np.float64)),
    "bool": _booleans,
    "string": _strings,
    **{name: _integers(name) for name in _INTEGER_RANGE},
}


# === Values, read one by one ===


class TooDeep(Exception):
    """Lists that are nested deeper than a tensor can be."""


def one_by_one(value: Any, spec: TensorSpec) -> np.ndarray:
    """The array of a value, looked at element by element.

    Raises:
        ServingError: an element of another type, or lists of different lengths.
        TooDeep: more dimensions than arrays have.
    """
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    if len(shape) >= MAX_RANK:
        raise TooDeep
    values: list[Any] = []
    _collect(value, 0, shape, spec, values)
    dtype = spec.dtype.numpy if spec.dtype and spec.dtype.numpy is not None else np.dtype(object)
    array = np.empty(len(values), dtype)
    if dtype.kind in "iu":
        array[:] = np.array(values, np.uint64 if dtype == np.uint64 else np.int64).astype(dtype)
    else:
        with np.errstate(over="ignore"):
            array[:] = values
    return array.reshape(shape)


def _collect(value: Any, level: int, shape: list[int], spec: TensorSpec, values: list) -> None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise invalid(
                f"JSON Value: {printed(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {rank}"
            )
        values.append(_element(value, spec))
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for element in value:
        _collect(element, level + 1, shape, spec, values)


def _element(value: Any, spec: TensorSpec) -> Any:
    dtype = spec.dtype
    name = dtype.name if dtype else "unknown"
    if isinstance(value, dict):
        if dtype is not dtypes.STRING:
            raise _type_error(value, name)
        return decode_base64(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in ("float", "double"):
        accepted = number
    elif name in _INTEGER_RANGE:
        low, high = _INTEGER_RANGE[name]
        accepted = number and isinstance(value, int) and low <= value <= high
    elif name == "bool":
        accepted = isinstance(value, bool)
    elif name == "string":
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        accepted = False
    else:
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {printed(value)} to type: {name}"
        )
    if not accepted:
        raise _type_error(value, name)
    return value


def _type_error(value: Any, name: str) -> ServingError:
    return invalid(
        f"JSON Value: {printed(value)} Type: {type_name(value)} is not of expected type: {name}"
    )


_NO_SPACE = dict.fromkeys(map(ord, " \t\n\v\f\r"))


def _is_base64(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(value.get("b64"), str)
        and not isinstance(value, Repeated)
    )


def is_object(value: Any) -> bool:
    """Whether a value is an object that does not stand for bytes."""
    return isinstance(value, dict) and not _is_base64(value)


def decode_base64(value: dict) -> bytes:
    """The bytes of a `{"b64": …}` object.

    Raises:
        ServingError: it has other keys, or is not base64.
    """
    if not _is_base64(value):
        raise invalid(f"JSON Value: {printed(value)} not formatted correctly for base64 data")
    text = value["b64"]
    for spaced in (True, False):  # white space is allowed anywhere, but seldom there
        candidate = text if spaced else text.translate(_NO_SPACE)
        digits = candidate.rstrip("=.")  # padding may be dots, or be missing
        padding = -len(digits) % 4
        if padding == 3 or len(candidate) - len(digits) not in (0, padding):
            continue
        try:
            return base64.b64decode(digits + "=" * padding, validate=True)
        except (binascii.Error, ValueError):
            continue
    raise invalid("Unable to base64 decode")
