"""The report as a picture: size, latency, throughput and accuracy of every version, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compression.report import chain_text
from zoo.pictures import figure, png

COLOUR, PARENT = "#4878a8", "#b0b0b0"
LONGEST = 44  # characters of a label's line


def picture(report: Mapping[str, Any]) -> bytes:
    """PNG with four rows of bars, a bar for each measured version, the parents in grey.

    Sizes and speeds are on logarithmic axes with their figure beside each bar; accuracy has its
    95 % interval.
    """
    found = [version for version in report["versions"] if version["measured"]]
    labels = [_label(version) for version in found]
    drawing, grid = figure(2, (12, 2.2 + 1.1 * max(len(found), 2)), rows=2)
    measured = [version["measured"] for version in found]
    colours = [PARENT if version["parent"] is None else COLOUR for version in found]
    place = "served" if all(row.get("served") for row in measured) else "in_process"
    where = {"served": "served over gRPC", "in_process": "in process"}[place]

    def bars(axis: Any, values: Sequence[float], title: str, form: str) -> None:
        _bars(axis, labels, values, colours, form)
        axis.set_title(title, fontsize=10)

    kibibytes = [row["gzip_bytes"] / 1024 for row in measured]
    bars(grid[0][0], kibibytes, "size, gzip KiB (less is better)", ",.1f")
    _accuracy(grid[0][1], labels, measured, colours)
    latency = [row[place]["batch_1"]["p50_ms"] for row in measured]
    bars(grid[1][0], latency, f"p50 at batch 1, ms, {where} (less is better)", ".3f")
    rates = [row[place]["batch_32"]["examples_per_second"] for row in measured]
    bars(grid[1][1], rates, f"examples a second at batch 32, {where} (more is better)", ",.0f")
    for row in grid:
        row[1].set_yticklabels([])
    drawing.suptitle(f"Versions of {report['name']}")
    return png(drawing)


def _bars(
    axis: Any, labels: Sequence[str], values: Sequence[float], colours: Sequence[str], form: str
) -> None:
    places = range(len(values))
    axis.barh(places, values, color=colours)
    axis.set_yticks(places, labels, fontsize=8)
    axis.invert_yaxis()
    if values:
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 3, max(values) * 4)
    for position, value in enumerate(values):
        axis.text(value * 1.06, position, f"{value:{form}}", va="center", fontsize=8)
    axis.grid(axis="x", alpha=0.3)


def _accuracy(
    axis: Any,
    labels: Sequence[str],
    measured: Sequence[Mapping[str, Any]],
    colours: Sequence[str],
) -> None:
    values = [row["quality"]["value"] for row in measured]
    widths = [row["quality"]["interval"] for row in measured]
    for position, (value, width, colour) in enumerate(zip(values, widths, colours, strict=True)):
        axis.errorbar(
            value, position, xerr=width, fmt="o", color=colour, ecolor="#404040", capsize=3
        )
        axis.annotate(
            f"{value:.4f}", (value, position), (0, 8), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_ylim(len(labels) - 0.5, -0.7)
    if measured:
        axis.set_title(f"{measured[0]['quality']['metric']} with 95 % interval", fontsize=10)
    axis.grid(axis="x", alpha=0.3)


def _label(version: Mapping[str, Any]) -> str:
    text = f"{version['version']}: {chain_text(version['chain'])}"
    lines, line = [], ""
    for part in text.replace("+", "+\n").split("\n"):
        if len(line) + len(part) > LONGEST:
            lines.append(line)
            line = ""
        line += part
    return "\n".join([*lines, line])
