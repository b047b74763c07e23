"""The flags of `tensorflow_model_server`: one table gives names, defaults and help."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from zoo.errors import InvalidOption

_TRUE, _FALSE = ("true", "1"), ("false", "0")


def _flag(default: Any, text: str, *, inert: bool = False) -> Any:
    return field(default=default, metadata={"help": text, "inert": inert})


def _cpus(factor: int = 1) -> int:
    return factor * (os.cpu_count() or 1)


@dataclass
class Flags:
    """What the server was told, with TensorFlow Serving's defaults.

    A flag marked inert is accepted so that command lines carry over, and does nothing here.
    """

    port: int = _flag(8500, "TCP port to listen on for the gRPC API; 0 for none")
    rest_api_port: int = _flag(0, "Port to listen on for the HTTP/REST API; 0 for none")
    rest_api_timeout_in_ms: int = _flag(30000, "Timeout of a REST request, in milliseconds")
    rest_api_enable_cors_support: bool = _flag(False, "Send CORS headers")
    rest_api_num_threads: int = _flag(_cpus(4), "Threads that answer requests")
    grpc_max_threads: int = _flag(0, "Most gRPC calls at a time; 0 for no limit")
    model_name: str = _flag("default", "Name of the model at --model_base_path")
    model_base_path: str = _flag("", "Folder that holds the model's numbered versions")
    model_config_file: str = _flag("", "ModelServerConfig in text format, for several models")
    model_config_file_poll_wait_seconds: int = _flag(0, "Re-read the config file this often; 0: no")
    file_system_poll_wait_seconds: int = _flag(1, "Look for versions this often; 0: once")
    saved_model_tags: str = _flag("serve", "Tags of the meta graph to load, with commas between")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Assign labels to versions that are not available yet"
    )
    max_num_load_retries: int = _flag(5, "How often a failed load is tried again")
    load_retry_interval_micros: int = _flag(60_000_000, "Wait between tries, in microseconds")
    num_load_threads: int = _flag(0, "Threads that load versions; 0 for two")
    enable_model_warmup: bool = _flag(True, "Run a version's warmup requests before it serves")
    num_request_iterations_for_warmup: int = _flag(0, "How often each warmup request runs; 0: once")
    tensorflow_session_parallelism: int = _flag(0, "Both of the next two")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads inside one operation")
    tensorflow_inter_op_parallelism: int = _flag(0, "Operations at a time; 0: one a request")
    enable_batching: bool = _flag(False, "Merge concurrent requests", inert=True)
    batching_parameters_file: str = _flag("", "BatchingParameters in text format", inert=True)
    monitoring_config_file: str = _flag("", "MonitoringConfig in text format", inert=True)
    max_request_bytes: int = _flag(256 << 20, "Largest request; larger ones are refused")
    version: bool = _flag(False, "Print the version and exit")


def parse(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """Read `--name=value`, `--name value` and, for a boolean, `--name`.

    Returns:
        The flags, and the arguments that are none of them.

    Raises:
        InvalidOption: a value that is not of its flag's type, or is missing.
    """
    flags, unknown = Flags(), []
    kinds = {f.name: type(f.default) for f in fields(Flags)}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        kind = kinds.get(name) if argument.startswith("--") else None
        if kind is None:
            unknown.append(argument)
            continue
        if not equals:
            takes_next = rest and not rest[0].startswith("--")
            if kind is bool:
                takes_next = takes_next and rest[0].lower() in _TRUE + _FALSE
                value = rest.pop(0) if takes_next else "true"
            elif takes_next:
                value = rest.pop(0)
            else:
                raise InvalidOption(f"Flag --{name} needs a value: write --{name}=VALUE.")
        setattr(flags, name, _convert(name, kind, value))
    return flags, unknown


def _convert(name: str, kind: type, value: str) -> Any:
    if kind is bool:
        if value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
    elif kind is int:
        try:
            return int(value)
        except ValueError:
            pass
    else:
        return value
    wanted = "true or false" if kind is bool else "a whole number"
    raise InvalidOption(f"Flag --{name} has the value {value!r}: it takes {wanted}.")


def usage() -> str:
    """The usage text: every flag with its default and meaning."""
    lines = ["usage: python -m serving.server", "Flags:"]
    for f in fields(Flags):
        kind = {bool: "bool", int: "int32", str: "string"}[type(f.default)]
        default = str(f.default).lower() if kind == "bool" else repr(f.default).replace("'", '"')
        lines.append(f"\t--{f.name}={default}\t{kind}\t{f.metadata['help']}")
    return "\n".join(lines)


def inert(flags: Flags) -> list[str]:
    """The flags that were set and do nothing."""
    return [
        f.name for f in fields(Flags) if f.metadata["inert"] and getattr(flags, f.name) != f.default
    ]
