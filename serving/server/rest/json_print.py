"""JSON values as TensorFlow Serving quotes them in its error messages."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np

from serving.server.rest.json_members import every

MAX_PRINTED = 16 * 1024  # characters; a message need not repeat a whole request

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_TABLE = str.maketrans({chr(i): f"\\u{i:04X}" for i in range(32)} | _ESCAPES)


def printed(value: Any) -> str:
    """`value` with objects spread over lines and arrays on one line.

    A float by itself is printed as an output is, in six digits where they do; one within a list or
    an object in as few as read back to it.
    """
    if isinstance(value, float):
        return decimal(value)
    pieces: list[str] = []
    try:
        _print(value, "", pieces, [MAX_PRINTED])
    except (_Full, RecursionError):
        pieces.append("...")
    return "".join(pieces)


class _Full(Exception):
    pass


def _print(value: Any, indent: str, pieces: list[str], left: list[int]) -> None:
    if isinstance(value, dict):
        if not value:
            pieces.append("{}")
            return
        inner = indent + "    "
        for index, (name, member) in enumerate(every(value)):
            pieces.append(("{\n" if index == 0 else ",\n") + f"{inner}{_scalar(name)}: ")
            _print(member, inner, pieces, left)
        pieces.append(f"\n{indent}}}")
    elif isinstance(value, list):
        pieces.append("[")
        for index, element in enumerate(value):
            if index:
                pieces.append(", ")
            _print(element, indent + "    ", pieces, left)
        pieces.append("]")
    else:
        pieces.append(_scalar(value))
        left[0] -= len(pieces[-1]) + 1
        if left[0] < 0:
            raise _Full


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value.translate(_TABLE)}"'
    return number(value)


def number(value: float) -> str:
    """A JSON number: `.0` where it is whole, no plus sign in an exponent."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    if 1e16 <= abs(value) < 1e21:  # Python turns to exponents earlier
        return f"{Decimal(text):f}.0"
    if 1e-6 <= abs(value) < 1e-4:
        return f"{Decimal(text):f}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if mark else text


LARGEST_FLOAT = 3.4028234e38  # what is beyond it is printed as a double


def decimal(value: float) -> str:
    """A number as C's `%g` prints it: six digits, or all it takes where they are not enough."""
    if not math.isfinite(value):
        return number(value)
    kind, digits = (np.float32, 9) if abs(value) <= LARGEST_FLOAT else (np.float64, 17)
    exact = float(kind(value))
    text = f"{exact:.6g}"
    if kind(float(text)) != exact:
        text = f"{exact:.{digits}g}"
    return text if "." in text or "e" in text else f"{text}.0"


def type_name(value: Any) -> str:
    """rapidjson's name for a value's type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, dict):
        return "Object"
    if isinstance(value, list):
        return "Array"
    return "String" if isinstance(value, str) else "Number"
