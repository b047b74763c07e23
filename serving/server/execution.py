"""Where the work of a request runs: on the event loop while it is short, else on a thread.

Handing work to a thread and back costs more than a small model's whole answer, and a large one
would stop every other connection. So each kind of request, of each order of size, is timed: what
has lately been short runs on the loop, everything else (and everything new) on the pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

INLINE_SECONDS = 0.001
# Where this process has one core, a thread computes nothing sooner: it takes turns with the loop,
# and Python's own turns are as long.
ONE_CORE_INLINE_SECONDS = 0.005
MAX_KINDS = 10_000
NEVER_INLINE = "never inline"  # the kind of what may wait for long: a thread of its own each time


class Execution:
    """Runs the synchronous part of requests. Used from one event loop.

    Args:
        threads: of the pool.
        inline_seconds: what takes less runs on the loop.
    """

    def __init__(self, threads: int, inline_seconds: float = INLINE_SECONDS):
        self._inline_seconds = inline_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._seconds: dict[Hashable, float] = {}  # moving average of each kind, successes only

    async def run(
        self,
        kind: Hashable,
        size: int,
        work: Callable[..., Result],
        *args: Any,
        left: Callable[[], float] | None = None,
    ) -> Result:
        """`work(*args)`, for a request of `size` bytes whose cost resembles others of `kind`.

        Args:
            left: how many seconds it may still take; asked again when they have passed.

        Raises:
            asyncio.TimeoutError: there is no time left. Work that has begun ends unheard.
        """
        if kind is NEVER_INLINE:
            return await asyncio.to_thread(work, *args)
        if self.is_quick(kind, size):
            return self.now(kind, size, work, *args)
        kind = (kind, size.bit_length())
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, self._timed, kind, work, *args)
        return await (future if left is None else until(future, left))

    def is_quick(self, kind: Hashable, size: int) -> bool:
        """Whether such a request has lately been short enough to run on the loop."""
        limit = self._inline_seconds
        return self._seconds.get((kind, size.bit_length()), limit) < limit

    def now(self, kind: Hashable, size: int, work: Callable[..., Result], *args: Any) -> Result:
        """`work(*args)` on this thread."""
        return self._timed((kind, size.bit_length()), work, *args)

    def _timed(self, kind: Hashable, work: Callable[..., Result], *args: Any) -> Result:
        started = time.perf_counter()
        result = work(*args)
        seconds = time.perf_counter() - started
        before = self._seconds.get(kind, seconds)
        # The first runs of a model pay for its compilation: they are forgotten soon.
        weight = 1 / 2 if seconds < before else 1 / 8
        if len(self._seconds) > MAX_KINDS:
            self._seconds.clear()
        self._seconds[kind] = before + (seconds - before) * weight
        return result

    def stop(self) -> None:
        """Wait for the work under way to end."""
        self._pool.shutdown(wait=True)


async def until(future: asyncio.Future[Result], left: Callable[[], float]) -> Result:
    """The future's result, while `left` gives it time.

    Raises:
        asyncio.TimeoutError: there was none left. The future is not cancelled by it.
    """
    while not future.done():
        seconds = left()
        if seconds <= 0:
            raise asyncio.TimeoutError
        await asyncio.wait({future}, timeout=seconds)
    return future.result()
