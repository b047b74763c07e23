"""How fast versions answer in this process, round by round, all of them in every round.

A version is loaded as the embedded server loads it and called as the server calls it, from one
thread. Versions take turns within a round and ratios are those within a round, so that a machine
that is slower for a while is slower for all of them.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from serving.server.servable import DEFAULT_SIGNATURE, Servable

BATCHES = (1, 32)
ROUNDS = 7
SECONDS = 0.15  # of each version and batch size in each round
FEWEST = 8  # calls
WARM = 5  # calls before the first round, and before each of the others
MOST = 20_000  # calls of a round, for memory

Times = list[np.ndarray]  # for each round, seconds of each call
Call = Callable[[], Any]


def in_process(
    servables: Mapping[str, Servable],
    inputs: Mapping[int, Mapping[str, np.ndarray]],
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    show: Callable[[str], None] | None = None,
) -> dict[str, dict[int, Times]]:
    """Times of calls of `serving_default`: version → batch size → rounds.

    Args:
        servables: by name.
        inputs: batch size → the inputs of that many examples.
        rounds: how many.
        seconds: of each version and batch size in each round.
        show: gets a line at the beginning.
    """
    calls = {
        name: {size: _call(servable, given) for size, given in inputs.items()}
        for name, servable in servables.items()
    }
    found: dict[str, dict[int, Times]] = {name: {size: [] for size in inputs} for name in servables}
    if show is not None:
        show(f"timing {len(calls)} versions in process, {rounds} rounds")
    with _no_collector():
        for size in inputs:
            for name in calls:
                _repeat(calls[name][size], 0.0, WARM)
        for number in range(rounds):
            for size in inputs:
                for name in turn(list(calls), number):
                    _repeat(calls[name][size], 0.0, WARM)
                    found[name][size].append(_repeat(calls[name][size], seconds, FEWEST))
    return found


def turn(names: Sequence[str], number: int) -> list[str]:
    """The names beginning with another one each round: none always follows the same neighbour."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


def summary(times: Times, batch: int) -> dict[str, float]:
    """`p50_ms`, `p99_ms` (medians over the rounds) and `examples_per_second`."""
    p50, p99 = (
        statistics.median(float(np.percentile(one, share)) for one in times) for share in (50, 99)
    )
    rate = statistics.median(batch / float(np.mean(one)) for one in times)
    return {
        "p50_ms": round(p50 * 1000, 5),
        "p99_ms": round(p99 * 1000, 5),
        "examples_per_second": round(rate, 1),
    }


def ratio(parent: Times, other: Times) -> float:
    """How many times as fast as the parent: median over the rounds of the ratio of median calls.

    Medians and no means: a call that another process interrupts is not the version's doing.
    """
    found = [float(np.median(one) / np.median(two)) for one, two in zip(parent, other, strict=True)]
    return round(statistics.median(found), 3)


def _call(servable: Servable, given: Mapping[str, np.ndarray]) -> Call:
    signature = servable.signatures[DEFAULT_SIGNATURE]
    return lambda: servable.run(signature, given)


def _repeat(call: Call, seconds: float, fewest: int) -> np.ndarray:
    """Seconds of each call, for so long and at least so often."""
    took: list[float] = []
    now = time.perf_counter()
    end = now + seconds
    while (now < end or len(took) < fewest) and len(took) < MOST:
        call()
        before, now = now, time.perf_counter()
        took.append(now - before)
    return np.array(took)


@contextmanager
def _no_collector() -> Iterator[None]:
    """As the server, which collects cycles seldom: they are not the model's."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
