"""The reader in C, and its twin in Python: each number as Python reads it, each shape as numpy sees
it, or nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Context, Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.server.rest import _numbers, plain_numbers

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


BOTH = pytest.mark.parametrize("read", [_numbers.read, plain_numbers.read], ids=["C", "Python"])


def _read(text: str, read: Callable = _numbers.read) -> np.ndarray | None:
    found = read(text.encode(), 0)
    if found is None:
        return None
    stop, shape, values, largest, whole = found
    array = np.frombuffer(values).reshape(shape)
    assert stop == len(text.rstrip(" \n"))
    assert largest == np.abs(array).max()
    assert not whole or (array == np.floor(array)).all()
    return array


def _same(found: float, wanted: float) -> bool:
    return found == wanted and math.copysign(1, found) == math.copysign(1, wanted)


@given(text=st.from_regex(NUMBER, fullmatch=True))
@example("9007199254740993")  # the middle between two doubles
@example("9007199254740993.00000000000000000001")
@example("18014398509481985")
@example("1152921504606846977.0")
@example("0.30000000000000004441")
@example("2.2250738585072011e-308")
@example("4.9406564584124654e-324")
@example("1e-400")
@example("1.7976931348623158e308")
@example("9999999999999999999")
@example("99999999999999999999")
@example("0.0000000000000000000000000000000000001e37")
@example("1" + "0" * 400)
@example("1e99999999999999999999")
@example("-0.0")
@example("-0")
def test_every_number_is_the_double_that_python_reads(text: str) -> None:
    found, wanted = _read(f"[{text}]"), float(0 if text == "-0" else text)  # an integer: no sign
    if math.isinf(wanted):
        assert found is None
    else:
        assert _same(found[0], wanted)


@given(digits=st.integers(0, 10**19 - 1), power=st.integers(-30, 30))
def test_up_to_nineteen_digits_are_rounded_once(digits: int, power: int) -> None:
    text = f"{digits}e{power}"
    assert _read(f"[{text}]")[0] == float(text)


@given(value=st.floats(2**-80, 2**80), digits=st.integers(16, 19))
def test_next_to_the_middle_of_two_doubles(value: float, digits: int) -> None:
    numerator, denominator = value.as_integer_ratio()
    after, of = math.nextafter(value, math.inf).as_integer_ratio()
    middle = Context(prec=digits).create_decimal(
        (Decimal(numerator) / denominator + Decimal(after) / of) / 2
    )
    assert _read(f"[{middle}]")[0] == float(middle)


@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32), count=st.integers(1, 9))
def test_float32_as_clients_write_it(value: float, count: int) -> None:
    short = np.format_float_positional(np.float32(value), unique=True, trim="0")
    for text in (short, repr(value)):
        assert (_read("[" + ",".join([text] * count) + "]").astype(np.float32) == value).all()


@BOTH
@given(
    array=arrays.arrays("float64", arrays.array_shapes(max_dims=6, max_side=4), elements={
        "allow_nan": False, "allow_infinity": False}),
    indent=st.none() | st.integers(0, 2),
)  # fmt: skip
def test_shapes(array: np.ndarray, indent: int | None, read: Callable) -> None:
    found = _read(json.dumps(array.tolist(), indent=indent), read)
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


@BOTH
@given(text=st.text('[]01.,-+eE \n\0x"', max_size=24), tail=st.sampled_from(["", "]", "]]"]))
def test_nothing_else_is_read(text: str, tail: str, read: Callable) -> None:
    """What is accepted is an array of numbers for Python as well, and for numpy no ragged one."""
    text = "[" + text + tail
    found = read(text.encode(), 0)
    if found is not None:
        stop, shape, values, *_ = found
        wanted = np.array(json.loads(text[:stop]), np.float64)
        assert wanted.shape == shape
        np.testing.assert_array_equal(np.frombuffer(values).reshape(shape), wanted)


@BOTH
@pytest.mark.parametrize(
    "text",
    ["", "1", "[", "[]", "[[]]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,[2]]", "[[1],2]",
     "[[1,2],[3]]", "[[[1]],[2]]", "[01]", "[1.]", "[.5]", "[+1]", "[-]", "[1e]", "[1e+]", "[1.e5]",
     "[0x1]", "[[]1]", "[1[]]", "[[ ]1]", "[[1]2]", "[[1] ,2 ]", "[1[2]]", "[1}", "[0.0", "[0.0,",
     "[NaN]", "[Infinity]", "[null]", "[true]", '["1"]', "[1e999]", "[-1e999]", "[1\0]", "{", "\0",
     "[" * 33 + "1" + "]" * 33, "[0.0;"],
)  # fmt: skip
def test_declined(text: str, read: Callable) -> None:
    assert read(text.encode(), 0) is None


@BOTH
def test_every_beginning_of_an_array_is_declined(read: Callable) -> None:
    text = b"[[[0.0,-12.5e-3],[123456789.123456789,0]],[[1E5,2],[0.0,0.1]]]"
    assert read(text, 0)[1] == (2, 2, 2)
    for stop in range(len(text)):
        assert read(text[:stop], 0) is None


@BOTH
def test_thirty_two_axes(read: Callable) -> None:
    assert read(b"[" * 32 + b"7" + b"]" * 32, 0)[1] == (1,) * 32


def test_it_begins_where_it_is_told_and_says_where_it_ends() -> None:
    assert _numbers.read(b'{"x": [1, 2] }', 6)[:2] == (12, (2,))


@pytest.mark.parametrize("start", [-1, 4])
def test_a_start_outside_the_body(start: int) -> None:
    with pytest.raises(IndexError):
        _numbers.read(b"[1]", start)


@pytest.mark.parametrize("body", ["[1]", bytearray(b"[1]"), None])
def test_only_bytes_are_read(body: object) -> None:
    with pytest.raises(TypeError):
        _numbers.read(body, 0)


def test_the_largest_and_whether_they_are_whole_are_told_alike() -> None:
    for text in (b"[1,-2]", b"[0]", b"[1.0,-3]", b"[1e2]", b"[9007199254740992]",
                 b"[9007199254740993]", b"[18446744073709551615]"):  # fmt: skip
        assert _numbers.read(text, 0) == plain_numbers.read(text, 0)
