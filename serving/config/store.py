"""The three configuration files for a model store.

A base_path must be right for the embedded server and inside a container alike. The store's real
path is written, and the container mounts the store at that same path, so one set of files serves
both unchanged. Where a container must mount it elsewhere (`container_base`), the files are for
that container alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.config import messages
from serving.config.models import ModelConfig, VersionPolicy, server_config
from serving.errors import ConfigError

MODELS_FILE = "models.config"
BATCHING_FILE = "batching.config"
MONITORING_FILE = "monitoring.config"

NEWEST = 2**63 - 1  # that a message can name
ALL_VERSIONS = VersionPolicy("all")


def store_models(store: Path, policy: VersionPolicy = ALL_VERSIONS) -> list[ModelConfig]:
    """Every folder of the store that holds at least one numbered version, by name.

    Raises:
        ConfigError: the store is missing or cannot be read.
    """
    root = store.expanduser().resolve()
    try:
        folders = sorted(entry for entry in root.iterdir() if _is_model(entry))
    except OSError as error:
        raise ConfigError(
            f"Model store {store} cannot be read ({error.strerror}): export a model into it first, "
            "or name another store."
        ) from error
    return [ModelConfig(folder.name, str(folder), policy) for folder in folders]


def _is_model(folder: Path) -> bool:
    if folder.name.startswith(".") or "/" in folder.name or ":" in folder.name:
        return False
    try:
        return any(is_version(entry) for entry in os.scandir(folder))
    except OSError:  # a plain file, or a folder that went away or may not be read
        return False


def is_version(entry: os.DirEntry[str]) -> bool:
    """Whether a child of a model's folder is a version: a folder with a number for a name."""
    name = entry.name
    return name.isascii() and name.isdigit() and int(name) <= NEWEST and entry.is_dir()


def write(
    store: Path,
    directory: Path,
    *,
    container_base: str | None = None,
    policy: VersionPolicy = ALL_VERSIONS,
    batching: Any = None,
) -> list[Path]:
    """Write models.config, batching.config and monitoring.config for `store` into `directory`.

    Args:
        store: the store whose models are listed, each with `policy` (all versions by default, so
            that any version can be asked for by number).
        directory: made where it is missing; existing files are replaced in one step each.
        container_base: mount point of the store in a container, where it is not the store's own
            absolute path.
        batching: BatchingParameters; 32 rows a run, 1 ms of waiting, by default.

    Returns:
        The three paths, in that order.

    Raises:
        ConfigError: the store cannot be read or the directory cannot be written.
    """
    models = store_models(store, policy)
    if container_base is not None:
        models = [
            ModelConfig(model.name, f"{container_base.rstrip('/')}/{model.name}", model.policy)
            for model in models
        ]
    contents = {
        MODELS_FILE: server_config(models),
        BATCHING_FILE: batching if batching is not None else default_batching(),
        MONITORING_FILE: default_monitoring(),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [_write_text(directory / name, message) for name, message in contents.items()]
    except OSError as error:
        raise ConfigError(
            f"Configuration folder {directory} cannot be written: {error.strerror}."
        ) from error


def default_batching() -> Any:
    """Runs of up to 32 rows, formed within a millisecond, on as many threads as there are CPUs.

    A larger request is split, and not refused as it would be with 32 for `max_batch_size` alone.
    """
    parameters = messages.BatchingParameters()
    parameters.max_batch_size.value = 4096
    parameters.enable_large_batch_splitting.value = True
    parameters.max_execution_batch_size.value = 32
    parameters.batch_timeout_micros.value = 1000
    parameters.max_enqueued_batches.value = 1000
    return parameters


def default_monitoring() -> Any:
    """The Prometheus page on TensorFlow Serving's usual path."""
    config = messages.MonitoringConfig()
    config.prometheus_config.enable = True
    config.prometheus_config.path = "/monitoring/prometheus/metrics"
    return config


def _write_text(path: Path, message: Any) -> Path:
    # A server may be polling this file: it must see the old text or the new, never half of it.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text_format.MessageToString(message), encoding="utf-8")
    os.replace(partial, path)
    return path
