"""An error on its way from one process to another, so that it is told in the same words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.errors import StartError
from serving.server.status import Code, ServingError
from zoo.errors import ZooError


def to_json(error: ZooError) -> dict[str, Any]:
    """As a part of a message: the error's class, its text, and its attributes as text."""
    fields = {
        name: value if isinstance(value, int) else str(value) for name, value in vars(error).items()
    }
    return {"class": _name(type(error)), "text": str(error), "fields": fields}


def from_json(message: dict[str, Any]) -> ZooError:
    """The error again; a StartError where nobody knows its class here."""
    kinds = {_name(kind): kind for kind in _kinds(ZooError)}
    kind = kinds.get(message["class"], StartError)
    error = kind.__new__(kind)
    error.args = (message["text"],)
    vars(error).update(message["fields"])
    if isinstance(error, ServingError):
        error.code = Code(error.code)
    return error


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _kinds(kind: type[ZooError]) -> Iterator[type[ZooError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
