"""Where the gRPC server listens, under which credentials and with which options."""

from __future__ import annotations

import logging
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.config.text import read_ssl
from serving.errors import ConfigError
from serving.server.flags import Flags
from serving.server.http2.receiving import MOST_STREAMS
from zoo.errors import InvalidOption

log = logging.getLogger(__name__)


STREAMS, MESSAGE = "grpc.max_concurrent_streams", "grpc.max_receive_message_length"


@dataclass(frozen=True)
class Listening:
    """What a gRPC server needs to know before it listens.

    Attributes:
        message_bytes: of the largest request.
        held_bytes: of all requests together that are in memory.
        concurrent_calls: most calls at a time; None for no limit.
        concurrent_streams: most calls at a time on one connection.
        health: whether grpc.health.v1 is served.
        ssl: an SSLConfig, None for plain text.
    """

    message_bytes: int
    held_bytes: int = 1024 * 1024 * 1024
    concurrent_calls: int | None = None
    concurrent_streams: int = MOST_STREAMS
    health: bool = False
    ssl: Any = None


def from_flags(flags: Flags) -> Listening:
    """What the flags say. Channel arguments that mean nothing here are named in the log.

    Raises:
        ConfigError: the SSLConfig cannot be read.
        InvalidOption: channel arguments that are not name=value.
    """
    arguments = _channel_arguments(flags.grpc_channel_arguments)
    for name in arguments.keys() - {STREAMS, MESSAGE}:
        log.warning("The channel argument %s is accepted and does nothing here", name)
    return Listening(
        message_bytes=min(flags.max_request_bytes, arguments.get(MESSAGE, flags.max_request_bytes)),
        # TensorFlow Serving's default turns the ninth call of a two-core machine away.
        concurrent_calls=flags.grpc_max_threads if "grpc_max_threads" in flags.given else None,
        concurrent_streams=arguments.get(STREAMS, MOST_STREAMS),
        health=flags.enable_grpc_healthcheck_service,
        ssl=read_ssl(Path(flags.ssl_config_file)) if flags.ssl_config_file else None,
    )


def _channel_arguments(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for argument in filter(None, text.split(",")):
        name, equals, value = argument.partition("=")
        if not equals:
            raise InvalidOption(
                f"--grpc_channel_arguments holds {argument!r}: write name=value,name=value."
            )
        if name in (STREAMS, MESSAGE) and not (value.isdecimal() and int(value)):
            raise InvalidOption(
                f"--grpc_channel_arguments holds {argument!r}: it must be a number above zero."
            )
        found[name] = int(value) if value.isdecimal() else 0
    return found


def tls_context(config: Any) -> ssl.SSLContext:
    """For an SSLConfig; clients are asked for a certificate where it says so.

    Raises:
        ConfigError: key or certificates that are none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:  # 0700; Python reads files alone
        key, certificate = Path(folder) / "key", Path(folder) / "certificate"
        key.write_text(config.server_key)
        certificate.write_text(config.server_cert)
        try:
            context.load_cert_chain(certificate, key)
            if config.client_verify:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(cadata=config.custom_ca)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"The SSLConfig's key or certificates are broken: {error}.") from None
    return context
