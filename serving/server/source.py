"""The source: knows which models are wanted, and watches their folders for versions."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.config.models import ModelConfig
from serving.config.store import is_version
from serving.config.text import BrokenText, UnreadableFile
from serving.errors import ConfigError
from serving.server.manager import Manager
from serving.server.status import Code, ServingError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

_NO_FILE = "Failed to read ModelServerConfig file: "
NOT_RELOADED = "PollFilesystemAndReloadConfig failed to ReloadConfig: "

ListModels = Callable[[], Sequence[ModelConfig]]


class Source:
    """Polls the folders of the wanted models, and what says which models are wanted.

    Args:
        manager: is told of every change.
        list_models: a store gives its folders, a file its entries. What it raises as ConfigError
            after the start is logged, and the models stay as they are.
        poll_seconds: between looks at the folders; 0 looks once, less than 0 never.
        list_seconds: between calls of `list_models`; 0 calls it once.
        unavailable_labels: whether a new label may go to a version that is not available.
    """

    def __init__(
        self,
        manager: Manager,
        list_models: ListModels,
        poll_seconds: float = 1.0,
        list_seconds: float = 0.0,
        *,
        unavailable_labels: bool = True,
    ):
        self._manager, self._list_models = manager, list_models
        self._poll_seconds, self._list_seconds = poll_seconds, list_seconds
        self._unavailable_labels = unavailable_labels
        self._models: Sequence[ModelConfig] = ()
        self._listed: Sequence[ModelConfig] | None = None
        self._said: dict[str, str] = {}  # what was logged last, so that a poll does not repeat it
        self._lock = threading.RLock()  # one change of the models at a time
        self._generation = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """List and look once now, so that every model is known on return, then in the background.

        Raises:
            ConfigError, ServingError: the first list cannot be read, or its labels be assigned.
        """
        self._listed = self._list_models()
        self.replace(self._listed)
        if self._poll_seconds > 0:
            self._begin(self._poll_seconds, self.poll)
        else:  # loads that failed are tried again all the same
            self._begin(RETRY_SECONDS, self._manager.reconcile_all)
        if self._list_seconds > 0:
            self._begin(self._list_seconds, self.relist)

    def _begin(self, seconds: float, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._loop, args=(seconds, work), daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the polling; no change reaches the manager after the return."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._stop.wait(seconds):
            try:
                work()
            except Exception:  # a bug or a sick disk must not end the polling for good
                log.exception("Polling the models failed; trying again")

    # === Which models ===

    def replace(self, models: Sequence[ModelConfig]) -> None:
        """Serve these models from now on; their folders are looked at once.

        Raises:
            ServingError: FAILED_PRECONDITION for a label that may not be assigned; nothing has
                changed then.
        """
        with self._lock:
            self._manager.set_models(
                {model.name: model.labels for model in models},
                unavailable=self._unavailable_labels,
            )
            log.info("Adding/updating models.")
            for model in models:
                log.info(" (Re-)adding model: %s", model.name)
            self._models = list(models)
            self._generation += 1
            if self._poll_seconds >= 0:
                self.poll()

    def reload(self, models: Sequence[ModelConfig]) -> None:
        """Serve these models; returns when each that is new has an available version.

        Raises:
            ServingError: as `replace`; UNKNOWN where a new model cannot be loaded, ABORTED where
                other models were asked for meanwhile.
        """
        with self._lock:
            new = {model.name for model in models} - {model.name for model in self._models}
            self.replace(models)
            generation = self._generation
        waiting = True
        while waiting:
            waiting = not new.isdisjoint(self._manager.undecided())
            reason = self._manager.unavailable("model", new)
            if self._stop.is_set() or generation != self._generation:
                raise ServingError(Code.ABORTED, "The server was given other models meanwhile.")
            time.sleep(0.02 if waiting else 0)
        if reason:
            raise ServingError(Code.UNKNOWN, reason)

    def relist(self) -> None:
        """List the models again, and serve them where the list has changed."""
        try:
            models = self._list_models()
            if models != self._listed:
                self.replace(models)
                self._listed = models
            self._said.pop("", None)
        except BrokenText as error:
            self._say("", logging.ERROR, f"{error.native}\n{_NO_FILE}{error.invalid}")
        except UnreadableFile as error:
            self._say("", logging.ERROR, f"{_NO_FILE}{error.native}")
        except (ConfigError, ServingError) as error:
            self._say("", logging.ERROR, f"{NOT_RELOADED}{error}")

    # === Which versions ===

    def poll(self) -> None:
        """Look once at each model's folder."""
        with self._lock:
            for model in self._models:
                self._poll_model(model)

    def _poll_model(self, model: ModelConfig) -> None:
        try:
            found = versions_in(Path(model.base_path))
        except OSError as error:
            self._say(
                model.name,
                logging.ERROR,
                "FileSystemStoragePathSource encountered a filesystem access error: "
                + _reason(error, model),
            )
            self._manager.ensure(model.name)  # nothing is unloaded for a disk that went away
            return
        wanted = model.policy.choose(list(found))
        missing = sorted(set(model.policy.versions) - found.keys())
        lines = [
            f"Version {number} of servable {model.name}, which was requested to be served as a "
            "'specific' version in the servable's version policy, was not found in the file system"
            for number in missing
        ]
        if not wanted:
            lines.append(
                f"No versions of servable {model.name} found under base path {model.base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?"
            )
        if lines:
            self._say(model.name, logging.WARNING, "\n".join(lines))
        else:
            self._said.pop(model.name, None)
        self._manager.aspire(model.name, {number: found[number] for number in wanted})

    def _say(self, subject: str, level: int, message: str) -> None:
        if self._said.get(subject) != message:
            self._said[subject] = message
            for line in message.splitlines():
                log.log(level, "%s", line)


def versions_in(base_path: Path) -> dict[int, Path]:
    """Version number → folder, for every child folder with a number for a name.

    Raises:
        OSError: the base path cannot be listed.
    """
    with os.scandir(base_path) as entries:
        children = sorted(entries, key=lambda entry: entry.name)  # of `01` and `1`, the last
    return {int(entry.name): Path(entry.path) for entry in children if is_version(entry)}


def _reason(error: OSError, model: ModelConfig) -> str:
    if not isinstance(error, FileNotFoundError):
        return f"{model.base_path}; {error.strerror}"
    return (
        f"Could not find base path {model.base_path} for servable {model.name} with error "
        f"NOT_FOUND: {model.base_path} not found"
    )
