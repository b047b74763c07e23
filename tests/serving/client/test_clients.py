"""Both clients against a real server: same answers as the SavedModel, same errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.client import GrpcClient, RequestFailed, RestClient, ServerUnreachable
from serving.server import Running
from tests.serving.conftest import free_ports


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, server: Running) -> Iterator[RestClient | GrpcClient]:
    if request.param == "rest":
        with RestClient("localhost", server.rest_port) as made:
            yield made
    else:
        with GrpcClient("localhost", server.grpc_port) as made:
            yield made


def test_answers_equal_the_saved_models(
    client: RestClient | GrpcClient, recorded_store: Path
) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    cases = {
        ("mat", "serving_default"): {"x": rng.normal(size=(5, 3)).astype(np.float32)},
        ("multi", "serving_default"): {"a": np.float32([1, 2]), "b": np.float32([3, -4])},
        ("recip", "serving_default"): {"x": np.float32([0.0, -0.0, 3.0, np.inf, np.nan])},
        ("recip", "logx"): {"x": rng.random(7).astype(np.float32)},
        ("ints", "i64"): {"i": np.array([2**61, -5])},
        ("ints", "u64"): {"i": np.array([2**63, 1], np.uint64)},
        ("ints", "bool"): {"i": np.array([True, False])},
        ("ints", "f64"): {"i": rng.normal(size=4)},
        ("nobatch", "mixed"): {"x": np.float32([1, 2, 3])},
    }
    for (model, name), inputs in cases.items():
        loaded = tf.saved_model.load(str(recorded_store / model / "1"))
        wanted = loaded.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        got = client.predict(model, inputs, signature=name)
        assert got.keys() == wanted.keys()
        for output, tensor in wanted.items():
            assert got[output].dtype == tensor.numpy().dtype
            np.testing.assert_array_equal(got[output], tensor.numpy())


def test_strings_in_and_out(client: RestClient | GrpcClient) -> None:
    got = client.predict("text", {"s": ["abc", b"\xff\x00", "é"]})
    assert got["raw_bytes"].tolist() == [b"abc", b"\xff\x00", "é".encode()]
    assert got["len"].tolist() == [3, 2, 2]
    many = client.predict("text1", {"s": np.array([b"a", b"b"], object)})
    assert many["out"].tolist() == [b"A", b"B"]


def test_lists_and_wider_arrays_are_cast_to_the_signature(client: RestClient | GrpcClient) -> None:
    for x in ([[1, 2, 3]], [[1.0, 2.0, 3.0]], np.array([[1, 2, 3]]), np.array([[1.0, 2, 3]])):
        np.testing.assert_array_equal(client.predict("mat", {"x": x})["y"], [[6, 6]])
    with pytest.raises(RequestFailed) as caught:
        client.predict("ints", {"i": np.array([1.5])})
    assert caught.value.code == "INVALID_ARGUMENT"


def test_versions_labels_and_signatures(client: RestClient | GrpcClient) -> None:
    for target in ({}, {"version": 123}, {"version": 124}, {"label": "stable"}):
        np.testing.assert_array_equal(
            client.predict("half_plus_two", {"x": [1.0]}, **target)["y"], [2.5]
        )
    with pytest.raises(RequestFailed, match=r"Specific\(half_plus_two, 5\)") as caught:
        client.predict("half_plus_two", {"x": [1.0]}, version=5)
    assert caught.value.code == "NOT_FOUND"
    with pytest.raises(RequestFailed, match="Unrecognized servable version label: nope"):
        client.predict("half_plus_two", {"x": [1.0]}, label="nope")
    with pytest.raises(RequestFailed, match="nope"):
        client.predict("half_plus_two", {"x": [1.0]}, signature="nope")


def test_status_and_metadata(client: RestClient | GrpcClient) -> None:
    states = [(v.version, v.state, v.error_code) for v in client.status("half_plus_two")]
    assert states == [(124, "AVAILABLE", "OK"), (123, "AVAILABLE", "OK")]
    metadata = client.metadata("mat")
    assert (metadata.model, metadata.version) == ("mat", 1)
    assert client.signatures("mat") == {
        "serving_default": {
            "inputs": {"x": {"dtype": "float", "shape": [None, 3]}},
            "outputs": {"y": {"dtype": "float", "shape": [None, 2]}},
        }
    }


@pytest.mark.parametrize("kind", [RestClient, GrpcClient])
def test_nobody_there(kind: type) -> None:
    (port,) = free_ports(1)
    with kind("localhost", port) as client, pytest.raises(ServerUnreachable) as caught:
        client.predict("m", {"x": [1.0]})
    assert f"localhost:{port}" in str(caught.value)
    assert "zoo serve" in str(caught.value)


def test_import_is_light() -> None:
    code = (
        "import time; t = time.process_time(); import serving.client, sys;"
        "print(time.process_time() - t, 'tensorflow' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, tensorflow = zip(*(run.stdout.split() for run in runs), strict=True)
    assert set(tensorflow) == {"False"}
    assert min(map(float, seconds)) < 0.3
