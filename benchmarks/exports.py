"""What an export of each recipe's model is: signatures, size, latency, diagram.

    python -m benchmarks.exports                 # every model, about five minutes
    python -m benchmarks.exports --models cnn

Weights are fresh: size and latency do not depend on training. Latency is that of `serving_default`
in the embedded server's own session, in process, on examples of the data set's validation split.
Rows are kept in `benchmarks/results/exports.json`; `python -m benchmarks.docs` shows them.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import zoo
from benchmarks import record
from zoo import datasets
from zoo.cli.output import table
from zoo.diagrams import mermaid
from zoo.export import export, read_card

SECONDS = 2.0  # of measuring each batch size
FEWEST = 20  # calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    models = zoo.list_models()
    parser.add_argument("--models", nargs="+", default=models, choices=models)
    options = parser.parse_args()
    rows = {row["model"]: row for row in record.rows("exports")}
    for name in options.models:
        rows[name] = measure(name)
        record.write("exports", [rows[key] for key in models if key in rows])
    columns = ("model", "parameters", "bytes", "gzip_bytes", "batch_1_ms", "batch_32_ms")
    table(columns, [[rows[name][column] for column in columns] for name in options.models])


def measure(name: str) -> dict[str, Any]:
    """Exports a model of the recipe's data set and times it."""
    entry = zoo.get(name)
    data = datasets.load(entry.recipe.dataset)
    arguments = {**entry.accepted(dict(data.model_arguments)), **entry.recipe.arguments}
    keras.utils.set_random_seed(0)
    model = zoo.build(name, **arguments)
    with tempfile.TemporaryDirectory() as store:
        version = export(model, store, name, dataset=data)
        files = [path for path in version.rglob("*") if path.is_file()]
        return {
            "model": name,
            "data_set": data.name,
            "arguments": arguments,
            "parameters": model.count_params(),
            "diagram": mermaid(model),
            "signatures": read_card(version)["signatures"],
            "bytes": sum(path.stat().st_size for path in files),
            "gzip_bytes": sum(len(gzip.compress(path.read_bytes(), 6)) for path in files),
            **{f"batch_{size}_ms": _milliseconds(version, model, data, size) for size in (1, 32)},
        }


def _milliseconds(version: Path, model: keras.Model, data: datasets.Dataset, size: int) -> float:
    """Median time of a call of `serving_default`."""
    from serving.server import session

    inputs = data.validation.inputs(np.arange(size) % len(data.validation))
    if not isinstance(inputs, dict):
        inputs = {model.inputs[0].name: inputs}
    if model.inputs[0].shape[1:] == (None,):
        inputs = _without_padding(inputs)
    # One thread runs a whole call: what the server does, too.
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=-1)
    loaded = session.load(version, session_config=config)
    signature, seconds = loaded.signatures["serving_default"], []
    try:
        for _ in range(3):
            loaded.run(signature, inputs)
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS or len(seconds) < FEWEST:
            started = time.perf_counter()
            loaded.run(signature, inputs)
            seconds.append(time.perf_counter() - started)
    finally:
        loaded.close()
    return round(statistics.median(seconds) * 1000, 3)


def _without_padding(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Token ids `(batch, steps)` without the steps that are padding for all of them.

    Segments of zeros alone have as many as the longest.
    """
    used = {name: np.flatnonzero(array.any(axis=0)) for name, array in inputs.items()}
    steps = {name: found.max() + 1 for name, found in used.items() if len(found)}
    longest = max(steps.values())
    return {name: array[:, : steps.get(name, longest)] for name, array in inputs.items()}


if __name__ == "__main__":
    main()
