"""Typed errors. Each one's text is a single sentence that a command line prints as it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of every error a user can cause; `str(error)` is one clear sentence."""

    exit_code = 1


class UnknownName(ZooError):
    """A name that no registry knows, with the nearest ones that it does know."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]):
        choices = sorted(choices)
        near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
        near += [choice for choice in choices if name and name in choice and choice not in near]
        hint = (
            f"did you mean {' or '.join(near[:3])}?"
            if near
            else f"choose from {', '.join(choices)}."
        )
        super().__init__(f"Unknown {kind} {name!r}: {hint}")
        self.kind, self.name, self.near = kind, name, tuple(near[:3])


class InvalidOption(ZooError):
    """An option or argument with a value that does not make sense."""

    exit_code = 2


class ShapeError(ZooError):
    """Shapes that do not fit a builder or a model."""


class DataError(ZooError):
    """A data set that cannot be fetched, verified or read."""


class RunError(ZooError):
    """A run folder that is missing, damaged or not in the state asked for."""


class StoreError(ZooError):
    """A model store that cannot be read, written or verified."""


class TrainingDiverged(ZooError):
    """The loss stopped being a finite number."""


class TrainingInterrupted(ZooError):
    """Ctrl-C or SIGTERM ended training; the run folder can be resumed."""

    exit_code = 130


class MissingExtra(ZooError):
    """An optional package that is not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(
            f"This needs {package}, which is not installed: "
            f"run pip install 'model-zoo-serving[{extra}]'."
        )
