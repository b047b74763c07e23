"""One server with batching that is told of other models: by its config file and by a client."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import tensor_proto
from serving.client import RestClient, messages
from serving.config import ModelConfig, VersionPolicy, server_config
from serving.server import Running, background
from tests.serving.conftest import free_ports
from tests.serving.load import load

pytestmark = pytest.mark.slow

ALL = VersionPolicy("all")
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass
class Reloadable:
    """A running server, its config file, and the folder of the models it may be given."""

    running: Running
    config: Path
    models: Path

    def model(self, name: str, **settings: Any) -> ModelConfig:
        return ModelConfig(name, str(self.models / name), **settings)

    def write(self, *models: ModelConfig) -> None:
        text = text_format.MessageToString(server_config(models))
        partial = self.config.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self.config)

    def reload(self, *models: ModelConfig) -> None:
        """HandleReloadConfigRequest; raises grpc.RpcError."""
        self.reload_message(server_config(models))

    def reload_message(self, config: Any) -> None:
        from tensorflow_serving.apis import model_management_pb2

        request = model_management_pb2.ReloadConfigRequest(config=config)
        with grpc.insecure_channel(f"localhost:{self.running.grpc_port}") as channel:
            answer = channel.unary_unary(RELOAD)(request.SerializeToString(), timeout=60)
        response = model_management_pb2.ReloadConfigResponse.FromString(answer)
        assert response.HasField("status")
        assert response.status.error_code == 0

    def states(self, model: str) -> dict[int, str]:
        with RestClient("localhost", self.running.rest_port) as client:
            return {entry.version: entry.state for entry in client.status(model)}


def eventually(check: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    from tests.serving import models

    folder = tmp_path_factory.mktemp("reloadable")
    models.save_batch_size(folder / "sizes" / "1")
    for version in (1, 2):
        models.save_scale(folder / "scale" / str(version), 1.0)
    batching = folder / "batching.config"
    batching.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } "
        "allowed_batch_sizes: 2 allowed_batch_sizes: 4 allowed_batch_sizes: 8"
    )
    grpc_port, rest_port = free_ports(2)
    command = [
        sys.executable, "-m", "serving.server", f"--port={grpc_port}",
        f"--rest_api_port={rest_port}", f"--model_config_file={folder / 'models.config'}",
        "--model_config_file_poll_wait_seconds=1", "--max_num_load_retries", "0",
        "--enable_batching", f"--batching_parameters_file={batching}",
        "--grpc_max_threads=50", "--allow_version_labels_for_unavailable_models",
    ]  # fmt: skip
    found = Reloadable(None, folder / "models.config", folder)  # type: ignore[arg-type]
    found.write(found.model("sizes"))
    with background(folder, command=command) as running:
        found.running = running
        yield found


def _ask_rest(server: Reloadable, value: float, seen: list) -> None:
    url = f"http://localhost:{server.running.rest_port}/v1/models/sizes:predict"
    body = json.dumps({"inputs": [value]}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
        outputs = json.load(answer)["outputs"]
    seen.append(("REST", value, outputs["y"], outputs["batch"]))


def _ask_grpc(server: Reloadable, value: float, seen: list) -> None:
    request = messages.PredictRequest()
    request.model_spec.name = "sizes"
    tensor_proto.fill(request.inputs["x"], np.float32([value]))
    with grpc.insecure_channel(f"localhost:{server.running.grpc_port}") as channel:
        data = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=30)
    outputs = messages.PredictResponse.FromString(data).outputs
    arrays = [tensor_proto.to_array(outputs[name]).tolist() for name in ("y", "batch")]
    seen.append(("gRPC", value, *arrays))


def test_requests_of_both_protocols_are_merged(server: Reloadable) -> None:
    seen: list[tuple[str, float, list, list]] = []
    for attempt in range(20):  # a busy machine may start the threads too far apart
        threads = [
            threading.Thread(target=ask, args=(server, float(attempt * 6 + index), seen))
            for index, ask in enumerate((_ask_rest, _ask_grpc) * 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sizes = {protocol: max(e[3][0] for e in seen if e[0] == protocol) for protocol, *_ in seen}
        if min(sizes.values()) > 2:
            break
    assert all(y == [value] for _, value, y, _ in seen)
    assert {batch[0] for *_, batch in seen} <= {2.0, 4.0, 8.0}
    assert set(sizes) == {"REST", "gRPC"}
    assert min(sizes.values()) > 2


def test_an_empty_request_is_answered(server: Reloadable) -> None:
    url = f"http://localhost:{server.running.rest_port}/v1/models/sizes:predict"
    with urllib.request.urlopen(url, b'{"inputs": []}', timeout=30) as answer:
        assert json.load(answer) == {"outputs": {"y": [], "batch": []}}


def test_the_config_file_is_followed(server: Reloadable) -> None:
    server.write(server.model("sizes"), server.model("scale"))
    eventually(lambda: _known(server, "scale") == {2: "AVAILABLE"})
    server.config.write_text("garbage")
    wanted = f"Failed to read ModelServerConfig file: Invalid protobuf file: '{server.config}'"
    eventually(lambda: wanted in server.running.log_text())
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:" in (
        server.running.log_text()
    )
    assert server.states("scale") == {2: "AVAILABLE"}
    server.write(server.model("sizes"))
    eventually(lambda: server.states("scale") == {2: "END"})


def _known(server: Reloadable, model: str) -> dict[int, str]:
    try:
        return server.states(model)
    except Exception:
        return {}


def test_reload_refusals_as_recorded(server: Reloadable) -> None:
    sizes = server.model("sizes")
    no_platform = server_config([sizes])
    no_platform.model_config_list.config[0].name = "z"
    no_platform.model_config_list.config[0].model_platform = ""
    for config, message in {
        "dup": (
            server_config([sizes, sizes]),
            "Illegal to list model sizes multiple times in config list",
        ),
        "no platform": (
            no_platform,
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is z",
        ),
        "empty": (
            type(no_platform)(),
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
    }.values():
        with pytest.raises(grpc.RpcError) as caught:
            server.reload_message(config)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == message
    assert server.states("sizes") == {1: "AVAILABLE"}


def test_two_hundred_reloads_under_load(server: Reloadable) -> None:
    """Models and versions come, labels move, and nobody's request fails."""
    sizes = server.model("sizes")
    server.reload(sizes, server.model("scale", policy=ALL))
    eventually(lambda: server.states("scale") == {1: "AVAILABLE", 2: "AVAILABLE"})
    with load(server.running, "scale", clients=1) as seen:
        for round_ in range(200):
            if round_ % 50 == 49:  # in and out again, a load each time
                server.reload(sizes, server.model("scale"))
                eventually(lambda: server.states("scale")[1] == "END")
                server.reload(sizes, server.model("scale", policy=ALL))
                eventually(lambda: server.states("scale")[1] == "AVAILABLE")
            labels = {"stable": 1 + round_ % 2}
            server.reload(sizes, server.model("scale", policy=ALL, labels=labels))
    assert seen.failures == []
    assert set(seen.answers) == {1.0}
    assert len(seen.answers) > 20  # a batch forms in 20 ms, and two clients wait for it


def test_clients_that_vanish_take_nobody_along(server: Reloadable) -> None:
    """Their requests are in batches with others', and their places are free again."""
    body = b'{"instances": [1.0]}'
    head = b"POST /v1/models/scale:predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    request = messages.PredictRequest()
    request.model_spec.name = "scale"
    tensor_proto.fill(request.inputs["x"], np.float32([1.0]))
    with (
        load(server.running, "scale", clients=1) as seen,
        grpc.insecure_channel(f"localhost:{server.running.grpc_port}") as channel,
    ):
        call = channel.unary_unary(PREDICT)
        for index in range(150):  # three times what --grpc_max_threads allows at a time
            with socket.create_connection(("localhost", server.running.rest_port)) as client:
                client.sendall(head % len(body) + body[: len(body) - index % 2])
            future = call.future(request.SerializeToString(), timeout=30)
            time.sleep(0.001)
            future.cancel()
        seen.answers.clear()
        seen.wait_for(1.0)
    assert seen.failures == []


def test_a_label_does_not_move_to_a_version_that_is_not_there(server: Reloadable) -> None:
    server.reload(server.model("scale", policy=ALL, labels={"stable": 1}))
    with pytest.raises(grpc.RpcError) as caught:
        server.reload(server.model("scale", policy=ALL, labels={"stable": 3}))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == (
        "Request to assign label to version 3 of model scale, which is not currently available "
        "for inference"
    )


@settings(max_examples=200)
@given(data=st.binary(max_size=64))
def test_reloads_that_are_no_message(server: Reloadable, data: bytes) -> None:
    with grpc.insecure_channel(f"localhost:{server.running.grpc_port}") as channel:
        future = channel.unary_unary(RELOAD).future(data, timeout=30)
        assert future.code().name in ("INTERNAL", "INVALID_ARGUMENT", "OK"), future.details()


def test_a_stop_under_load_finishes_every_batch(server: Reloadable) -> None:
    """The last test of this server."""
    server.reload(server.model("scale"))
    with load(server.running, "scale", clients=3) as seen:
        seen.wait_for(1.0)
        os.kill(server.running.process.pid, signal.SIGTERM)
        assert server.running.process.wait(30) == 0
        eventually(lambda: seen.refused >= 6)
    assert seen.failures == []
    assert "Traceback" not in server.running.log_text()
