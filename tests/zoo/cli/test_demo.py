"""The whole way as a user goes it: train, export, config, serve, ask, in processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.server import background

pytestmark = pytest.mark.slow
ZOO = [sys.executable, "-m", "zoo.cli"]


def zoo(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    done = subprocess.run([*ZOO, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_demo_asks_over_both_protocols_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = zoo(tmp_path, "demo", "softmax_regression", "--epochs", "30", "--count", "6")
    lines = done.stdout.strip().splitlines()
    assert lines[-1].endswith("of 6 right")
    assert int(lines[-1].split()[0]) >= 4
    for line in lines[-7:-1]:
        _, truth, rest, _, grpc, _ = line.split()
        assert rest == grpc
        assert truth.isdigit()
    assert (tmp_path / "store" / "softmax_regression" / "1" / "saved_model.pb").is_file()


def test_step_by_step_with_tensorflow_servings_files(tmp_path: Path) -> None:
    trained = zoo(tmp_path, "train", "softmax_regression", "--epochs", "30", "--json")
    assert json.loads(trained.stdout)["test"]["accuracy"] > 0.9
    for version in ("1", "2"):
        exported = zoo(tmp_path, "export", "softmax_regression")
        assert exported.stdout.strip().endswith(f"store/softmax_regression/{version}")
    written = zoo(tmp_path, "config").stdout.split()
    assert [Path(path).name for path in written] == [
        "models.config", "batching.config", "monitoring.config",
    ]  # fmt: skip
    zoo(tmp_path, "sample", "digits", "--count", "4")
    command = [*ZOO, "serve", "--config", str(tmp_path / "config"), "--store",
               str(tmp_path / "store"), "--rest-port", "0", "--grpc-port", "0"]  # fmt: skip
    with background(tmp_path / "store", command=command) as server:
        for options in ([], ["--version", "1"], ["--grpc"], ["--grpc", "--version", "2"]):
            asked = zoo(
                tmp_path, "predict", "softmax_regression",
                *(f"samples/digits-{i}.json" for i in range(4)), "--json",
                "--rest-port", str(server.rest_port), "--grpc-port", str(server.grpc_port),
                *options,
            )  # fmt: skip
            assert len(json.loads(asked.stdout)) == 4
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0


def test_container_prints_the_exact_command_where_no_engine_answers(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    zoo(tmp_path, "config")
    # An address where no engine listens, so that this holds on machines with Docker too.
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    done = subprocess.run(
        [*ZOO, "serve", "--container", "--config", "config"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("docker run ")
    assert "tensorflow/serving:" in done.stdout
    assert str((tmp_path / "config" / "models.config").resolve()) in done.stdout
