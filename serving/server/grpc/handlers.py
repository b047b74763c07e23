"""What each method answers: synchronous functions from request bytes to answer bytes.

The table holds every method of TensorFlow Serving's services; those that are still to come answer
UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from serving.server.grpc import wire
from serving.server.manager import Manager
from serving.server.predict import predict as run_predict
from serving.server.predict import signature_for, tensor_feeds
from serving.server.status import Code, ServingError, invalid

Handler = Callable[[Manager, bytes], bytes]


def predict(manager: Manager, data: bytes) -> bytes:
    """PredictionService.Predict."""
    request = _parse(predict_pb2.PredictRequest, data)
    spec = _spec(request)
    with manager.lease(*_target(spec)) as version:
        signature = signature_for(version.servable, spec.signature_name)
        feeds = tensor_feeds(request.inputs)
        outputs = run_predict(version.servable, signature, feeds, list(request.output_filter))
        return wire.predict_response(spec.name, version.number, signature.key, outputs)


def get_model_metadata(manager: Manager, data: bytes) -> bytes:
    """PredictionService.GetModelMetadata: the `signature_def` field, the only one there is."""
    request = _parse(get_model_metadata_pb2.GetModelMetadataRequest, data)
    spec = _spec(request)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != "signature_def":
            raise invalid(f"Metadata field {name} is not supported")
    with manager.lease(*_target(spec)) as version:
        definitions = get_model_metadata_pb2.SignatureDefMap(
            signature_def=version.servable.signature_defs
        )
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = spec.name
        answer.model_spec.version.value = version.number
    answer.metadata["signature_def"].Pack(definitions)
    return answer.SerializeToString()


def get_model_status(manager: Manager, data: bytes) -> bytes:
    """ModelService.GetModelStatus: all versions, or the one asked for. A label is not looked at."""
    request = _parse(get_model_status_pb2.GetModelStatusRequest, data)
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    number = spec.version.value if spec.HasField("version") else None
    answer = get_model_status_pb2.GetModelStatusResponse()
    for version in manager.statuses(spec.name, number):
        entry = answer.model_version_status.add(version=version.number, state=int(version.state))
        entry.status.SetInParent()
        entry.status.error_code = int(version.code)
        entry.status.error_message = version.message
    return answer.SerializeToString()


def _parse(kind: type, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(f"The request is not a {kind.DESCRIPTOR.name} message.") from None


def _spec(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.model_spec.name:
        raise invalid("ModelSpec has no name specified.")
    return request.model_spec


def _target(spec: Any) -> tuple[str, int | None, str | None]:
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label or None


def _not_yet(method: str) -> Handler:
    def refuse(manager: Manager, data: bytes) -> bytes:
        raise ServingError(Code.UNIMPLEMENTED, f"{method} is not served: use Predict.")

    return refuse


TABLE: dict[str, dict[str, Handler]] = {
    "tensorflow.serving.PredictionService": {
        "Predict": predict,
        "GetModelMetadata": get_model_metadata,
        "Classify": _not_yet("Classify"),
        "Regress": _not_yet("Regress"),
        "MultiInference": _not_yet("MultiInference"),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": get_model_status,
        "HandleReloadConfigRequest": _not_yet("HandleReloadConfigRequest"),
    },
}
