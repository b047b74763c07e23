"""HTTP/2 on a raw socket: frames as a client sends them, right or wrong, and what comes back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import hpack
import numpy as np

from serving import tensor_proto
from serving.client import messages
from serving.server import Running

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32
PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION, CALM = 1, 3, 5, 6, 9, 11

PREDICT = "/tensorflow.serving.PredictionService/Predict"
SECONDS = 30  # for whatever must happen; on a calm machine it takes milliseconds


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def block(path: str = PREDICT, **others: str) -> bytes:
    """The header block of a call, without a table."""
    found = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "h",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    found |= {name.replace("_", "-"): value for name, value in others.items()}
    return literals(*found.items())


def literals(*headers: tuple[str, str]) -> bytes:
    def string(text: str) -> bytes:
        return bytes((len(text),)) + text.encode()

    return b"".join(b"\0" + string(name) + string(value) for name, value in headers)


def opening(stream: int = 1, **others: str) -> bytes:
    """HEADERS of a call whose message is to follow."""
    return frame(HEADERS, END_HEADERS, stream, block(**others))


def message(values: tuple[float, ...] = (1.0, 2.0, 5.0)) -> bytes:
    """A good PredictRequest for half_plus_two, as it lies in a body."""
    request = messages.PredictRequest()
    request.model_spec.name = "half_plus_two"
    tensor_proto.fill(request.inputs["x"], np.float32(values))
    data = request.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def call(stream: int = 1) -> bytes:
    """A whole good call."""
    return opening(stream) + frame(DATA, END_STREAM, stream, message())


class Raw:
    """A connection that sends whatever it is told to, and reads frames."""

    def __init__(self, port: int, first: bytes = PREFACE + frame(SETTINGS, 0, 0)):
        self.socket = socket.create_connection(("localhost", port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = hpack.Decoder()
        self._buffer = b""
        self.send(first)

    def send(self, data: bytes) -> bool:
        """Whether the server still took it."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(type, flags, stream, payload) of every frame until the connection ends."""
        while True:
            while len(self._buffer) >= 9:
                length = int.from_bytes(self._buffer[:3], "big")
                if len(self._buffer) < 9 + length:
                    break
                kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
                payload = self._buffer[9 : 9 + length]
                self._buffer = self._buffer[9 + length :]
                yield kind, flags, stream, payload
            try:
                received = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not received:
                return
            self._buffer += received

    def ended(self) -> int | None:
        """The GOAWAY's code, None where the connection ends without one. A hang is a timeout."""
        for kind, _, _, payload in self.frames():
            if kind == GOAWAY:
                return int.from_bytes(payload[4:8], "big")
        return None

    def reset(self, stream: int) -> int:
        """The code that a stream is reset with."""
        for kind, _, number, payload in self.frames():
            assert kind != GOAWAY, payload
            if kind == RST_STREAM and number == stream:
                return int.from_bytes(payload, "big")
        raise AssertionError("the connection ended")

    def answer(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Headers and trailers of an answer, and its body."""
        headers: dict[str, str] = {}
        body = b""
        for kind, flags, number, payload in self.frames():
            assert kind != GOAWAY, payload
            if kind == HEADERS:
                found = dict(self._decoder.decode(payload))
                headers |= found if number == stream else {}
            if kind == DATA and number == stream:
                body += payload
            if number == stream and kind in (HEADERS, DATA) and flags & END_STREAM:
                return headers, body
        raise AssertionError("the connection ended")

    def check_alive(self) -> None:
        """It answers a PING."""
        self.send(frame(PING, 0, 0, b"12345678"))
        for kind, flags, _, payload in self.frames():
            assert kind != GOAWAY, payload
            if (kind, flags, payload) == (PING, ACK, b"12345678"):
                return
        raise AssertionError("the connection ended")


@contextmanager
def raw(server: Running, first: bytes = PREFACE + frame(SETTINGS, 0, 0)) -> Iterator[Raw]:
    client = Raw(server.grpc_port, first)
    try:
        yield client
    finally:
        client.socket.close()


def check_answer(headers: dict[str, str], body: bytes) -> None:
    assert headers.get("grpc-status") == "0", headers
    answer = messages.PredictResponse.FromString(body[5:])
    assert tensor_proto.to_array(answer.outputs["y"]).tolist() == [2.5, 3.0, 4.5]
