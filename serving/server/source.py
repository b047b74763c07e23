"""The source: watches the file system and tells the manager which versions are wanted."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.config.models import ModelConfig
from serving.config.store import is_version
from serving.errors import ConfigError
from serving.server.manager import Manager

log = logging.getLogger(__name__)


class Source:
    """Polls the folders of the models that `list_models` names.

    Args:
        manager: is told of every change.
        list_models: called at each poll; a store gives its folders, a file its entries. What it
            raises as ConfigError is logged, and the models stay as they are.
        poll_seconds: between polls; 0 polls once at the start, less than 0 never.
    """

    def __init__(
        self,
        manager: Manager,
        list_models: Callable[[], Sequence[ModelConfig]],
        poll_seconds: float = 1.0,
    ):
        self._manager, self._list_models = manager, list_models
        self._poll_seconds = poll_seconds
        self._models: Sequence[ModelConfig] = ()
        self._said: dict[str, str] = {}  # what was logged last, so that a poll does not repeat it
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Poll once now, so that every model is known on return, then in the background."""
        if self._poll_seconds < 0:
            return
        self.poll()
        if self._poll_seconds > 0:
            self._thread = threading.Thread(target=self._loop, name="poll", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the polling; no change reaches the manager after the return."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:  # a bug or a sick disk must not end the polling for good
                log.exception("Polling the model folders failed; trying again")

    def poll(self) -> None:
        """Look once at the list of models and at each of their folders."""
        try:
            models = self._list_models()
            self._said.pop("", None)
        except ConfigError as error:
            self._say("", logging.ERROR, str(error))
            models = self._models
        if [m.name for m in models] != [m.name for m in self._models]:
            for model in models:
                if model not in self._models:
                    log.info("(Re-)adding model: %s", model.name)
        if models != self._models:
            self._manager.set_models({model.name: model.labels for model in models})
        self._models = models
        for model in models:
            self._poll_model(model)

    def _poll_model(self, model: ModelConfig) -> None:
        try:
            found = versions_in(Path(model.base_path))
        except OSError as error:
            self._say(
                model.name,
                logging.ERROR,
                "FileSystemStoragePathSource encountered a filesystem access error: Could not find "
                f"base path {model.base_path} for servable {model.name} with error NOT_FOUND: "
                f"{model.base_path} {_reason(error)}",
            )
            self._manager.ensure(model.name)  # nothing is unloaded for a disk that went away
            return
        if found:
            self._said.pop(model.name, None)
        else:
            self._say(
                model.name,
                logging.WARNING,
                f"No versions of servable {model.name} found under base path {model.base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            )
        wanted = model.policy.choose(list(found))
        self._manager.aspire(model.name, {number: found[number] for number in wanted})

    def _say(self, subject: str, level: int, message: str) -> None:
        if self._said.get(subject) != message:
            self._said[subject] = message
            log.log(level, "%s", message)


def versions_in(base_path: Path) -> dict[int, Path]:
    """Version number → folder, for every child folder with a number for a name.

    Raises:
        OSError: the base path cannot be listed.
    """
    with os.scandir(base_path) as entries:
        return {int(entry.name): Path(entry.path) for entry in entries if is_version(entry)}


def _reason(error: OSError) -> str:
    return "not found" if isinstance(error, FileNotFoundError) else str(error.strerror)
