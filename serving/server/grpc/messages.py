"""gRPC over HTTP/2: what headers say, how a message lies in a body, how a status is sent.

The protocol: grpc/grpc, doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from serving.server.http2.headers import Header, block
from serving.server.status import Code, ServingError

PREFIX = struct.Struct(">BI")  # compressed or not, length
LARGEST_STATUS = 1024  # bytes of a status message: TensorFlow Serving cuts off the rest

STATUS_200 = b"\x88"  # `:status: 200` is an entry of every table
CONTENT_TYPE = (b"content-type", b"application/grpc")
TYPE = block([CONTENT_TYPE])
ANSWER = STATUS_200 + block([CONTENT_TYPE, (b"grpc-accept-encoding", b"identity,deflate,gzip")])
OK = block([(b"grpc-status", b"0")])
NOT_GRPC = block([(b":status", b"415"), (b"content-length", b"0")])

_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


@dataclass(frozen=True)
class Request:
    """What the headers of a request say. `method` is whatever serves `path`, None for nothing."""

    path: bytes
    method: Any
    is_grpc: bool
    timeout: float | None = None
    encoding: bytes = b"identity"


def read_request(headers: list[Header], methods: dict[bytes, Any]) -> Request | None:
    """The request that `headers` begin; None where they are no request's (RFC 9113, 8.1.1).

    Trailers of a request mean nothing here, so they may be None, too.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in found and name.startswith(b":"):
            return None
        if name != name.lower():
            return None
        found[name] = value
    path = found.get(b":path", b"")
    if not path or b":method" not in found or b":scheme" not in found:
        return None
    is_post = found[b":method"] == b"POST"
    is_grpc = is_post and found.get(b"content-type", b"").startswith(b"application/grpc")
    timeout = None
    if text := found.get(b"grpc-timeout"):
        match = _TIMEOUT.fullmatch(text)
        if match is None:
            return None
        timeout = int(match[1]) * _UNITS[match[2]]
    encoding = found.get(b"grpc-encoding", b"identity")
    return Request(path, methods.get(path), is_grpc, timeout, encoding)


def read_message(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The one message of a unary request.

    Args:
        body: prefix and message.
        encoding: of a message that says that it is compressed.
        limit: bytes of the largest message.

    Raises:
        ServingError: there is not exactly one whole message, or it cannot be unpacked.
    """
    if len(body) < PREFIX.size:
        raise ServingError(Code.INTERNAL, "The request holds no message.")
    compressed, length = PREFIX.unpack_from(body)
    if compressed > 1 or length != len(body) - PREFIX.size:
        raise ServingError(Code.INTERNAL, "The request does not hold exactly one message.")
    message = body[PREFIX.size :]
    return _inflated(message, encoding, limit) if compressed else message


def _inflated(data: bytes, encoding: bytes, limit: int) -> bytes:
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise ServingError(
            Code.UNIMPLEMENTED, f"Compression {encoding.decode('latin-1')!r} is not supported."
        )
    try:
        inflater = zlib.decompressobj(wbits=bits)
        message = inflater.decompress(data, limit)
    except zlib.error:
        raise ServingError(Code.INTERNAL, "The message cannot be decompressed.") from None
    if inflater.unconsumed_tail:
        raise too_large(f"more than {limit}", limit)
    if not inflater.eof:
        raise ServingError(Code.INTERNAL, "The compressed message is cut short.")
    return message


def too_large(size: int | str, limit: int) -> ServingError:
    """The error for a message beyond the limit, in gRPC's words."""
    return ServingError(
        Code.RESOURCE_EXHAUSTED, f"SERVER: Received message larger than max ({size} vs. {limit})"
    )


def with_prefix(message: bytes) -> bytes:
    """A message as it lies in a body."""
    return PREFIX.pack(0, len(message)) + message


def status(code: int, message: str) -> bytes:
    """The block of trailers for a call that failed."""
    return block([(b"grpc-status", b"%d" % code), (b"grpc-message", _escaped(message))])


def _escaped(message: str) -> bytes:
    """Percent signs for everything but printable ASCII; cut as TensorFlow Serving does."""
    try:
        text = message.encode("utf-8", "surrogateescape")  # TensorFlow quotes what it was sent
    except UnicodeEncodeError:
        text = message.encode("utf-8", "replace")
    if len(text) > LARGEST_STATUS:
        text = text[:LARGEST_STATUS] + b"...TRUNCATED"
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text
    )
