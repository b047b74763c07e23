"""Ask a model server over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from serving import dtypes
from serving.client.answers import (
    BY_NAME,
    Metadata,
    Signature,
    TensorInfo,
    VersionStatus,
    cast,
)
from serving.client.base import Client
from serving.errors import RequestFailed, ServerUnreachable
from serving.tensor_proto import as_bytes

_CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL",
    501: "UNIMPLEMENTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


class RestClient(Client):
    """A model server's REST address. Use it as a context manager, or `close` it.

    Args:
        host: its name, with `https://` before it where the server stands behind TLS.
        port: of the REST API.
        timeout: seconds to wait for an answer.
        headers: sent with every request, an API key for instance.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8501,
        *,
        timeout: float = 10,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__()
        import httpx  # a fifth of a second that `import serving.client` need not wait for

        self.address = f"{host}:{port}"
        base = self.address if "://" in host else f"http://{self.address}"
        self._http = httpx.Client(base_url=base, headers=dict(headers or {}))
        self._timeout = timeout

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
        """Run a signature of a model.

        Args:
            model: its name.
            inputs: arrays or nested lists by input name, the batch first; strings as str or bytes.
            version, label: which version; the newest by default.
            signature: its name.
            timeout: seconds to wait for the answer; the client's own by default.

        Returns:
            Arrays by output name; strings as object arrays of bytes.

        Raises:
            ServerUnreachable: nothing answers at the address.
            RequestFailed: the server refused, or did not answer in time.
        """
        path = _target(model, version, label)
        known = self._signature(model, version, label, signature, timeout)
        arrays = cast(inputs, known)
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(array) for name, array in arrays.items()},
        }
        answer = self._ask("POST", f"{path}:predict", timeout, body)["outputs"]
        if known is None:  # cannot be: a server that knows the signature has its metadata
            raise RequestFailed(self.address, "INTERNAL", f"No metadata of signature {signature}.")
        if len(known.outputs) == 1:
            answer = {next(iter(known.outputs)): answer}
        return {name: _from_json(value, known.outputs.get(name)) for name, value in answer.items()}

    def status(self, model: str, *, timeout: float | None = None) -> list[VersionStatus]:
        """The states of a model's versions, newest first."""
        answer = self._ask("GET", _target(model), timeout)
        return [
            VersionStatus(
                int(entry["version"]),
                entry["state"],
                entry["status"]["error_code"],
                entry["status"]["error_message"],
            )
            for entry in answer["model_version_status"]
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
        answer = self._ask("GET", f"{_target(model, version, label)}/metadata", timeout)
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        return Metadata(
            answer["model_spec"]["name"],
            int(answer["model_spec"]["version"]),
            {name: _signature(definition) for name, definition in signatures.items()},
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, timeout: float | None, body: Any = None) -> Any:
        import httpx

        timeout = self._timeout if timeout is None else timeout
        content = None if body is None else json.dumps(body).encode()
        try:
            response = self._http.request(method, path, content=content, timeout=timeout)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise RequestFailed(
                self.address, "DEADLINE_EXCEEDED", f"no answer within {timeout} seconds."
            ) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(self.address, str(error)) from None
        try:
            # A server may send strings that are not UTF-8: their bytes are kept.
            answer = json.loads(response.content.decode("utf-8", "surrogateescape"))
        except ValueError:
            answer = None
        if response.status_code != 200 or not isinstance(answer, dict):
            message = answer.get("error") if isinstance(answer, dict) else None
            code = _CODES.get(response.status_code, "UNKNOWN")
            raise RequestFailed(
                self.address, code, message or f"HTTP status {response.status_code}."
            )
        return answer


def _target(model: str, version: int | None = None, label: str | None = None) -> str:
    path = f"/v1/models/{quote(model, safe='')}"
    if version is not None:
        return f"{path}/versions/{version}"
    return f"{path}/labels/{quote(label, safe='')}" if label else path


def _signature(definition: Mapping[str, Any]) -> Signature:
    return Signature(
        {name: _tensor(info) for name, info in definition["inputs"].items()},
        {name: _tensor(info) for name, info in definition["outputs"].items()},
        definition["method_name"],
    )


def _tensor(info: Mapping[str, Any]) -> TensorInfo:
    name = info["dtype"].removeprefix("DT_").lower()
    if info["tensor_shape"]["unknown_rank"]:
        return TensorInfo(name, None)
    sizes = [int(dim["size"]) for dim in info["tensor_shape"]["dim"]]
    return TensorInfo(name, tuple(size if size >= 0 else None for size in sizes))


def _to_json(array: np.ndarray) -> Any:
    if dtypes.of_array(array) is not dtypes.STRING:
        return array.tolist()
    return _strings_to_json(array.tolist())


def _strings_to_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_strings_to_json(element) for element in value]
    return value if isinstance(value, str) else {"b64": base64.b64encode(value).decode()}


def _from_json(value: Any, info: TensorInfo | None) -> np.ndarray:
    dtype = BY_NAME.get(info.dtype) if info else None
    if dtype is not dtypes.STRING:
        return np.asarray(value, dtype.numpy if dtype else None)
    return _string_array(value)


def _string_array(value: Any) -> np.ndarray:
    if isinstance(value, list):
        parts = [_string_array(element) for element in value]
        array = np.empty((len(parts), *(parts[0].shape if parts else ())), object)
        for index, part in enumerate(parts):
            array[index] = part[()] if part.ndim == 0 else part
        return array
    data = base64.b64decode(value["b64"]) if isinstance(value, dict) else as_bytes(value)
    return np.array(data, object)
