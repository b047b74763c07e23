"""The benchmark's tables, on a terminal and in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("model", "stack", "gzip", "batch 1", "batch 32", "drop", "served 1", "served 32", "met")
PEER_COLUMNS = ("model", "version", "gzip KiB", "gzip", "batch 1", "batch 32", "accuracy")


def targets(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Reached and asked for, a line for each model."""
    return [
        [
            row["name"],
            row["stack"],
            f"{row['ratios']['gzip_bytes']:.3f} (≤ {row['targets']['gzip']:g})",
            f"{row['ratios']['in_process_batch_1']:.1f}× (≥ {row['targets']['batch_1']:g}×)",
            f"{row['ratios']['in_process_batch_32']:.1f}× (≥ {row['targets']['batch_32']:g}×)",
            f"{row['drop']:+.4f} (≤ {row['targets']['drop']:g})",
            f"{row['ratios']['served_batch_1']:.1f}×",
            f"{row['ratios']['served_batch_32']:.1f}×",
            verdict(row["met"]),
        ]
        for row in rows
    ]


def verdict(met: Mapping[str, bool]) -> str:
    """`all`, or what is missed."""
    missed = [name.replace("_", " ") for name, reached in met.items() if not reached]
    return f"not {', '.join(missed)}" if missed else "all"


def versions(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Every measured version, in process."""
    return [
        [
            row["name"],
            version["name"],
            f"{version['gzip_bytes'] / 1024:,.1f}",
            f"{version['ratios']['gzip_bytes']:.3f}",
            f"{version['ratios']['in_process_batch_1']:.2f}×",
            f"{version['ratios']['in_process_batch_32']:.2f}×",
            f"{version['quality']['value']:.4f} ± {version['quality']['interval']:.4f}",
        ]
        for row in rows
        for version in row["versions"]
    ]


def distilled(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The student with and without its teacher, over the seeds."""
    return [
        [
            row["name"],
            f"{row['parameters']['student']:,}",
            f"{row['teacher']:.4f}",
            *(
                f"{row[kind]['mean']:.4f} ({row[kind]['spread']:.4f})"
                for kind in ("distilled", "scratch")
            ),
            f"{row['gain']:+.4f}",
            f"{row['wins']} of {len(row['distilled']['values'])}",
        ]
        for row in rows
    ]


DISTILLED_COLUMNS = (
    "model", "student's parameters", "teacher", "distilled, mean (spread)",
    "from scratch, mean (spread)", "gain", "at least as good",
)  # fmt: skip


def markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a page; the first column is code."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in cells]
    return lines
