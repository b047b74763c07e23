"""TensorProto ↔ numpy, for any message class with TensorProto's fields.

The server uses TensorFlow's own class and the light client its private one; both pass through
here. Reading follows `Tensor::FromProto`: a short typed list repeats its last value, an empty one
means zeros, and `tensor_content` must have exactly the right size, but in a tensor without
elements nobody looks at it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from serving import dtypes

MAX_RANK = 64  # numpy's limit; TensorFlow's is 254
# A short list of values stands for a tensor of any size: a small request could fill the memory.
MAX_EXPANDED_BYTES = 1 << 28


class BadTensor(ValueError):
    """A TensorProto whose type, shape and values do not agree."""


def to_array(proto: Any) -> np.ndarray:
    """The array that `proto` describes; strings come as an object array of bytes.

    Raises:
        BadTensor: unknown type, negative dimension, or content of the wrong size.
    """
    dtype = dtypes.BY_NUMBER.get(proto.dtype)
    if dtype is None or dtype.numpy is None:
        raise BadTensor(f"type {proto.dtype} is not supported")
    shape, count = _shape(proto)
    content = proto.tensor_content if count else b""
    if content and dtype is not dtypes.STRING:
        if len(content) != count * dtype.numpy.itemsize:
            raise BadTensor(f"content of {len(content)} bytes does not fill shape {shape}")
        if dtype is dtypes.BOOL and content.translate(None, b"\0\1"):
            raise BadTensor("content holds truth values that are neither 0 nor 1")
        return np.frombuffer(content, dtype.numpy).reshape(shape)
    if content:
        return _strings_from_content(content, count).reshape(shape)
    if count * dtype.numpy.itemsize > MAX_EXPANDED_BYTES:
        raise BadTensor(f"shape {shape} is too large")
    return _from_values(getattr(proto, dtype.field), dtype, count).reshape(shape)


def foreign_type(proto: Any) -> str | None:
    """The element type of a tensor that TensorFlow reads though no array here can hold it.

    None where the tensor is broken, or where its type is one of those that `to_array` reads.
    """
    name, size = dtypes.FOREIGN.get(proto.dtype, (None, None))
    if name is None:
        return None
    try:
        count = _shape(proto)[1]
    except BadTensor:
        return None
    content = proto.tensor_content if count else b""
    if content and (size is None or len(content) != count * size):
        return None
    return name


def _shape(proto: Any) -> tuple[tuple[int, ...], int]:
    """The shape, and how many elements there are."""
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    if len(shape) > MAX_RANK:
        raise BadTensor(f"{len(shape)} dimensions are more than {MAX_RANK}")
    if shape and min(shape) < 0:
        raise BadTensor(f"shape {shape} has a negative dimension")
    count = math.prod(shape)
    if (count or math.prod(filter(None, shape))) > MAX_EXPANDED_BYTES:  # numpy looks past a 0
        raise BadTensor(f"shape {shape} is too large")
    return shape, count


def _from_values(values: Any, dtype: dtypes.DType, count: int) -> np.ndarray:
    if dtype.numpy.kind == "c":  # real and imaginary parts by turns
        values = np.array(values[: len(values) // 2 * 2], dtype.numpy.type().real.dtype)
        values = values.view(dtype.numpy)
    given = min(len(values), count)
    if dtype is dtypes.STRING:
        array = np.full(count, b"", dtype.numpy)
    elif dtype.field == "half_val":  # 16-bit patterns in an int32 list
        values = np.array(values, np.int32).astype(np.uint16)  # what is too large wraps
        array = np.zeros(count, np.uint16)
    elif dtype.field == "int_val":  # narrow integers travel as int32 and wrap
        array = np.zeros(count, np.int32)
    else:
        array = np.zeros(count, dtype.numpy)
    if given:
        array[:given] = values[:given] if given < len(values) else values
        array[given:] = array[given - 1]
    if dtype.field == "half_val":
        return array.view(dtype.numpy)
    return array.astype(dtype.numpy, copy=False)


def _strings_from_content(content: bytes, count: int) -> np.ndarray:
    """`Tensor::AsProtoTensorContent` for strings: varint lengths, then the bytes of them all."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 63:
                raise BadTensor("string content is cut short")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise BadTensor("string content has the wrong size")
    array = np.empty(count, object)
    for index, length in enumerate(lengths):
        array[index] = content[position : position + length]
        position += length
    return array


def fill(proto: Any, array: np.ndarray, *, as_content: bool = False) -> None:
    """Write `array` into the empty message `proto`, as typed values or as `tensor_content`.

    Raises:
        BadTensor: an element type that no TensorProto holds.
    """
    dtype = dtypes.of_array(array)
    if dtype is None:
        raise BadTensor(f"arrays of {array.dtype} cannot be sent")
    proto.dtype = dtype.number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if not array.shape:
        proto.tensor_shape.SetInParent()
    if dtype is dtypes.STRING:
        proto.string_val.extend(as_bytes(value) for value in array.ravel().tolist())
    elif as_content:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    elif dtype.field == "half_val":
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    elif dtype.numpy.kind == "c":
        parts = np.ascontiguousarray(array).ravel().view(array.real.dtype)
        getattr(proto, dtype.field).extend(parts.tolist())
    else:
        getattr(proto, dtype.field).extend(array.ravel().tolist())


def as_bytes(value: Any) -> bytes:
    """A string element as bytes; text is encoded as UTF-8."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise BadTensor(f"{type(value).__name__} is not a string element")
