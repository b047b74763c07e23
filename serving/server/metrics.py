"""Counters and histograms, printed as TensorFlow Serving's Prometheus page.

Names, labels and bucket limits are TensorFlow Serving's; what its users miss stands beside them
under `model_server_…`. Each metric gives its state as plain values, and states add up, so that the
page of several processes is the page of their sum.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Labels = tuple[str, ...]
State = dict[Labels, Any]

NATIVE = ":tensorflow:"  # begins the names that TensorFlow Serving has as well
MAX_CELLS = 10_000  # a client chooses the names it asks for: they must not fill the memory
_OTHER = "(other)"


class Metric(ABC):
    """One name with its label names. Recording is safe from any thread."""

    kind = ""

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        text: str,
        lock: threading.Lock | None = None,
    ):
        self.name, self.labels, self.text = name, tuple(labels), text
        self.native = name.startswith(NATIVE)
        self._lock = lock or threading.Lock()
        self._cells: State = {}

    @abstractmethod
    def state(self) -> State:
        """A copy of every cell."""

    @abstractmethod
    def add_state(self, state: Mapping[Labels, Any]) -> None:
        """Add another process's state to this one."""

    @abstractmethod
    def lines(self) -> list[str]:
        """The samples of every cell, as text."""

    def _key(self, labels: Labels) -> Labels:
        if labels in self._cells or len(self._cells) < MAX_CELLS:
            return labels
        return (_OTHER,) * len(self.labels)


class Counter(Metric):
    """A number that only grows."""

    kind = "counter"

    def increment(self, *labels: str, by: int = 1) -> None:
        with self._lock:
            key = self._key(labels)
            self._cells[key] = self._cells.get(key, 0) + by

    def state(self) -> State:
        with self._lock:
            return dict(self._cells)

    def add_state(self, state: Mapping[Labels, Any]) -> None:
        for labels, value in state.items():
            self.increment(*labels, by=value)

    def lines(self) -> list[str]:
        return [f"{self.name}{{{_pairs(self.labels, k)}}} {v}" for k, v in self.state().items()]


class Gauge(Counter):
    """A number that is asked for when the page is printed."""

    kind = "gauge"

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.ask: Callable[[], Mapping[Labels, int]] = dict

    def state(self) -> State:
        found = dict(self.ask())
        for labels, value in super().state().items():
            found[labels] = found.get(labels, 0) + value
        return found


@dataclass(slots=True)
class Cell:
    """Values under the same labels, by bucket, and their sum."""

    counts: list[int]
    total: float = 0.0

    def add(self, bucket: int, value: float) -> None:
        """One more value. Who calls this holds the histogram's lock."""
        self.counts[bucket] += 1
        self.total += value


class Histogram(Metric):
    """How often a value fell into each bucket; `limits` are upper ends, infinity goes without.

    TensorFlow's buckets hold what is less than their limit, Prometheus's what is not more. The
    metrics that TensorFlow Serving has as well count as it does.
    """

    kind = "histogram"

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        text: str,
        limits: Sequence[float],
        lock: threading.Lock | None = None,
    ):
        super().__init__(name, labels, text, lock)
        self._search = bisect_right if self.native else bisect_left
        self.limits = tuple(limits)
        self._names = [f"{limit:g}" for limit in self.limits] + ["+Inf"]

    def record(self, value: float, *labels: str) -> None:
        bucket = self.bucket(value)
        with self._lock:
            self._cell(labels).add(bucket, value)

    def bucket(self, value: float) -> int:
        """Which bucket a value belongs to."""
        return self._search(self.limits, value)

    def cell(self, *labels: str) -> Cell:
        """What is counted under these labels."""
        with self._lock:
            return self._cell(labels)

    def _cell(self, labels: Labels) -> Cell:
        found = self._cells.get(labels)
        if found is None:
            made = Cell([0] * (len(self.limits) + 1))
            found = self._cells.setdefault(self._key(labels), made)
        return found

    def state(self) -> State:
        with self._lock:
            return {key: (list(cell.counts), cell.total) for key, cell in self._cells.items()}

    def add_state(self, state: Mapping[Labels, Any]) -> None:
        with self._lock:
            for labels, (more, value) in state.items():
                cell = self._cell(tuple(labels))
                cell.counts = [a + b for a, b in zip(cell.counts, more, strict=True)]
                cell.total += value

    def lines(self) -> list[str]:
        found = []
        for key, (counts, total) in self.state().items():
            pairs = _pairs(self.labels, key)
            comma, count = "," if pairs else "", 0
            for limit, more in zip(self._names, counts, strict=True):
                count += more
                found.append(f'{self.name}_bucket{{{pairs}{comma}le="{limit}"}} {count}')
            found.append(f"{self.name}_sum{{{pairs}}} {total:.17g}")
            found.append(f"{self.name}_count{{{pairs}}} {count}")
        return found


def _pairs(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join(f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    text = value.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def exponential(scale: float, growth: float, count: int) -> list[float]:
    """Bucket limits `scale · growth^i`."""
    limits = [scale]
    while len(limits) < count:
        limits.append(limits[-1] * growth)
    return limits


MICROSECONDS = exponential(10, 1.8, 33)  # to about 20 minutes


class Metrics:
    """All metrics of a server process.

    `lock` guards every cell of theirs.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.all: list[Metric] = []
        serving, saved = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
        self.request_count = self._counter(
            f"{serving}request_count", ("model_name", "status"), "Requests."
        )
        self.request_latency = self._histogram(
            f"{serving}request_latency",
            ("model_name", "API", "entrypoint"),
            "Microseconds from a request to its answer, successes only.",
        )
        self.runtime_latency = self._histogram(
            f"{serving}runtime_latency",
            ("model_name", "API", "runtime"),
            "Microseconds a request's run of the model took, successes only.",
        )
        self.example_counts = self._histogram(
            f"{serving}request_example_counts",
            ("model",),
            "tf.Examples in a request.",
            exponential(1, 2, 15),
        )
        self.example_total = self._counter(
            f"{serving}request_example_count_total", ("model",), "tf.Examples in all requests."
        )
        self.request_log_count = self._counter(
            f"{serving}request_log_count", ("model",), "Requests that were logged: none are here."
        )
        self.queuing_latency = self._histogram(
            f"{serving}batching_session:queuing_latency",
            ("thread_pool_name",),
            "Microseconds a request waited for its batch.",
            exponential(100, 1.2, 52),
        )
        self.batch_runs = self._counter(
            f"{serving}batching_session:wrapped_run_count", (), "Batches run."
        )
        self.warmup_latency = self._histogram(
            f"{serving}model_warmup_latency",
            ("model_path", "status"),
            "Microseconds of a version's warmup.",
        )
        self.warmup_records = self._counter(
            f"{serving}model_warmup_records_read", ("model_path",), "Warmup records read."
        )
        self.load_count = self._counter(
            f"{saved}load_attempt_count", ("model_path", "status"), "Loads of a SavedModel."
        )
        self.load_latency = self._counter(
            f"{saved}load_latency", ("model_path",), "Microseconds that loads took."
        )
        self.graph_run_time = self._histogram(
            ":tensorflow:core:graph_run_time_usecs_histogram",
            (),
            "Microseconds of a run of a graph.",
            exponential(1000, 2, 20),
        )
        self._own()

    def _own(self) -> None:
        of_request = ("model_name", "version", "signature_name", "API", "entrypoint")
        self.version_latency = self._histogram(
            "model_server_request_latency_microseconds",
            of_request,
            "Microseconds from a request to its answer, successes only.",
        )
        self.batch_size = self._histogram(
            "model_server_batch_size",
            ("model_name", "signature_name"),
            "Rows of the requests merged into a batch, padding not counted.",
            exponential(1, 2, 15),
        )
        self.batch_padding = self._counter(
            "model_server_batch_padding_rows_total",
            ("model_name", "signature_name"),
            "Rows added to reach an allowed batch size.",
        )
        self.queue_time = self._histogram(
            "model_server_queue_time_microseconds",
            ("model_name", "signature_name"),
            "Microseconds a request waited for its batch.",
        )
        self.versions = self._gauge(
            "model_server_versions", ("model_name", "version", "state"), "1 for each known version."
        )
        self.in_flight = self._gauge(
            "model_server_requests_in_flight", (), "Requests that are being answered."
        )

    def _counter(self, *args: Any) -> Counter:
        self.all.append(Counter(*args, self.lock))
        return self.all[-1]

    def _gauge(self, *args: Any) -> Gauge:
        self.all.append(Gauge(*args, self.lock))
        return self.all[-1]

    def _histogram(
        self, name: str, labels: Sequence[str], text: str, limits: Sequence[float] = MICROSECONDS
    ) -> Histogram:
        self.all.append(Histogram(name, labels, text, limits, self.lock))
        return self.all[-1]

    def state(self) -> dict[str, State]:
        """Every metric's state, by name: what one process tells another."""
        return {metric.name: metric.state() for metric in self.all}

    def add_state(self, states: Mapping[str, State]) -> None:
        """Add what another process told."""
        for metric in self.all:
            metric.add_state(states.get(metric.name, {}))

    def page(self) -> bytes:
        """The page, in Prometheus's text format.

        As from TensorFlow Serving, its metrics are named before they have a sample. Ours are not.
        """
        lines: list[str] = []
        for metric in sorted(self.all, key=lambda metric: metric.name):
            samples = metric.lines()
            if samples or metric.native:
                lines += [f"# HELP {metric.name} {metric.text}"]
                lines += [f"# TYPE {metric.name} {metric.kind}", *samples]
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")
