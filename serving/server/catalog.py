"""The catalog: which models and versions are known, wanted and labelled, and how they stand.

It only looks; the manager is what loads and unloads.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from serving.server.lifecycle import State, Version
from serving.server.status import Code, ServingError, invalid


class Catalog:
    """All models and their versions. Every public method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, dict[int, Version]] = {}
        self._aspired: dict[str, dict[int, Path]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}

    # === What is known ===

    def statuses(self, model: str, version: int | None = None) -> list[Version]:
        """What is known of a model's versions, newest first.

        Raises:
            ServingError: NOT_FOUND for a model, or a version of it, that was never wanted.
        """
        with self._lock:
            known = self._models.get(model, {})
            if version is None:
                if known:
                    return [known[number] for number in sorted(known, reverse=True)]
                message = f"Could not find any versions of model {model}"
            elif version in known:
                return [known[version]]
            else:
                message = f"Could not find version {version} of model {model}"
        raise ServingError(Code.NOT_FOUND, message)

    def all_versions(self) -> list[Version]:
        """Every version of every model that is known."""
        with self._lock:
            return [version for known in self._models.values() for version in known.values()]

    def available(self) -> list[Version]:
        """The versions that answer requests."""
        return [version for version in self.all_versions() if version.state is State.AVAILABLE]

    def labels(self) -> dict[str, dict[str, int]]:
        """Model name → label → version."""
        with self._lock:
            return {name: dict(assigned) for name, assigned in self._labels.items()}

    def model_names(self) -> list[str]:
        """The models that are wanted now, by name."""
        with self._lock:
            return sorted(self._aspired)

    def _find(self, model: str, version: int | None, label: str | None) -> Version:
        versions = self._models.get(model, {})
        if label is not None:
            number = self._labels.get(model, {}).get(label)
            if number is None:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = number
        if version is None:
            available = [n for n, v in versions.items() if v.state is State.AVAILABLE]
            if available:
                return versions[max(available)]
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({model})")
        found = versions.get(version)
        if found is not None and found.state is State.AVAILABLE:
            return found
        raise ServingError(
            Code.NOT_FOUND, f"Servable not found for request: Specific({model}, {version})"
        )

    def _check_labels(self, labels: Mapping[str, Mapping[str, int]], unavailable: bool) -> None:
        for model, assigned in labels.items():
            for label, number in assigned.items():
                version = self._models.get(model, {}).get(number)
                if version is not None and version.state is State.AVAILABLE:
                    continue
                before = self._labels.get(model, {}).get(label, number)
                if not unavailable or before != number:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {model}, which is "
                        "not currently available for inference",
                    )

    # === What is missing ===

    def waiting_for(self) -> list[str]:
        """The wanted models that have no available version."""
        with self._lock:
            return sorted(name for name in self._aspired if not self._available(name))

    def undecided(self, *, patient: bool = True) -> list[str]:
        """Wanted models that may yet get their first available version.

        Args:
            patient: whether to wait for a folder to appear and for failed loads to be tried again.
        """
        with self._lock:
            return [
                name
                for name, aspired in self._aspired.items()
                if not self._available(name)
                and (patient if not aspired else not self._failed_all(name, patient))
            ]

    def failures(self) -> list[Version]:
        """Versions that were given up, of models that have no available one."""
        with self._lock:
            return [
                version
                for name in self._aspired
                if not self._available(name)
                for version in self._models.get(name, {}).values()
                if version.state is State.END and version.error is not None
            ]

    def unavailable(self, what: str = "servable", of: Collection[str] | None = None) -> str:
        """What TensorFlow Serving says of the models that could not be loaded; empty for none.

        Args:
            what: it calls them `servable` at the start and `model` after it.
            of: the models that matter; all of them by default.
        """
        newest = {version.model: version for version in sorted(self.failures(), key=_number)}
        failed = [newest[name] for name in sorted(newest) if of is None or name in of]
        if not failed:
            return ""
        reasons = "".join(
            f"{{{version} due to error: {version.code.name}: {version.message}}}, "
            for version in failed
        )
        return f"{len(failed)} {what}(s) did not become available: {{{reasons}}}"

    def _available(self, model: str) -> bool:
        versions = self._models.get(model, {}).values()
        return any(version.state is State.AVAILABLE for version in versions)

    def _failed_all(self, model: str, for_good: bool) -> bool:
        known = self._models.get(model, {})
        return all(
            number in known
            and known[number].error is not None
            and (known[number].state is State.END or not for_good)
            for number in self._aspired[model]
        )


def _number(version: Version) -> int:
    return version.number
