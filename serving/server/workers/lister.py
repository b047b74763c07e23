"""Which models there are, asked once for all workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, cast

from serving.config.models import ModelConfig
from serving.server.manager import Manager
from serving.server.source import NOT_RELOADED, ListModels, Source
from serving.server.workers.channel import Message
from serving.server.workers.hub import Hub
from serving.server.workers.shared import models_to_json

_FAILED = "reload"


class Lister(Source):
    """A source that hands its models to the workers instead of a manager.

    Args:
        list_models: as a source's.
        seconds: between two calls of it; 0 for one.
    """

    def __init__(self, list_models: ListModels, seconds: float):
        super().__init__(cast(Manager, None), list_models, 0, seconds)
        self._listed = list_models()
        self.due = time.monotonic() + seconds if seconds > 0 else float("inf")
        self._hub: Any = None
        self._pending = False

    @property
    def models(self) -> list[dict[str, Any]]:
        """The models of the start."""
        return models_to_json(self._listed or ())

    def look(self, hub: Hub) -> None:
        """List the models again where that is due, and have the workers serve what is new."""
        if time.monotonic() < self.due:
            return
        self._hub = hub
        if not self._pending:
            self.relist()
        self.later()

    def later(self) -> None:
        """Not before the next time."""
        self.due = time.monotonic() + self._list_seconds

    def replace(self, models: Sequence[ModelConfig]) -> None:
        before, self._pending = self._listed, True

        def done(end: Message) -> None:
            self._pending = False
            if end["code"]:
                self._listed = before  # it is tried again
                self._say(_FAILED, logging.ERROR, f"{NOT_RELOADED}{end['message']}")
            else:
                self._said.pop(_FAILED, None)

        self._hub.reload(models_to_json(models), done, wait=False)
