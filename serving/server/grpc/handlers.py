"""What each method answers: steps from a request's bytes to an answer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.config.models import parse_models
from serving.errors import ConfigError
from serving.server import examples
from serving.server.core import Call
from serving.server.grpc import wire
from serving.server.predict import prepare, signature_for, tensor_feeds
from serving.server.servable import DEFAULT_SIGNATURE, check_feeds
from serving.server.status import Code, ServingError, invalid
from serving.server.steps import Run, Steps

Handler = Callable[[Call, bytes], "Steps | bytes"]


# === PredictionService ===


def predict(call: Call, data: bytes) -> Steps:
    """PredictionService.Predict."""
    request = _parse(predict_pb2.PredictRequest, data)
    spec = _spec(call, request)
    with call.core.manager.lease(*_target(spec)) as version:
        call.version = version.number
        signature = signature_for(version.servable, spec.signature_name)
        call.signature = signature.key
        outputs = yield prepare(
            version.servable,
            signature,
            tensor_feeds(request.inputs),
            list(request.output_filter),
            named=call.core.options.check_method_names,
        )
        return wire.predict_response(
            spec.name,
            version.number,
            signature.key,
            outputs,
            as_content=call.core.options.tensor_content,
        )


def classify(call: Call, data: bytes) -> Steps:
    """PredictionService.Classify."""
    answer = classification_pb2.ClassificationResponse()
    found = yield from _evaluate(call, classification_pb2.ClassificationRequest, data, answer)
    _fill_classes(answer.result, examples.classes(found, call.examples))
    return answer.SerializeToString()


def regress(call: Call, data: bytes) -> Steps:
    """PredictionService.Regress."""
    answer = regression_pb2.RegressionResponse()
    found = yield from _evaluate(call, regression_pb2.RegressionRequest, data, answer)
    _fill_values(answer.result, examples.values(found, call.examples))
    return answer.SerializeToString()


def _evaluate(call: Call, kind: type, data: bytes, answer: Any) -> Any:
    """The outputs of the one signature that a Classify or Regress request asks for."""
    request = _parse(kind, data)
    spec = _spec(call, request)
    method = examples.CLASSIFY if call.api == "Classify" else examples.REGRESS
    named = call.core.options.check_method_names
    with call.core.manager.lease(*_target(spec)) as version:
        call.version = version.number
        servable = version.servable
        task = examples.task(
            servable, examples.find(servable, spec.signature_name), method, named=named
        )
        call.signature = task.signature.key
        feeds = {examples.INPUT: examples.serialized(request.input)}
        call.examples = len(feeds[examples.INPUT])
        outputs = yield Run(servable, task.signature, check_feeds(task.signature, feeds))
        _fill_spec(answer.model_spec, spec, version.number)
        return outputs


def multi_inference(call: Call, data: bytes) -> Steps:
    """PredictionService.MultiInference: several signatures of one model in one run."""
    request = _parse(inference_pb2.MultiInferenceRequest, data)
    specs = [task.model_spec for task in request.tasks]
    if not specs or not specs[0].name:
        raise invalid("ModelSpec has no name specified.")
    call.model = specs[0].name
    with call.core.manager.lease(*_target(specs[0])) as version:
        call.version = version.number
        tasks = _tasks(call, version.servable, request.tasks)
        joint = examples.together(tasks)
        call.signature = joint.key
        feeds = {examples.INPUT: examples.serialized(request.input)}
        call.examples = len(feeds[examples.INPUT])
        outputs = yield Run(
            version.servable, version.servable.shared(joint), check_feeds(joint, feeds)
        )
        answer = inference_pb2.MultiInferenceResponse()
        for task, spec in zip(tasks, specs, strict=True):
            result, found = answer.results.add(), examples.part(task, outputs)
            _fill_spec(result.model_spec, spec, version.number)
            if task.method == examples.CLASSIFY:
                _fill_classes(result.classification_result, examples.classes(found, call.examples))
            else:
                _fill_values(result.regression_result, examples.values(found, call.examples))
    return answer.SerializeToString()


def _tasks(call: Call, servable: Any, requested: Any) -> list[examples.Task]:
    tasks: list[examples.Task] = []
    for each in requested:
        spec = each.model_spec
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if spec.name != call.model:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = spec.signature_name or DEFAULT_SIGNATURE
        if any(name == task.signature.key for task in tasks):
            raise invalid(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if each.method_name not in (examples.CLASSIFY, examples.REGRESS):
            raise ServingError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {each.method_name}"
            )
        signature = servable.signatures[name]
        named = call.core.options.check_method_names
        tasks.append(examples.task(servable, signature, each.method_name, named=named))
        examples.check_same_input(tasks[0], tasks[-1])
    return tasks


def get_model_metadata(call: Call, data: bytes) -> bytes:
    """PredictionService.GetModelMetadata: the `signature_def` field, the only one there is."""
    request = _parse(get_model_metadata_pb2.GetModelMetadataRequest, data)
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != "signature_def":
            raise invalid(f"Metadata field {name} is not supported")
    spec = _spec(None, request)
    with call.core.manager.lease(*_target(spec)) as version:
        definitions = get_model_metadata_pb2.SignatureDefMap(
            signature_def=version.servable.signature_defs
        )
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = spec.name
        answer.model_spec.version.value = version.number
    answer.metadata["signature_def"].Pack(definitions)
    return answer.SerializeToString()


# === ModelService ===


def get_model_status(call: Call, data: bytes) -> bytes:
    """ModelService.GetModelStatus: all versions, or the one asked for. A label is not looked at."""
    request = _parse(get_model_status_pb2.GetModelStatusRequest, data)
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    number = spec.version.value if spec.HasField("version") else None
    answer = get_model_status_pb2.GetModelStatusResponse()
    for version in call.core.manager.statuses(spec.name, number):
        entry = answer.model_version_status.add(version=version.number, state=int(version.state))
        entry.status.SetInParent()
        entry.status.error_code = int(version.code)
        entry.status.error_message = version.message
    return answer.SerializeToString()


def handle_reload_config(call: Call, data: bytes) -> bytes:
    """ModelService.HandleReloadConfigRequest: returns when the new models are available."""
    request = _parse(model_management_pb2.ReloadConfigRequest, data)
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    if call.core.reload is None:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "The models of this server follow its store: add and remove them there.",
        )
    before = _counts(call, request)
    try:
        call.core.reload(parse_models(request.config, call.core.manager.model_names()))
    except ConfigError as error:
        raise invalid(str(error)) from error
    answer = model_management_pb2.ReloadConfigResponse()
    answer.status.SetInParent()
    for name, count in _counts(call, request).items():
        answer.metric.add(name=name, int64_value_increase=count - before[name])
    return answer.SerializeToString()


def _counts(call: Call, request: Any) -> dict[str, int]:
    """The metrics that a request names, each by the first of its values where that is a count."""
    metrics = {metric.name: metric for metric in call.core.metrics.all}
    found = {}
    for name in request.metric_names:
        metric = metrics.get(name.replace("/", ":"))
        values = [value for _, value in sorted(metric.state().items())] if metric else []
        found[name] = values[0] if values and isinstance(values[0], int) else 0
    return found


# === Parts of messages ===


def _parse(kind: type, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:  # gRPC's own answer, which has no words
        raise ServingError(Code.INTERNAL, "") from None


def _spec(call: Call | None, request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.model_spec.name:
        raise invalid("ModelSpec has no name specified.")
    if call is not None:
        call.model = request.model_spec.name
    return request.model_spec


def _target(spec: Any) -> tuple[str, int | None, str | None]:
    version = spec.version.value if spec.HasField("version") else None
    label = spec.version_label if spec.HasField("version_label") else None
    return spec.name, version, label


def _fill_spec(answer: Any, spec: Any, version: int) -> None:
    answer.name, answer.version.value = spec.name, version
    answer.signature_name = spec.signature_name or DEFAULT_SIGNATURE


def _fill_classes(result: Any, found: list[examples.Classes]) -> None:
    result.SetInParent()
    for classes in found:
        entry = result.classifications.add()
        for label, score in classes:
            entry.classes.add(label=_text(label), score=score)


def _fill_values(result: Any, found: list[float]) -> None:
    result.SetInParent()
    for value in found:
        result.regressions.add(value=value)


def _text(label: bytes) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError:
        raise ServingError(
            Code.INTERNAL, "The model's class labels are not UTF-8, which Classify needs."
        ) from None


TABLE: dict[str, dict[str, Handler]] = {
    "tensorflow.serving.PredictionService": {
        "Predict": predict,
        "GetModelMetadata": get_model_metadata,
        "Classify": classify,
        "Regress": regress,
        "MultiInference": multi_inference,
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": get_model_status,
        "HandleReloadConfigRequest": handle_reload_config,
    },
}
