"""The fast way to read a request gives what the exact way gives, or leaves it to that."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.server.rest import json_input, json_numbers
from serving.server.rest.json_parse import parse_object
from serving.server.servable import Signature, TensorSpec
from serving.server.status import ServingError

DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "uint32": 22, "uint64": 23}


def _signature(number: int) -> Signature:
    return Signature("s", "", {"x": TensorSpec("x:0", number, None)}, {}, {})


def _padded(body: bytes) -> bytes:
    """Long enough for the fast way."""
    return body[:-1] + b" " * json_numbers.SHORTEST + body[-1:]


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


@given(
    array=st.sampled_from(sorted(DTYPES)).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(max_dims=4, max_side=4),
            elements={"allow_nan": False, "allow_infinity": False} if "f" in dtype else None,
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
    body = _padded(json.dumps(value, indent=indent).encode())
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
    _check(_padded((form % text).encode()), number)


@pytest.mark.parametrize(
    "text", ["[[1,2],[3]]", "[[1,[2]]]", "[[],[]]", "[1,[2]]", "[[1],2]", "[" * 99 + "1" + "]" * 99]
)
def test_ragged_lists_are_left_to_the_exact_way(text: str) -> None:
    body = _padded(b'{"instances":%s}' % text.encode())
    fast = json_numbers.read(body)
    assert fast is None or fast.tensors(_signature(1)) is None


def test_a_request_that_is_still_held_does_not_stop_the_next() -> None:
    held = json_numbers.read(_padded(b'{"instances":[1,2]}'))
    again = json_numbers.read(_padded(b'{"instances":[3,4]}'))
    assert held.tensors(_signature(1))["x"].tolist() == [1, 2]
    assert again.tensors(_signature(1))["x"].tolist() == [3, 4]
