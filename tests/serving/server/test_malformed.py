"""Requests that are wrong in every way a generator thinks of: a clear refusal, never a crash."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import struct
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.server import Running

PREDICT = "/v1/models/mat:predict"
_METHODS = [
    "PredictionService/Predict",
    "PredictionService/Classify",
    "PredictionService/Regress",
    "PredictionService/MultiInference",
    "PredictionService/GetModelMetadata",
    "ModelService/GetModelStatus",
]
GOOD = b'{"instances": [[1, 2, 3]]}'

_SHARED_SERVER = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
_DOCUMENTS = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "x", "b64"]), _VALUES
).map(lambda document: json.dumps(document).encode())


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A good request, or a random document, with some bytes cut, changed or repeated."""
    body = bytearray(draw(st.just(GOOD) | _DOCUMENTS))
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(body)))
        cut = draw(st.integers(0, 4))
        body[position : position + cut] = draw(
            st.binary(max_size=4)
            | st.sampled_from(
                [b"[", b"]", b"{", b"}", b'"', b",", b":", b"NaN", b"1e999", b"\\u", b"\xff", b"-"]
            )
        )
    return bytes(body)


@pytest.fixture
def ask(server: Running) -> Iterator:
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)

    def post(body: bytes, path: str = PREDICT, **headers: str) -> tuple[int, bytes]:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    yield post
    connection.close()


def _check(status: int, body: bytes) -> None:
    assert status in (200, 400, 404), body
    answer = json.loads(body.decode("utf-8", "surrogateescape"))
    assert answer.keys() & {"predictions", "outputs", "error"}
    assert (status == 200) == ("error" not in answer)


@_SHARED_SERVER
@given(body=_damaged() | _DOCUMENTS | st.binary(max_size=40))
def test_rest_bodies(ask, body: bytes) -> None:
    _check(*ask(body))


@_SHARED_SERVER
@given(
    model=st.sampled_from(["ints", "text", "blob", "multi", "half_plus_two", "nobatch"]),
    key=st.sampled_from(["instances", "inputs"]),
    value=_VALUES,
)
def test_rest_values_for_other_types(ask, model: str, key: str, value) -> None:
    status, body = ask(json.dumps({key: value}).encode(), f"/v1/models/{model}:predict")
    if status == 501:  # a type that JSON has no form for
        assert b"Conversion of JSON Value" in body
    else:
        _check(status, body)


@_SHARED_SERVER
@given(
    verb=st.sampled_from(["classify", "regress"]),
    signature=st.sampled_from(["classify_x_to_y", "regress_x_to_y", "regress_x2_to_y3", "none"]),
    value=_VALUES | st.lists(st.dictionaries(st.sampled_from(["x", "x2", "y"]), _VALUES)),
    context=st.none() | _VALUES,
)
def test_rest_examples(ask, verb: str, signature: str, value, context) -> None:
    document = {"signature_name": signature, "examples": value}
    if context is not None:
        document["context"] = context
    status, body = ask(json.dumps(document).encode(), f"/v1/models/half_plus_two:{verb}")
    assert status in (200, 400), body
    assert json.loads(body).keys() <= {"results", "error"}


@_SHARED_SERVER
@given(
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=24),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
)
def test_rest_paths(server: Running, path: str, method: str) -> None:
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    connection.request(method, "/v1/" + path)
    assert connection.getresponse().status in (200, 400, 404)
    connection.close()


@_SHARED_SERVER
@given(data=st.binary(max_size=64), method=st.sampled_from(_METHODS))
def test_grpc_bytes(server: Running, grpc_channel, data: bytes, method: str) -> None:
    call = grpc_channel.unary_unary(f"/tensorflow.serving.{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(data, timeout=30)
    found = caught.value.code().name
    assert found in ("INVALID_ARGUMENT", "NOT_FOUND") or (found, caught.value.details()) == (
        "INTERNAL",  # it is no message, says gRPC itself
        "",
    )


@_SHARED_SERVER
@given(
    dtype=st.integers(-1, 30),
    shape=st.lists(st.integers(-2, 5) | st.just(2**40), max_size=4),
    content=st.binary(max_size=24),
    floats=st.lists(st.floats(width=32), max_size=6),
    name=st.sampled_from(["x", "y", ""]),
)
def test_grpc_tensors(grpc_channel, dtype, shape, content, floats, name) -> None:
    from serving.client import messages

    request = messages.PredictRequest()
    request.model_spec.name = "half_plus_two"
    tensor = request.inputs[name]
    tensor.dtype, tensor.tensor_content = dtype, content
    tensor.float_val.extend(floats)
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    call = grpc_channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    future = call.future(request.SerializeToString(), timeout=30)
    assert future.code().name in ("OK", "INVALID_ARGUMENT"), future.details()


@pytest.fixture(scope="module")
def grpc_channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        yield channel


def test_deep_nesting_is_refused(ask) -> None:
    for depth in (200, 1000, 5000, 200_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            nested = opening * depth + b"1" + closing * depth
            status, body = ask(b'{"instances": [' + nested + b"]}")
            assert status == 400
            _check(status, body)
            status, body = ask(opening * depth)
            assert status == 400


def test_large_broken_body_is_refused_quickly(ask) -> None:
    status, body = ask(b'{"instances": [' + b"[1.0, 2.0, 3.0], " * 400_000)
    assert status == 400
    _check(status, body)


def test_gzip_bomb_is_refused(ask) -> None:
    bomb = gzip.compress(b" " * (300 << 20), 9)
    status, body = ask(bomb, **{"Content-Encoding": "gzip"})
    assert (status, b"larger than" in body) == (400, True)


def test_large_good_body_in_both_forms(ask) -> None:
    rows = [[float(i), 1.5, -2.0] for i in range(20_000)]
    for body in (json.dumps({"instances": rows}), json.dumps({"instances": rows}) + " trailing"):
        status, answer = ask(body.encode())
        assert status == 200
        assert json.loads(answer)["predictions"][7] == [6.5, 6.5]


def test_clients_that_go_away(server: Running, ask) -> None:
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    ).encode()
    for sent in (b"POST", head, head + GOOD[:5], head + GOOD, b"\x00\xff nonsense\r\n\r\n"):
        for abrupt in (False, True):
            with socket.create_connection(("localhost", server.rest_port)) as client:
                client.sendall(sent)
                if abrupt:  # a reset instead of an orderly end
                    linger = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with socket.create_connection(("localhost", server.grpc_port)) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 20)
    assert ask(GOOD)[0] == 200


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n"
    bodies = [b'{"instances": [[%d, 0, 0]]}' % i for i in range(5)]
    with socket.create_connection(("localhost", server.rest_port)) as client:
        for body in bodies:
            last = "Connection: close\r\n" if body is bodies[-1] else ""
            client.sendall(f"{head}{last}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    parts = received.split(b"HTTP/1.1 200 OK")[1:]
    found = [json.loads(part[part.index(b"{") :]) for part in parts]
    assert [answer["predictions"][0][0] for answer in found] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_the_server_never_had_a_bug_to_report(server: Running) -> None:
    assert "Traceback" not in server.log_text()
