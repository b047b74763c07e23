"""What gRPC calls are refused for, beyond the recordings: which fault is told first, and how."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from serving.server import Running, examples
from serving.server.grpc import wire
from serving.server.predict import prepare
from serving.server.servable import Signature, TensorSpec, Unfit, check_feeds
from serving.server.status import Code, ServingError

REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
}
MODEL = 'model_spec { name: "half_plus_two" }'
X = 'inputs { key: "x" value { dtype: DT_FLOAT float_val: 1 } }'
EXAMPLE = "input { example_list { examples {} } }"
NO_ALIAS = "output tensor alias not found in signature: z Outputs expected to be in the set {y}."
INPUTS_FIRST = "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}."
TASK = """tasks {
    model_spec { name: "half_plus_two" signature_name: "%s" } method_name: "tensorflow/serving/%s"
}"""


@pytest.fixture
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as opened:
        yield opened


def _refusal(channel: grpc.Channel, method: str, data: bytes) -> tuple[str, str]:
    call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(data, timeout=60)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(
    ("method", "text", "message"),
    [
        # Names are told before tensors that do not parse, those before a wrong filter, and types
        # last of all.
        ("Predict", MODEL + X + 'inputs { key: "z" }', INPUTS_FIRST),
        ("Predict", MODEL + 'inputs { key: "z" }', "Signature input alias: x(feed name: x:0) not"),
        ("Predict", MODEL + 'inputs { key: "x" } output_filter: "z"', "tensor parsing error: x"),
        ("Predict", MODEL + X.replace("FLOAT", "INT8") + 'output_filter: "z"', NO_ALIAS),
        (
            "Predict",
            MODEL + X.replace("FLOAT", "QINT8"),
            "Expects arg[0] to be float but qint8 is provided",
        ),
        ("Predict", MODEL + X.replace("FLOAT", "FLOAT_REF"), "tensor parsing error: x"),
        ("Predict", MODEL + X.replace("FLOAT", "RESOURCE"), "Invalid resource type hash code: 0("),
        (
            "Predict",
            'model_spec { name: "half_plus_two" version_label: "" }' + X,
            "Unrecognized servable version label: ",
        ),
        (
            "Predict",
            'model_spec { name: "nope" version_label: "stable" }' + X,
            "Unrecognized servable version label: stable",
        ),
        ("Classify", MODEL + EXAMPLE, "No classification inputs found in SignatureDef: "),
        ("Regress", MODEL + EXAMPLE, "No regression inputs found in SignatureDef: "),
        (
            "Classify",
            'model_spec { name: "text" }' + EXAMPLE,
            "Expected one or two output Tensors, found 3",
        ),
        ("Regress", 'model_spec { name: "text" }' + EXAMPLE, "Expected one output Tensor."),
        ("Classify", 'model_spec { name: "multi" }' + EXAMPLE, "Expected one input Tensor."),
        (
            "MultiInference",
            TASK % ("regress_x_to_y", "regress") + TASK % ("regress_x2_to_y3", "regress") * 2,
            "Input tensor must be the same for all Signatures.",
        ),
        ("GetModelMetadata", "model_spec {}", "GetModelMetadataRequest must specify at least one"),
        ("GetModelMetadata", 'model_spec {} metadata_field: "z"', "Metadata field z is not supp"),
        (
            "GetModelMetadata",
            'model_spec {} metadata_field: "signature_def"',
            "ModelSpec has no name specified.",
        ),
    ],
)
def test_which_fault_is_told(channel: grpc.Channel, method: str, text: str, message: str) -> None:
    request = text_format.Parse(text, REQUESTS[method]())
    code, details = _refusal(channel, method, request.SerializeToString())
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(message)


@pytest.mark.parametrize("data", [b"garbage", b"\x0a\x03\x0a\x01\xff"])
@pytest.mark.parametrize("method", REQUESTS)
def test_what_is_no_message(channel: grpc.Channel, method: str, data: bytes) -> None:
    assert _refusal(channel, method, data) == ("INTERNAL", "")


def test_long_words_are_cut(channel: grpc.Channel) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "n" * 2000
    code, details = _refusal(channel, "Predict", request.SerializeToString())
    assert code == "NOT_FOUND"
    assert details == f"Servable not found for request: Latest({'n' * 2000}"[:1024] + "...TRUNCATED"


def test_an_error_that_quotes_bytes_that_are_no_text(channel: grpc.Channel) -> None:
    text = r"""model_spec { name: "half_plus_two" signature_name: "regress_x_to_y" }
        inputs { key: "inputs" value {
            dtype: DT_STRING tensor_shape { dim { size: 1 } } string_val: "\377x"
        } }"""
    request = text_format.Parse(text, predict_pb2.PredictRequest())
    code, details = _refusal(channel, "Predict", request.SerializeToString())
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("Could not parse example input, value: '")


def test_arguments_count_by_the_names_of_their_tensors() -> None:
    inputs = {"a": TensorSpec("b:0", 1, None), "b": TensorSpec("a:0", 1, None)}
    signature = Signature("s", "", inputs, {"y": TensorSpec("y:0", 1, None)}, {})
    one, whole = np.float32(1), np.int32(1)
    with pytest.raises(ServingError, match=r"Expects arg\[1\] to be float but int32 is provided"):
        check_feeds(signature, {"a": whole, "b": one})
    with pytest.raises(ServingError, match=r"Expects arg\[0\] to be float but variant is provided"):
        check_feeds(signature, {"a": whole, "b": Unfit("variant")})
    with pytest.raises(ServingError, match="tensor parsing error: b"):
        check_feeds(signature, {"a": whole, "b": Unfit(None)})


def test_names_beside_defaults() -> None:
    inputs = {"a": TensorSpec("a:0", 1, None), "b": TensorSpec("b:0", 1, None)}
    signature = Signature("s", "", inputs, {}, {"b": np.float32(1)})
    assert set(check_feeds(signature, {"a": np.float32(1)})) == {"a", "b"}
    message = "Inputs contains invalid name. Used request inputs: a, request input: a,z"
    with pytest.raises(ServingError, match=message):
        check_feeds(signature, {"a": np.float32(1), "z": np.float32(1)})


def test_method_names_where_they_are_checked() -> None:
    signature = Signature("s", "other", {"x": TensorSpec("x:0", 1, None)}, {}, {})
    with pytest.raises(ServingError) as caught:
        prepare(None, signature, {}, named=True)
    assert caught.value.code is Code.INTERNAL
    assert caught.value.message == (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: other"
    )


def test_strings_as_content() -> None:
    array = np.array([b"a", b"", b"b" * 200], object)
    data = wire.predict_response("m", 1, "s", {"y": array}, as_content=True)
    tensor = predict_pb2.PredictResponse.FromString(data).outputs["y"]
    assert tensor.tensor_content == b"\1\0\xc8\1a" + b"b" * 200
    assert not tensor.string_val
    assert [dim.size for dim in tensor.tensor_shape.dim] == [3]


def test_a_reload_tells_how_counters_grew(server: Running, recorded_store: Path) -> None:
    config = text_format.Parse(
        (recorded_store / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    names = ["/tensorflow/serving/request_count", "/no/such", "/tensorflow/serving/runtime_latency"]
    request = model_management_pb2.ReloadConfigRequest(config=config, metric_names=names)
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        data = call(request.SerializeToString(), timeout=60)
    answer = model_management_pb2.ReloadConfigResponse.FromString(data)
    assert [(metric.name, metric.int64_value_increase) for metric in answer.metric] == [
        (name, 0) for name in names
    ]


def test_types_are_those_of_the_graph(tmp_path: Path) -> None:
    """A signature that names another one is served all the same."""
    from tensorflow.core.protobuf import saved_model_pb2

    from serving.server import session
    from tests.serving import models

    path = models.save_half_plus_two(tmp_path / "1")
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    key = "regress_x_to_y"
    saved.meta_graphs[0].signature_def[key].inputs["inputs"].dtype = 1
    file.write_bytes(saved.SerializeToString())
    loaded = session.load(path)
    signature = loaded.signatures[key]
    request = text_format.Parse(
        """example_list { examples { features { feature {
            key: "x" value { float_list { value: 1 } }
        } } } }""",
        input_pb2.Input(),
    )
    feeds = {examples.INPUT: examples.serialized(request)}
    found = loaded.run(signature, check_feeds(signature, feeds))
    assert examples.values(found, 1) == [2.5]
    with pytest.raises(ServingError, match=r"Expects arg\[0\] to be string but float is provided"):
        prepare(loaded, signature, {"inputs": np.float32([1])})
    loaded.close()
