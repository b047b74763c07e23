"""Measures every case on every server, round by round, beside the limit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import asking, models, tools
from benchmarks.serving.cases import Case, Measured, Question, Target
from benchmarks.serving.limit import limit
from serving.server.servable import Servable

LIMIT_SECONDS = 1.0
# Asked before the first round: a server finds out by then what it may answer without a thread.
FIRST_ANSWERS = 50
# Between two loads: connections of the last one that are still open would count as load.
PAUSE_SECONDS = 0.3


@dataclass
class Found:
    """What the rounds came to, in their order.

    `limits` are calls a second by model, rows in a request and threads.
    """

    loads: dict[tuple[Target, Case], list[Measured]] = field(default_factory=dict)
    limits: dict[tuple[str, int, int], list[float]] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)  # protocol → name


def thread_counts() -> tuple[int, ...]:
    """One, and as many as there are cores."""
    return tuple(sorted({1, os.cpu_count() or 1}))


def measure(
    targets: Sequence[Target],
    cases: Sequence[Case],
    store: Path,
    *,
    rounds: int,
    seconds: int,
    own_clients: bool = False,
) -> Found:
    """Rounds of every case; in each, the servers take turns.

    Raises:
        FailedAnswers: a server gave an answer that was no success, or not the right one.
    """
    names = list(dict.fromkeys(case.model for case in cases))
    batches = list(dict.fromkeys(case.batch for case in cases))
    asked = models.questions(names, batches)
    loaded = models.sessions(store, names)
    found = Found()
    chosen = {
        protocol: tools.choose(protocol, own=own_clients)
        for protocol in dict.fromkeys(case.protocol for case in cases)
    }
    found.tools = {protocol: name for protocol, (name, _) in chosen.items()}
    sizes = _check(targets, cases, asked, loaded)
    for round_ in range(rounds):
        for (name, batch), question in asked.items():
            for threads in thread_counts():
                rate = limit(loaded[name], question, threads, min(seconds, LIMIT_SECONDS))
                found.limits.setdefault((name, batch, threads), []).append(rate)
        for case in cases:
            for target in targets:
                question, size = asked[case.model, case.batch], sizes[target, case]
                time.sleep(PAUSE_SECONDS)
                result = chosen[case.protocol][1](target, case, question, size, seconds)
                found.loads.setdefault((target, case), []).append(result)
                _progress(f"{round_ + 1}/{rounds}  {target.name}, {case}: {result.rate:,.0f}/s")
    return found


def _check(
    targets: Sequence[Target],
    cases: Sequence[Case],
    asked: Mapping[tuple[str, int], Question],
    loaded: Mapping[str, Servable],
) -> dict[tuple[Target, Case], int]:
    """The length of each right answer, once all servers have given them."""
    sizes: dict[tuple, int] = {}
    for case in cases:
        question = asked[case.model, case.batch]
        wanted = models.answer(loaded[case.model], question)
        for target in targets:
            key = target, case.model, case.batch, case.protocol
            if key not in sizes:
                data = asking.answer(target, case.protocol, question, FIRST_ANSWERS)
                asking.check(case.protocol, data, wanted)
                sizes[key] = len(data)
    return {
        (target, case): sizes[target, case.model, case.batch, case.protocol]
        for target in targets
        for case in cases
    }


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
