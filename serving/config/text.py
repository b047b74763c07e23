"""Read one protobuf text file, with TensorFlow Serving's own words where it is broken."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format

from serving.config import messages
from serving.config.native import native_reason
from serving.errors import ConfigError

Message = TypeVar("Message")

_CODES = {  # as TensorFlow's file systems map them
    errno.ENOENT: "NOT_FOUND",
    errno.ENODEV: "NOT_FOUND",
    errno.EINVAL: "INVALID_ARGUMENT",
    errno.ENAMETOOLONG: "INVALID_ARGUMENT",
    errno.EACCES: "PERMISSION_DENIED",
    errno.EPERM: "PERMISSION_DENIED",
    errno.ENOTDIR: "FAILED_PRECONDITION",
}


class UnreadableFile(ConfigError):
    """A configuration file that cannot be read.

    `native` is what TensorFlow Serving says of it, `code` the name of the status that it says it
    with.
    """

    def __init__(self, path: Path, number: int):
        reason = os.strerror(number)
        super().__init__(f"Configuration file {path} cannot be read: {reason}.")
        self.path, self.native = path, f"{path}; {reason}"
        self.code = _CODES.get(number, "UNKNOWN")


class MissingFile(UnreadableFile):
    """A configuration file that is not there."""

    def __init__(self, path: Path):
        super().__init__(path, errno.ENOENT)
        self.args = (f"Configuration file {path} does not exist: `zoo config` writes it.",)


class BrokenText(ConfigError):
    """A file that is not a text message of the expected type.

    `native` is the line that TensorFlow Serving prints for it; scripts wait for that line.
    """

    def __init__(self, path: Path, type_name: str, error: text_format.ParseError, text: str = ""):
        reason = " ".join(str(error).split()).replace(" : ", ": ", 1)
        super().__init__(f"{path} is not a valid {type_name.rpartition('.')[2]} file: {reason}")
        self.native = f"Error parsing text-format {type_name}: {native_reason(error, text)}"
        self.path = path

    @property
    def invalid(self) -> str:
        """The status's text, which TensorFlow Serving gives beside the line."""
        return f"Invalid protobuf file: '{self.path}'"


def read(path: Path, kind: type[Message]) -> Message:
    """The message in `path`.

    Raises:
        ConfigError: the file cannot be read, or does not parse (`BrokenText`).
    """
    return parse(load(path), kind, path)


def load(path: Path) -> str:
    """The text in `path`.

    Raises:
        ConfigError: it cannot be read; mostly `UnreadableFile`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFile(path) from error
    except IsADirectoryError as error:  # TensorFlow Serving opens it, and cannot map it then
        raise UnreadableFile(path, errno.ENODEV) from error
    except OSError as error:
        raise UnreadableFile(path, error.errno or errno.EIO) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"Configuration file {path} cannot be read: it is not UTF-8 text."
        ) from error
    if not text:  # nor can TensorFlow Serving map a file without a byte
        raise UnreadableFile(path, errno.EINVAL)
    return text


def parse(text: str, kind: type[Message], path: Path) -> Message:
    """The message in `text`; `path` names it in errors."""
    message: Any = kind()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise BrokenText(path, message.DESCRIPTOR.full_name, error, text) from error
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
