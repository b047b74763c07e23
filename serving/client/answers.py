"""What both clients give back: signatures, version states, and inputs cast to a signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving import dtypes


@dataclass(frozen=True)
class TensorInfo:
    """One input or output: TensorFlow's type name (`float`, `string`) and its shape.

    A size of None stands for any; a shape of None for an unknown rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """What a signature takes and returns."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str = ""


@dataclass(frozen=True)
class Metadata:
    """A model version's signatures."""

    model: str
    version: int
    signatures: Mapping[str, Signature]


@dataclass(frozen=True)
class VersionStatus:
    """Where a version stands: its state (`AVAILABLE`, …) and, where it failed, why."""

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


BY_NAME = {dtype.name: dtype for dtype in dtypes.BY_NUMBER.values()}
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


def describe(metadata: Metadata) -> dict[str, dict[str, Any]]:
    """The signatures that a client may call, as plain data; those without an input are left out."""
    return {
        name: {
            side: {
                tensor: {"dtype": info.dtype, "shape": info.shape and list(info.shape)}
                for tensor, info in getattr(signature, side).items()
            }
            for side in ("inputs", "outputs")
        }
        for name, signature in metadata.signatures.items()
        if signature.inputs
    }


def cast(inputs: Mapping[str, Any], signature: Signature | None) -> dict[str, np.ndarray]:
    """Arrays for a request: lists get the signature's types, arrays are cast within their kind.

    float64 becomes float32 where the signature says so and integers become floats; a float for an
    integer stays as it is, and the server says what is wrong.
    """
    arrays = {}
    for name, value in inputs.items():
        info = signature.inputs.get(name) if signature else None
        arrays[name] = _cast(value, BY_NAME.get(info.dtype) if info else None)
    return arrays


def _cast(value: Any, dtype: dtypes.DType | None) -> np.ndarray:
    if dtype is dtypes.STRING and not isinstance(value, np.ndarray):
        return _strings(value)
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return np.array([text.encode() for text in array.ravel()], object).reshape(array.shape)
    if dtype is None or dtype.numpy is None or dtype is dtypes.STRING or array.dtype == dtype.numpy:
        return array
    loose = not isinstance(value, np.ndarray) and array.dtype.kind in "iub"
    if not np.can_cast(array.dtype, dtype.numpy, "same_kind") and not (
        loose and dtype.numpy.kind in "iuf"
    ):
        return array
    result = array.astype(dtype.numpy)
    fits = dtype.numpy.kind not in "iu" or np.array_equal(result, array)
    return result if fits else array


def _strings(value: Any) -> np.ndarray:
    """An object array of bytes; numpy's own byte strings would lose trailing zeros."""
    shape: list[int] = []
    first = value
    while isinstance(first, (list, tuple)):
        shape.append(len(first))
        first = first[0] if first else None
    flat = [value]
    for _ in shape:
        flat = [element for part in flat for element in part]
    array = np.empty(len(flat), object)
    array[:] = [text.encode() if isinstance(text, str) else text for text in flat]
    return array.reshape(shape)
