"""Training: one call from a recipe to a run folder with weights, history, plots and metrics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.training.fit import resume, train
    from zoo.training.runs import Run, latest_run

__all__ = ["Run", "latest_run", "resume", "train"]

_homes = {"train": "fit", "resume": "fit", "Run": "runs", "latest_run": "runs"}


def __getattr__(name: str) -> Any:
    # TensorFlow takes seconds to load: only on use.
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_homes[name]}"), name)
