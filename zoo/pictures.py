"""PNG figures without a display."""

from __future__ import annotations

import io
from typing import Any


def figure(columns: int, size: tuple[float, float], rows: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure and its axes `(rows, columns)`; `size` is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(made)  # no pyplot: no display, nothing global
    return made, made.subplots(rows, columns, squeeze=False)


def png(made: Any) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
