"""BatchingParameters: how requests are merged, with TensorFlow Serving's defaults and rules."""

from __future__ import annotations

import os
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
    only where large requests are split. Rows are added up to the next of `allowed_sizes`. `fault`
    says why no version may be loaded with these parameters.
    """

    max_batch_size: int = 1000
    timeout_seconds: float = 0.0
    max_enqueued_batches: int = 10
    threads: int = os.cpu_count() or 1
    pool_name: str = "model_server_batch_threads"
    allowed_sizes: tuple[int, ...] = ()
    pad_variable_length: bool = False
    max_execution_size: int = 1000

    splits: bool = False
    fault: str = ""

    def padded(self, rows: int) -> int:
        """The number of rows that a batch of `rows` is run with."""
        return next((size for size in self.allowed_sizes if size >= rows), rows)


def parse_batching(message: Any) -> Batching:
    """The parameters of a BatchingParameters message.

    Raises:
        ConfigError: sizes that contradict each other.
    """
    allowed = list(message.allowed_batch_sizes)
    if any(later <= earlier for earlier, later in pairwise(allowed)):
        raise ConfigError(f"allowed_batch_sizes must be strictly increasing, not {allowed}.")
    found = tolerant_batching(message)
    if found.fault:
        raise ConfigError(found.fault)
    return found


def tolerant_batching(message: Any) -> Batching:
    """As `parse_batching`, for a server: it starts with a fault, and loads no version with it.

    Raises:
        ConfigError: there is no thread to run batches on.
    """

    def value(name: str, default: Any) -> Any:
        return getattr(message, name).value if message.HasField(name) else default

    default = Batching()
    largest = value("max_batch_size", default.max_batch_size)
    splits = value("enable_large_batch_splitting", False)
    threads = value("num_batch_threads", default.threads)
    enqueued = value("max_enqueued_batches", default.max_enqueued_batches)
    if threads < 1:
        raise ConfigError(f"num_batch_threads must be positive; was {threads}")
    return Batching(
        max_batch_size=largest,
        timeout_seconds=value("batch_timeout_micros", 0) / 1e6,
        max_enqueued_batches=enqueued if splits else enqueued or 1,
        threads=threads,
        pool_name=value("thread_pool_name", default.pool_name),
        allowed_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length=message.pad_variable_length_inputs,
        max_execution_size=value("max_execution_batch_size", largest) if splits else largest,
        splits=splits,
        fault=_fault(message, largest, splits, enqueued),
    )


def _fault(message: Any, largest: int, splits: bool, enqueued: int) -> str:
    """What TensorFlow Serving says when a version is loaded with these; mostly nothing."""
    execution, allowed = largest, message.allowed_batch_sizes
    if splits and message.HasField("max_execution_batch_size"):
        execution = message.max_execution_batch_size.value
    if allowed and allowed[-1] != execution:
        name = "max_execution_batch_size" if splits else "max_batch_size"
        return (
            f"Last entry in allowed_batch_sizes must match {name}; "
            f"last entry was {allowed[-1]}; expected {execution}"
        )
    if largest < 1:
        return f"input_batch_size_limit must be positive; was {largest}"
    if message.batch_timeout_micros.value < 0:
        return (
            f"batch_timeout_micros must be non-negative; was {message.batch_timeout_micros.value}"
        )
    if splits and enqueued == 0:
        return "max_enqueued_batches must be positive; was 0"
    if execution > largest:
        return (
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater "
            # the three values follow without a space, in TensorFlow as well
            f"than or equal to max_execution_batch_size.1{largest}{execution}"
        )
    if execution < 1:
        return f"max_execution_batch_size must be positive; was {execution}"
    return ""


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


def server_batching(path: Path) -> Batching:
    """The parameters in `path`, for a server.

    Raises:
        ConfigError: unreadable, broken, or without a thread.
    """
    return tolerant_batching(text.read(path, messages.BatchingParameters))


def of_version(path: Path) -> Batching | None:
    """The parameters that a version brings along, None where it has none.

    Raises:
        ConfigError: they are broken.
    """
    file = path / PER_MODEL_FILE
    return server_batching(file) if file.is_file() else None
