"""Which request a method and a path stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from serving.server.http1 import target

_VERSION_OR_LABEL = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_FLAGS = re.IGNORECASE | re.ASCII
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION_OR_LABEL}:(?P<verb>classify|regress|predict)", _FLAGS
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION_OR_LABEL}(?:/(?P<verb>metadata))?", _FLAGS
)
_MAX_VERSION = (1 << 63) - 1


class BadVersion(ValueError):
    """A version number that no 64-bit integer holds."""


@dataclass(frozen=True)
class Route:
    """A request's target. `verb` is predict, classify, regress, metadata or status."""

    verb: str
    name: str
    version: int | None = None
    label: str | None = None


def match(method: str, path: str) -> Route | None:
    """The route of a request, None where there is no such.

    `path` is what `http1.target` reads, percent signs and query string included: TensorFlow
    Serving takes no query, so a `?` is a part of the name.

    Raises:
        BadVersion: the version does not fit 64 bits.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    found = pattern.fullmatch(path) if pattern else None
    if found is None:
        return None
    verb = found["verb"] or "status"
    if method == "POST" and verb not in ("predict", "classify", "regress"):
        return None  # the path matches without regard to case, the verb does not
    if method == "GET" and verb != "metadata":
        verb = "status"
    version = int(found["version"]) if found["version"] else None
    if version is not None and version > _MAX_VERSION:
        raise BadVersion(found["version"])
    label = _decoded(found["label"]) if found["label"] else None
    return Route(verb, _decoded(found["name"] or ""), version, label)


@lru_cache(maxsize=1024)
def inference(address: bytes) -> Route | None:
    """The route that a POST to this target stands for; None where something is wrong with it.

    Remembered: not for targets that are longer than `target.SHORT`.
    """
    path = target.read(address)
    try:
        return None if path is None else match("POST", path)
    except BadVersion:
        return None


def _decoded(text: str) -> str:
    """Bytes that are not UTF-8 come back as they are in the message of an error."""
    return unquote(text, errors="surrogateescape")
