"""Several processes that act as one server: they share connections, versions, reloads, counts."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf import text_format

from serving.client import GrpcClient, RestClient
from serving.config import ModelConfig, VersionPolicy, server_config
from serving.server import Running, background
from tests.serving.conftest import free_ports
from tests.serving.load import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START_SECONDS = 300  # several processes import TensorFlow
METRICS = "/monitoring/prometheus/metrics"
BODY = json.dumps({"instances": [1.0]}).encode()
_STORE = (
    "import sys; from serving.server import run; from serving.server.flags import Flags;"
    "run(sys.argv[1], rest_port=0, grpc_port=0, latest=1, processes=2)"
)


def eventually(check: Callable[[], bool], timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def workers(server: Running) -> list[int]:
    """The process ids of the server's children."""
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(link).startswith("socket:")
    return found


def get(server: Running, path: str) -> str:
    """What a connection of its own is answered."""
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def counted(server: Running, model: str, status: str = "OK") -> int:
    """Requests for a model, as the metrics page has them."""
    line = rf':tensorflow:serving:request_count\{{model_name="{model}",status="{status}"\}} (\d+)'
    found = re.search(line, get(server, METRICS))
    return int(found[1]) if found else 0


def states(server: Running, model: str) -> dict[int, str]:
    with RestClient("localhost", server.rest_port) as client:
        return {entry.version: entry.state for entry in client.status(model)}


@dataclass
class Kept:
    """One connection that is used for all requests of a thread."""

    connection: http.client.HTTPConnection
    answers: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of the answers, by time.monotonic()
    lost: bool = False

    def ask(self, model: str = "scale") -> float:
        self.connection.request("POST", f"/v1/models/{model}:predict", BODY)
        response = self.connection.getresponse()
        text = response.read()
        assert response.status == 200, text
        self.answers.append(json.loads(text)["predictions"][0])
        self.times.append(time.monotonic())
        return self.answers[-1]

    def ask_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.ask()
            except (OSError, http.client.HTTPException):
                self.lost = True
                return


def keep(server: Running) -> Kept:
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=60)
    connection.connect()
    kept = Kept(connection)
    kept.ask()  # accepted: the next one is the next worker's
    return kept


# === A server whose models clients may replace ===


@dataclass
class Reloadable:
    running: Running
    models: Path

    def config(self, *names: str) -> list[ModelConfig]:
        policy = VersionPolicy("all")
        return [ModelConfig(name, str(self.models / name), policy) for name in names]

    @property
    def file(self) -> Path:
        return self.models / "models.config"

    def write(self, *models: ModelConfig) -> None:
        """Change the file that the server was started with."""
        partial = self.file.with_suffix(".partial")
        partial.write_text(text_format.MessageToString(server_config(models)))
        partial.replace(self.file)

    def reload(self, *models: ModelConfig) -> None:
        """HandleReloadConfigRequest; raises grpc.RpcError."""
        import grpc
        from tensorflow_serving.apis import model_management_pb2

        request = model_management_pb2.ReloadConfigRequest(config=server_config(models))
        with grpc.insecure_channel(f"localhost:{self.running.grpc_port}") as channel:
            call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
            call(request.SerializeToString(), timeout=120)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    """Two workers; `scale` answers 1, `other` 2 and `third` 3."""
    from tests.serving import models

    folder = tmp_path_factory.mktemp("workers")
    for number, name in enumerate(("scale", "other", "third"), 1):
        models.save_scale(folder / name / "1", float(number))
    found = Reloadable(None, folder)  # type: ignore[arg-type]
    config, monitoring = found.file, folder / "monitoring.config"
    found.write(*found.config("scale"))
    monitoring.write_text("prometheus_config { enable: true }")
    grpc_port, rest_port = free_ports(2)
    command = [
        sys.executable, "-m", "serving.server", "--num_processes=2", f"--port={grpc_port}",
        f"--rest_api_port={rest_port}", f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}", "--max_num_load_retries=0",
        "--model_config_file_poll_wait_seconds=1",
    ]  # fmt: skip
    with background(folder, command=command, timeout=START_SECONDS) as running:
        found.running = running
        yield found


def test_connections_are_shared_evenly(server: Reloadable) -> None:
    pids = workers(server.running)
    assert len(pids) == 2
    before = [sockets(pid) for pid in pids]
    clients = [keep(server.running) for _ in range(4)]
    assert [sockets(pid) for pid in pids] == [before[0] + 2, before[1] + 2]
    for client in clients:
        client.connection.close()
    eventually(lambda: [sockets(pid) for pid in pids] == before)


def test_the_supervisor_is_light(server: Reloadable) -> None:
    proc = Path(f"/proc/{server.running.process.pid}")
    assert len(list((proc / "task").iterdir())) == 1
    assert "tensorflow" not in (proc / "maps").read_text()


def test_the_log_says_once_where_to_ask(server: Reloadable) -> None:
    log = server.running.log_text()
    assert log.count("Exporting HTTP/REST API") == 1
    assert log.count("Running gRPC ModelServer") == 1


def test_counts_are_those_of_all(server: Reloadable) -> None:
    before = counted(server.running, "scale")
    clients = [keep(server.running) for _ in range(4)]  # one request each
    for client in clients:
        for _ in range(9):
            client.ask()
    with GrpcClient("localhost", server.running.grpc_port) as client:
        client.predict("scale", {"x": [1.0]})
    for _ in range(4):
        assert counted(server.running, "scale") == before + 41
    page = get(server.running, METRICS)
    assert 'model_server_versions{model_name="scale",version="1",state="AVAILABLE"} 1\n' in page
    assert "model_server_requests_in_flight{} 0\n" in page
    for client in clients:
        client.connection.close()


def test_a_reload_reaches_every_worker_before_it_returns(server: Reloadable) -> None:
    with load(server.running, "scale", clients=1) as seen:
        seen.wait_for(1.0)
        for _ in range(2):
            server.reload(*server.config("scale", "other"))
            fresh = [_fresh(server, "other") for _ in range(20)]
            assert {client.answers[0] for client in fresh} == {2.0}
            for client in fresh:
                text = _status_on(client, "other")
                assert '"AVAILABLE"' in text
                client.connection.close()
            server.reload(*server.config("scale"))
            eventually(lambda: states(server.running, "other") == {1: "END"})
    assert seen.failures == []
    assert set(seen.answers) == {1.0}


def _fresh(server: Reloadable, model: str) -> Kept:
    kept = Kept(http.client.HTTPConnection("localhost", server.running.rest_port, timeout=60))
    kept.ask(model)
    return kept


def _status_on(client: Kept, model: str) -> str:
    client.connection.request("GET", f"/v1/models/{model}")
    return client.connection.getresponse().read().decode()


def test_the_first_error_of_a_reload_is_the_answer(server: Reloadable) -> None:
    import grpc

    (server.models / "broken" / "1").mkdir(parents=True, exist_ok=True)
    (server.models / "broken" / "1" / "saved_model.pb").write_bytes(b"\x00")
    with pytest.raises(grpc.RpcError) as caught:
        server.reload(*server.config("scale", "broken"))
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert "1 model(s) did not become available: {{{name: broken version: 1}" in str(
        caught.value.details()
    )
    label = ModelConfig("scale", str(server.models / "scale"), labels={"best": 7})
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as caught:
            server.reload(label)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    server.reload(*server.config("scale"))
    good = ModelConfig("scale", str(server.models / "scale"), labels={"best": 1})
    server.reload(good)
    for client in [keep(server.running) for _ in range(4)]:
        client.connection.request("POST", "/v1/models/scale/labels/best:predict", BODY)
        assert client.connection.getresponse().status == 200
        client.connection.close()
    server.reload(*server.config("scale"))


def test_a_worker_that_is_killed_takes_only_its_own_requests(server: Reloadable) -> None:
    running = server.running
    server.reload(*server.config("scale", "third"))  # the next worker begins with it
    old = workers(running)
    clients, stop = [keep(running) for _ in range(4)], threading.Event()
    threads = [threading.Thread(target=client.ask_until, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(2.5)  # some of what is counted was reported
    before = counted(running, "scale")
    os.kill(old[0], signal.SIGKILL)
    eventually(lambda: sum(client.lost for client in clients) == 2)
    assert counted(running, "scale") >= before - _lately(clients)
    eventually(lambda: "answers" in running.log_text().rpartition("has ended")[2])
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(client.lost for client in clients) == 2
    new = workers(running)
    assert len(new) == 2
    assert old[1] in new
    assert running.log_text().count("has ended (signal 9)") == 1
    for client in clients:
        client.connection.close()
    fresh = [_fresh(server, "third") for _ in range(8)]
    assert {client.answers[0] for client in fresh} == {3.0}
    for client in fresh:
        client.connection.close()
    assert states(running, "third") == {1: "AVAILABLE"}


def test_all_workers_follow_the_file(server: Reloadable) -> None:
    running = server.running
    server.write(*server.config("scale", "other"))
    eventually(lambda: '"AVAILABLE"' in get(running, "/v1/models/other"))
    fresh = [_fresh(server, "other") for _ in range(8)]
    assert {client.answers[0] for client in fresh} == {2.0}
    server.file.write_text("model_config_list { nonsense }")
    eventually(lambda: "Failed to read ModelServerConfig file" in running.log_text())
    labelled = ModelConfig("scale", str(server.models / "scale"), labels={"best": 7})
    server.write(labelled)
    eventually(lambda: "failed to ReloadConfig" in running.log_text())
    time.sleep(3)  # it is tried again each second, and said once
    assert running.log_text().count("Failed to read ModelServerConfig file") == 1
    assert running.log_text().count("failed to ReloadConfig") == 1
    assert [client.ask("other") for client in fresh] == [2.0] * 8
    server.write(*server.config("scale"))
    eventually(lambda: states(running, "other") == {1: "END"})
    for client in fresh:
        client.connection.close()


def _lately(clients: list[Kept]) -> int:
    """The last answers of the worker that is gone: a second's, and more on a busy machine."""
    times = [moment for client in clients if client.lost for moment in client.times]
    return sum(moment > max(times) - 3 for moment in times)


# === A server that follows its store ===


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    from tests.serving import models

    folder = tmp_path_factory.mktemp("waiting")
    return {n: models.save_scale(folder / str(n), float(n)) for n in (1, 2, 3)}


@pytest.fixture
def store(tmp_path: Path, versions: dict[int, Path]) -> Path:
    publish(tmp_path, 1, versions)
    return tmp_path


def publish(store: Path, number: int, versions: dict[int, Path]) -> None:
    staging = store / f".staging-{number}"
    shutil.copytree(versions[number], staging)
    (store / "scale").mkdir(exist_ok=True)
    staging.rename(store / "scale" / str(number))


def test_swaps_and_the_stop_lose_no_request(store: Path, versions: dict[int, Path]) -> None:
    command = [sys.executable, "-c", _STORE, str(store)]
    with background(store, command=command, timeout=START_SECONDS) as running:
        with load(running, "scale") as seen:
            seen.wait_for(1.0)
            for number in (2, 3):
                publish(store, number, versions)
                eventually(lambda n=number: states(running, "scale").get(n) == "AVAILABLE")
                for _ in range(10):
                    assert _version(running, number) == 200
                seen.wait_for(float(number))
            (store / "late").mkdir()
            shutil.copytree(versions[2], store / "late" / "1")
            eventually(lambda: '"state"' in get(running, "/v1/models/late"))
            eventually(lambda: states(running, "late") == {1: "AVAILABLE"})
            pids = workers(running)
            os.kill(running.process.pid, signal.SIGTERM)
            assert running.process.wait(60) == 0
            eventually(lambda: seen.refused >= 4)
        log = running.log_text()
    assert seen.failures == []
    assert set(seen.answers) == {1.0, 2.0, 3.0}
    assert "Traceback" not in log
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def _version(server: Running, number: int) -> int:
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=60)
    try:
        connection.request("POST", f"/v1/models/scale/versions/{number}:predict", BODY)
        return connection.getresponse().status
    finally:
        connection.close()


def test_workers_end_with_their_supervisor(store: Path) -> None:
    command = [sys.executable, "-c", _STORE, str(store)]
    with background(store, command=command, timeout=START_SECONDS) as running:
        pids = workers(running)
        assert len(pids) == 2
        running.process.kill()
        running.process.wait(30)
        eventually(lambda: not any(_lives(pid) for pid in pids))
        assert "The supervisor is gone" in running.log_text()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_a_worker_that_cannot_start_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(b"\x00")
    ended = subprocess.run(
        [sys.executable, "-m", "serving.server", "--num_processes=2", f"--port={free_ports(1)[0]}",
         f"--rest_api_port={free_ports(1)[0]}", "--model_name=m",
         f"--model_base_path={tmp_path / 'm'}", "--max_num_load_retries=0"],
        capture_output=True, text=True, timeout=START_SECONDS, check=False,
    )  # fmt: skip
    lines = ended.stderr.splitlines()
    assert ended.returncode == 255
    assert lines[-1] == (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: m version: 1} due to error: DATA_LOSS: Can't parse "
        f"{tmp_path}/m/1/saved_model.pb as binary proto}}, }}"
    )
    assert sum(line.startswith("Failed to start") for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


def test_less_than_no_process_is_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "serving.server", "--num_processes=-1", f"--port={free_ports(1)[0]}",
         f"--rest_api_port={free_ports(1)[0]}", "--model_base_path=/tmp/none"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 255
    assert "--num_processes is -1: it takes 0 or more." in ended.stderr.splitlines()[-1]
