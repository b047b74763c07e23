"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def errors() -> Console:
    """Standard error, where progress goes so that standard output can be piped."""
    return Console(stderr=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Prints a table; numbers are aligned right."""
    rows = [[cell(value) for value in row] for row in rows]
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = rows and all(_is_number(row[index]) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    # Away from a terminal nobody sees a width: lines stay whole there.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(drawn, highlight=False, markup=False)


def json_lines(data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Prints data as indented JSON."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
