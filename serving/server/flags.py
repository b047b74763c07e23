"""The flags of `tensorflow_model_server`: one table gives names, defaults and help."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from zoo.errors import InvalidOption

_BOOLEANS = {"true": True, "false": False}
_INTEGER = re.compile(r"\s*([+-]?[0-9]+)")


def _flag(default: Any, text: str, kind: str = "", *, inert: bool = False) -> Any:
    return field(default=default, metadata={"help": text, "kind": kind, "inert": inert})


def _cpus(factor: int = 1) -> int:
    return factor * (os.cpu_count() or 1)


@dataclass
class Flags:
    """What the server was told, with TensorFlow Serving's defaults.

    A flag marked inert is accepted so that command lines carry over, and does nothing here.
    `given` holds the names that a command line set.
    """

    # === gRPC ===
    port: int = _flag(8500, "TCP port to listen on for the gRPC API; 0 for none")
    grpc_socket_path: str = _flag("", "Unix socket to listen on for the gRPC API as well")
    grpc_channel_arguments: str = _flag("", "gRPC server options: name=value, commas between")
    grpc_max_threads: int = _flag(_cpus(4), "Most gRPC calls at a time; no limit where not given")
    enable_grpc_healthcheck_service: bool = _flag(False, "Serve grpc.health.v1.Health")
    use_alts_credentials: bool = _flag(False, "Use Google's ALTS credentials", inert=True)
    ssl_config_file: str = _flag("", "SSLConfig in text format: TLS for gRPC")
    # === REST ===
    rest_api_port: int = _flag(0, "Port to listen on for the HTTP/REST API; 0 for none")
    rest_api_num_threads: int = _flag(_cpus(4), "Threads that answer requests")
    rest_api_timeout_in_ms: int = _flag(30000, "Timeout of a REST request, in milliseconds")
    rest_api_enable_cors_support: bool = _flag(False, "Send CORS headers")
    # === Models ===
    model_name: str = _flag("default", "Name of the model at --model_base_path")
    model_base_path: str = _flag("", "Folder that holds the model's numbered versions")
    model_config_file: str = _flag("", "ModelServerConfig in text format, for several models")
    model_config_file_poll_wait_seconds: int = _flag(0, "Re-read the config file this often; 0: no")
    saved_model_tags: str = _flag("serve", "Tags of the meta graph to load, with commas between")
    platform_config_file: str = _flag("", "PlatformConfigMap in text format", inert=True)
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Assign new labels to versions that are not available yet"
    )
    # === Lifecycle ===
    file_system_poll_wait_seconds: int = _flag(1, "Look for versions this often; 0: once")
    num_load_threads: int = _flag(0, "Threads that load versions; 0 for two")
    num_unload_threads: int = _flag(0, "Threads that unload versions; 0 for one")
    max_num_load_retries: int = _flag(5, "How often a failed load is tried again")
    load_retry_interval_micros: int = _flag(60_000_000, "Microseconds between tries", "int64")
    flush_filesystem_caches: bool = _flag(True, "Drop a version's files from the page cache")
    # === Batching ===
    enable_batching: bool = _flag(False, "Merge concurrent requests")
    batching_parameters_file: str = _flag("", "BatchingParameters in text format")
    enable_per_model_batching_parameters: bool = _flag(
        False, "Read batching_params.pbtxt in each version's folder"
    )
    # === Sessions ===
    tensorflow_session_parallelism: int = _flag(0, "Both of the next two", "int64")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads inside one operation", "int64")
    tensorflow_inter_op_parallelism: int = _flag(0, "Operations at a time; 0: one a request")
    tensorflow_session_config_file: str = _flag("", "ConfigProto in text format")
    per_process_gpu_memory_fraction: float = _flag(0.0, "Share of a GPU's memory", inert=True)
    xla_cpu_compilation_enabled: bool = _flag(False, "Compile graphs for the CPU with XLA")
    mixed_precision: str = _flag("", "bfloat16: compute in it where the graph allows")
    remove_unused_fields_from_bundle_metagraph: bool = _flag(
        True, "Keep only the signatures of a loaded meta graph", inert=True
    )
    # === Warmup ===
    enable_model_warmup: bool = _flag(True, "Run a version's warmup requests before it serves")
    num_request_iterations_for_warmup: int = _flag(0, "How often each warmup request runs; 0: once")
    # === TFLite ===
    prefer_tflite_model: bool = _flag(False, "Serve model.tflite where a version has one")
    num_tflite_pools: int = _flag(_cpus(), "Pools of TFLite interpreters for each model")
    num_tflite_interpreters_per_pool: int = _flag(1, "Interpreters in each pool")
    # === Others ===
    monitoring_config_file: str = _flag("", "MonitoringConfig in text format")
    enable_profiler: bool = _flag(True, "Serve TensorFlow's profiler", inert=True)
    thread_pool_factory_config_file: str = _flag("", "ThreadPoolConfig in text format", inert=True)
    enable_signature_method_name_check: bool = _flag(
        False, "Classify and Regress only by signatures of that method"
    )
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Answer Predict over gRPC with tensor_content"
    )
    version: bool = _flag(False, "Print the version and exit")
    # === This server's own ===
    max_request_bytes: int = _flag(256 << 20, "Largest request; larger ones are refused")
    num_processes: int = _flag(1, "Processes that share the work; 0 for one a core")

    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


def table() -> list[Field]:
    """The fields that are flags."""
    return [f for f in fields(Flags) if f.metadata]


_LONG = {f.name for f in table() if f.metadata["kind"] == "int64"} | {"max_request_bytes"}


def parse(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """Read `--name=value`, `--name value` and, for a boolean, `--name`.

    Returns:
        The flags, and the arguments that are none of them.

    Raises:
        InvalidOption: a value that is not of its flag's type, or is missing.
    """
    flags, unknown = Flags(), []
    kinds = {f.name: type(f.default) for f in table()}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        kind = kinds.get(name) if argument.startswith("--") else None
        if argument == "--":
            return flags, [*unknown, argument, *rest]
        if kind is None:
            _refuse_longer(argument)
            unknown.append(argument)
            continue
        if not equals:
            takes_next = rest and not rest[0].startswith("--")
            if kind is bool:
                takes_next = takes_next and rest[0].lower() in _BOOLEANS
                value = rest.pop(0) if takes_next else "true"
            elif takes_next:
                value = rest.pop(0)
            else:
                raise InvalidOption(f"Flag --{name} needs a value: write --{name}=VALUE.")
        setattr(flags, name, _convert(name, kind, value))
        flags.given |= {name}
    return flags, unknown


def _refuse_longer(argument: str) -> None:
    """TensorFlow takes what follows a boolean's name for its value, with or without a `=`."""
    for f in table():
        if type(f.default) is bool and argument.startswith(f"--{f.name}"):
            raise _uninterpreted(argument.removeprefix(f"--{f.name}"), f.name)


def _convert(name: str, kind: type, value: str) -> Any:
    if kind is str:
        return value
    if kind is bool:
        if value.lower() not in _BOOLEANS:
            raise _uninterpreted(f"={value}", name)
        return _BOOLEANS[value.lower()]
    try:
        if kind is float:
            return float(value.replace("_", "?"))  # Python's float would read 1_0
        digits = _INTEGER.fullmatch(value)
        if digits:
            return _as_c(int(digits[1]), 64 if name in _LONG else 32)
    except ValueError:
        pass
    raise _uninterpreted(value, name)


def _as_c(number: int, bits: int) -> int:
    """What C reads: the nearest of 64 bits, and of these the lower ones."""
    number = max(-(2**63), min(number, 2**63 - 1))
    half = 1 << (bits - 1)
    return (number + half) % (2 * half) - half


def _uninterpreted(value: str, name: str) -> InvalidOption:
    return InvalidOption(f"Couldn't interpret value {value} for flag {name}.")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(flags: Flags) -> int:
    """How many processes are to serve.

    Raises:
        InvalidOption: less than none.
    """
    if flags.num_processes < 0:
        raise InvalidOption(f"--num_processes is {flags.num_processes}: it takes 0 or more.")
    return flags.num_processes or cores()


def share_of(flags: Flags, count: int) -> Flags:
    """The flags of one of `count` processes: where nobody chose, each has its part of the cores."""
    chosen = flags.tensorflow_session_parallelism or flags.tensorflow_intra_op_parallelism
    if chosen or flags.tensorflow_session_config_file:
        return flags
    return replace(flags, tensorflow_intra_op_parallelism=max(1, cores() // count))


def usage() -> str:
    """The usage text: every flag with its default and meaning."""
    lines = ["usage: zoo-model-server", "Flags:"]
    for f in table():
        names = {bool: "bool", int: "int32", float: "float", str: "string"}
        default = str(f.default).lower() if f.type == "bool" else repr(f.default).replace("'", '"')
        kind = f.metadata["kind"] or names[type(f.default)]
        lines.append(f"\t--{f.name}={default}\t{kind}\t{f.metadata['help']}")
    return "\n".join(lines)


def inert(flags: Flags) -> list[str]:
    """The flags that were set and do nothing."""
    return [
        f.name
        for f in table()
        if f.metadata["inert"] and (f.name in flags.given or getattr(flags, f.name) != f.default)
    ]
