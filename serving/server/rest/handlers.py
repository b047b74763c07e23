"""What each route answers: synchronous functions from a request's body to an answer's.

The table is where classify and regress will stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from serving.server.lifecycle import Version
from serving.server.manager import Manager
from serving.server.predict import predict as run_predict
from serving.server.rest import json_input, json_output
from serving.server.rest.json_parse import parse_object
from serving.server.rest.routes import Route
from serving.server.servable import DEFAULT_SIGNATURE
from serving.server.status import Code, ServingError, invalid

Handler = Callable[[Manager, Route, bytes], bytes]


def predict(manager: Manager, route: Route, body: bytes) -> bytes:
    """Run a signature on the tensors in `body`; the answer has the request's format."""
    document = parse_object(body)
    name = json_input.signature_name(document)
    with manager.lease(route.name, route.version, route.label) as version:
        servable = version.servable
        signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise invalid(
                f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def'
            )
        feeds, in_rows = json_input.read_tensors(document, signature, name)
        outputs = run_predict(servable, signature, feeds)
    return json_output.row(outputs) if in_rows else json_output.columnar(outputs)


def metadata(manager: Manager, route: Route, body: bytes) -> bytes:
    """The signatures of a version, as GetModelMetadata gives them."""
    with manager.lease(route.name, route.version, route.label) as version:
        signatures = version.servable.metadata_json
        number = version.number
    spec = {"name": route.name, "version": str(number), "signature_name": ""}
    return (
        f'{{\n"model_spec":{json.dumps(spec, indent=1)}\n,\n'
        f'"metadata": {{"signature_def": {signatures}\n}}\n}}\n'
    ).encode()


def status(manager: Manager, route: Route, body: bytes) -> bytes:
    """The states of a model's versions. A label is not looked at."""
    if not route.name:
        raise invalid("Missing model name in request.")
    versions = manager.statuses(route.name, route.version)
    answer = {"model_version_status": [_version_status(version) for version in versions]}
    return (json.dumps(answer, indent=1, ensure_ascii=False) + "\n").encode()


def _version_status(version: Version) -> dict:
    return {
        "version": str(version.number),
        "state": version.state.name,
        "status": {"error_code": version.code.name, "error_message": version.message},
    }


def _not_yet(manager: Manager, route: Route, body: bytes) -> bytes:
    raise ServingError(
        Code.UNIMPLEMENTED, f"{route.verb} is not served: send the tensors to :predict instead."
    )


TABLE: dict[str, Handler] = {
    "predict": predict,
    "classify": _not_yet,
    "regress": _not_yet,
    "metadata": metadata,
    "status": status,
}
