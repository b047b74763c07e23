"""A request's body while it arrives, in pieces of any size."""

from __future__ import annotations

SMALL = 4096  # bytes; each piece of its own takes about fifty more


class Body:
    """Bytes that come in pieces. Small ones are put together, or a client's crumbs would fill
    the memory many times over.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        """One more piece."""
        self.size += len(data)
        pieces = self._pieces
        if not pieces or len(data) >= SMALL:
            pieces.append(data)
        elif isinstance(pieces[-1], bytearray):
            pieces[-1] += data
        else:
            pieces.append(bytearray(data))

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self._pieces[0]) if len(self._pieces) == 1 else b"".join(self._pieces)

    def clear(self) -> None:
        """Let go of it."""
        self._pieces.clear()
