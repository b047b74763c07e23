"""Tensors as TensorFlow reads them: `Tensor::FromProto` is asked what each of them is."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving import dtypes, tensor_proto


def _tensor(kind: str, shape: list[int], **fields) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=f"DT_{kind}")
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    for name, value in fields.items():
        if name == "tensor_content":
            proto.tensor_content = value
        else:
            getattr(proto, name).extend(value)
    return proto


def _theirs(proto: tensor_pb2.TensorProto, kind: str) -> np.ndarray | None:
    import tensorflow as tf

    try:
        found = tf.io.parse_tensor(proto.SerializeToString(), tf.dtypes.as_dtype(kind))
    except tf.errors.InvalidArgumentError:
        return None
    return found.numpy()


@pytest.mark.parametrize(
    "proto",
    [
        _tensor("FLOAT", [0], tensor_content=b"looked past"),
        _tensor("FLOAT", [2, 0], float_val=[1]),
        _tensor("FLOAT", [2], tensor_content=b"\0" * 4),
        _tensor("FLOAT", [], tensor_content=b"\0" * 4),
        _tensor("FLOAT", [2], float_val=[1, 2, 3]),
        _tensor("FLOAT", [2], double_val=[1, 2]),
        _tensor("BOOL", [2], tensor_content=b"\0\1"),
        _tensor("BOOL", [2], tensor_content=b"\2\1"),
        _tensor("UINT8", [3], int_val=[-1, 300, 7]),
        _tensor("INT8", [2], int_val=[128, -129]),
        _tensor("HALF", [4], half_val=[-1, 70000, 15360]),
        _tensor("BFLOAT16", [2], half_val=[-1, 70000, 15360]),
        _tensor("COMPLEX64", [3], scomplex_val=[1, 2, 3]),
        _tensor("COMPLEX128", [1], dcomplex_val=[1]),
        _tensor("STRING", [2], tensor_content=b"\1\2abc"),
        _tensor("STRING", [2], tensor_content=b"\1\2abcd"),
        _tensor("STRING", [2], tensor_content=b"\x81"),
        _tensor("STRING", [3], string_val=[b"a", b""]),
        _tensor("INT64", [1], int64_val=[-(1 << 63)]),
    ],
    ids=lambda proto: " ".join(str(proto).split()),
)
def test_reads_as_tensorflow_does(proto: tensor_pb2.TensorProto) -> None:
    wanted = _theirs(proto, dtypes.BY_NUMBER[proto.dtype].name)
    if wanted is None:
        with pytest.raises(tensor_proto.BadTensor):
            tensor_proto.to_array(proto)
        return
    found = tensor_proto.to_array(proto)
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert found.tolist() == wanted.tolist() or found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("number", "entry"), sorted(dtypes.FOREIGN.items()))
def test_types_that_no_array_holds(number: int, entry: tuple[str, int | None]) -> None:
    name, size = entry
    kind = types_pb2.DataType.Name(number).removeprefix("DT_")
    assert tensor_proto.foreign_type(_tensor(kind, [1])) == name
    whole = _tensor(kind, [2], tensor_content=b"\0" * (size or 1) * 2)
    assert tensor_proto.foreign_type(whole) == (name if size else None)
    assert tensor_proto.foreign_type(_tensor(kind, [3], tensor_content=b"\0")) is None
    assert tensor_proto.foreign_type(_tensor(kind, [-1])) is None


def test_no_foreign_type() -> None:
    known = {*dtypes.BY_NUMBER, *dtypes.FOREIGN}
    assert all(number in known for number in types_pb2.DataType.values() if 0 < number < 100)
    assert tensor_proto.foreign_type(_tensor("FLOAT", [1])) is None
    assert tensor_proto.foreign_type(_tensor("QINT8_REF", [1])) is None
