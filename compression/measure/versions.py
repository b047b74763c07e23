"""All figures of several versions of one model, measured in one interleaved run."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.measure import counting, files, quality, served, speed
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras
    from rich.console import Console

    from serving.server.servable import Servable
    from zoo.datasets import Dataset


@dataclass(frozen=True)
class Version:
    """A version folder to measure.

    Attributes:
        name: of its row; also the model's name at the server.
        path: the folder.
        model: Keras model that it holds, for parameters and operations; None if not at hand.
        trained: `model` has the version's weights, and not only its architecture.
        flags: of the server, besides `--prefer_tflite_model`.
        load: makes the servable, for what the embedded server cannot load: another runtime's
            model, which is then measured in process alone.
        about: goes into its row as it is, such as the chain of techniques.
    """

    name: str
    path: Path
    model: keras.Model | None = None
    trained: bool = True
    flags: tuple[str, ...] = ()
    load: Callable[[], Servable] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def measure(
    versions: Sequence[Version],
    dataset: Dataset,
    *,
    parents: Mapping[str, str] | None = None,
    split: str = "test",
    limit: int | None = None,
    rounds: int = speed.ROUNDS,
    seconds: float | None = None,
    over_grpc: bool = True,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measures versions against their parents; JSON's own values.

    Args:
        versions: with different names.
        dataset: what they were trained on; timed on the first examples of its test split.
        parents: name of a version → that of the one it is compared with; default: the first.
        split: whose accuracy is measured.
        limit: examples of it; default: all.
        rounds: of the interleaved timing.
        seconds: of each version and batch size in each round; default: 0.15 in process, 0.5 over
            gRPC.
        over_grpc: time them as served, too.
        console: gets a line before each part.

    Returns:
        `dataset`, `split`, `examples`, `rounds`, `client`, `machine` and `versions`, a row for
        each: `parent`, `bytes`, `gzip_bytes`, `parameters`, `nonzero`, `macs`, `quality`, `change`
        (drop and agreement), `in_process`, `served` and `ratios` to the parent.

    Raises:
        InvalidOption: no versions, or an unknown parent.
        ServingError, StartError: a version does not load.
        MeasurementFailed: it does not answer.
    """
    names = [version.name for version in versions]
    if not names or len(set(names)) < len(names):
        raise InvalidOption("Measuring takes versions with different names.")
    parents = dict.fromkeys(names, names[0]) | dict(parents or {})
    if unknown := set(parents.values()) - set(names):
        raise InvalidOption(f"There is no version {min(unknown)!r} to compare with.")
    show = None if console is None else (lambda text: console.print(text, highlight=False))
    with loaded(versions) as servables:
        found = {
            name: quality.answers(servable, dataset, split, limit)
            for name, servable in servables.items()
        }
        inputs = {
            size: quality.feeds(
                servables[names[0]], dataset, "test", np.arange(size) % len(dataset.test)
            )
            for size in speed.BATCHES
        }
        here = speed.in_process(
            servables, inputs, rounds=rounds, seconds=seconds or speed.SECONDS, show=show
        )
        largest = inputs[max(inputs)]
        expected = {
            name: quality.output_of(servable.run(servable.signatures["serving_default"], largest))
            for name, servable in servables.items()
        }
    there, off = {}, {}
    if over_grpc:
        there, off = served.over_grpc(
            {version.name: version.path for version in versions if version.load is None},
            inputs,
            flags={version.name: version.flags for version in versions},
            expected=expected,
            rounds=rounds,
            seconds=seconds or served.SECONDS,
            show=show,
        )
    rows = []
    for version in versions:
        parent = parents[version.name]
        row = {"name": version.name, "parent": parent, **version.about, **static(version, dataset)}
        row["quality"] = found[version.name].to_json(split)
        row["change"] = quality.against(found[parent], found[version.name])
        row["in_process"] = _speeds(here[version.name])
        if version.name in there:
            row["served"] = _speeds(there[version.name])
            row["served"]["batch_32"].pop("p50_ms", None)  # of several clients together
            row["served"]["batch_32"].pop("p99_ms", None)
            row["served"]["largest_difference"] = off[version.name]
        rows.append(row)
    _add_ratios(rows, here, there)
    return {
        "dataset": dataset.name,
        "split": split,
        "examples": len(dataset.split(split)) if limit is None else limit,
        "rounds": rounds,
        "client": served.tool() if over_grpc else None,
        "machine": machine(),
        "versions": rows,
    }


def static(version: Version, dataset: Dataset | None = None) -> dict[str, Any]:
    """What does not depend on the machine: bytes, parameters, non-zero ones, operations.

    Of a TFLite form, parameters are those of the float model that it was made from.
    """
    row: dict[str, Any] = {**files.sizes(version.path), "parameters": None, "nonzero": None}
    row.update(macs=None, not_counted=[])
    if version.model is not None:
        row["parameters"] = version.model.count_params()
        row["macs"], row["not_counted"] = counting.macs(version.model, _steps(dataset))
    if version.model is not None and version.trained:
        row.update(counting.weights(version.model))
    else:
        row.update(files.stored_weights(version.path) or {})
    return row


@contextlib.contextmanager
def loaded(versions: Sequence[Version]) -> Iterator[dict[str, Servable]]:
    """The versions as the embedded server loads them, warmed up, in this process."""
    from serving.server.flags import parse
    from serving.server.loading import import_tensorflow, make_loader

    import_tensorflow()
    servables: dict[str, Servable] = {}
    try:
        for version in versions:
            if version.load is not None:
                servables[version.name] = version.load()
                continue
            flags, _ = parse([served.PREFER, *version.flags])
            servables[version.name] = make_loader(flags)(version.name, 1, version.path)
        yield servables
    finally:
        for servable in servables.values():
            servable.close()


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    import keras
    import tensorflow as tf

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "date": datetime.date.today().isoformat(),
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _steps(dataset: Dataset | None) -> int | None:
    """Length of a sequence that a model leaves free: that of the data."""
    if dataset is None or not dataset.task.predicts_tokens:
        return None
    return max(array.shape[1] for array in dataset.test.arrays().values())


def _speeds(times: Mapping[int, speed.Times]) -> dict[str, Any]:
    return {f"batch_{size}": speed.summary(rounds, size) for size, rounds in times.items()}


def _add_ratios(
    rows: Sequence[dict[str, Any]],
    here: Mapping[str, Mapping[int, speed.Times]],
    there: Mapping[str, Mapping[int, speed.Times]],
) -> None:
    """`ratios` of every row: sizes as parts of the parent's, speeds as multiples of it."""
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        base = by_name[row["parent"]]
        ratios = {
            "bytes": round(row["bytes"] / base["bytes"], 4),
            "gzip_bytes": round(row["gzip_bytes"] / base["gzip_bytes"], 4),
        }
        for place, times in (("in_process", here), ("served", there)):
            for size in times.get(row["name"], ()):
                if row["parent"] not in times:
                    continue
                both = times[row["parent"]][size], times[row["name"]][size]
                ratios[f"{place}_batch_{size}"] = speed.ratio(*both)
        row["ratios"] = ratios
