"""Light clients for a model server: numpy, httpx and grpcio, without TensorFlow.

    client = RestClient("localhost", 8501)           # or GrpcClient("localhost", 8500)
    client.predict("dense", {"image": images})       # {"probabilities": array}

Both have the same methods and give the same answers.
"""

from __future__ import annotations

from serving.client.grpc_client import GrpcClient
from serving.client.rest_client import RestClient
from serving.errors import RequestFailed, ServerUnreachable

__all__ = ["GrpcClient", "RequestFailed", "RestClient", "ServerUnreachable"]
