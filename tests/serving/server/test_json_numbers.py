"""The fast way to read a request gives what the exact way gives, or leaves it to that."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.server.rest import json_input, json_numbers, plain_numbers
from serving.server.rest.json_parse import parse_object
from serving.server.servable import Signature, TensorSpec
from serving.server.status import ServingError

DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "uint32": 22, "uint64": 23}


def _signature(number: int) -> Signature:
    return Signature("s", "", {"x": TensorSpec("x:0", number, None)}, {}, {})


def _check(body: bytes, number: int) -> bool:
    """Whether the fast way took the request; its answer must be the exact one."""
    signature, fast = _signature(number), json_numbers.read(body)
    found = None if fast is None else fast.tensors(signature)
    try:
        document = parse_object(body)
        name = json_input.signature_name(document)
        wanted, in_rows = json_input.read_tensors(document, signature, name)
    except ServingError:
        assert found is None
        return False
    if found is None:
        return False
    assert (fast.signature_name, fast.in_rows) == (name, in_rows)
    assert found.keys() == wanted.keys()
    for key in wanted:
        assert found[key].dtype == wanted[key].dtype
        np.testing.assert_array_equal(found[key], wanted[key])
    return True


def _elements(dtype: str) -> dict:
    """Values that the fast way reads: finite, and integers that a double holds."""
    if "float" in dtype:
        return {"allow_nan": False, "allow_infinity": False}
    limits = np.iinfo(dtype)
    return {
        "min_value": max(limits.min, 1 - plain_numbers.EXACT),
        "max_value": min(limits.max, plain_numbers.EXACT - 1),
    }


@given(
    array=st.sampled_from(sorted(DTYPES)).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(max_dims=4, max_side=4),
            elements=_elements(dtype),
        )
    ),
    key=st.sampled_from(["instances", "inputs", "named"]),
    signature=st.sampled_from([None, "before", "after"]),
    indent=st.none() | st.integers(0, 2),
)
def test_arrays(array: np.ndarray, key: str, signature: str | None, indent: int | None) -> None:
    value = {"inputs": {"x": array.tolist()}} if key == "named" else {key: array.tolist()}
    if signature == "before":
        value = {"signature_name": "other", **value}
    elif signature == "after":
        value = {**value, "signature_name": "other"}
    body = json.dumps(value, indent=indent).encode()
    assert _check(body, DTYPES[str(array.dtype)])


_NUMBERS = st.sampled_from(
    ["0", "-0", "-0.0", "1e5", "1E-400", "1e999", "01", "1.", ".5", "+1", "9223372036854775808",
     "18446744073709551616", "4294967296", "3.5e38", "1e-46", "NaN", "null", "true", '"1"', "1 2",
     ""]
)  # fmt: skip
_NESTED = st.recursive(
    _NUMBERS, lambda inner: st.lists(inner, max_size=3).map(lambda x: "[" + ",".join(x) + "]")
)


@given(
    text=_NESTED,
    number=st.sampled_from(sorted(DTYPES.values())),
    form=st.sampled_from(
        ['{"instances":%s}', '{"inputs":{"x":%s}}', '{"inputs":{"y":%s}}', '{"inputs":%s]}',
         '{"signature_name":"a","instances":%s,"signature_name":"b"}', '{"instances":%s}}',
         '{"inputs":%s,"instances":[1]}', '{"instances":%s,"other":[1]}', '[%s]']
    ),
)  # fmt: skip
def test_what_is_not_quite_right(text: str, number: int, form: str) -> None:
    _check((form % text).encode(), number)


@pytest.mark.parametrize(
    "text", ["[[1,2],[3]]", "[[1,[2]]]", "[[],[]]", "[1,[2]]", "[[1],2]", "[" * 99 + "1" + "]" * 99]
)
def test_ragged_lists_are_left_to_the_exact_way(text: str) -> None:
    body = b'{"instances":%s}' % text.encode()
    fast = json_numbers.read(body)
    assert fast is None or fast.tensors(_signature(1)) is None


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53), 2**63 - 1])
def test_integers_that_a_double_would_round_are_left_to_the_exact_way(number: int) -> None:
    assert not _check(b'{"instances":[%d]}' % number, DTYPES["int64"])
    assert _check(b'{"instances":[%d]}' % number, DTYPES["float64"])


def test_what_was_not_compiled_is_done_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec(json_numbers.__name__)
    without = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, f"{json_numbers.__package__}._numbers", None)
    spec.loader.exec_module(without)
    assert without.read_array is plain_numbers.read
    assert json_numbers.read_array is not plain_numbers.read
    assert without.read(b'{"instances":[1,2]}').shape == (2,)


def test_a_request_that_is_still_held_does_not_stop_the_next() -> None:
    held = json_numbers.read(b'{"instances":[1,2]}')
    again = json_numbers.read(b'{"instances":[3,4]}')
    assert held.tensors(_signature(1))["x"].tolist() == [1, 2]
    assert again.tensors(_signature(1))["x"].tolist() == [3, 4]
