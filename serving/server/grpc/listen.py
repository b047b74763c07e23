"""Where the gRPC server listens, under which credentials and with which options."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.config.text import read_ssl
from serving.server.flags import Flags
from zoo.errors import InvalidOption

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listening:
    """What a gRPC server needs to know before it listens.

    `options` are gRPC's own, `ssl` an SSLConfig or None for plain text.
    """

    message_bytes: int
    concurrent_calls: int | None = None
    health: bool = False
    options: list[tuple[str, Any]] = field(default_factory=list)
    ssl: Any = None


def from_flags(flags: Flags) -> Listening:
    """What the flags say.

    Raises:
        ConfigError: the SSLConfig cannot be read.
        InvalidOption: channel arguments that are not name=value.
    """
    return Listening(
        message_bytes=flags.max_request_bytes,
        # TensorFlow Serving's default turns the ninth call of a two-core machine away.
        concurrent_calls=flags.grpc_max_threads if "grpc_max_threads" in flags.given else None,
        health=flags.enable_grpc_healthcheck_service,
        options=_channel_arguments(flags.grpc_channel_arguments),
        ssl=read_ssl(Path(flags.ssl_config_file)) if flags.ssl_config_file else None,
    )


def _channel_arguments(text: str) -> list[tuple[str, Any]]:
    found = []
    for argument in filter(None, text.split(",")):
        name, equals, value = argument.partition("=")
        if not equals:
            raise InvalidOption(
                f"--grpc_channel_arguments holds {argument!r}: write name=value,name=value."
            )
        found.append((name, int(value) if value.lstrip("-").isdigit() else value))
    return found


def credentials(ssl: Any) -> Any:
    """Server credentials for an SSLConfig; clients are asked for a certificate where it says so."""
    import grpc

    return grpc.ssl_server_credentials(
        [(ssl.server_key.encode(), ssl.server_cert.encode())],
        root_certificates=ssl.custom_ca.encode() or None,
        require_client_auth=ssl.client_verify,
    )
