"""JSON that few clients send: what TensorFlow Serving, and rapidjson in it, make of it."""

from __future__ import annotations

import json
import math
import urllib.request

import numpy as np
import pytest

from serving.server import Running
from serving.server.rest import (
    handlers,
    json_examples,
    json_input,
    json_numbers,
    json_output,
    json_text,
)
from serving.server.rest.json_parse import may_repeat, parse_object
from serving.server.rest.json_print import printed
from serving.server.rest.json_values import decode_base64
from serving.server.rest.routes import Route
from serving.server.servable import Signature, TensorSpec
from serving.server.status import ServingError

_KINDS = {"float": 1, "int32": 3, "string": 7}


def _signature(*names: str, kind: str = "float") -> Signature:
    specs = {name: TensorSpec(f"{name}:0", _KINDS[kind], None) for name in names}
    return Signature("serving_default", "", specs, {}, {})


def _read(body: bytes, *names: str, kind: str = "float") -> dict[str, np.ndarray]:
    signature = _signature(*names, kind=kind)
    document = parse_object(body)
    if may_repeat(body, document, signature.inputs):
        document = parse_object(body, every_member=True)
    return json_input.read_tensors(document, signature, "")[0]


# === Numbers ===


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"), (1.5, "1.5"), (0.1, "0.1"), (-0.0, "-0.0"), (1e10, "1e+10"),
        (1e-5, "1e-05"), (1e30, "1e+30"), (123456.0, "123456.0"), (1234567.0, "1234567.0"),
        (1 / 3, "0.333333343"), (16777217.0, "16777216.0"), (1e39, "1e+39"), (1e-60, "0.0"),
        (1.23456789e300, "1.2345678899999999e+300"), (math.nan, "NaN"), (-math.inf, "-Infinity"),
    ],
)  # fmt: skip
def test_a_number_by_itself_is_printed_as_an_output_is(value: float, text: str) -> None:
    assert printed(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e308", math.inf), ("-1.8e308", -math.inf), ("10e308", math.inf), ("0.1e309", 1e308),
        ("0.00001e313", 1e308), ("0.0e309", 0.0), ("1e-9999", 0.0), ("1e0000000308", 1e308),
        ("1" + "0" * 308, 1e308), ("-0", 0), ("18446744073709551616", 2.0**64),
        ("1." + "0" * 400 + "e300", 1e300),
    ],
)  # fmt: skip
def test_numbers_that_are_not_too_big(text: str, value: float) -> None:
    found = json_text.parse(text.encode())
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    "text",
    ["1e309", "-1e400", "0e309", "0.0e310", "1.1e310", "1" + "0" * 309, "1" + "0" * 309 + ".5",
     "1." + "1" * 400 + "e330"],
)  # fmt: skip
def test_numbers_that_are_too_big(text: str) -> None:
    with pytest.raises(json_text.JsonError, match=r"Number too big to be stored in double. at off"):
        json_text.parse(b"[" + text.encode() + b"]")


def test_a_number_too_large_for_a_double_is_infinite() -> None:
    assert _read(b'{"instances": [2e308, -2e308]}', "x")["x"].tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize("body", [b'{"instances":[-0,-0.0]}', b'{"instances":[-0,-0.0]} .'])
def test_a_whole_zero_has_no_sign(body: bytes) -> None:
    numbers = json_numbers.read(body)
    tensors = numbers.tensors(_signature("x")) if numbers else _read(body, "x")
    assert np.signbit(tensors["x"]).tolist() == [False, True]


def test_integers_beyond_64_bits_are_doubles_for_every_parser() -> None:
    for tail in (b"", b" .", b', "y": Inf'):
        body = b'{"x": 123456789012345678901234567890' + tail.replace(b" .", b"} .")
        document = parse_object(body if b"}" in body else body + b"}")
        assert isinstance(document["x"], float)
        assert printed(document["x"]) == "1.23456789e+29"


# === Strings and the document ===


def test_a_low_surrogate_may_stand_alone() -> None:
    text = parse_object(b'{"a": "\\udc00"}')["a"]
    assert text.encode("utf-8", "surrogateescape") == b"\xed\xb0\x80"
    with pytest.raises(
        ServingError, match=r"The surrogate pair in string is invalid. at offset: 7"
    ):
        parse_object(b'{"a": "\\ud800"}')


def test_parts_of_a_byte_order_mark() -> None:
    for mark in (b"\xef\xbb\xbf", b"\xef", b"\xbb\xbf", b"\xef\xbf"):
        assert parse_object(mark + b' {"a": 1}') == {"a": 1}


def test_line_breaks_in_strings() -> None:
    with pytest.raises(ServingError, match=r"Invalid escape character in string. at offset: 9"):
        parse_object(b'{"a": "bc\nd"}')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"1.", "JSON Parse error: Miss fraction part in number. at offset: 2"),
        (b"-2e+", "JSON Parse error: Miss exponent in number. at offset: 4"),
        (b"01", "JSON Value: 0 Is not object"),
        (b" 1.5.5", "JSON Value: 1.5 Is not object"),
        (b"-Inf", "JSON Value: -Infinity Is not object"),
        (b'"a" b', 'JSON Value: "a" Is not object'),
        (
            b"[1, NaN",
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 7",
        ),
    ],
)
def test_documents_that_are_no_object(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_object(body)
    assert str(caught.value) == message


# === Repeated members ===


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"inputs": {"x": [1], "x": [2]}}', [1]),
        (b'{"instances": [{"x": 1, "x": 2}]}', [1]),
        (b'{"instances": [{"x": 1, "x": 2}, {"x": 3}]}', [1, 2]),
        (b'{"instances": [{"x": 1}, {"x": 3, "x": 4}]} .', [1, 3]),
        (b'{"instances": [{"x": 1}, {"x": NaN}], "instances": 0, "a": Inf}', [1, math.nan]),
    ],
)
def test_repeated_inputs(body: bytes, wanted: list) -> None:
    np.testing.assert_array_equal(_read(body, "x")["x"], np.float32(wanted))


def test_repeated_inputs_must_agree() -> None:
    with pytest.raises(ServingError, match=r"element: 0 key: x .* size: 1 but got: 2"):
        _read(b'{"instances": [{"x": 1, "x": [1, 2]}]}', "x")
    with pytest.raises(ServingError) as caught:
        _read(b'{"instances": [{"x": 1, "x": 2}]}', "x", "y")
    words = "".join(str(caught.value).split())
    assert words.endswith('JSONobject:{"x":1,"x":2}keysmustbeequalto:x,y')


def test_texts_like_an_input_are_no_repetition() -> None:
    body = b'{"instances": [{"x": "x"}, {"x": "x"}]}'
    assert _read(body, "x", kind="string")["x"].tolist() == [b"x", b"x"]


def test_of_a_repeated_feature_the_last_counts() -> None:
    for tail in (b"", b" ."):
        document = parse_object(b'{"examples": [{"f": "a", "f": [1, 2]}]}' + tail)
        feature = json_examples.read_input(document).example_list.examples[0].features.feature["f"]
        assert list(feature.int64_list.value) == [1, 2]


# === Base64 ===


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", b""), ("YWI=", b"ab"), ("YWI", b"ab"), ("YQ", b"a"), ("YQ..", b"a"), ("YQ=.", b"a"),
        (" Y W\nJ\tj ", b"abc"), ("YQ = =", b"a"), ("YR==", b"a"), ("+/8=", b"\xfb\xff"),
    ],
)  # fmt: skip
def test_what_passes_as_base64(text: str, wanted: bytes) -> None:
    assert decode_base64({"b64": text}) == wanted


@pytest.mark.parametrize(
    "text",
    ["Y", "YWJjZ", "YWI==", "YQ=", "YWJj=", "YWJj==", "=", "Y=Q=", "-_8=", "YQé", "YQ==YQ=="],
)
def test_what_does_not_pass_as_base64(text: str) -> None:
    with pytest.raises(ServingError, match="Unable to base64 decode"):
        decode_base64({"b64": text})


def test_bytes_for_the_first_of_several_inputs() -> None:
    body = b'{"instances": [{"b64": "YQ=="}]}'
    with pytest.raises(ServingError, match=r"(?s)element: 0 of .* Type: Object is not of exp"):
        _read(body, "a", "b")
    assert _read(body, "a", "b", kind="string") == {"a": np.array([b"a"], object)}


# === Tensors ===


@pytest.mark.parametrize("form", [b'{"instances": %s}', b'{"inputs": %s}', b'{"inputs":{"x":%s}}'])
def test_more_dimensions_than_a_tensor_has(form: bytes) -> None:
    with pytest.raises(ServingError) as caught:
        _read(form % (b"[" * 255 + b"1" + b"]" * 255), "x")
    assert str(caught.value) == "tensor parsing error: x"


@pytest.mark.parametrize("dtype", ["uint16", "float16", "complex64"])
def test_types_that_have_no_json(dtype: str) -> None:
    name = {"float16": "half"}.get(dtype, dtype)
    for write in (json_output.row, json_output.columnar):
        with pytest.raises(ServingError) as caught:
            write({"y": np.ones(2, dtype)})
        assert str(caught.value) == f"Failed to write JSON value for tensor type: {name}"
        assert json.loads(write({"y": np.ones(0, dtype)})) in ({"predictions": []}, {"outputs": []})


# === Requests ===


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"instances": [{"x": 1.0, "x": 2.0}]}', {"predictions": [2.5]}),
        (b'{"inputs": {"x": 1.0, "x": 2.0}}', {"outputs": 2.5}),
        (b'{"instances": [-0], "foo": {"x": 0, "x": 1}}', {"predictions": [2.0]}),
    ],
)
def test_requests_that_repeat_a_name(server: Running, body: bytes, answer: dict) -> None:
    url = f"http://localhost:{server.rest_port}/v1/models/half_plus_two:predict"
    with urllib.request.urlopen(urllib.request.Request(url, body)) as found:
        assert json.load(found) == answer


def test_metadata_of_no_model() -> None:
    """`/v1/models/versions/1/metadata`: the path fits, without a name."""
    with pytest.raises(ServingError, match=r"^Missing model name in request\.$"):
        handlers.metadata(None, Route("metadata", "", 1), b"")
