"""A JSON parser that accepts and refuses what TensorFlow Serving's does, in its words.

It runs only where the fast parsers refuse a body: to say what is wrong and at which byte, or to
accept after all. Like rapidjson it reads NaN, Inf and Infinity, takes strings as raw bytes, and
does not look at what follows the document.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from serving.server.rest.json_members import from_pairs

MAX_DEPTH = 256  # lists in lists; a tensor has far fewer dimensions
BOM = b"\xef\xbb\xbf"
LARGEST_POWER = 308  # of the exponents, and one more for each digit behind the point
EXACT = (1 << 53) - 1  # digits behind the point are counted until they are more than that...
MOST_DIGITS = 17  # ... and as many as a double has

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER_RUN = re.compile(r"(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?[ \t\n\r]*,[ \t\n\r]*)+")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_FRACTION = re.compile(r"\.\d+")
_EXPONENT = re.compile(r"[eE][+-]?\d+")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {
    '"': b'"', "\\": b"\\", "/": b"/", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t",
}  # fmt: skip


class JsonError(ValueError):
    """A body that is not JSON; the text is TensorFlow Serving's."""

    def __init__(self, message: str, offset: int | None = None):
        at = "" if offset is None else f" at offset: {offset}"
        super().__init__(f"JSON Parse error: {message}{at}")


def parse(body: bytes) -> Any:
    """The first JSON value in `body`. Strings that are not UTF-8 keep their bytes as surrogates.

    Raises:
        JsonError: where, and why not.
    """
    if not body:
        raise JsonError("The document is empty")
    start = 0
    for byte in BOM:  # each by itself, as rapidjson looks for them
        start += body[start : start + 1] == bytes((byte,))
    # One character a byte, so that positions in the text are offsets in the body.
    return _Parser(body.decode("latin-1")).document(start)


def _is_too_big(text: str) -> bool:
    """Whether rapidjson refuses a number, by its digits or by its exponent alone.

    What gets past both and is still too large for a double is read as infinite.
    """
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if float(whole) == float("inf"):
        return True
    if not exponent or float(exponent) <= LARGEST_POWER:
        return False
    return float(exponent) > LARGEST_POWER + _counted(whole, fraction)


def _counted(whole: str, fraction: str) -> int:
    """How many digits behind the point rapidjson takes into account."""
    value, digits, counted = int(whole), len(whole) - 1, 0
    for digit in fraction:
        if value > EXACT and digits >= MOST_DIGITS:
            break
        value = value * 10 + int(digit)
        counted += 1
        digits += value > 0
    return counted


class _Parser:
    def __init__(self, text: str):
        self._text = text
        self._depth = 0

    def document(self, position: int) -> Any:
        position = self._space(position)
        if self._peek(position) in ("", "\0"):
            raise JsonError("The document is empty.", position)
        value, _ = self._value(position)
        return value

    def _space(self, position: int) -> int:
        return _SPACE.match(self._text, position).end()

    def _peek(self, position: int) -> str:
        return self._text[position : position + 1]

    def _value(self, position: int) -> tuple[Any, int]:
        first = self._peek(position)
        if first == "{":
            return self._nested(self._object, position)
        if first == "[":
            return self._nested(self._array, position)
        if first == '"':
            return self._string(position)
        for word, value in (("null", None), ("true", True), ("false", False)):
            if first == word[0]:
                return value, self._word(word, position)
        return self._number(position)

    def _nested(self, read: Any, position: int) -> tuple[Any, int]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise JsonError(f"Values are nested deeper than {MAX_DEPTH}.", position)
        result = read(position + 1)
        self._depth -= 1
        return result

    def _word(self, word: str, position: int) -> int:
        for offset, letter in enumerate(word):
            if self._peek(position + offset) != letter:
                raise JsonError("Invalid value.", position + offset)
        return position + len(word)

    def _object(self, position: int) -> tuple[dict, int]:
        members: list[tuple[str, Any]] = []
        position = self._space(position)
        if self._peek(position) == "}":
            return {}, position + 1
        while True:
            if self._peek(position) != '"':
                raise JsonError("Missing a name for object member.", position)
            name, position = self._string(position)
            position = self._space(position)
            if self._peek(position) != ":":
                raise JsonError("Missing a colon after a name of object member.", position)
            value, position = self._value(self._space(position + 1))
            members.append((name, value))
            position = self._space(position)
            end = self._peek(position)
            if end == "}":
                return from_pairs(members), position + 1
            if end != ",":
                raise JsonError("Missing a comma or '}' after an object member.", position)
            position = self._space(position + 1)

    def _array(self, position: int) -> tuple[list, int]:
        values: list[Any] = []
        position = self._space(position)
        if self._peek(position) == "]":
            return values, position + 1
        while True:
            run = _NUMBER_RUN.match(self._text, position)
            if run:  # many numbers at once: most of a large body is this
                values += self._numbers(run.group(), position)
                position = run.end()
            value, position = self._value(position)
            values.append(value)
            position = self._space(position)
            end = self._peek(position)
            if end == "]":
                return values, position + 1
            if end != ",":
                raise JsonError("Missing a comma or ']' after an array element.", position)
            position = self._space(position + 1)

    def _numbers(self, run: str, position: int) -> list:
        values = []
        for piece in run.split(",")[:-1]:
            number, _ = self._finite(piece.strip(" \t\n\r"), position)
            values.append(number)
            position += len(piece) + 1
        return values

    def _number(self, position: int) -> tuple[Any, int]:
        start = position
        if self._peek(position) == "-":
            position += 1
        if self._peek(position) in ("N", "I"):
            return self._not_finite(position, negative=position > start)
        integer = _INTEGER.match(self._text, start)
        if integer is None:
            raise JsonError("Invalid value.", position)
        position = integer.end()
        if self._peek(position) == ".":
            fraction = _FRACTION.match(self._text, position)
            if fraction is None:
                raise JsonError("Miss fraction part in number.", position + 1)
            position = fraction.end()
        if self._peek(position) in ("e", "E"):
            exponent = _EXPONENT.match(self._text, position)
            if exponent is None:
                signed = self._peek(position + 1) in ("+", "-")
                raise JsonError("Miss exponent in number.", position + 1 + signed)
            position = exponent.end()
        return self._finite(self._text[start:position], start)[0], position

    def _finite(self, text: str, start: int) -> tuple[int | float, int]:
        start += len(text) - len(text.lstrip())
        if text.lstrip("-").isdigit() and len(text) <= 20:
            integer = int(text)
            if -(1 << 63) <= integer < 1 << 64:
                return integer, start
        number = float(text)
        if ("e" in text or "E" in text or math.isinf(number)) and _is_too_big(text):
            raise JsonError("Number too big to be stored in double.", start)
        return number, start

    def _not_finite(self, position: int, *, negative: bool) -> tuple[float, int]:
        if self._peek(position) == "N":
            end, value = self._word("NaN", position), float("nan")
        else:
            end, value = self._word("Inf", position), float("inf")
            if self._peek(end) == "i":
                end = self._word("inity", end)
        return (-value if negative else value), end

    def _string(self, position: int) -> tuple[str, int]:
        pieces: list[bytes] = []
        position += 1
        while True:
            plain = _PLAIN.match(self._text, position)
            pieces.append(plain.group().encode("latin-1"))
            position = plain.end()
            stop = self._peek(position)
            if stop == '"':
                return b"".join(pieces).decode("utf-8", "surrogateescape"), position + 1
            if stop == "\\":
                piece, position = self._escape(position)
                pieces.append(piece)
            elif stop in ("", "\0"):
                raise JsonError("Missing a closing quotation mark in string.", position)
            else:
                raise JsonError("Invalid escape character in string.", position)

    def _escape(self, position: int) -> tuple[bytes, int]:
        letter = self._peek(position + 1)
        if letter in _ESCAPES:
            return _ESCAPES[letter], position + 2
        if letter != "u":
            raise JsonError("Invalid escape character in string.", position)
        code = self._hex(position + 2, position)
        end = position + 6
        if 0xD800 <= code <= 0xDBFF:
            if self._text[end : end + 2] != "\\u":
                self._bad_surrogate(position)
            low = self._hex(end + 2, position)
            if not 0xDC00 <= low <= 0xDFFF:
                self._bad_surrogate(position)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            end += 6
        return chr(code).encode("utf-8", "surrogatepass"), end  # a low one may stand alone

    def _hex(self, position: int, escape: int) -> int:
        digits = _HEX.match(self._text, position)
        if digits is None:
            raise JsonError("Incorrect hex digit after \\u escape in string.", escape)
        return int(digits.group(), 16)

    def _bad_surrogate(self, escape: int) -> NoReturn:
        raise JsonError("The surrogate pair in string is invalid.", escape)
