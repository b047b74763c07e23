"""Ask a model server over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving import dtypes, tensor_proto
from serving.client import messages
from serving.client.answers import (
    CODES,
    STATES,
    Metadata,
    Signature,
    TensorInfo,
    VersionStatus,
    cast,
)
from serving.client.base import Client
from serving.errors import RequestFailed, ServerUnreachable

_PREDICTION = "/tensorflow.serving.PredictionService"
_MODEL = "/tensorflow.serving.ModelService"


class GrpcClient(Client):
    """A model server's gRPC address. Use it as a context manager, or `close` it.

    Args:
        host, port: where its gRPC API is.
        timeout: seconds to wait for an answer.
        headers: metadata sent with every call, an API key for instance.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8500,
        *,
        timeout: float = 10,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__()
        import grpc

        self.address = f"{host}:{port}"
        self._timeout = timeout
        self._headers = tuple((name.lower(), value) for name, value in (headers or {}).items())
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self._channel = grpc.insecure_channel(self.address, options=options)

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = "serving_default",
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Run a signature of a model; arguments, result and errors as for `RestClient.predict`."""
        known = self._signature(model, version, label, signature, timeout)
        request = messages.PredictRequest()
        _fill_spec(request.model_spec, model, version, label, signature)
        for name, array in cast(inputs, known).items():
            try:
                tensor_proto.fill(request.inputs[name], array, as_content=True)
            except tensor_proto.BadTensor as error:
                raise RequestFailed(
                    self.address, "INVALID_ARGUMENT", f"Input {name}: {error}."
                ) from None
        answer = self._call(f"{_PREDICTION}/Predict", request, messages.PredictResponse, timeout)
        return {name: tensor_proto.to_array(answer.outputs[name]) for name in answer.outputs}

    def status(self, model: str, *, timeout: float | None = None) -> list[VersionStatus]:
        """The states of a model's versions, newest first."""
        request = messages.GetModelStatusRequest()
        request.model_spec.name = model
        answer = self._call(
            f"{_MODEL}/GetModelStatus", request, messages.GetModelStatusResponse, timeout
        )
        return [
            VersionStatus(
                entry.version,
                STATES.get(entry.state, "UNKNOWN"),
                CODES[entry.status.error_code],
                entry.status.error_message,
            )
            for entry in answer.model_version_status
        ]

    def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Metadata:
        """The signatures of a version, the newest by default."""
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill_spec(request.model_spec, model, version, label)
        answer = self._call(
            f"{_PREDICTION}/GetModelMetadata", request, messages.GetModelMetadataResponse, timeout
        )
        definitions = messages.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
        return Metadata(
            answer.model_spec.name,
            answer.model_spec.version.value,
            {name: _signature(d) for name, d in definitions.signature_def.items()},
        )

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _call(self, method: str, request: Any, answer: Any, timeout: float | None) -> Any:
        import grpc

        timeout = self._timeout if timeout is None else timeout
        call = self._channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            return call(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            if code == "UNAVAILABLE" and _unconnected(details):
                raise ServerUnreachable(self.address, details) from None
            raise RequestFailed(self.address, code, details) from None


def _unconnected(details: str) -> bool:
    """Whether an UNAVAILABLE is grpcio's own, and not the server's word for a full queue."""
    hints = ("connect", "socket", "dns", "resol", "goaway", "transport")
    return any(hint in details.lower() for hint in hints)


def _fill_spec(
    spec: Any, model: str, version: int | None, label: str | None, signature: str = ""
) -> None:
    spec.name, spec.signature_name = model, signature
    if version is not None:
        spec.version.value = version
    elif label:
        spec.version_label = label


def _signature(definition: Any) -> Signature:
    return Signature(
        {name: _tensor(info) for name, info in definition.inputs.items()},
        {name: _tensor(info) for name, info in definition.outputs.items()},
        definition.method_name,
    )


def _tensor(info: Any) -> TensorInfo:
    dtype = dtypes.BY_NUMBER.get(info.dtype)
    name = dtype.name if dtype else "invalid"
    if info.tensor_shape.unknown_rank:
        return TensorInfo(name, None)
    sizes = [dim.size for dim in info.tensor_shape.dim]
    return TensorInfo(name, tuple(size if size >= 0 else None for size in sizes))
