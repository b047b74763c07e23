"""What the supervisor and its workers say to each other: JSON, with its length in front."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import orjson

Message = dict[str, Any]

MAX_BYTES = 64 << 20  # of a message, and of what may wait to be sent
_READ_BYTES = 1 << 18
_LENGTH = struct.Struct("!I")


class ChannelError(Exception):
    """The other side says what it never should, or does not listen."""


def pack(message: Message) -> bytes:
    """A message's bytes. A name that is not UTF-8 survives."""
    try:
        data = orjson.dumps(message)
    except TypeError:
        data = json.dumps(message).encode()
    return _LENGTH.pack(len(data)) + data


class Unpacker:
    """Puts messages together from the pieces in which they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with `data`.

        Raises:
            ChannelError: one is too large.
        """
        self._buffer += data
        found = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_BYTES:
                raise ChannelError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            found.append(_loads(bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return found


def _loads(data: bytes) -> Message:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


class Channel:
    """The supervisor's end, which never blocks."""

    def __init__(self, end: socket.socket):
        end.setblocking(False)
        self.socket = end
        self._unpacker = Unpacker()
        self._waiting = bytearray()

    @property
    def is_full(self) -> bool:
        """Whether something waits until the other side has read."""
        return bool(self._waiting)

    def send(self, message: Message) -> None:
        """Send, or keep until `flush`.

        Raises:
            ChannelError: the other side has not read for long.
        """
        self._waiting += pack(message)
        if len(self._waiting) > MAX_BYTES:
            raise ChannelError("it does not listen")
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now. Whether the other side has gone is found on reading."""
        try:
            while self._waiting:
                del self._waiting[: self.socket.send(self._waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._waiting.clear()

    def receive(self) -> tuple[list[Message], bool]:
        """The messages that have come, and whether there will be more.

        Raises:
            ChannelError: one is too large.
        """
        found: list[Message] = []
        try:
            while data := self.socket.recv(_READ_BYTES):
                found += self._unpacker.feed(data)
        except BlockingIOError:
            return found, True
        except OSError:
            pass
        return found, False
