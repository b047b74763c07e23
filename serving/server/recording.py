"""What the metrics say of a request that succeeded: five of them, recorded at once.

Each metric by itself looks for its cell and takes its lock, which for a small model adds up to a
tenth of the request. So the cells of one kind of request are looked up once.
"""

from __future__ import annotations

from serving.server.metrics import Metrics
from serving.server.status import Code

MICRO = 1e6


class Recording:
    """Successes of one kind: one version's signature, asked in one way.

    Args:
        metrics: what they are recorded in.
        api: the request's method, as `request_latency` spells it.
        entrypoint: its protocol, `GRPC` or `REST`.
    """

    def __init__(
        self, metrics: Metrics, model: str, version: int, signature: str, api: str, entrypoint: str
    ):
        runtime_api = api[0].upper() + api[1:]  # here, REST's methods are spelled as gRPC's
        self._metrics, self._model = metrics, model
        self._latency = metrics.request_latency.cell(model, api, entrypoint)
        self._of_version = metrics.version_latency.cell(
            model, str(version), signature, api, entrypoint
        )
        self._runtime = metrics.runtime_latency.cell(model, runtime_api, "TF1")
        self._graph = metrics.graph_run_time.cell()

    def add(self, seconds: float, run_seconds: float) -> None:
        """One more: what it took in all, and its run of the model."""
        metrics, micros, run = self._metrics, seconds * MICRO, run_seconds * MICRO
        whole = metrics.request_latency.bucket(micros)
        whole_too = metrics.version_latency.bucket(micros)
        part, graph = metrics.runtime_latency.bucket(run), metrics.graph_run_time.bucket(run)
        with metrics.lock:
            self._latency.add(whole, micros)
            self._of_version.add(whole_too, micros)
            self._runtime.add(part, run)
            self._graph.add(graph, run)
        metrics.request_count.increment(self._model, Code.OK.name)
