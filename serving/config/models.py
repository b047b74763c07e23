"""models.config: which models are served, from where, in which versions, under which labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from serving.config import messages, text
from serving.errors import ConfigError

_URI = re.compile("[a-zA-Z][0-9a-zA-Z.]*://")
_TENSORFLOW = 1  # ModelType.TENSORFLOW


@dataclass(frozen=True)
class VersionPolicy:
    """Which of a model's versions are loaded: the newest `count`, all, or those in `versions`."""

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, available: Sequence[int]) -> list[int]:
        """The versions to serve of those that are there, newest first."""
        newest_first = sorted(available, reverse=True)
        if self.kind == "all":
            return newest_first
        if self.kind == "specific":
            return [version for version in newest_first if version in self.versions]
        return newest_first[: self.count]


@dataclass(frozen=True)
class ModelConfig:
    """One `config { … }` block."""

    name: str
    base_path: str
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)


def read_models(path: Path) -> list[ModelConfig]:
    """The models that the file names, in its order.

    Raises:
        ConfigError: unreadable, broken, or against a rule of TensorFlow Serving's.
    """
    return parse_models(text.read(path, messages.ModelServerConfig))


class ModelFile:
    """The models that a file names, read at each call as `read_models` does.

    A file that has named models goes on to name models, or none in an empty list: one without a
    list is refused then.
    """

    def __init__(self, path: Path):
        self._path, self._listed = path, False

    def __call__(self) -> list[ModelConfig]:
        message: Any = text.read(self._path, messages.ModelServerConfig)
        listed = message.WhichOneof("config") == "model_config_list"
        if self._listed and not listed:
            raise ConfigError(
                "Cannot transition to requested config. It is only legal to transition from one "
                "ModelConfigList to another."
            )
        models = parse_models(message)
        self._listed = listed
        return models


def parse_models(message: Any, served: Collection[str] = ()) -> list[ModelConfig]:
    """The models of a ModelServerConfig message.

    Args:
        message: what was read or received.
        served: names of the models that are served now.

    Raises:
        ConfigError: with TensorFlow Serving's wording, which is its INVALID_ARGUMENT.
    """
    if message.WhichOneof("config") == "custom_model_config":
        raise ConfigError("custom_model_config is not supported: use model_config_list.")
    names: set[str] = set()
    for config in message.model_config_list.config:
        if config.name in names:
            raise ConfigError(f"Illegal to list model {config.name} multiple times in config list")
        names.add(config.name)
    for config in message.model_config_list.config:  # in TensorFlow Serving's order of checks
        check_base_path(config.name, config.base_path)
    for config in message.model_config_list.config:
        _check_platform(config, config.name in served)
    return [_model(config) for config in message.model_config_list.config]


def _check_platform(config: Any, served: bool) -> None:
    if config.model_type and config.model_platform:
        raise ConfigError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform."
        )
    if config.model_type not in (0, _TENSORFLOW):
        raise ConfigError(
            f"ModelServerConfig::model_type choice {config.model_type} not supported."
        )
    if not config.model_platform and not config.model_type:
        raise ConfigError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {config.name}"
        )
    if config.model_platform in ("tensorflow", ""):
        return
    if served:
        raise ConfigError(
            f"Illegal to change a model's platform. For model {config.name} platform was "
            f"tensorflow and new platform requested is {config.model_platform}"
        )
    raise ConfigError(f"Model {config.name} requests unsupported platform {config.model_platform}")


def _model(config: Any) -> ModelConfig:
    return ModelConfig(
        config.name,
        config.base_path.removeprefix("file://"),
        _policy(config.model_version_policy),
        dict(config.version_labels),
    )


def check_base_path(name: str, base_path: str) -> None:
    """Refuse a relative base path: a server and its container start in different folders."""
    if not base_path.startswith("/") and not _URI.match(base_path):
        raise ConfigError(
            f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}"
        )


def _policy(message: Any) -> VersionPolicy:
    kind = message.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy("all")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(message.specific.versions))
    return VersionPolicy("latest", count=max(1, message.latest.num_versions))


def server_config(models: Sequence[ModelConfig]) -> Any:
    """The ModelServerConfig message for `models`: what `parse_models` reads back."""
    message = messages.ModelServerConfig()
    message.model_config_list.SetInParent()  # an empty file is none that may be read
    for model in models:
        config = message.model_config_list.config.add(
            name=model.name, base_path=model.base_path, model_platform="tensorflow"
        )
        policy = config.model_version_policy
        if model.policy.kind == "all":
            policy.all.SetInParent()
        elif model.policy.kind == "specific":
            policy.specific.versions.extend(model.policy.versions)
        else:
            policy.latest.num_versions = model.policy.count
        config.version_labels.update(model.labels)
    return message
