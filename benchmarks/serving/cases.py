"""What is measured: a model, rows in a request, a protocol, connections; and on which server."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import orjson

from serving import tensor_proto
from serving.client import messages

HOST = "127.0.0.1"
METHOD = "/tensorflow.serving.PredictionService/Predict"
INPUT = "image"
DECIMALS = 4  # of a value in a REST body: about what pixels divided by 255 need


class FailedAnswers(Exception):
    """Some answer was no success, or not the right one: there is nothing to measure."""


@dataclass(frozen=True)
class Target:
    """A server that runs, by its ports on this machine, and a name for tables."""

    name: str
    rest_port: int
    grpc_port: int


@dataclass(frozen=True)
class Case:
    """One load: `connections` clients that ask again as soon as they have their answer."""

    model: str
    batch: int
    protocol: str
    connections: int

    def __str__(self) -> str:
        rows = "1 row" if self.batch == 1 else f"{self.batch} rows"
        return f"{self.model}, {rows}, {self.protocol}, {self.connections} connections"


@dataclass(frozen=True)
class Question:
    """A request in every form it is sent in: `rows` are float32 `(batch, …)`."""

    model: str
    rows: np.ndarray = field(repr=False)

    @cached_property
    def json(self) -> bytes:
        """The body of a REST request, row format."""
        return orjson.dumps({"instances": self.rows}, option=orjson.OPT_SERIALIZE_NUMPY)

    @cached_property
    def message(self) -> bytes:
        """A PredictRequest with the values as `tensor_content`."""
        request = messages.PredictRequest()
        request.model_spec.name = self.model
        tensor_proto.fill(request.inputs[INPUT], self.rows, as_content=True)
        return request.SerializeToString()

    @property
    def framed(self) -> bytes:
        """The message as gRPC sends it: not compressed, and how long it is."""
        return b"\0" + len(self.message).to_bytes(4, "big") + self.message

    @property
    def path(self) -> str:
        return f"/v1/models/{self.model}:predict"


@dataclass(frozen=True)
class Measured:
    """What one load came to: requests a second; median and 99th percentile in milliseconds."""

    rate: float
    p50: float
    p99: float


def measured(seconds: list[float], elapsed: float) -> Measured:
    """From the time that each request took.

    Raises:
        FailedAnswers: there was none.
    """
    if not seconds:
        raise FailedAnswers("No request was answered in time.")
    p50, p99 = np.percentile(seconds, (50, 99)) * 1000
    return Measured(len(seconds) / elapsed, float(p50), float(p99))
