"""How the server starts, and what it says where it cannot."""

from __future__ import annotations

import os
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
         "--enable_model_warmup", "false", "--rest_api_enable_cors_support=1", "extra",
         "--per_process_gpu_memory_fraction", "0.5", "--nouse_alts_credentials"]
    )  # fmt: skip
    assert (flags.port, flags.rest_api_port, flags.model_name) == (1, 2, "m")
    assert (flags.enable_batching, flags.enable_model_warmup) == (True, False)
    assert flags.rest_api_enable_cors_support is True
    assert unknown == ["--nope=3", "extra", "--nouse_alts_credentials"]
    assert inert(flags) == ["per_process_gpu_memory_fraction"]
    assert parse([]) == (Flags(), [])
    assert inert(parse(["--enable_profiler=true"])[0]) == ["enable_profiler"]
    for wrong in (["--port=x"], ["--port"], ["--enable_batching=maybe"]):
        with pytest.raises(InvalidOption):
            parse(wrong)
    assert "--rest_api_timeout_in_ms=30000\tint32" in usage()


CPUS = os.cpu_count() or 1
DEFAULTS = {
    "port": 8500, "grpc_socket_path": "", "grpc_channel_arguments": "",
    "grpc_max_threads": 4 * CPUS, "enable_grpc_healthcheck_service": False,
    "use_alts_credentials": False, "ssl_config_file": "", "rest_api_port": 0,
    "rest_api_num_threads": 4 * CPUS, "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False, "model_name": "default", "model_base_path": "",
    "model_config_file": "", "model_config_file_poll_wait_seconds": 0, "saved_model_tags": "serve",
    "platform_config_file": "", "allow_version_labels_for_unavailable_models": False,
    "file_system_poll_wait_seconds": 1, "num_load_threads": 0, "num_unload_threads": 0,
    "max_num_load_retries": 5, "load_retry_interval_micros": 60000000,
    "flush_filesystem_caches": True, "enable_batching": False, "batching_parameters_file": "",
    "enable_per_model_batching_parameters": False, "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0, "tensorflow_inter_op_parallelism": 0,
    "tensorflow_session_config_file": "", "per_process_gpu_memory_fraction": 0.0,
    "xla_cpu_compilation_enabled": False, "mixed_precision": "",
    "remove_unused_fields_from_bundle_metagraph": True, "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0, "prefer_tflite_model": False,
    "num_tflite_pools": CPUS, "num_tflite_interpreters_per_pool": 1,
    "monitoring_config_file": "", "enable_profiler": True,
    "enable_signature_method_name_check": False,
    "enable_serialization_as_tensor_content": False, "version": False,
}  # fmt: skip


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_every_flag_and_its_default(name: str, default: object) -> None:
    assert getattr(Flags(), name) == default
    value = str(default).lower() if isinstance(default, bool) else str(default)
    for arguments in ([f"--{name}={value}"], [f"--{name}", value]):
        if value:
            assert parse(arguments) == (Flags(), [])
    assert f"\t--{name}=" in usage()


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
