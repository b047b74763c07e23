"""One server with many flags set: TLS for gRPC, a socket, health, metrics, and their answers."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from serving import tensor_proto
from serving.client import messages
from serving.config.messages import SSLConfig
from serving.server import Running, background
from serving.server.flags import Flags
from serving.server.grpc import listen
from tests.serving.conftest import free_ports
from zoo.errors import InvalidOption, ZooError

TLS = Path(__file__).parents[1] / "data" / "tls"
METRICS = "/monitoring/prometheus/metrics"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass
class Guarded:
    """A running server, and where else it listens."""

    running: Running
    socket: Path

    def channel(self, address: str = "", *, with_certificate: bool = True) -> grpc.Channel:
        names = ("client.key", "client.pem") if with_certificate else ()
        key, certificate = [(TLS / name).read_bytes() for name in names] or (None, None)
        trust = grpc.ssl_channel_credentials((TLS / "ca.pem").read_bytes(), key, certificate)
        target = address or f"localhost:{self.running.grpc_port}"
        name = (("grpc.ssl_target_name_override", "localhost"),)
        return grpc.secure_channel(target, trust, options=name)

    def get(
        self, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Message, bytes]:
        url = f"http://localhost:{self.running.rest_port}{path}"
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()


def _ssl_config(**changes: object) -> str:
    config = SSLConfig(client_verify=True)
    config.server_key = (TLS / "server.key").read_text()
    config.server_cert = (TLS / "server.pem").read_text()
    config.custom_ca = (TLS / "ca.pem").read_text()
    for name, value in changes.items():
        setattr(config, name, value)
    return text_format.MessageToString(config)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    from tests.serving import models

    folder = tmp_path_factory.mktemp("guarded")
    models.save_half_plus_two(folder / "half_plus_two" / "7")
    (folder / "ssl.config").write_text(_ssl_config())
    (folder / "monitoring.config").write_text("prometheus_config { enable: true }")
    grpc_port, rest_port = free_ports(2)
    command = [
        sys.executable, "-m", "serving.server", f"--port={grpc_port}",
        f"--rest_api_port={rest_port}", "--model_name=half_plus_two",
        f"--model_base_path={folder / 'half_plus_two'}", f"--ssl_config_file={folder}/ssl.config",
        f"--monitoring_config_file={folder}/monitoring.config",
        f"--grpc_socket_path={folder}/socket", "--enable_grpc_healthcheck_service",
        "--enable_serialization_as_tensor_content",
        "--enable_signature_method_name_check", "--rest_api_enable_cors_support=true",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=9", "--use_alts_credentials=true",
    ]  # fmt: skip
    with background(folder, command=command) as running:
        yield Guarded(running, folder / "socket")


def _ask(channel: grpc.Channel) -> messages.PredictResponse:
    request = messages.PredictRequest()
    request.model_spec.name = "half_plus_two"
    tensor_proto.fill(request.inputs["x"], np.float32([1.0, 2.0]))
    answer = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=20)
    return messages.PredictResponse.FromString(answer)


def test_mutual_tls_and_tensor_content(guarded: Guarded) -> None:
    with guarded.channel() as channel:
        tensor = _ask(channel).outputs["y"]
    assert tensor.tensor_content == np.float32([2.5, 3.0]).tobytes()
    assert not tensor.float_val
    with (
        guarded.channel(with_certificate=False) as stranger,
        pytest.raises(grpc.RpcError) as caught,
    ):
        _ask(stranger)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with (
        grpc.insecure_channel(f"localhost:{guarded.running.grpc_port}") as plain,
        pytest.raises(grpc.RpcError),
    ):
        _ask(plain)


def test_unix_socket(guarded: Guarded) -> None:
    with guarded.channel(f"unix:{guarded.socket}") as channel:
        assert _ask(channel).model_spec.version.value == 7


@pytest.mark.parametrize(
    ("service", "answer"),
    [
        ("", b"\x08\x01"),
        ("ModelService", b"\x08\x01"),
        ("PredictionService", b"\x08\x01"),
        ("tensorflow.serving.PredictionService", "service name unknown"),
        ("nope", "service name unknown"),
    ],
)
def test_health_as_recorded(guarded: Guarded, service: str, answer: bytes | str) -> None:
    request = b"\x0a" + bytes((len(service),)) + service.encode() if service else b""
    with guarded.channel() as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check")
        if isinstance(answer, bytes):
            assert call(request, timeout=20) == answer
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(request, timeout=20)
            assert next(watch) == answer
            watch.cancel()
        else:
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=20)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert caught.value.details() == answer


@pytest.mark.parametrize(
    ("verb", "signature", "wanted"),
    [
        ("classify", "regress_x_to_y", "classification signature method_name to be tensorflow/"),
        ("regress", "classify_x_to_y", "regression signature method_name to be tensorflow/"),
    ],
)
def test_method_names_are_checked(guarded: Guarded, verb: str, signature: str, wanted: str) -> None:
    body = json.dumps({"signature_name": signature, "examples": [{"x": 1.0}]}).encode()
    status, headers, answer = guarded.get(f"/v1/models/half_plus_two:{verb}", body)
    assert status == 400
    assert f"Expected {wanted}serving/{verb}. Was: " in json.loads(answer)["error"]
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_the_page_has_tensorflow_servings_metrics(guarded: Guarded) -> None:
    path = "/v1/models/half_plus_two:regress"
    good = b'{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}'
    assert guarded.get(path, good)[0] == 200
    assert guarded.get("/v1/models/half_plus_two:predict", b'{"instances": [1.0]}')[0] == 200
    assert guarded.get("/v1/models/half_plus_two:predict", b'{"instances": ["a"]}')[0] == 400
    with guarded.channel() as channel:
        _ask(channel)
    status, headers, body = guarded.get(METRICS)
    lines = body.decode().splitlines()
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    name = ":tensorflow:serving:"
    for line in (
        f"# TYPE {name}request_count counter",
        f"# TYPE {name}request_latency histogram",
        f'{name}request_example_count_total{{model="half_plus_two"}} 2',
        f'{name}request_example_counts_bucket{{model="half_plus_two",le="2"}} 0',
        f'{name}request_example_counts_bucket{{model="half_plus_two",le="4"}} 1',
        f'{name}request_latency_count{{model_name="half_plus_two",API="regress",'
        'entrypoint="REST"} 1',
        f'{name}runtime_latency_count{{model_name="half_plus_two",API="Regress",runtime="TF1"}} 1',
        'model_server_versions{model_name="half_plus_two",version="7",state="AVAILABLE"} 1',
    ):
        assert line in lines
    assert any(
        line.startswith(f'{name}request_count{{model_name="half_plus_two",status="OK"}} ')
        for line in lines
    )
    assert any('status="INVALID_ARGUMENT"' in line for line in lines)
    prefix = f'{name}request_latency_bucket{{model_name="half_plus_two",API="predict",entr'
    limits = [line.split('le="')[1].split('"')[0] for line in lines if line.startswith(prefix)]
    assert len(limits) == 34
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert limits[-2:] == ["1.47476e+09", "+Inf"]
    of_version = (
        'model_server_request_latency_microseconds_count{model_name="half_plus_two",version="7",'
        'signature_name="serving_default",API="Predict",entrypoint="GRPC"} '
    )
    assert any(line.startswith(of_version) for line in lines)
    assert any(line.startswith(":tensorflow:cc:saved_model:load_attempt_count{") for line in lines)


def test_pages_that_tensorflow_serving_lacks(guarded: Guarded) -> None:
    assert json.loads(guarded.get("/livez")[2]) == {"status": "alive"}
    status, _, body = guarded.get("/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready", "not_available": []})
    status, _, body = guarded.get("/v1/models?list=1", Accept="application/json")
    assert json.loads(body) == {
        "models": [
            {
                "name": "half_plus_two",
                "versions": [{"version": "7", "state": "AVAILABLE"}],
                "labels": {},
            }
        ]
    }
    status, _, body = guarded.get("/v1/models")
    assert (status, json.loads(body)) == (400, {"error": "Missing model name in request."})


def test_openapi_describes_the_signatures(guarded: Guarded) -> None:
    document = json.loads(guarded.get("/openapi.json")[2])
    assert document["openapi"] == "3.1.0"
    base = "/v1/models/half_plus_two"
    assert set(document["paths"]) == {
        base, f"{base}/metadata", f"{base}:predict", f"{base}:classify", f"{base}:regress",
    }  # fmt: skip
    body = document["paths"][f"{base}:regress"]["post"]["requestBody"]
    names = [
        schema["properties"]["signature_name"]["const"]
        for schema in body["content"]["application/json"]["schema"]["anyOf"]
    ]
    assert names == ["regress_x2_to_y3", "regress_x_to_y", "regress_x_to_y2"]


def test_large_answers_are_compressed_where_asked(guarded: Guarded) -> None:
    body = json.dumps({"inputs": [0.5] * 20_000}).encode()
    path = "/v1/models/half_plus_two:predict"
    _, plain, whole = guarded.get(path, body)
    _, packed, small = guarded.get(path, body, **{"Accept-Encoding": "br;q=1, gzip"})
    assert "Content-Encoding" not in plain
    assert (packed["Content-Encoding"], packed["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(small) == whole
    _, refused, _ = guarded.get(path, body, **{"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused


def test_inert_flags_say_so_once(guarded: Guarded) -> None:
    said = "--use_alts_credentials is accepted and does nothing here"
    assert guarded.running.log_text().count(said) == 1


def test_a_head_without_end_is_cut_off(guarded: Guarded) -> None:
    with socket.create_connection(("localhost", guarded.running.rest_port)) as client:
        client.settimeout(20)
        client.sendall(b"GET /v1/models/m HTTP/1.1\r\n" + b"X: " + b"y" * 200_000)
        # The end of the head may still be on its way when the server closes: that is a reset.
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert guarded.get("/livez")[0] == 200


def test_a_stop_is_seen_before_it_happens(guarded: Guarded) -> None:
    """The last test of this server: readiness and health turn while connections still live."""
    keep = http.client.HTTPConnection("localhost", guarded.running.rest_port, timeout=20)
    keep.request("GET", "/livez")
    assert keep.getresponse().read()
    os.kill(guarded.running.process.pid, signal.SIGTERM)
    time.sleep(0.1)
    keep.request("GET", "/readyz")
    answer = keep.getresponse()
    assert (answer.status, json.load(answer)["status"]) == (503, "stopping")
    assert answer.getheader("Connection") == "close"
    assert guarded.running.process.wait(30) == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"server_key": ""}, "holds no server_key"), ({"custom_ca": ""}, "names no custom_ca")],
)
def test_ssl_config_that_cannot_work(tmp_path: Path, changes: dict, reason: str) -> None:
    file = tmp_path / "ssl.config"
    file.write_text(_ssl_config(**changes))
    with pytest.raises(ZooError, match=reason):
        listen.from_flags(Flags(ssl_config_file=str(file)))


def test_channel_arguments(caplog: pytest.LogCaptureFixture) -> None:
    arguments = "grpc.max_concurrent_streams=9,grpc.max_receive_message_length=100,a.b=x"
    found = listen.from_flags(Flags(grpc_channel_arguments=arguments))
    assert (found.concurrent_streams, found.message_bytes) == (9, 100)
    assert found.concurrent_calls is None
    assert [record.message for record in caplog.records] == [
        "The channel argument a.b is accepted and does nothing here"
    ]
    with pytest.raises(InvalidOption, match="above zero"):
        listen.from_flags(Flags(grpc_channel_arguments="grpc.max_concurrent_streams=-1"))
    with pytest.raises(InvalidOption, match="name=value"):
        listen.from_flags(Flags(grpc_channel_arguments="broken"))
