"""Every mistake a person can make is one clear line on standard error, and never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import main


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str]:
    """Runs the command, which must fail; its status and its one line.

    With an empty cache, a line on what is fetched may stand before it.
    """
    status = main([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    said = "\n".join(line for line in lines if not line.startswith("Fetching "))
    assert status != 0
    assert said.startswith("Error: ")
    assert "\n" not in said
    assert "Traceback" not in said
    return status, said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["trian"], 2, "train"),
        (["train"], 2, "zoo list"),
        (["train", "cn"], 1, "did you mean cnn"),
        (["show", "transformr_classifier"], 1, "transformer_classifier"),
        (["train", "cnn", "--dataset", "mnits"], 1, "did you mean mnist"),
        (["train", "cnn", "--epoch", "3"], 2, "--epochs"),
        (["train", "cnn", "--epochs", "three"], 2, "--epochs"),
        (["train", "cnn", "--epochs", "0"], 2, "epochs is 0"),
        (["train", "cnn", "--batch-size", "-5"], 2, "batch_size is -5"),
        (["train", "cnn", "--optimizer", "adan"], 2, "adam, adamw, muon, rmsprop, sgd"),
        (["train", "cnn", "--schedule", "stairs"], 2, "constant, cosine"),
        (["train", "cnn", "--strategy", "tpus"], 2, "auto, one, mirrored"),
        (["train", "cnn", "--set", "filters"], 2, "NAME=VALUE"),
        (["train", "cnn", "--set", "filter=3"], 1, "did you mean filters"),
        (["train", "cnn", "--set", "filters=8,8,8,8,8"], 1, "too small"),
        (["train", "cnn", "--learning-rate", "nan"], 2, "must be positive"),
        (["train", "softmax_regression", "--batch-size", "9999"], 2, "larger than the"),
        (["train", "cnn", "--dataset", "japanese_vowels"], 1, "height, width, channels"),
        (["train", "dense", "--resume", "x"], 2, "leave out the model"),
        (["export", "dnese"], 1, "dense"),
        (["predict", "cnn"], 2, "examples"),
        (["sample", "mnits"], 1, "mnist"),
        (["serve", "--rest-port", "99999"], 2, "65535"),
        (["serve", "--container"], 2, "zoo config"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_words(
    arguments: list[str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, said = fails(capsys, *arguments)
    assert words in said
    assert found == status
    assert not list(tmp_path.iterdir())


def test_folders_that_are_no_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert "no complete run" in fails(capsys, "export", "cnn", "--runs", tmp_path)[1]
    assert "not a run folder" in fails(capsys, "train", "--resume", tmp_path)[1]
    assert "not a run folder" in fails(capsys, "export", "cnn", "--run", tmp_path / "no")[1]
    (tmp_path / "run.json").write_text("[", encoding="utf-8")
    assert "cannot be read" in fails(capsys, "export", "cnn", "--run", tmp_path)[1]


def test_stores_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    missing = tmp_path / "store"
    assert "cannot be read" in fails(capsys, "serve", "--store", missing)[1]
    assert "cannot be read" in fails(capsys, "config", "--store", missing, "--out", tmp_path)[1]
    missing.write_text("", encoding="utf-8")
    assert "cannot be read" in fails(capsys, "serve", "--store", missing)[1]


def test_a_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option, other in (("--rest-port", "--grpc-port"), ("--grpc-port", "--rest-port")):
            said = fails(
                capsys,
                *("serve", "--store", tmp_path, "--host", "127.0.0.1"),
                *(option, port, other, 0),
            )[1]
            assert str(port) in said
            assert "choose another port" in said


def test_no_server(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    image = tmp_path / "x.png"
    image.write_bytes(b"")
    for protocol in ("--rest", "--grpc"):
        said = fails(
            capsys, "predict", "cnn", image, protocol, "--rest-port", port, "--grpc-port", port
        )[1]
        assert "No model server answers" in said
        assert "zoo serve" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "arguments", "words"),
    [
        ("nothing", [], "KERAS_BACKEND=tensorflow"),
        ("jax", ["--strategy", "mirrored"], "leave it out"),
    ],
)
def test_backends_that_cannot(backend: str, arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zoo.cli", "train", "gru", *arguments],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
