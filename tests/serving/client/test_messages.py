"""The client's private messages have the real ones' bytes."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from serving import tensor_proto
from serving.client import messages

_REAL = {
    "TensorProto": "tensorflow.core.framework.tensor_pb2",
    "ModelSpec": "tensorflow_serving.apis.model_pb2",
    "PredictRequest": "tensorflow_serving.apis.predict_pb2",
    "PredictResponse": "tensorflow_serving.apis.predict_pb2",
    "GetModelMetadataRequest": "tensorflow_serving.apis.get_model_metadata_pb2",
    "GetModelMetadataResponse": "tensorflow_serving.apis.get_model_metadata_pb2",
    "SignatureDefMap": "tensorflow_serving.apis.get_model_metadata_pb2",
    "GetModelStatusRequest": "tensorflow_serving.apis.get_model_status_pb2",
    "GetModelStatusResponse": "tensorflow_serving.apis.get_model_status_pb2",
}


def _real(name: str) -> type:
    return getattr(importlib.import_module(_REAL[name]), name)


@pytest.mark.parametrize("name", _REAL)
def test_fields_are_the_real_ones(name: str) -> None:
    seen = set()

    def check(mine, real) -> None:
        if mine.full_name in seen:
            return
        seen.add(mine.full_name)
        assert mine.full_name == real.full_name
        for field in mine.fields:
            other = real.fields_by_number[field.number]
            assert (field.name, field.is_repeated) == (other.name, other.is_repeated)
            same = field.type == other.type
            assert same or (field.type == field.TYPE_INT32 and other.type == other.TYPE_ENUM)
            if field.message_type is not None:
                check(field.message_type, other.message_type)

    check(getattr(messages, name).DESCRIPTOR, _real(name).DESCRIPTOR)


_ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3) / 3,
    np.float64(2.5) * np.ones((), np.float64),
    np.zeros((0, 4), np.float32),
    np.array([-1, 2], np.int8),
    np.array([255], np.uint8),
    np.array([-(2**62)], np.int64),
    np.array([2**63], np.uint64),
    np.array([2**32 - 1], np.uint32),
    np.array([[True], [False]]),
    np.array([b"a\x00", b"", b"\xff"], object),
    np.array([0.1, 65504], np.float16),
    np.array([1 + 2j], np.complex64),
]


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("array", _ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_tensors_survive_both_ways(array: np.ndarray, as_content: bool) -> None:
    import tensorflow as tf

    mine, real = messages.TensorProto(), _real("TensorProto")()
    for message in (mine, real):
        tensor_proto.fill(message, array, as_content=as_content)
        back = tensor_proto.to_array(message)
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)
    assert mine.SerializeToString() == real.SerializeToString()
    np.testing.assert_array_equal(tf.make_ndarray(real), array)
    theirs = tf.make_tensor_proto(array)  # TensorFlow writes it in another way
    np.testing.assert_array_equal(tensor_proto.to_array(theirs), array)


def test_whole_request_has_the_same_bytes() -> None:
    def build(kind: type) -> bytes:
        request = kind()
        request.model_spec.name = "m"
        request.model_spec.version.value = 3
        request.model_spec.signature_name = "s"
        tensor_proto.fill(request.inputs["x"], np.ones((2, 2), np.float32), as_content=True)
        request.output_filter.append("y")
        return request.SerializeToString(deterministic=True)

    assert build(messages.PredictRequest) == build(_real("PredictRequest"))
