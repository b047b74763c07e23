"""Calls as gRPC clients make them: compressed, late, many, and with little room for the answer."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from serving import tensor_proto
from serving.client import messages
from serving.server import Running
from serving.server.grpc.messages import LARGEST_STATUS, read_message, read_request, status
from serving.server.status import Code, ServingError
from tests.serving.raw_http2 import (
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    PREDICT,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call,
    check_answer,
    frame,
    message,
    opening,
    raw,
)

INITIAL_WINDOW = 4


@pytest.fixture
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as opened:
        yield opened


def _request(values: np.ndarray) -> bytes:
    request = messages.PredictRequest()
    request.model_spec.name = "half_plus_two"
    tensor_proto.fill(request.inputs["x"], values)
    return request.SerializeToString()


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_compressed_messages(channel: grpc.Channel, compression: grpc.Compression) -> None:
    values = np.zeros(10_000, np.float32)
    answer = channel.unary_unary(PREDICT)(_request(values), compression=compression, timeout=60)
    found = messages.PredictResponse.FromString(answer)
    np.testing.assert_array_equal(tensor_proto.to_array(found.outputs["y"]), values + 2)


def test_many_calls_at_a_time_on_one_connection(channel: grpc.Channel) -> None:
    predict = channel.unary_unary(PREDICT)
    sent = [np.float32([number]) for number in range(300)]
    calls = [predict.future(_request(values), timeout=60) for values in sent]
    for values, future in zip(sent, calls, strict=True):
        found = messages.PredictResponse.FromString(future.result())
        assert tensor_proto.to_array(found.outputs["y"]) == values / 2 + 2


def test_unknown_methods(channel: grpc.Channel) -> None:
    for path in ("/tensorflow.serving.PredictionService/Nothing", "/a/b", "/x"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"", timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_what_is_not_grpc(server: Running) -> None:
    with raw(server) as client:
        client.send(opening(1, content_type="text/plain") + opening(3, **{":method": "GET"}))
        for stream in (1, 3):
            headers, body = client.answer(stream)
            assert (headers[":status"], body) == ("415", b"")
        client.check_alive()


@pytest.mark.parametrize("window", [0, 1, 7, 100])
def test_answers_wait_for_their_window(server: Running, window: int) -> None:
    """The body comes in pieces of what the client takes, the trailers after all of it."""
    settings = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window))
    with raw(server, PREFACE + settings) as client:
        client.send(call(1) + call(3))
        body, frames, granted, ended = b"", client.frames(), window, False
        kind = None
        while (kind, ended) != (HEADERS, True):
            if len(body) == granted:
                client.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 5)))
                granted += 5
            kind, flags, stream, payload = next(frames)
            if stream == 1 and kind == DATA:
                body += payload
                assert len(body) <= granted
            ended = stream == 1 and bool(flags & END_STREAM)
        check_answer({"grpc-status": "0"}, body)


def test_a_wider_window_for_all_streams_lets_answers_go(server: Running) -> None:
    narrow = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, 0))
    with raw(server, PREFACE + narrow) as client:
        client.send(call(1))
        client.check_alive()
        client.send(frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, 1000)))
        check_answer(*client.answer(1))


def test_a_call_that_its_client_ends(server: Running) -> None:
    with raw(server) as client:
        client.send(opening(1) + frame(RST_STREAM, 0, 1, struct.pack(">I", 8)) + call(3))
        check_answer(*client.answer(3))
        client.send(frame(DATA, END_STREAM, 1, message()))  # it was on its way
        client.check_alive()


def test_the_deadline_passes(server: Running) -> None:
    """A reload of a model that does not exist waits for longer."""
    with raw(server) as client:
        client.send(opening(1, grpc_timeout="0n") + frame(DATA, END_STREAM, 1, message()))
        headers, _ = client.answer(1)
        assert headers["grpc-status"] in ("0", "4")
        client.send(opening(3, grpc_timeout="soon"))
        assert client.reset(3) == 1
        client.send(frame(SETTINGS, ACK, 0))
        client.check_alive()


# === Messages ===


def _body(message: bytes, compressed: int = 1) -> bytes:
    return struct.pack(">BI", compressed, len(message)) + message


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (b"", b"identity", Code.INTERNAL),
        (b"\0\0\0\0\5abc", b"identity", Code.INTERNAL),
        (_body(b"a", 0) * 2, b"identity", Code.INTERNAL),
        (_body(b"a", 2), b"identity", Code.INTERNAL),
        (_body(b"a"), b"snappy", Code.UNIMPLEMENTED),
        (_body(b"a"), b"gzip", Code.INTERNAL),
        (_body(gzip.compress(b"abc", mtime=0)[:-3]), b"gzip", Code.INTERNAL),
        (_body(gzip.compress(bytes(10_000), mtime=0)), b"gzip", Code.RESOURCE_EXHAUSTED),
    ],
)
def test_broken_messages(body: bytes, encoding: bytes, code: Code) -> None:
    with pytest.raises(ServingError) as caught:
        read_message(body, encoding, 1000)
    assert caught.value.code is code


def test_good_messages() -> None:
    assert read_message(_body(b"abc", 0), b"identity", 10) == b"abc"
    assert read_message(_body(gzip.compress(b"abc", mtime=0)), b"gzip", 10) == b"abc"
    assert read_message(_body(zlib.compress(b"abc")), b"deflate", 10) == b"abc"


@pytest.mark.parametrize(
    ("text", "seconds"), [(b"2H", 7200), (b"3M", 180), (b"1S", 1), (b"5m", 0.005), (b"7u", 7e-6)]
)
def test_deadlines(text: bytes, seconds: float) -> None:
    headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b")]
    found = read_request([*headers, (b"grpc-timeout", text)], {})
    assert found.timeout == pytest.approx(seconds)


def test_status_messages_are_printable_and_bounded() -> None:
    block = status(3, "50 % of ☃\n")
    assert b"50 %25 of %E2%98%83%0A" in block
    assert b"%FF" in status(3, "\udcff")  # TensorFlow quotes bytes that are no text
    assert b"a?" in status(3, "a\ud800")
    assert b"x" * LARGEST_STATUS + b"...TRUNCATED" in status(3, "x" * 2000)
    assert b"TRUNCATED" not in status(3, "x" * LARGEST_STATUS)
    assert len(status(3, "☃" * LARGEST_STATUS)) < LARGEST_STATUS * 3 + 100  # clients take 8 KiB
