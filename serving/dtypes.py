"""TensorFlow's DataType numbers, their names in messages, and the numpy types that hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DType:
    """One tensor element type.

    `field` is the typed list of TensorProto that carries it.
    """

    number: int
    name: str
    numpy: np.dtype | None
    field: str


def _bfloat16() -> np.dtype | None:
    try:
        import ml_dtypes  # comes with TensorFlow; a light client may lack it
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


_TABLE = [
    DType(1, "float", np.dtype(np.float32), "float_val"),
    DType(2, "double", np.dtype(np.float64), "double_val"),
    DType(3, "int32", np.dtype(np.int32), "int_val"),
    DType(4, "uint8", np.dtype(np.uint8), "int_val"),
    DType(5, "int16", np.dtype(np.int16), "int_val"),
    DType(6, "int8", np.dtype(np.int8), "int_val"),
    DType(7, "string", np.dtype(object), "string_val"),
    DType(8, "complex64", np.dtype(np.complex64), "scomplex_val"),
    DType(9, "int64", np.dtype(np.int64), "int64_val"),
    DType(10, "bool", np.dtype(bool), "bool_val"),
    DType(14, "bfloat16", _bfloat16(), "half_val"),
    DType(17, "uint16", np.dtype(np.uint16), "int_val"),
    DType(18, "complex128", np.dtype(np.complex128), "dcomplex_val"),
    DType(19, "half", np.dtype(np.float16), "half_val"),
    DType(22, "uint32", np.dtype(np.uint32), "uint32_val"),
    DType(23, "uint64", np.dtype(np.uint64), "uint64_val"),
]

# What TensorFlow reads and no array here holds: name and bytes of an element. Those of the last
# two are objects.
FOREIGN = {
    11: ("qint8", 1),
    12: ("quint8", 1),
    13: ("qint32", 4),
    15: ("qint16", 2),
    16: ("quint16", 2),
    24: ("float8_e5m2", 1),
    25: ("float8_e4m3fn", 1),
    26: ("float8_e4m3fnuz", 1),
    27: ("float8_e4m3b11fnuz", 1),
    28: ("float8_e5m2fnuz", 1),
    29: ("int4", 1),
    30: ("uint4", 1),
    31: ("int2", 1),
    32: ("uint2", 1),
    33: ("float4_e2m1fn", 1),
    20: ("resource", None),
    21: ("variant", None),
}

BY_NUMBER = {dtype.number: dtype for dtype in _TABLE}
BY_NUMPY = {dtype.numpy: dtype for dtype in _TABLE if dtype.numpy is not None}
FLOAT, DOUBLE, STRING, BOOL = BY_NUMBER[1], BY_NUMBER[2], BY_NUMBER[7], BY_NUMBER[10]


def of_array(array: np.ndarray) -> DType | None:
    """The element type of `array`; byte and unicode arrays are strings; None where unknown."""
    if array.dtype.kind in "SU":
        return STRING
    return BY_NUMPY.get(array.dtype)
