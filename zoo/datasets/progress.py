"""What a user sees while a file is being fetched."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Progress = Callable[[str, int, int], None]
"""Called with what is being fetched, the bytes so far, and the bytes in all."""


@contextlib.contextmanager
def reporting(progress: Progress | None, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the bytes so far: the caller's own, a bar, or a single line.

    The bar is drawn on a terminal; a log gets one line. Both go to standard error.
    """
    if progress is not None:
        yield lambda done: progress(what, done, total)
    elif sys.stderr.isatty():
        with _bar(what, total) as update:
            yield update
    else:
        sys.stderr.write(f"Fetching {what} ({total / 1e6:.0f} MB) ...\n")
        sys.stderr.flush()
        yield lambda done: None


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bar(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(f"Fetching {what}", total=total)
        yield lambda done: bar.update(task, completed=done)
