"""What a search shows: the table of trials, and the Pareto front as PNG and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.search import saved

if TYPE_CHECKING:
    from rich.console import Console

    from compression.search.result import Result

PANELS = (("gzip_bytes", 1e-3, "size, gzip [kB]"), ("latency_ms", 1.0, "batch of 1 [ms]"))


def write(result: Result, folder: Path, max_drop: float) -> None:
    """`result.json`, `front.json` and `front.png` in the folder."""
    saved.write(folder / "front.json", [dict(row) for row in result.front])
    (folder / "front.png").write_bytes(picture(result, max_drop))
    saved.write(folder / "result.json", result.to_json())


def table(result: Result, max_drop: float, console: Console) -> None:
    """All trials, the baseline first; a star for the chosen one."""
    from rich.table import Table

    metric = result.baseline["metric"]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("stack", overflow="fold")
    heads = ("kB", "MACs", metric, "drop", "agree", "×1", "×32", "")
    for head in heads:
        shown.add_column(head, justify="right")
    for row in [result.baseline, *result.trials]:
        if row["status"] != "done":
            shown.add_row(row["stack"], *[""] * (len(heads) - 1), "impossible")
            continue
        agreement = row["agreement"]
        verdict = "chosen" if row["stack"] == result.stack else ""
        shown.add_row(
            row["stack"],
            f"{row['gzip_bytes'] / 1000:,.1f}",
            _count(row["macs"]),
            f"{row['validation']:.4f}",
            f"{row['drop']:+.4f}",
            "" if agreement is None else f"{agreement:.4f}",
            f"{row['speed_1']:.2f}",
            f"{row['speed_32']:.2f}",
            verdict or ("" if row["drop"] <= max_drop + 1e-9 else "over"),
        )
    console.print(shown)
    test = result.test
    console.print(
        f"Test split: {metric} {test['baseline']['value']:.4f} before, "
        f"{test['chosen']['value']:.4f} after.",
        highlight=False,
    )


def picture(result: Result, max_drop: float) -> bytes:
    """PNG: the metric over size and over latency; the front joined, the budget as a line."""
    import io

    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    rows = [row for row in [result.baseline, *result.trials] if row["status"] == "done"]
    names = {row["stack"] for row in result.front}
    budget = result.baseline["validation"] - max_drop
    for axes, (key, scale, label) in zip(figure.subplots(1, 2, sharey=True), PANELS, strict=True):
        for row in rows:
            style = _style(row, result, names)
            axes.scatter(row[key] * scale, row["validation"], **style)
        axes.axhline(budget, color="#888888", linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel(f"validation {result.baseline['metric']}")
    figure.axes[0].annotate(
        "budget", (0.01, budget), xycoords=("axes fraction", "data"), va="bottom", fontsize=8,
        color="#666666",
    )  # fmt: skip
    labels = {
        "chosen": "chosen",
        "front": "Pareto front",
        "base": "float32",
        "other": "other trial",
    }
    for kind, text in labels.items():
        figure.axes[1].scatter([], [], **STYLES[kind], label=text)
    figure.axes[1].legend(fontsize=8, loc="lower right")
    figure.suptitle(result.stack, fontsize=9, wrap=True)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


STYLES: Mapping[str, dict[str, Any]] = {
    "chosen": {"marker": "*", "s": 220, "color": "#c23b22", "zorder": 4},
    "front": {"marker": "o", "s": 45, "color": "#1f6fb2", "zorder": 3},
    "base": {"marker": "s", "s": 55, "color": "#333333", "zorder": 3},
    "other": {"marker": "o", "s": 25, "color": "#b0b0b0", "zorder": 2},
}


def _style(row: Mapping[str, Any], result: Result, front: set[str]) -> dict[str, Any]:
    if row["stack"] == result.stack:
        return STYLES["chosen"]
    if row["stack"] == result.baseline["stack"]:
        return STYLES["base"]
    return STYLES["front"] if row["stack"] in front else STYLES["other"]


def _count(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"
