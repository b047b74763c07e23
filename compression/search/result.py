"""What a search found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.subject import Subject


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What a search found.

    Attributes:
        chosen: the best subject within the budget, in its form.
        stack: its techniques, to be had again with `compression.stacks.apply`.
        trials: rows of all trials in their order, those that were impossible too.
        front: rows that no other is better than in size, latency and validation metric.
        baseline: row of the model as it came, a float32 SavedModel.
        test: `baseline`, `chosen`, `drop`, `drop_interval`, `agreement` on the test split.
        notes: sentences about what to keep in mind.
        folder: of the trials; None where none was given.
        version: folder of the published version; None without a store.
    """

    chosen: Subject
    stack: str
    trials: Sequence[Mapping[str, Any]]
    front: Sequence[Mapping[str, Any]]
    baseline: Mapping[str, Any]
    test: Mapping[str, Any]
    notes: Sequence[str]
    folder: Path | None
    version: Path | None

    def to_json(self) -> dict[str, Any]:
        """Everything but the model."""
        return {
            "stack": self.stack,
            "trials": [dict(row) for row in self.trials],
            "front": [dict(row) for row in self.front],
            "baseline": dict(self.baseline),
            "test": dict(self.test),
            "notes": list(self.notes),
            "version": None if self.version is None else str(self.version),
        }
