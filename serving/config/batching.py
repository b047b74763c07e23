"""BatchingParameters: how requests are merged, with TensorFlow Serving's defaults and rules."""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from serving.config import messages, text
from serving.errors import ConfigError

PER_MODEL_FILE = "batching_params.pbtxt"  # in a version's folder


@dataclass(frozen=True)
class Batching:
    """How the requests for one signature are merged.

    `max_batch_size` is the most rows of one request, `max_execution_size` of one run: they differ
    only where large requests are split. Rows are added up to the next of `allowed_sizes`.
    """

    max_batch_size: int = 1000
    timeout_seconds: float = 0.0
    max_enqueued_batches: int = 10
    threads: int = os.cpu_count() or 1
    pool_name: str = "model_server_batch_threads"
    allowed_sizes: tuple[int, ...] = ()
    pad_variable_length: bool = False
    max_execution_size: int = 1000

    def padded(self, rows: int) -> int:
        """The number of rows that a batch of `rows` is run with."""
        index = bisect_left(self.allowed_sizes, rows)
        return self.allowed_sizes[index] if index < len(self.allowed_sizes) else rows


def parse_batching(message: Any) -> Batching:
    """The parameters of a BatchingParameters message.

    Raises:
        ConfigError: sizes that contradict each other.
    """

    def value(name: str, default: Any) -> Any:
        return getattr(message, name).value if message.HasField(name) else default

    default = Batching()
    largest = value("max_batch_size", default.max_batch_size)
    splits = value("enable_large_batch_splitting", False)
    execution = value("max_execution_batch_size", largest) if splits else largest
    allowed = tuple(message.allowed_batch_sizes)
    for name, number in (("max_batch_size", largest), ("max_execution_batch_size", execution)):
        if number < 1:
            raise ConfigError(f"{name} must be positive; was {number}")
    if execution > largest:
        raise ConfigError(
            f"max_execution_batch_size ({execution}) must not exceed max_batch_size ({largest})"
        )
    if any(later <= earlier for earlier, later in pairwise(allowed)):
        raise ConfigError(f"allowed_batch_sizes must be strictly increasing, not {list(allowed)}.")
    if allowed and allowed[-1] != execution:
        name = "max_execution_batch_size" if splits else "max_batch_size"
        raise ConfigError(
            f"Last entry in allowed_batch_sizes must match {name}; "
            f"last entry was {allowed[-1]}; expected {execution}"
        )
    return Batching(
        max_batch_size=largest,
        timeout_seconds=value("batch_timeout_micros", 0) / 1e6,
        max_enqueued_batches=value("max_enqueued_batches", default.max_enqueued_batches),
        threads=max(1, value("num_batch_threads", default.threads)),
        pool_name=value("thread_pool_name", default.pool_name),
        allowed_sizes=allowed,
        pad_variable_length=message.pad_variable_length_inputs,
        max_execution_size=execution,
    )


def read_batching(path: Path) -> Any:
    """The BatchingParameters message in `path`, checked as far as one file alone can be.

    Raises:
        ConfigError: unreadable, broken, or sizes that contradict each other.
    """
    message: Any = text.read(path, messages.BatchingParameters)
    try:
        parse_batching(message)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return message


def of_version(path: Path) -> Batching | None:
    """The parameters that a version brings along, None where it has none.

    Raises:
        ConfigError: they are broken.
    """
    file = path / PER_MODEL_FILE
    return parse_batching(read_batching(file)) if file.is_file() else None
