"""Resident memory of a process and everything that it started, from /proc; and whether it grew."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """Seconds since the start, requests and swaps so far, MiB of all processes, how many these are.

    Pages that processes share count in each of them.
    """

    seconds: float
    requests: int
    swaps: int
    mib: float
    processes: int


class Sampler:
    """Takes a sample every `interval` seconds from `begin` to `end`, and one at the end."""

    def __init__(self, pid: int, progress: Callable[[], tuple[int, int]], interval: float = 0.25):
        self.samples: list[Sample] = []
        self._pid, self._progress, self._interval = pid, progress, interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def begin(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._take()
        self._take()

    def _take(self) -> None:
        found = [mib for mib in map(resident, family(self._pid)) if mib]
        requests, swaps = self._progress()
        seconds = time.monotonic() - self._began
        self.samples.append(Sample(seconds, requests, swaps, sum(found), len(found)))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {int(entry): _parent(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    found, rest = [], [pid]
    while rest:
        found.append(rest.pop())
        rest += [child for child, parent in parents.items() if parent == found[-1]]
    return found


def resident(pid: int) -> float:
    """A process's resident memory in MiB; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


def _parent(pid: str) -> int:
    try:  # the name, in parentheses, may hold anything
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


@dataclass(frozen=True)
class Growth:
    """Mean memory in the second and the last fifth of a run, in MiB, and what may be between."""

    early_mib: float
    late_mib: float
    bound_percent: float

    @property
    def mib(self) -> float:
        return self.late_mib - self.early_mib

    @property
    def percent(self) -> float:
        return 100 * self.mib / self.early_mib

    @property
    def grew(self) -> bool:
        return self.percent > self.bound_percent

    def __str__(self) -> str:
        verdict = "growth" if self.grew else "no growth"
        return (
            f"{verdict}: {self.late_mib:.1f} MiB in the last fifth, {self.early_mib:.1f} in the "
            f"second ({self.mib:+.1f} MiB, {self.percent:+.2f} %, bound {self.bound_percent:g} %)"
        )


def growth(samples: Sequence[Sample], bound_percent: float) -> Growth:
    """Compares fifths of the time; the first one, in which everything is new, does not count."""
    fifth = samples[-1].seconds / 5
    late = [sample.mib for sample in samples if sample.seconds > 4 * fifth]
    early = [sample.mib for sample in samples if fifth < sample.seconds <= 2 * fifth]
    return Growth(statistics.mean(early or late), statistics.mean(late), bound_percent)


def thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many samples, each the mean of its neighbours' memory at the last one's time."""
    step = -(-len(samples) // most)
    groups = [samples[start : start + step] for start in range(0, len(samples), step)]
    return [
        Sample(
            round(group[-1].seconds, 2),
            group[-1].requests,
            group[-1].swaps,
            round(statistics.mean(sample.mib for sample in group), 2),
            group[-1].processes,
        )
        for group in groups
    ]
