"""Versions that change or vanish while they load, and a queue that is full, in a server that runs.

Elsewhere: half-copied and broken versions, removed models, SIGTERM under load (`test_swap`), two
hundred reloads under load, clients that vanish, a stop with full batches (`test_lifecycle`).
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving import tensor_proto
from serving.client import RestClient, messages
from serving.server import Running, background
from tests.serving.conftest import free_ports
from tests.serving.load import load
from tests.serving.raw_http2 import PREDICT

pytestmark = pytest.mark.slow

_LATEST = (
    "import sys; from serving.server import run; from serving.server.flags import Flags;"
    "run(sys.argv[1], rest_port=0, grpc_port=0, latest=1,"
    "flags=Flags(max_num_load_retries=100, load_retry_interval_micros=50_000))"
)
SECONDS = 60


def save_pair(path: Path, number: int) -> Path:
    """`y = number · x + 1000 · number`: the first number from the graph, the second a variable.

    A mixture of two such models is neither. Reading its variables takes long enough to be met.
    """
    import tensorflow as tf

    from tests.serving.models import FLOATS

    module = tf.Module()
    module.weights = tf.Variable(tf.fill([8_000_000], 1000.0 * number))

    @tf.function(input_signature=[tf.TensorSpec(FLOATS.shape, FLOATS.dtype, "x")])
    def function(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * float(number) + module.weights[0]}

    module.function = function
    tf.saved_model.save(module, str(path), signatures=function)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Models 1 to 3."""
    folder = tmp_path_factory.mktemp("pairs")
    return {number: save_pair(folder / str(number), number) for number in (1, 2, 3)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, pairs: dict[int, Path]) -> Path:
    folder = tmp_path_factory.mktemp("store") / "pair"
    folder.mkdir()
    publish(folder, 1, pairs[1])
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    command = [sys.executable, "-c", _LATEST, str(model.parent)]
    with background(model.parent, command=command) as running:
        yield running


def publish(model: Path, version: int, saved: Path) -> None:
    shutil.copytree(saved, model / ".staging")
    (model / ".staging").rename(model / str(version))


def replace_in_place(folder: Path, saved: Path) -> None:
    """Other files under the same names, one after the other."""
    shutil.copytree(saved, folder.parent / ".other")
    for name in ("saved_model.pb", "variables"):
        (folder / name).rename(folder.parent / f".old-{name}")
        (folder.parent / ".other" / name).rename(folder / name)
    shutil.rmtree(folder.parent / ".other")
    shutil.rmtree(folder.parent / ".old-variables")


def wait_for(client: RestClient, version: int, *wanted: str) -> str:
    """The version's state once it is one of these."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = {entry.version: entry.state for entry in client.status("pair")}.get(version)
        if found in wanted:
            return found
        assert time.monotonic() < deadline, f"version {version} is {found}"
        time.sleep(0.002)


def test_a_version_that_is_replaced_while_it_loads(
    server: Running, model: Path, pairs: dict[int, Path]
) -> None:
    """Both models are right answers, a mixture of them is not."""
    with RestClient("localhost", server.rest_port) as client, load(server, "pair") as seen:
        seen.wait_for(1001.0)
        for version in range(2, 6):
            publish(model, version, pairs[2])
            wait_for(client, version, "LOADING", "AVAILABLE")
            replace_in_place(model / str(version), pairs[3])
            wait_for(client, version, "AVAILABLE")
    assert seen.failures == []
    assert set(seen.answers) <= {1001.0, 2002.0, 3003.0}
    assert seen.answers[-1] != 1001.0


def test_a_version_that_vanishes_while_it_loads(
    server: Running, model: Path, pairs: dict[int, Path]
) -> None:
    with RestClient("localhost", server.rest_port) as client, load(server, "pair") as seen:
        for version in range(11, 14):
            publish(model, version, pairs[1])
            wait_for(client, version, "LOADING", "AVAILABLE")
            shutil.rmtree(model / str(version))
            wait_for(client, version, "END")
        seen.answers.clear()
        deadline = time.monotonic() + SECONDS
        while len(seen.answers) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert seen.failures == []
    assert len(seen.answers) >= 20
    assert "Traceback" not in server.log_text()


# === A queue that is full ===


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One run at a time, of one row and some tens of milliseconds; two more may wait."""
    import tensorflow as tf

    from tests.serving.models import FLOATS, save_functions

    def function(x: tf.Tensor) -> dict[str, tf.Tensor]:
        matrix = tf.eye(512) * (1.0 + 1e-20 * x[0])
        for _ in tf.range(10):
            matrix = tf.matmul(matrix, matrix)
        return {"y": x * matrix[0, 0]}

    folder = tmp_path_factory.mktemp("slow")
    save_functions(folder / "slow" / "1", serving_default=(function, {"x": FLOATS}))
    batching = folder / "batching.config"
    batching.write_text(
        "max_batch_size { value: 1 } num_batch_threads { value: 1 } "
        "max_enqueued_batches { value: 2 } batch_timeout_micros { value: 0 }"
    )
    grpc_port, rest_port = free_ports(2)
    command = [
        sys.executable, "-m", "serving.server", f"--port={grpc_port}",
        f"--rest_api_port={rest_port}", "--model_name=slow", f"--model_base_path={folder / 'slow'}",
        "--enable_batching", f"--batching_parameters_file={batching}",
    ]  # fmt: skip
    with background(folder, command=command) as running:
        yield running


def ask_rest(server: Running, value: float) -> float | str:
    """The answer, or the status and what was said instead of it."""
    url = f"http://localhost:{server.rest_port}/v1/models/slow:predict"
    try:
        body = json.dumps({"instances": [value]}).encode()
        with urllib.request.urlopen(url, body, timeout=SECONDS) as answer:
            return json.load(answer)["predictions"][0]
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['error']}"


def ask_grpc(server: Running, value: float) -> float | str:
    request = messages.PredictRequest()
    request.model_spec.name = "slow"
    tensor_proto.fill(request.inputs["x"], np.float32([value]))
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        try:
            data = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=SECONDS)
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    return tensor_proto.to_array(messages.PredictResponse.FromString(data).outputs["y"]).item()


def test_a_full_queue_turns_away_and_answers_again(slow_server: Running) -> None:
    """Each is answered right or told why not, over both protocols, and then all are answered."""
    found: dict[tuple[str, float], float | str] = {}

    def ask(protocol: str, value: float) -> None:
        answer = ask_rest if protocol == "REST" else ask_grpc
        found[protocol, value] = answer(slow_server, value)

    for attempt in range(10):  # a busy machine may start the threads too far apart
        keys = [(name, 16.0 * attempt + i) for i in range(16) for name in ("REST", "gRPC")]
        threads = [threading.Thread(target=ask, args=key) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(keys) <= found.keys()
        refused = {name for (name, _), answer in found.items() if isinstance(answer, str)}
        if refused == {"REST", "gRPC"}:
            break
    assert refused == {"REST", "gRPC"}
    full = " The batch scheduling queue to which this task was submitted is full; currently 2 "
    for (protocol, value), answer in found.items():
        if isinstance(answer, str):
            assert answer.startswith(("503" if protocol == "REST" else "UNAVAILABLE") + full)
        else:
            assert answer == value
    assert any(isinstance(answer, float) for answer in found.values())
    for value in range(5):
        assert ask_rest(slow_server, float(value)) == value
        assert ask_grpc(slow_server, float(value)) == value
    assert "Traceback" not in slow_server.log_text()
