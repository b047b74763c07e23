"""The JSON codec by itself: parsers agree with each other, fast and slow ways with each other."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.server.rest import json_input, json_output, json_text
from serving.server.rest.json_parse import parse_object
from serving.server.rest.json_print import number, printed
from serving.server.servable import Signature, TensorSpec
from serving.server.status import ServingError

_NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_JSON, st.booleans(), st.sampled_from([None, 2]))
def test_the_exact_parser_reads_json(value, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert json_text.parse(body.encode("utf-8", "surrogatepass")) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b"  ", "The document is empty. at offset: 2"),
        (b"nope", "Invalid value. at offset: 1"),
        (b"[1,]", "Invalid value. at offset: 3"),
        (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
        (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":1 "b"', "Missing a comma or '}' after an object member. at offset: 7"),
        (b'"\\x"', "Invalid escape character in string. at offset: 1"),
        (b'"\\u12g4"', "Incorrect hex digit after \\u escape in string. at offset: 1"),
        (b'"\\ud800x"', "The surrogate pair in string is invalid. at offset: 1"),
        (b'"a', "Missing a closing quotation mark in string. at offset: 2"),
        (b'"\x01"', "Invalid escape character in string. at offset: 1"),
        (b"\0[]", "The document is empty. at offset: 0"),
        (b"\xef\xbb[1,]", "Invalid value. at offset: 5"),
        (b"[1.]", "Miss fraction part in number. at offset: 3"),
        (b"[1e+]", "Miss exponent in number. at offset: 4"),
        (b"[2, -1e999]", "Number too big to be stored in double. at offset: 4"),
        (b"[Infinit]", "Invalid value. at offset: 8"),
        (b"[" * 300, "Values are nested deeper than 256. at offset: 256"),
    ],
)
def test_what_is_wrong_and_where(body: bytes, message: str) -> None:
    with pytest.raises(json_text.JsonError) as caught:
        json_text.parse(body)
    assert str(caught.value) == f"JSON Parse error: {message}"


def test_what_only_tensorflow_serving_accepts() -> None:
    cases = {
        b'{"a": [NaN, Infinity, -Infinity, 1]} rest': [math.nan, math.inf, -math.inf, 1],
        b'\xef\xbb\xbf{"a": 1}': 1,
        b'{"a": 1, "a": 2, "x": NaN}': 1,
        b'{"inputs": 0, "inputs": 1, "a": "\\ud83d\\ude00"}': "😀",
        b'{"a": "\xff"} x': "\udcff",
        b'{"a": Inf}': math.inf,
    }
    for body, wanted in cases.items():
        got = parse_object(body)["a"]
        assert got == wanted or str(got) == str(wanted)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (1e30, "1e30"),
        (1e-7, "1e-7"),
        (1.25e-5, "0.0000125"),
        (1e20, "100000000000000000000.0"),
        (1.2345678901234567e20, "123456789012345670000.0"),
        (-1e-6, "-0.000001"),
        (1.5e-7, "1.5e-7"),
        (-0.5, "-0.5"),
        (3, "3"),
        (1.5e300, "1.5e300"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_in_messages(value: float, text: str) -> None:
    assert number(value) == text


def test_values_in_messages_are_cut() -> None:
    text = '{\n    "a": [1.0, {\n            "b": "\\n"\n        }]\n}'
    assert printed({"a": [1.0, {"b": "\n"}]}) == text
    assert len(printed(list(range(100_000)))) < 20_000
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert printed(deep).endswith("...")


# === Tensors in ===

_KINDS = {"float": 1, "double": 2, "int32": 3, "int8": 6, "string": 7, "int64": 9, "bool": 10}


def _signature(*names: str, kind: str = "float") -> Signature:
    specs = {name: TensorSpec(f"{name}:0", _KINDS[kind], None) for name in names}
    return Signature("serving_default", "", specs, {}, {})


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.int8, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    st.booleans(),
)
def test_both_formats_give_the_array_back(array: np.ndarray, named: bool) -> None:
    kind = {"float32": "float", "float64": "double"}.get(array.dtype.name, array.dtype.name)
    signature = _signature("x", kind=kind)
    rows = [{"x": row.tolist()} for row in array] if named else array.tolist()
    for document in ({"instances": rows}, {"inputs": {"x": array.tolist()}}):
        tensors, in_rows = json_input.read_tensors(document, signature, "")
        assert in_rows == ("instances" in document)
        assert tensors["x"].dtype == array.dtype
        np.testing.assert_array_equal(tensors["x"], array)


@given(
    st.lists(st.recursive(_NUMBERS | st.text() | st.booleans() | st.none(), st.lists), min_size=1)
)
def test_reading_whole_and_one_by_one_agree(instances: list) -> None:
    for kind in _KINDS:
        signature = _signature("x", kind=kind)
        whole = json_input._whole_rows(instances, signature.inputs)
        try:
            one_by_one = json_input._row_by_row(instances, signature.inputs)["x"]
        except ServingError:
            assert whole is None
            continue
        if whole is not None:
            assert whole["x"].dtype == one_by_one.dtype
            np.testing.assert_array_equal(whole["x"], one_by_one)


# === Tensors out ===

_ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.int8, np.uint64, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=4, max_side=3, min_side=0),
)


@given(_ARRAYS, _ARRAYS)
def test_outputs_read_back(a: np.ndarray, b: np.ndarray) -> None:
    for outputs in ({"a": a}, {"a": a, "b": b}):
        got = json.loads(json_output.columnar(outputs))["outputs"]
        got = got if len(outputs) > 1 else {"a": got}
        for name, array in outputs.items():
            back = np.array(got[name], array.dtype).reshape(array.shape)
            np.testing.assert_array_equal(back, array)


@given(_ARRAYS.filter(lambda array: array.ndim > 0))
def test_rows_read_back(array: np.ndarray) -> None:
    one = json.loads(json_output.row({"a": array}))["predictions"]
    two = json.loads(json_output.row({"a": array, "b": array}))["predictions"]
    assert str(one) == str(array.tolist()) or np.array_equal(
        np.array(one, array.dtype).reshape(array.shape), array, equal_nan=array.dtype.kind == "f"
    )
    assert [row.keys() for row in two] == [{"a", "b"}] * len(array)
    assert str([row["b"] for row in two]) == str(one)


def test_layout_is_tensorflow_servings() -> None:
    y = np.float32([[1, 2.5], [3, 4]])
    assert json_output.row({"y": y}) == (b'{\n    "predictions": [[1.0, 2.5], [3.0, 4.0]\n    ]\n}')
    assert json_output.columnar({"y": y[0]}) == (
        b'{\n    "outputs": [\n        1.0,\n        2.5\n    ]\n}'
    )
    names = np.array([b"a", b'"\xff'], object)
    assert json_output.row({"n": names}) == b'{\n    "predictions": ["a", "\\"\xff"\n    ]\n}'
    assert json_output.row({"n_bytes": names[:1]}) == (
        b'{\n    "predictions": [{\n            "b64": "YQ=="\n        }\n    ]\n}'
    )
