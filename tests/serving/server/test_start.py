"""How the server starts, and what it says where it cannot."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from serving.errors import StartError
from serving.server import background
from serving.server.flags import Flags, inert, parse, usage
from zoo.errors import InvalidOption


def _start(arguments: Sequence[str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "serving.server", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_flags_in_every_form() -> None:
    flags, unknown = parse(
        ["--port=1", "--rest_api_port", "2", "--enable_batching", "--model_name=m", "--nope=3",
         "--enable_model_warmup", "false", "--rest_api_enable_cors_support=1", "extra"]
    )  # fmt: skip
    assert (flags.port, flags.rest_api_port, flags.model_name) == (1, 2, "m")
    assert (flags.enable_batching, flags.enable_model_warmup) == (True, False)
    assert flags.rest_api_enable_cors_support is True
    assert unknown == ["--nope=3", "extra"]
    assert inert(flags) == ["enable_batching"]
    assert parse([]) == (Flags(), [])
    for wrong in (["--port=x"], ["--port"], ["--enable_batching=maybe"]):
        with pytest.raises(InvalidOption):
            parse(wrong)
    assert "--rest_api_timeout_in_ms=30000\tint32" in usage()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            "INVALID_ARGUMENT: Both server_options.model_base_path and "
            "server_options.model_config_file are empty!",
        ),
        (
            ["--model_name=m", "--model_base_path=relative/path"],
            "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; "
            "got base_path()=relative/path",
        ),
        (
            ["--model_config_file=/no/such/file.txt"],
            "NOT_FOUND: /no/such/file.txt; No such file or directory",
        ),
        (
            ["--model_base_path=/x", "--batching_parameters_file=/y"],
            "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
    ],
)
def test_the_recorded_failures(arguments: list[str], line: str) -> None:
    ended = _start(arguments)
    assert ended.returncode == 255
    assert ended.stderr.splitlines()[-1] == f"Failed to start server. Error: {line}"
    assert "Traceback" not in ended.stderr


def test_broken_config_and_unknown_flag(tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text('model_config_list { config { nme: "m" } }')
    ended = _start([f"--model_config_file={config}", "--nosuchflag=1"])
    lines = ended.stderr.splitlines()
    assert ended.returncode == 255
    assert lines[0] == "unknown argument: --nosuchflag=1"
    assert lines[1].startswith("usage:")
    assert any(
        "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:" in line
        and 'has no field named "nme".' in line
        for line in lines
    )
    assert lines[-1].endswith(f"INVALID_ARGUMENT: Invalid protobuf file: '{config}'")


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--port", "--rest_api_port"):
            ended = _start([f"--model_base_path={tmp_path}", "--port=0", f"{flag}={port}"])
            assert ended.returncode == 1
            assert f"Port {port} for" in ended.stderr
            assert len(ended.stderr.splitlines()) == 1


def test_store_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match=r"Model store .* cannot be read"),
        background(tmp_path / "none"),
    ):
        pass


def test_version_flag() -> None:
    ended = _start(["--version"])
    assert ended.returncode == 0
    assert ended.stdout.startswith("TensorFlow ModelServer: ")
