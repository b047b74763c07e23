"""The tensors of a predict request, from its row (`instances`) or column (`inputs`) format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.server.rest.json_members import every
from serving.server.rest.json_print import printed
from serving.server.rest.json_values import TooDeep, is_object, one_by_one, whole
from serving.server.servable import Signature, TensorSpec
from serving.server.status import ServingError, invalid

Inputs = Mapping[str, TensorSpec]


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
    try:
        if "instances" in document:
            return _row(document, inputs), True
        if "inputs" in document:
            return _columnar(document["inputs"], inputs), False
    except _NoTensor as error:
        raise invalid(f"tensor parsing error: {error}") from None
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
    if not is_object(instances[0]):
        name, spec = next(iter(inputs.items()))
        array = whole(instances, spec.dtype)
        return None if array is None else {name: array}
    names = inputs.keys()
    if not all(type(item) is dict and item.keys() == names for item in instances):
        return None
    arrays = {}
    for name, spec in inputs.items():
        array = whole([item[name] for item in instances], spec.dtype)
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _row_by_row(instances: list, inputs: Inputs) -> dict[str, np.ndarray]:
    objects = is_object(instances[0])
    rows: dict[str, list[np.ndarray]] = {}
    for index, item in enumerate(instances):
        where = f"Failed to process element: {index}"
        if objects != is_object(item):
            wanted, got = ("object", "list") if objects else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {got} at item {index} of input list")
        members = every(item) if objects else [(next(iter(inputs)), item)]
        for name, value in members:
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
    # A repeated member adds a row as well, and those that are too many at the end do not count.
    return {name: np.stack(arrays[: len(instances)]) for name, arrays in rows.items()}


def _add_row(rows: dict[str, list[np.ndarray]], name: str, value: Any, inputs: Inputs) -> None:
    if name not in inputs:
        raise invalid(f"JSON object: does not have named input: {name}")
    array = _one_by_one(name, value, inputs[name])
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
    if not is_object(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, spec),) = inputs.items()
        return {name: _tensor(name, value, spec)}
    arrays = {}
    for name, spec in inputs.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _tensor(name, value[name], spec)
    return arrays


def _tensor(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    array = whole(value, spec.dtype) if isinstance(value, list) else None
    return _one_by_one(name, value, spec) if array is None else array


class _NoTensor(Exception):
    """The lists of an input are no tensor, which is told only after all else is known to fit."""


def _one_by_one(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    try:
        return one_by_one(value, spec)
    except TooDeep:
        raise _NoTensor(name) from None
