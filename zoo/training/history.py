"""Loss and metrics by epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from zoo.errors import RunError


class History:
    """Rows of numbers, one an epoch, beginning with epoch 1."""

    def __init__(self, rows: list[dict[str, float]] | None = None):
        self.rows = rows or []

    @classmethod
    def read(cls, path: Path, epochs: int) -> History:
        """The first `epochs` rows of a history.csv.

        Raises:
            RunError: the file is missing, damaged or shorter.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        if [row.get("epoch") for row in rows[:epochs]] != list(range(1, epochs + 1)):
            raise RunError(f"{path} does not hold the {epochs} epochs that run.json names.")
        return cls(rows[:epochs])

    def append(self, epoch: int, numbers: dict[str, float]) -> None:
        self.rows.append({"epoch": epoch, **numbers})

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, the first of equals."""
        return int(min(self.rows, key=lambda row: row["val_loss"])["epoch"])

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.rows]

    def to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"])} for row in self.rows)
        return text.getvalue()
