"""TensorFlow Serving's configuration files, written and read by the same code."""

from __future__ import annotations

from serving.config.batching import Batching, parse_batching, read_batching
from serving.config.models import (
    ModelConfig,
    VersionPolicy,
    parse_models,
    read_models,
    server_config,
)
from serving.config.store import store_models, write
from serving.config.text import read_monitoring, read_ssl

__all__ = [
    "Batching",
    "ModelConfig",
    "VersionPolicy",
    "parse_batching",
    "parse_models",
    "read_batching",
    "read_models",
    "read_monitoring",
    "read_ssl",
    "server_config",
    "store_models",
    "write",
]
