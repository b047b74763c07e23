"""What protobuf's C++ parser says of a text that Python's has refused.

Both stop at the same place for the same reason, and say so in other words.
"""

from __future__ import annotations

import re

from google.protobuf import text_format

_OF_A_FIELD = re.compile(
    r'Message type "[^"]*" has no field named "([^"]*)"\.|Field "([^"]*)" is specified along .*'
)
_REWORDED = (
    (re.compile(r"Expected string but found: '(.*)'"), r"Expected string, got: \1"),
    (re.compile(r"Couldn't parse integer: (.*)"), r"Expected integer, got: \1"),
    (re.compile(r"Value out of range: -?(.*)"), r"Integer out of range (\1)"),
    (re.compile(r"Expected identifier or number, got (.*)\."), r"Expected identifier, got: \1"),
    (
        re.compile(r'Message type "[^"]*" should not have multiple ("[^"]*") fields\.'),
        r"Non-repeated field \1 is specified multiple times.",
    ),
    (
        re.compile(r'(Field "[^"]*" is specified along with .* of oneof "[^"]*") for message .*'),
        r"\1.",
    ),
)
_EXPECTED = re.compile(r'Expected ("[^"]*")\.')
_TOKEN = re.compile(r"""[A-Za-z_]\w*|[0-9][\w.]*|"[^"\n]*"|'[^'\n]*'|.""")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")


def native_reason(error: text_format.ParseError, text: str) -> str:
    """`line:column: reason`, as the C++ parser says it of `text`."""
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    reason = _reason(str(error))
    field = _OF_A_FIELD.fullmatch(reason)
    if field:  # the C++ parser has gone on to what follows the name
        line, column = _next_token(text, line, column + len(field[1] or field[2]))
    expected = _EXPECTED.fullmatch(reason)
    if expected and expected[1] == '"}"':  # the end of the text, where a field might begin
        (line, column), reason = _position(text, len(text)), "Expected identifier, got: "
    elif expected:
        found = _TOKEN.match(text, _index(text, line, column))
        reason = f'Expected {expected[1]}, found "{found[0] if found else ""}".'
    return f"{line}:{column}: {reason}"


def _reason(text: str) -> str:
    """The reason alone: Python's text begins with the position, and may quote the line."""
    reason = " ".join(text.split()).partition(" : ")[2] or text
    if reason.startswith("'"):
        reason = reason.rpartition("': ")[2] if "': " in reason else reason
    for pattern, words in _REWORDED:
        found = pattern.fullmatch(reason)
        if found:
            return found.expand(words)
    return reason


def _next_token(text: str, line: int, column: int) -> tuple[int, int]:
    start = _index(text, line, column)
    blank = _BLANK.match(text, start)
    return _position(text, blank.end() if blank else start)


def _index(text: str, line: int, column: int) -> int:
    return sum(len(each) for each in text.splitlines(keepends=True)[: line - 1]) + column - 1


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - before.rfind("\n")
