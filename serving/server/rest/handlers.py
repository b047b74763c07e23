"""What each route answers: steps from a request's body to an answer's."""

from __future__ import annotations

import json
from collections.abc import Callable

from serving.server import examples
from serving.server.core import Call
from serving.server.lifecycle import Version
from serving.server.predict import prepare
from serving.server.rest import json_examples, json_input, json_numbers, json_output
from serving.server.rest.json_parse import may_repeat, parse_object
from serving.server.rest.routes import Route
from serving.server.servable import DEFAULT_SIGNATURE, check_feeds
from serving.server.status import invalid
from serving.server.steps import Run, Steps

Handler = Callable[[Call, Route, bytes], "Steps | bytes"]


def predict(call: Call, route: Route, body: bytes) -> Steps:
    """Run a signature on the tensors in `body`; the answer has the request's format."""
    call.model = route.name
    numbers = json_numbers.read(body)
    if numbers is not None:
        name = numbers.signature_name
    else:
        document = parse_object(body)
        name = json_input.signature_name(document)
    with call.core.manager.lease(route.name, route.version, route.label) as version:
        call.version = version.number
        servable = version.servable
        signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise invalid(
                f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def'
            )
        call.signature = signature.key
        feeds = None if numbers is None else numbers.tensors(signature)
        if feeds is not None:
            in_rows = numbers.in_rows
        else:
            if numbers is not None:
                document = parse_object(body)
            if may_repeat(body, document, signature.inputs):
                document = parse_object(body, every_member=True)
            feeds, in_rows = json_input.read_tensors(document, signature, name)
        named = call.core.options.check_method_names
        outputs = yield prepare(servable, signature, feeds, named=named)
    return json_output.row(outputs) if in_rows else json_output.columnar(outputs)


def classify(call: Call, route: Route, body: bytes) -> Steps:
    """Labels and scores for each of the `examples` in `body`."""
    outputs = yield from _evaluate(call, route, body, examples.CLASSIFY)
    return json_examples.classifications(examples.classes(outputs, call.examples))


def regress(call: Call, route: Route, body: bytes) -> Steps:
    """A value for each of the `examples` in `body`."""
    outputs = yield from _evaluate(call, route, body, examples.REGRESS)
    return json_examples.regressions(examples.values(outputs, call.examples))


def _evaluate(call: Call, route: Route, body: bytes, method: str) -> Steps:
    call.model = route.name
    document = parse_object(body)
    name = json_input.signature_name(document)
    feeds = {examples.INPUT: examples.serialized(json_examples.read_input(document))}
    call.examples = len(feeds[examples.INPUT])
    named = call.core.options.check_method_names
    with call.core.manager.lease(route.name, route.version, route.label) as version:
        call.version = version.number
        servable = version.servable
        task = examples.task(servable, examples.find(servable, name), method, named=named)
        call.signature = task.signature.key
        return (yield Run(servable, task.signature, check_feeds(task.signature, feeds)))


def metadata(call: Call, route: Route, body: bytes) -> bytes:
    """The signatures of a version, as GetModelMetadata gives them."""
    if not route.name:
        raise invalid("Missing model name in request.")
    with call.core.manager.lease(route.name, route.version, route.label) as version:
        signatures = version.servable.metadata_json
        number = version.number
    spec = {"name": route.name, "version": str(number), "signature_name": ""}
    return (
        f'{{\n"model_spec":{json.dumps(spec, indent=1)}\n,\n'
        f'"metadata": {{"signature_def": {signatures}\n}}\n}}\n'
    ).encode()


def status(call: Call, route: Route, body: bytes) -> bytes:
    """The states of a model's versions. A label is not looked at."""
    if not route.name:
        raise invalid("Missing model name in request.")
    versions = call.core.manager.statuses(route.name, route.version)
    answer = {"model_version_status": [_version_status(version) for version in versions]}
    return (json.dumps(answer, indent=1, ensure_ascii=False) + "\n").encode()


def _version_status(version: Version) -> dict:
    return {
        "version": str(version.number),
        "state": version.state.name,
        "status": {"error_code": version.code.name, "error_message": version.message},
    }


TABLE: dict[str, Handler] = {
    "predict": predict,
    "classify": classify,
    "regress": regress,
    "metadata": metadata,
    "status": status,
}
