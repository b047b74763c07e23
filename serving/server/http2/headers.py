"""Header blocks: read through the connection's HPACK state, written without any (RFC 7541)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import hpack

from serving.server.http2.frames import ConnectionFault, ErrorCode

LARGEST_LIST = 64 * 1024  # bytes of all names and values of a request
_MOST_DIGITS = 5
_KEPT = 64  # blocks whose meaning is remembered

Header = tuple[bytes, bytes]
Meaning = TypeVar("Meaning")


class HeaderReader(Generic[Meaning]):
    """Decodes the header blocks of one connection, in their order.

    A client that repeats a request sends the same few bytes: indices into a table that the
    connection shares. As long as that table stays as it is, they mean the same.

    Args:
        meaning: what to make of a list of headers. What it raises is raised by `read`.
    """

    def __init__(self, meaning: Callable[[list[Header]], Meaning]):
        self._decoder = hpack.Decoder(max_header_list_size=LARGEST_LIST)
        self._decoder.max_allowed_table_size = self._decoder.header_table_size
        self._meaning = meaning
        self._kept: dict[bytes, Meaning] = {}
        self._table = self._table_now()

    def read(self, block: bytes) -> Meaning:
        """The meaning of a complete block.

        Raises:
            ConnectionFault: it cannot be decoded, or is too large.
        """
        known = self._kept.get(block)
        if known is not None:
            return known
        _check_integers(block)
        try:
            headers = self._decoder.decode(block, raw=True)
        except hpack.OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        except (hpack.HPACKError, IndexError, ValueError, OverflowError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        table = self._table_now()
        changed = table[0] is not self._table[0] or table[1:] != self._table[1:]
        if changed or len(self._kept) >= _KEPT:
            self._kept.clear()
            self._table = table
        found = self._meaning([(bytes(name), bytes(value)) for name, value in headers])
        if not changed:
            self._kept[block] = found
        return found

    def _table_now(self) -> tuple[object, int, int]:
        """The newest entry, how many there are, and room: one of them changes with the table."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return (entries[0] if entries else None), len(entries), table.maxsize


def _check_integers(block: bytes) -> None:
    """Refuses numbers of more digits than any that means something has.

    The decoder takes a number of as many digits as a block has room for, and the time that takes
    grows with their square (RFC 7541, 7.4: an implementation has to set a limit).
    """
    position, end = 0, len(block)
    while position < end:
        first = block[position]
        if first & 0x80:  # an entry of the table
            _, position = _integer(block, position, 0x7F)
        elif first & 0x60 == 0x20:  # a new size of the table
            _, position = _integer(block, position, 0x1F)
        else:  # a literal, whose name may be an entry
            index, position = _integer(block, position, 0x3F if first & 0x40 else 0x0F)
            for _ in range(1 if index else 2):
                if position < end:
                    length, position = _integer(block, position, 0x7F)
                    position += length


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """The number whose first bits are at `position`, and where it ends."""
    value = block[position] & prefix
    position += 1
    if value < prefix:
        return value, position
    digits = block[position : position + _MOST_DIGITS]
    for shift, digit in enumerate(digits):
        value += (digit & 0x7F) << 7 * shift
        if not digit & 0x80:
            return value, position + shift + 1
    if len(digits) == _MOST_DIGITS:
        raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a number without an end")
    return value, len(block)  # cut short, which the decoder finds


def block(headers: Iterable[Header]) -> bytes:
    """A block of literals that no table is needed for."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)


def _string(text: bytes) -> bytes:
    """A string without Huffman code behind its length, an integer of a seven-bit prefix."""
    if len(text) < 127:
        return bytes((len(text),)) + text
    left, digits = len(text) - 127, bytearray((127,))
    while left >= 128:
        digits.append(left & 127 | 128)
        left >>= 7
    digits.append(left)
    return bytes(digits) + text
