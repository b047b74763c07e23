"""Signals as something that a selector waits for."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from typing import Any


class Signals:
    """While it is entered, these signals are noted instead of what they did before.

    `woken` becomes readable with each.
    """

    def __init__(self, numbers: Sequence[signal.Signals]):
        self._numbers = numbers
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.woken, wake = self.ends = socket.socketpair()
        for end in self.ends:
            end.setblocking(False)
        self._before = {number: signal.signal(number, _noted) for number in self._numbers}
        self._fd_before = signal.set_wakeup_fd(wake.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in self.ends:
            end.close()

    def come(self) -> bytes:
        """The numbers of the signals that have come."""
        try:
            return self.woken.recv(4096)
        except BlockingIOError:
            return b""


def _noted(number: int, frame: object) -> None:
    """Python writes its number to the wakeup socket."""
