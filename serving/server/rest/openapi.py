"""An OpenAPI 3.1 description of the REST interface, made from the signatures that are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serving import dtypes
from serving.server import examples
from serving.server.lifecycle import Version
from serving.server.servable import DEFAULT_SIGNATURE, Signature, TensorSpec

Json = dict[str, Any]

_BYTES: Json = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
}
_ERROR: Json = {
    "description": "What was wrong",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}}
        }
    },
}


def document(versions: Iterable[Version]) -> Json:
    """The description of the newest of `versions` of each model.

    Args:
        versions: available ones, each held by nobody: only signatures are looked at.
    """
    newest: dict[str, Version] = {}
    for version in sorted(versions, key=lambda version: (version.model, version.number)):
        newest[version.model] = version
    paths: Json = {}
    for name, version in newest.items():
        servable = version.servable
        if servable is not None:  # it may have been unloaded since
            paths |= _paths(name, servable.signatures)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Model server", "version": "1"},
        "paths": paths,
    }


def _paths(name: str, signatures: Mapping[str, Signature]) -> Json:
    base = f"/v1/models/{name}"
    usable = {key: s for key, s in sorted(signatures.items()) if not key.startswith("__")}
    verbs = {
        "predict": [s for s in usable.values() if s.inputs],
        "classify": [s for s in usable.values() if s.method_name == examples.CLASSIFY],
        "regress": [s for s in usable.values() if s.method_name == examples.REGRESS],
    }
    paths: Json = {
        base: {"get": _operation(f"States of the versions of {name}", {"type": "object"})},
        f"{base}/metadata": {"get": _operation(f"Signatures of {name}", {"type": "object"})},
    }
    for verb, found in verbs.items():
        if not found:
            continue
        if verb == "predict":
            requests = [body for s in found for body in _predict_bodies(s)]
            answers = [_answer(s) for s in found]
        else:
            requests = [_examples_body(s) for s in found]
            answers = [{"type": "object", "properties": {"results": {"type": "array"}}}]
        operation = _operation(f"{verb.capitalize()} with {name}", _any_of(answers))
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _any_of(requests)}},
        }
        paths[f"{base}:{verb}"] = {"post": operation}
    return paths


def _operation(summary: str, answer: Json) -> Json:
    return {
        "summary": summary,
        "responses": {
            "200": {
                "description": "The answer",
                "content": {"application/json": {"schema": answer}},
            },
            "default": _ERROR,
        },
    }


def _any_of(schemas: list[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _predict_bodies(signature: Signature) -> list[Json]:
    """Row format, where every input has a batch dimension, and column format."""
    inputs = signature.inputs
    columns = _named({name: _tensor(spec) for name, spec in inputs.items()})
    whole = columns if len(inputs) > 1 else _any_of([_tensor(*inputs.values()), columns])
    bodies = [_body(signature, "inputs", whole)]
    if all(spec.shape is None or len(spec.shape) for spec in inputs.values()):
        rows = _named({name: _tensor(spec, skip=1) for name, spec in inputs.items()})
        row = rows if len(inputs) > 1 else _any_of([_tensor(*inputs.values(), skip=1), rows])
        bodies.insert(
            0, _body(signature, "instances", {"type": "array", "items": row, "minItems": 1})
        )
    return bodies


def _examples_body(signature: Signature) -> Json:
    return _body(
        signature, "examples", {"type": "array", "items": {"type": "object"}, "minItems": 1}
    )


def _body(signature: Signature, key: str, value: Json) -> Json:
    required = [key] if signature.key == DEFAULT_SIGNATURE else ["signature_name", key]
    return {
        "type": "object",
        "properties": {"signature_name": {"const": signature.key}, key: value},
        "required": required,
    }


def _named(members: Json) -> Json:
    return {"type": "object", "properties": members, "required": list(members)}


def _answer(signature: Signature) -> Json:
    outputs = {name: _tensor(spec, name=name) for name, spec in signature.outputs.items()}
    rows = {name: _tensor(spec, skip=1, name=name) for name, spec in signature.outputs.items()}
    single = len(outputs) == 1
    return {
        "type": "object",
        "properties": {
            "predictions": {
                "type": "array",
                "items": next(iter(rows.values())) if single else _named(rows),
            },
            "outputs": next(iter(outputs.values())) if single else _named(outputs),
        },
    }


def _tensor(spec: TensorSpec, *, skip: int = 0, name: str = "") -> Json:
    """A tensor as nested arrays, without its first `skip` dimensions."""
    schema = _element(spec.dtype, name)
    if spec.shape is None:
        return {"description": "a value or nested arrays of them"}
    for size in reversed(spec.shape[skip:]):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _element(dtype: dtypes.DType | None, name: str) -> Json:
    if dtype is None or dtype.numpy is None:
        return {}
    if dtype is dtypes.STRING:
        return _BYTES if name.endswith("_bytes") else {"anyOf": [{"type": "string"}, _BYTES]}
    if dtype is dtypes.BOOL:
        return {"type": "boolean"}
    if dtype.numpy.kind in "iu":
        return {"type": "integer"}
    return {"type": "number"}
