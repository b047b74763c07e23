"""Warmup: run the requests kept beside a version before it answers anybody.

They are a TFRecord of PredictionLog in `assets.extra/tf_serving_warmup_requests`. The first run of
a graph pays for its optimisation, which a client should not wait for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from serving.server.predict import prepare, signature_for, tensor_feeds
from serving.server.servable import Servable
from serving.server.status import Code, ServingError, invalid

log = logging.getLogger(__name__)

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000


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
        return 0
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    log.info("Starting to read warmup data for model at %s", file)
    count = 0
    for record in tf.compat.v1.io.tf_record_iterator(str(file)):
        count += 1
        if count > MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
        try:
            entry = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            text = record[:100].decode("utf-8", "replace")
            raise invalid(f"Failed to parse warmup record: {text} from {file}") from None
        kind = entry.WhichOneof("log_type")
        if kind != "predict_log":
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
        for _ in range(max(1, iterations)):
            _predict(servable, entry.predict_log.request)
    log.info(
        "Finished reading warmup data for model at %s. Number of warmup records read: %d.",
        file,
        count,
    )
    return count


def _predict(servable: Servable, request: Any) -> None:
    signature = signature_for(servable, request.model_spec.signature_name)
    prepare(servable, signature, tensor_feeds(request.inputs), list(request.output_filter)).now()
