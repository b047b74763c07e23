"""Classify and Regress in JSON: `examples` of plain values in, `results` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.server.examples import Classes
from serving.server.rest import json_output
from serving.server.rest.json_members import every
from serving.server.rest.json_print import printed, type_name
from serving.server.rest.json_values import decode_base64, is_object
from serving.server.status import invalid

_INT64, _UINT64 = range(-(1 << 63), 1 << 63), range(1 << 64)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_input(document: Mapping[str, Any]) -> Any:
    """The `Input` message of a request: its `examples`, and its `context` where it has one.

    Raises:
        ServingError: what is wrong, in TensorFlow Serving's words.
    """
    from tensorflow_serving.apis import input_pb2  # imports TensorFlow

    found = input_pb2.Input()
    target = found.example_list
    if "context" in document:
        target = found.example_list_with_context
        _fill(target.context, document["context"])
    if "examples" not in document:  # both methods are told this of classify
        raise invalid(
            f"JSON Value: {printed(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(
            f"JSON Value: {printed(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid(f"JSON Value: {printed(document)} 'examples' value is an empty array")
    for example in examples:
        _fill(target.examples.add(), example)
    return found


def _fill(message: Any, value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in every(value):
        feature = message.features.feature[_encodable(name)]
        feature.Clear()  # of a repeated member the last one counts
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)


def _encodable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # a map's key is text, and must be UTF-8


def _add(feature: Any, name: str, value: Any) -> None:
    """Add one value to a feature, whose kind is that of its first value."""
    if value is None or isinstance(value, list) or is_object(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    kind = _kind(value)
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {_KINDS[known]}")
    if kind == "float_list":
        element: Any = _float32(value)
    elif isinstance(value, dict):
        element = decode_base64(value)
    elif isinstance(value, str):
        element = value.encode("utf-8", "surrogateescape")
    elif value not in _INT64:
        raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    else:
        element = int(value)
    getattr(feature, kind).value.append(element)


def _kind(value: Any) -> str:
    if isinstance(value, dict | str):
        return "bytes_list"
    if isinstance(value, int) and (value in _INT64 or value in _UINT64):
        return "int64_list"
    return "float_list"  # whole numbers that no 64 bits hold are read as doubles, too


def _float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


# === Answers ===


def classifications(found: list[Classes]) -> bytes:
    """`{"results": [[["label", score], ...], ...]}`: a list for each example."""
    rows = [
        b"["
        + b", ".join(
            b"[" + json_output.string(label) + b", " + json_output.decimal(np.float32(score)) + b"]"
            for label, score in classes
        )
        + b"]"
        for classes in found
    ]
    return b'{\n    "results": [' + b", ".join(rows) + b"\n    ]\n}"


def regressions(found: list[float]) -> bytes:
    """`{"results": [value, ...]}`."""
    values = b", ".join(json_output.decimal(np.float32(value)) for value in found)
    return b'{\n    "results": [' + values + b"]\n}"
