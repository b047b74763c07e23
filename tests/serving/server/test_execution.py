"""Where work runs: short work on the loop, long work on threads, never past its time limit."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from serving.server import execution


def test_short_work_moves_to_the_loop_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0  # a busy machine would make any work long
    monkeypatch.setattr(execution.time, "perf_counter", lambda: clock)

    async def scenario() -> None:
        runner = execution.Execution(threads=2)
        here = threading.get_ident()
        seconds = 0.0

        def work() -> int:
            nonlocal clock
            clock += seconds
            return threading.get_ident()

        assert await runner.run("kind", 10, work) != here  # nothing is known of it yet
        assert await runner.run("kind", 10, work) == here
        assert await runner.run("kind", 1000, work) != here  # a larger request may take longer
        assert await runner.run("other", 10, work) != here
        seconds = 0.05
        await runner.run("kind", 10, work)
        assert await runner.run("kind", 10, work) != here
        runner.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(("limit", "on_the_loop"), [(0.001, False), (0.005, True)])
def test_what_is_short_can_be_told(
    limit: float, on_the_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(execution.time, "perf_counter", lambda: clock)

    async def scenario() -> None:
        runner = execution.Execution(1, limit)

        def work() -> int:
            nonlocal clock
            clock += 0.003
            return threading.get_ident()

        await runner.run("kind", 10, work)
        here = await runner.run("kind", 10, work) == threading.get_ident()
        assert here == on_the_loop
        runner.stop()

    asyncio.run(scenario())


def test_long_work_times_out_and_leaves_the_loop_free() -> None:
    async def scenario() -> None:
        runner = execution.Execution(threads=1)
        release = threading.Event()
        started = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await runner.run(
                "slow", 10, release.wait, left=lambda: started + 0.05 - time.monotonic()
            )
        assert time.monotonic() - started < 5
        release.set()
        runner.stop()

    asyncio.run(scenario())


def test_work_that_waits_is_never_on_the_loop() -> None:
    async def scenario() -> None:
        runner = execution.Execution(threads=1)
        for _ in range(5):
            found = await runner.run(execution.NEVER_INLINE, 10, threading.get_ident)
            assert found != threading.get_ident()
        runner.stop()

    asyncio.run(scenario())


def test_failing_work_raises_what_it_raised() -> None:
    async def scenario() -> None:
        runner = execution.Execution(threads=1)
        with pytest.raises(ZeroDivisionError):
            await runner.run("broken", 10, lambda: 1 / 0)
        runner.stop()

    asyncio.run(scenario())
