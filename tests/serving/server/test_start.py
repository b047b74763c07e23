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
from tests.serving.conftest import free_ports
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
         "--enable_model_warmup", "false", "--rest_api_enable_cors_support=TRUE", "extra",
         "--per_process_gpu_memory_fraction", "0.5", "--nouse_alts_credentials"]
    )  # fmt: skip
    assert (flags.port, flags.rest_api_port, flags.model_name) == (1, 2, "m")
    assert (flags.enable_batching, flags.enable_model_warmup) == (True, False)
    assert flags.rest_api_enable_cors_support is True
    assert unknown == ["--nope=3", "extra", "--nouse_alts_credentials"]
    assert inert(flags) == ["per_process_gpu_memory_fraction"]
    assert parse([]) == (Flags(), [])
    assert inert(parse(["--enable_profiler=true"])[0]) == ["enable_profiler"]
    with pytest.raises(InvalidOption):
        parse(["--port"])
    assert parse(["--", "--port=1"]) == (Flags(), ["--", "--port=1"])
    assert "--rest_api_timeout_in_ms=30000\tint32" in usage()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--port=x", "x"),
        ("--port=", ""),
        ("--port=1_0", "1_0"),
        ("--port=1 ", "1 "),
        ("--rest_api_timeout_in_ms=0x10", "0x10"),
        ("--load_retry_interval_micros=1.5", "1.5"),
        ("--per_process_gpu_memory_fraction=half", "half"),
        ("--enable_batching=maybe", "=maybe"),
        ("--enable_batching=1", "=1"),
        ("--enable_batchings", "s"),
    ],
)
def test_values_that_tensorflow_cannot_interpret(argument: str, value: str) -> None:
    name = argument.strip("-").partition("=")[0].removesuffix("s" if value == "s" else "")
    with pytest.raises(InvalidOption) as caught:
        parse([argument])
    assert str(caught.value) == f"Couldn't interpret value {value} for flag {name}."


def test_numbers_are_read_as_c_reads_them() -> None:
    assert parse(["--port= +9000"])[0].port == 9000
    assert parse(["--port=4294967297"])[0].port == 1
    assert parse([f"--load_retry_interval_micros={2**70}"])[0].load_retry_interval_micros == (
        2**63 - 1
    )


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
            ["--port=0", "--rest_api_port=8501", "--model_base_path=/x"],
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set.",
        ),
        (
            [
                "--model_base_path=/x",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "INVALID_ARGUMENT: Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. "
            "You cannot configure all.",
        ),
        (
            ["--model_base_path=/x", "--platform_config_file=/no/such"],
            "NOT_FOUND: /no/such; No such file or directory",
        ),
        (
            ["--model_config_file=/dev/null", "--batching_parameters_file=/y"],
            "INVALID_ARGUMENT: /dev/null; Invalid argument",
        ),
        (
            ["--model_base_path=/x", "--enable_batching", "--batching_parameters_file=/no/such"],
            "NOT_FOUND: /no/such; No such file or directory",
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


def test_help_is_the_usage() -> None:
    ended = _start(["--help"])
    assert ended.returncode == 255
    assert ended.stderr.startswith("usage:")


def test_batching_sizes_fail_each_load(tmp_path: Path) -> None:
    """The server starts to load its models, and says of each why it cannot be served."""
    from tests.serving import models

    models.save_scale(tmp_path / "scale" / "1", 1.0)
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 4")
    ended = _start(
        [f"--port={free_ports(1)[0]}", "--model_name=scale", "--max_num_load_retries=0",
         f"--model_base_path={tmp_path / 'scale'}", "--enable_batching",
         f"--batching_parameters_file={batching}"]
    )  # fmt: skip
    assert ended.returncode == 255
    assert ended.stderr.splitlines()[-1] == (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: scale version: 1} due to error: INVALID_ARGUMENT: Last entry in "
        "allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8}, }"
    )


def test_port_in_use_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--port", "--rest_api_port"):
            free = f"--port={free_ports(1)[0]}"
            ended = _start([f"--model_base_path={tmp_path}", free, f"{flag}={port}"])
            assert ended.returncode == 1
            assert f"Port {port} for" in ended.stderr.splitlines()[-1]
            assert "Traceback" not in ended.stderr
    ended = _start([f"--model_base_path={tmp_path}", "--port=99999"])
    assert (ended.returncode, "Port 99999 for" in ended.stderr) == (1, True)


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
