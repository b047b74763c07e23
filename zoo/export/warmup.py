"""`assets.extra/tf_serving_warmup_requests`: requests that a server replays before it answers.

A TFRecord of PredictionLog. TensorFlow Serving reads at most 1000 records and refuses to load the
version if one of them fails (g3doc/saved_model_warmup.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from zoo.errors import InvalidOption

from . import generation
from .explain import EXPLAIN
from .signatures import DEFAULT, Signatures, inputs

if TYPE_CHECKING:
    from zoo.datasets import Dataset

FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000
PROMPT = 5  # words of a text that is to go on

Batch = Mapping[str, np.ndarray]  # input name → (batch, ...)


def requests(
    signatures: Signatures, dataset: Dataset | None, batch_sizes: Sequence[int]
) -> Iterator[tuple[str, Batch]]:
    """(signature, inputs) for each signature and batch size, smallest batch first.

    Inputs are validation examples of the data set, repeated where there are too few; zeros of the
    signature's shape (a free size is 1) without a data set. `explain` is asked for one example
    only: it works through a batch one by one, so a larger one compiles nothing more.
    """
    for name, function in signatures.items():
        for size in check_batch_sizes([1] if name == EXPLAIN else batch_sizes, len(signatures)):
            yield name, _batch(name, inputs(function), dataset, size)


def check_batch_sizes(batch_sizes: Sequence[int], signatures: int = 1) -> list[int]:
    """The batch sizes ascending, each once; InvalidOption if one is no positive whole number."""
    for size in batch_sizes:
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1:
            raise InvalidOption(f"Warmup batch size {size!r} is not a whole number above 0.")
    sizes = sorted({int(size) for size in batch_sizes})
    if len(sizes) * signatures > MOST_RECORDS:
        raise InvalidOption(
            f"{len(sizes)} warmup batch sizes for {signatures} signatures make more than "
            f"{MOST_RECORDS} records, which TensorFlow Serving refuses: give fewer sizes."
        )
    return sizes


def write(version: Path, model_name: str, batches: Sequence[tuple[str, Batch]]) -> None:
    """Write the records of `requests` for the model that is served as `model_name`."""
    path = version / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, batch in batches:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, value in batch.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            records.write(log.SerializeToString())


def read(version: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(signature, inputs) of each record in a version folder; nothing if it has no warmup file."""
    path = Path(version) / FILE
    if not path.exists():
        return
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        yield (
            request.model_spec.signature_name,
            {name: tf.make_ndarray(value) for name, value in request.inputs.items()},
        )


def _batch(
    signature: str, specs: Mapping[str, tf.TensorSpec], dataset: Dataset | None, size: int
) -> dict[str, np.ndarray]:
    examples = 0 if dataset is None else len(dataset.validation)
    rows = [index % examples for index in range(size)] if examples else []
    if signature == DEFAULT:
        given = dataset.validation.inputs(rows) if rows else {}
        if not isinstance(given, Mapping):
            given = {next(iter(specs)): given} if len(specs) == 1 else {}
        return {
            name: np.asarray(given[name], spec.dtype.as_numpy_dtype)
            if name in given
            else _zeros(spec, size)
            for name, spec in specs.items()
        }
    batch = {name: _zeros(spec, size) for name, spec in specs.items()}
    name = dataset.preprocessing.input_name if rows else ""
    if name in specs:  # what stands beside a raw example, such as a seed, stays 0
        raw = [dataset.raw("validation", row) for row in rows]
        batch[name] = _raw(signature, specs[name], raw)
    return batch


def _raw(signature: str, spec: tf.TensorSpec, examples: Sequence[Any]) -> np.ndarray:
    if signature == generation.GENERATE:  # a whole row would leave no room for more
        examples = [" ".join(text.split()[:PROMPT]) for text in examples]
    if spec.dtype == tf.string:
        return np.array(examples, object)
    return _stack(examples).astype(spec.dtype.as_numpy_dtype)


def _stack(examples: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one rank, padded with zeros at the end of every axis to the largest of them."""
    arrays = [np.asarray(example) for example in examples]
    largest = np.max([array.shape for array in arrays], axis=0, initial=0)
    stacked = np.zeros((len(arrays), *largest), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[tuple(slice(length) for length in array.shape)] = array
    return stacked


def _zeros(spec: tf.TensorSpec, size: int) -> np.ndarray:
    shape = [size, *(dimension or 1 for dimension in spec.shape.as_list()[1:])]
    if spec.dtype == tf.string:
        return np.full(shape, b"", object)
    return np.zeros(shape, spec.dtype.as_numpy_dtype)
