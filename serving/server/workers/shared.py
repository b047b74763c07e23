"""A worker's models: its own manager and source, and what it tells of those of all workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving.config.models import ModelConfig, VersionPolicy
from serving.server.catalog import Catalog
from serving.server.lifecycle import State, Version
from serving.server.manager import Manager
from serving.server.servable import Servable
from serving.server.source import Source
from serving.server.status import Code, ServingError
from serving.server.workers.view import Report, Standing


class SharedManager(Manager):
    """A manager whose statuses are those of the whole server.

    Args:
        changed: called after every change, from any thread.
    """

    def __init__(self, *args: Any, changed: Callable[[], None], **options: Any):
        super().__init__(*args, **options)
        self._changed = changed
        self._view, self._waiting = Catalog(), list[str]()

    def report(self) -> Report:
        """How this worker's own versions stand."""
        with self._lock:
            versions = {
                (version.model, version.number): Standing(
                    int(version.state), int(version.code), version.message
                )
                for known in self._models.values()
                for version in known.values()
            }
        return Report(versions, set(super().waiting_for()))

    def show(self, report: Report) -> None:
        """Tell this of the versions from now on."""
        models: dict[str, dict[int, Version]] = {}
        for (model, number), standing in report.versions.items():
            error = None
            if standing.code:
                error = ServingError(Code(standing.code), standing.message)
            version = Version(model, number, Path(), State(standing.state), error)
            models.setdefault(model, {})[number] = version
        view = Catalog()
        view._models = models
        self._view, self._waiting = view, sorted(report.waiting)

    # === What clients are told ===

    def statuses(self, model: str, version: int | None = None) -> list[Version]:
        return self._view.statuses(model, version)

    def all_versions(self) -> list[Version]:
        return self._view.all_versions()

    def waiting_for(self) -> list[str]:
        return self._waiting

    def available(self) -> list[Version]:
        """Those of this worker, which have their servables."""
        return [version for version in super().all_versions() if version.state is State.AVAILABLE]

    # === What the others are told ===

    def reconcile(self, model: str, *, look: bool = True) -> None:
        super().reconcile(model, look=look)
        self._changed()

    def ensure(self, model: str) -> None:
        super().ensure(model)
        self._changed()

    def set_models(self, *args: Any, **options: Any) -> None:
        super().set_models(*args, **options)
        self._changed()

    def check(self, models: Sequence[ModelConfig], *, unavailable: bool) -> None:
        """Whether `set_models` would take these models' labels.

        Raises:
            ServingError: it would not.
        """
        with self._lock:
            self._check_labels({model.name: model.labels for model in models}, unavailable)

    def _load(self, version: Version) -> None:
        super()._load(version)
        self._changed()

    def _load_whole(self, version: Version) -> Servable:
        self._changed()  # it is LOADING
        return super()._load_whole(version)


class SharedSource(Source):
    """A source that is told which models there are, instead of listing them again."""

    _manager: SharedManager

    def allow_all_labels(self, allowed: bool) -> None:
        """A worker that comes later gets the labels before its versions are available."""
        self._lenient = allowed

    _lenient = False

    @property
    def generation(self) -> int:
        """How often the models have been replaced."""
        return self._generation

    def check(self, models: Sequence[ModelConfig]) -> None:
        """Whether `replace` would take these models.

        Raises:
            ServingError: it would not.
        """
        self._manager.check(models, unavailable=self._unavailable_labels)

    def replace(self, models: Sequence[ModelConfig]) -> None:
        strict = self._unavailable_labels
        with self._lock:
            self._unavailable_labels = strict or self._lenient
            try:
                super().replace(models)
            finally:
                self._unavailable_labels = strict


def models_to_json(models: Sequence[ModelConfig]) -> list[dict[str, Any]]:
    """As a part of a message."""
    return [asdict(model) for model in models]


def models_from_json(rows: Sequence[dict[str, Any]]) -> list[ModelConfig]:
    """What `models_to_json` gave."""
    return [ModelConfig(**{**row, "policy": _policy(row["policy"])}) for row in rows]


def _policy(row: dict[str, Any]) -> VersionPolicy:
    return VersionPolicy(row["kind"], row["count"], tuple(row["versions"]))
