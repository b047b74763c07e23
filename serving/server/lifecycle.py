"""The life of one version: its states, who is using it, and what its last error was."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from serving.server.servable import Servable
from serving.server.status import Code, ServingError


class State(IntEnum):
    """ModelVersionStatus.State: the same names and numbers."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass
class Version:
    """One version of one model, from the moment it is wanted. The manager's lock guards it.

    `users` counts the requests under way: the session is closed when the version has been
    retired and the last of them has finished.
    """

    model: str
    number: int
    path: Path
    state: State = State.START
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0
    attempts: int = 0
    retry_at: float | None = None  # time.monotonic() of the next try, None where none is due
    fingerprint: tuple = field(default=(), repr=False)  # of the folder when the last try began

    def __str__(self) -> str:
        return f"{{name: {self.model} version: {self.number}}}"

    @property
    def outcome(self) -> ServingError | None:
        """Why it was given up: nobody is told of an error while it is still tried again."""
        return self.error if self.state is State.END else None

    @property
    def code(self) -> Code:
        return self.outcome.code if self.outcome else Code.OK

    @property
    def message(self) -> str:
        return self.outcome.message if self.outcome else ""


def fingerprint(path: Path) -> tuple:
    """Names, sizes and times of a version's files: it changes while the folder is being filled."""
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                stat = os.stat(os.path.join(folder, name))
            except OSError:  # gone between listing and looking: a change as well
                continue
            found.append((folder, name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(sorted(found))
