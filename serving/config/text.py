"""Read one protobuf text file, with TensorFlow Serving's own words where it is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format

from serving.config import messages
from serving.errors import ConfigError

Message = TypeVar("Message")


class MissingFile(ConfigError):
    """A configuration file that is not there."""

    def __init__(self, path: Path):
        super().__init__(f"Configuration file {path} does not exist: `zoo config` writes it.")
        self.path = path


class BrokenText(ConfigError):
    """A file that is not a text message of the expected type.

    `native` is the line that TensorFlow Serving prints for it; scripts wait for that line.
    """

    def __init__(self, path: Path, type_name: str, error: text_format.ParseError):
        reason = " ".join(str(error).split()).replace(" : ", ": ", 1)
        super().__init__(f"{path} is not a valid {type_name.rpartition('.')[2]} file: {reason}")
        self.native = f"Error parsing text-format {type_name}: {reason}"
        self.path = path


def read(path: Path, kind: type[Message]) -> Message:
    """The message in `path`.

    Raises:
        ConfigError: the file cannot be read, or does not parse (`BrokenText`).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"Configuration file {path} cannot be read: {reason}.") from error
    return parse(text, kind, path)


def parse(text: str, kind: type[Message], path: Path) -> Message:
    """The message in `text`; `path` names it in errors."""
    message: Any = kind()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise BrokenText(path, message.DESCRIPTOR.full_name, error) from error
    return message


def read_monitoring(path: Path) -> Any:
    """The MonitoringConfig in `path`.

    Raises:
        ConfigError: unreadable or broken.
    """
    return read(path, messages.MonitoringConfig)


def read_ssl(path: Path) -> Any:
    """The SSLConfig in `path`: PEM texts for a gRPC server's TLS.

    Raises:
        ConfigError: unreadable, broken, or without what it needs.
    """
    config: Any = read(path, messages.SSLConfig)
    for name in ("server_key", "server_cert"):
        if not getattr(config, name):
            raise ConfigError(f"{path} holds no {name}: TLS needs a key and a certificate, as PEM.")
    if config.client_verify and not config.custom_ca:
        raise ConfigError(
            f"{path} asks clients for a certificate and names no custom_ca to check it against."
        )
    return config
