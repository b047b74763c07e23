"""PredictResponse as bytes, without building the message.

Floats are most of what a model returns, and a packed `float_val` is exactly an array's memory; to
put it there through the protobuf classes means one Python object for each number.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from tensorflow.core.framework import tensor_pb2

from serving import dtypes, tensor_proto

_LENGTH_DELIMITED = 2
_CONTENT = 4
_PACKED_FIELDS = {1: 5, 2: 6}  # DT_FLOAT → float_val, DT_DOUBLE → double_val


def predict_response(
    model: str,
    version: int,
    signature: str,
    outputs: Mapping[str, np.ndarray],
    *,
    as_content: bool = False,
) -> bytes:
    """The serialised PredictResponse; tensors as typed values, or as `tensor_content`."""
    pieces = []
    for name, array in outputs.items():
        entry = _field(1, name.encode()) + _field(2, _tensor(array, as_content))
        pieces.append(_field(1, entry))
    pieces.append(_field(2, model_spec(model, version, signature)))
    return b"".join(pieces)


@lru_cache(maxsize=256)
def model_spec(model: str, version: int, signature: str = "") -> bytes:
    """The serialised ModelSpec of an answer."""
    number = _tag(1, 0) + _varint(version) if version else b""
    spec = _field(1, model.encode()) + _field(2, number)
    return spec + _field(3, signature.encode()) if signature else spec


def _tensor(array: np.ndarray, as_content: bool) -> bytes:
    dtype = dtypes.of_array(array)
    if as_content and dtype is dtypes.STRING:
        return _header(dtype.number, array.shape) + _strings(array)
    packed = _PACKED_FIELDS.get(dtype.number) if dtype else None
    if packed is None or as_content:
        message = tensor_pb2.TensorProto()
        tensor_proto.fill(message, array, as_content=as_content)
        return message.SerializeToString()
    header = _header(dtype.number, array.shape)
    if not array.size:
        return header
    if sys.byteorder == "big":
        array = array.byteswap()
    return header + _field(packed, np.ascontiguousarray(array).tobytes())


def _strings(array: np.ndarray) -> bytes:
    """The field `tensor_content` of strings: all their lengths, then the strings."""
    values = [tensor_proto.as_bytes(value) for value in array.ravel().tolist()]
    lengths = b"".join(_varint(len(value)) for value in values)
    return _field(_CONTENT, lengths + b"".join(values)) if values else b""


@lru_cache(maxsize=1024)
def _header(dtype: int, shape: tuple[int, ...]) -> bytes:
    """The fields of a TensorProto before its values."""
    sizes = b"".join(_field(2, _tag(1, 0) + _varint(size) if size else b"") for size in shape)
    return _tag(1, 0) + _varint(dtype) + _field(2, sizes)


def _field(number: int, payload: bytes) -> bytes:
    return _tag(number, _LENGTH_DELIMITED) + _varint(len(payload)) + payload


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    pieces = bytearray()
    while value >= 0x80:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)
