"""Clients that ask without a pause, over both protocols, and remember every answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np

from serving import tensor_proto
from serving.client import messages
from serving.server import Running


@dataclass
class Load:
    """What the clients saw: answers in their order, failures, connections that were refused."""

    answers: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, value: float, timeout: float = 60) -> None:
        """Until `value` has been answered on every connection, newest answers only."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.answers[-8:] == [value] * 8 or self.failures:
                return
            time.sleep(0.02)
        raise AssertionError(f"no {value} within {timeout} s, but {self.answers[-8:]}")


@contextmanager
def load(server: Running, model: str, *, clients: int = 2) -> Iterator[Load]:
    """`clients` of each protocol asking `model` for its answer to 1.0."""
    seen = Load()
    threads = [
        threading.Thread(target=ask, args=(server, model, seen))
        for ask in (_rest, _grpc)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        for thread in threads:
            thread.join()


def _rest(server: Running, model: str, seen: Load) -> None:
    connection = None
    body = json.dumps({"instances": [1.0]}).encode()
    while not seen.stop.is_set():
        try:
            if connection is None:
                connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
                connection.connect()
        except OSError:
            seen.refused += 1  # no connection: the server has not accepted anything
            connection = None
            time.sleep(0.01)
            continue
        try:
            connection.request("POST", f"/v1/models/{model}:predict", body)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            seen.failures.append(f"REST: {error!r}")
            connection = None
            continue
        if response.status == 200:
            seen.answers.append(json.loads(text)["predictions"][0])
        else:
            seen.failures.append(f"REST: {response.status} {text!r}")
        if response.will_close:
            connection.close()
            connection = None


def _grpc(server: Running, model: str, seen: Load) -> None:
    request = messages.PredictRequest()
    request.model_spec.name = model
    tensor_proto.fill(request.inputs["x"], np.float32([1.0]), as_content=True)
    data = request.SerializeToString()
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        while not seen.stop.is_set():
            try:
                answer = messages.PredictResponse.FromString(call(data, timeout=30))
                seen.answers.append(float(tensor_proto.to_array(answer.outputs["y"])[0]))
            except grpc.RpcError as error:
                details = error.details() or ""
                if error.code().name == "UNAVAILABLE" and "failed to connect" in details.lower():
                    seen.refused += 1
                    time.sleep(0.01)
                else:
                    seen.failures.append(f"gRPC: {error.code().name} {details}")
