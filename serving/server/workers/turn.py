"""Whose turn it is to accept: connection counts that all workers see."""

from __future__ import annotations

import mmap

_AWAY = -1  # nobody in this slot accepts connections
_BYTES = 4


class Board:
    """One connection count for each worker, in memory that forked processes share.

    A count is written by its worker alone, and by the supervisor when that worker is gone.
    """

    def __init__(self, workers: int):
        self._memory = mmap.mmap(-1, workers * _BYTES)  # anonymous and shared
        self.counts = memoryview(self._memory).cast("i")
        for slot in range(workers):
            self.leave(slot)

    def leave(self, slot: int) -> None:
        """The worker in `slot` accepts nothing (any more)."""
        self.counts[slot] = _AWAY


class Turn:
    """One worker's place on the board."""

    def __init__(self, board: Board, slot: int):
        self._counts, self._slot = board.counts, slot
        self._connections = 0

    def join(self) -> None:
        """This worker accepts connections from now on."""
        self._counts[self._slot] = self._connections

    def opened(self) -> None:
        """This worker has accepted a connection."""
        self._connections += 1
        self.join()

    def closed(self) -> None:
        """One of them is gone."""
        self._connections -= 1
        self.join()

    def of_others(self) -> bool:
        """Whether another worker has fewer connections than this one."""
        return any(_AWAY < count < self._connections for count in self._counts)
