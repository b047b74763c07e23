"""Request bodies to Python values, fast where they are plain JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from serving.server.rest import json_text
from serving.server.rest.json_members import from_pairs
from serving.server.rest.json_print import printed
from serving.server.status import Code, ServingError, invalid

# A body larger than this that no fast parser accepts gets a short answer instead of an exact one:
# finding the offset takes seconds for each 10 MB.
MAX_EXPLAINED_BYTES = 4 * 1024 * 1024

# What the values of one body may take up once they are Python objects. A list is 88 bytes with its
# place in another, a number 32: "[[],[],…" grows thirtyfold.
MAX_PARSED_BYTES = 4 << 30
LIST_BYTES, VALUE_BYTES = 88, 32

_ONCE = (b'"instances"', b'"inputs"', b'"signature_name"', b'"examples"', b'"context"')


def parse_object(body: bytes, *, every_member: bool = False) -> dict[str, Any]:
    """The JSON object in `body`.

    Args:
        every_member: whether members that objects within it repeat are to be kept. The object
            itself keeps them where it has to.

    Raises:
        ServingError: INVALID_ARGUMENT with TensorFlow Serving's wording, RESOURCE_EXHAUSTED where
            its values would fill the memory.
    """
    estimate = body.count(b"[") * LIST_BYTES + body.count(b",") * VALUE_BYTES
    if estimate + body.count(b"{") * LIST_BYTES * 2 > MAX_PARSED_BYTES:
        raise ServingError(Code.RESOURCE_EXHAUSTED, "The request holds too many values.")
    document = _parse(body, every_member)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {printed(document)} Is not object")
    return document


def may_repeat(body: bytes, document: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether an object of inputs in `body` may have one of `names` twice.

    A text that is the same as a name is mistaken for it. That costs time, and nothing else.
    """
    instances, inputs = document.get("instances"), document.get("inputs")
    if isinstance(instances, list) and instances:
        most, first = len(instances), instances[0]
    else:
        most, first = 1, inputs
    if not isinstance(first, dict):
        return False
    return any(body.count(b'"%s"' % name.encode()) > most for name in names)


def _parse(body: bytes, every_member: bool) -> Any:
    # orjson keeps the last of repeated keys
    if not every_member and all(body.count(key) <= 1 for key in _ONCE):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        return _lenient(body)
    except (ValueError, RecursionError):
        pass
    if len(body) > MAX_EXPLAINED_BYTES:
        raise invalid("JSON Parse error: Invalid value in a large document.")
    try:
        return json_text.parse(body)
    except json_text.JsonError as error:
        raise invalid(str(error)) from None


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)  # the exact parser knows which of these are too big
    return number


def _integer(text: str) -> int | float:
    if len(text) < 19:
        return int(text)
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 64 else _finite(text)


_DECODER = json.JSONDecoder(object_pairs_hook=from_pairs, parse_float=_finite, parse_int=_integer)


def _lenient(body: bytes) -> Any:
    """The standard library's parser: NaN, repeated keys, a BOM, trailing text, invalid UTF-8."""
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff").lstrip(" \t\n\r")
    if "\\ud" in text or "\\uD" in text:
        raise ValueError("surrogate escapes are checked by the exact parser")
    if not text.startswith("{"):
        raise ValueError("the exact parser knows which ends of a bare number are wrong")
    return _DECODER.raw_decode(text)[0]
