"""The tensors of a predict request, from its row (`instances`) or column (`inputs`) format.

The common case, numbers or strings in lists of equal length, is read whole. Whatever does not fit
that is read again value by value, in TensorFlow Serving's order, to find the same first error or
to accept the rare forms (base64 objects among strings).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from serving import dtypes
from serving.server.rest.json_print import printed, type_name
from serving.server.servable import Signature, TensorSpec
from serving.server.status import Code, ServingError, invalid
from serving.tensor_proto import MAX_RANK

Inputs = Mapping[str, TensorSpec]

_INT32 = (-(1 << 31), (1 << 31) - 1)
# What JSON integers an element type takes; the narrow ones wrap, as TensorProto's int_val does.
_INTEGER_RANGE = {
    "int8": _INT32, "uint8": _INT32, "int16": _INT32, "int32": _INT32,
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}  # fmt: skip


def signature_name(document: Mapping[str, Any]) -> str:
    """The request's `signature_name`, empty where it has none.

    Raises:
        ServingError: it is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {printed(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def read_tensors(
    document: Mapping[str, Any], signature: Signature, asked_for: str
) -> tuple[dict[str, np.ndarray], bool]:
    """Arrays for the inputs of `signature`.

    Args:
        document: the whole request.
        asked_for: the signature's name as the request gives it, for messages.

    Returns:
        The arrays by input name, and whether the request was in row format.

    Raises:
        ServingError: what is wrong, in TensorFlow Serving's words.
    """
    inputs = signature.inputs
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {asked_for or 'DEFAULT'}")
    if "instances" in document:
        return _row(document, inputs), True
    if "inputs" in document:
        return _columnar(document["inputs"], inputs), False
    raise invalid("Missing 'inputs' or 'instances' key")


# === Row format ===


def _row(document: Mapping[str, Any], inputs: Inputs) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if "inputs" in document:
        raise invalid(
            f"JSON Value: {printed(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {printed(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {printed(document)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    return _whole_rows(instances, inputs) or _row_by_row(instances, inputs)


def _whole_rows(instances: list, inputs: Inputs) -> dict[str, np.ndarray] | None:
    """All instances at once, None where they have to be looked at one by one."""
    if not _is_object(instances[0]):
        ((name, spec),) = inputs.items()
        array = _dense(instances, spec.dtype)
        return None if array is None else {name: array}
    names = inputs.keys()
    if not all(type(item) is dict and item.keys() == names for item in instances):
        return None
    arrays = {}
    for name, spec in inputs.items():
        array = _dense([item[name] for item in instances], spec.dtype)
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _row_by_row(instances: list, inputs: Inputs) -> dict[str, np.ndarray]:
    objects = _is_object(instances[0])
    rows: dict[str, list[np.ndarray]] = {}
    for index, item in enumerate(instances):
        where = f"Failed to process element: {index}"
        if objects != _is_object(item):
            wanted, got = ("object", "list") if objects else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {got} at item {index} of input list")
        members = item if objects else {next(iter(inputs)): item}
        for name, value in members.items():
            key = f" key: {name}" if objects else ""
            try:
                _add_row(rows, name, value, inputs)
            except ServingError as error:
                reason = f"{error.code.name}: {error.message}"
                raise invalid(f"{where}{key} of 'instances' list. Error: {reason}") from None
        if objects and item.keys() != inputs.keys():
            raise invalid(
                f"{where} of 'instances' list. JSON object: {printed(item)} "
                f"keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def _add_row(rows: dict[str, list[np.ndarray]], name: str, value: Any, inputs: Inputs) -> None:
    if name not in inputs:
        raise invalid(f"JSON object: does not have named input: {name}")
    array = _value_by_value(value, inputs[name])
    first = rows.setdefault(name, [array])[0]
    if array is first:
        return
    if array.size != first.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if array.shape != first.shape:
        raise invalid(f"Expecting shape {_shape(first)} but got: {_shape(array)}")
    rows[name].append(array)


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


# === Column format ===


def _columnar(value: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, spec),) = inputs.items()
        return {name: _tensor(value, spec)}
    arrays = {}
    for name, spec in inputs.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _tensor(value[name], spec)
    return arrays


def _tensor(value: Any, spec: TensorSpec) -> np.ndarray:
    array = _dense(value, spec.dtype) if isinstance(value, list) else None
    return _value_by_value(value, spec) if array is None else array


# === Values, read whole ===


def _dense(values: list, dtype: dtypes.DType | None) -> np.ndarray | None:
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


def _value_by_value(value: Any, spec: TensorSpec) -> np.ndarray:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    if len(shape) >= MAX_RANK:
        raise invalid(f"Lists are nested deeper than {MAX_RANK} levels.")
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
        return _base64(value)
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


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _base64(value: dict) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {printed(value)} not formatted correctly for base64 data")
    text = value["b64"].strip().rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None
