"""Warmup: run the requests kept beside a version before it answers anybody.

They are a TFRecord of PredictionLog in `assets.extra/tf_serving_warmup_requests`. The first run of
a graph pays for its optimisation, which a client should not wait for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serving.server import examples
from serving.server.predict import prepare, signature_for, tensor_feeds
from serving.server.servable import Servable, check_feeds
from serving.server.status import Code, ServingError, invalid
from serving.server.steps import Run

log = logging.getLogger(__name__)

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000
ADVICE = ". Please verify your warmup data is in TFRecord format."


def warm_up(servable: Servable, path: Path, *, iterations: int = 1) -> int:
    """Run the warmup requests of the version in `path`, each `iterations` times.

    Returns:
        The number of records run; 0 where there is no file.

    Raises:
        ServingError: a record that does not parse or does not run. The load fails with it, since
            the requests were written for this very version.
    """
    file = path / WARMUP_FILE
    if not file.is_file():
        log.info("No warmup data file found at %s", file)
        return 0
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    times = f"num_request_iterations {{ value: {iterations} }}" if iterations > 0 else ""
    log.info(
        "Starting to read warmup data for model at %s with model-warmup-options %s", file, times
    )
    count, started = 0, time.perf_counter()
    for record in _records(file):
        count += 1
        try:
            entry = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            text = record.decode("utf-8", "replace")
            raise invalid(f"Failed to parse warmup record: {text} from {file}") from None
        for _ in range(max(1, iterations)):
            _run(servable, entry)
        if count > MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
    log.info(
        "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
        "Elapsed time (microseconds): %d.",
        file,
        count,
        (time.perf_counter() - started) * 1e6,
    )
    return count


def _records(file: Path) -> Iterator[bytes]:
    import tensorflow as tf

    try:
        yield from tf.compat.v1.io.tf_record_iterator(str(file))
    except tf.errors.DataLossError as error:
        raise ServingError(Code.DATA_LOSS, f"{error.message}{ADVICE}") from None


def _run(servable: Servable, entry: Any) -> None:
    """Run one record; one that holds no request is passed over, as in TensorFlow Serving."""
    kind = entry.WhichOneof("log_type")
    if kind in _RUNS:
        _RUNS[kind](servable, getattr(entry, kind).request)
    elif kind is not None:
        number = entry.DESCRIPTOR.fields_by_name[kind].number
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def _predict(servable: Servable, request: Any) -> None:
    signature = signature_for(servable, request.model_spec.signature_name)
    feeds = tensor_feeds(request.inputs)
    prepare(servable, signature, feeds, list(request.output_filter)).now()


def _classify(servable: Servable, request: Any) -> None:
    _evaluate(servable, request.input, [(request.model_spec.signature_name, examples.CLASSIFY)])


def _regress(servable: Servable, request: Any) -> None:
    _evaluate(servable, request.input, [(request.model_spec.signature_name, examples.REGRESS)])


def _multi_inference(servable: Servable, request: Any) -> None:
    wanted = [(task.model_spec.signature_name, task.method_name) for task in request.tasks]
    _evaluate(servable, request.input, wanted)


def _evaluate(servable: Servable, message: Any, wanted: list[tuple[str, str]]) -> None:
    tasks = [
        examples.task(servable, examples.find(servable, name), method) for name, method in wanted
    ]
    joint = tasks[0].signature
    if len(tasks) > 1:
        joint = servable.shared(examples.together(tasks))
    feeds = {examples.INPUT: examples.serialized(message)}
    Run(servable, joint, check_feeds(joint, feeds)).now()


_RUNS: dict[str, Callable[[Servable, Any], None]] = {
    "predict_log": _predict,
    "classify_log": _classify,
    "regress_log": _regress,
    "multi_inference_log": _multi_inference,
}
