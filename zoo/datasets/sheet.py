"""A sheet of samples: images in a grid, sequences as lines, tables as heat, texts as text."""

from __future__ import annotations

import textwrap
import warnings
from typing import Any

import numpy as np

from zoo.datasets.base import Dataset
from zoo.pictures import figure, png

# DejaVu has no Chinese; matplotlib goes through the list for what is missing.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "PingFang SC", "SimHei")
LONGEST_LABEL = 24


def sheet(data: Dataset, split: str = "train", seed: int = 0) -> bytes:
    """PNG of some examples with their labels, the same ones for the same seed.

    Of a task with classes every class comes in turn.
    """
    x = next(iter(data.split(split).arrays().values()))
    if x.dtype.kind in "iu":
        made = _texts(data, split, _rows(data, split, 14, seed))
    elif x.ndim == 4:
        made = _images(data, split, _rows(data, split, 40, seed))
    elif x.ndim == 3:
        made = _sequences(data, split, _rows(data, split, 12, seed))
    else:
        made = _table(data, split, _rows(data, split, 24, seed))
    made.suptitle(f"{data.name}, {split}: {len(data.split(split)):,} examples")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        drawn = png(made)
        if any("missing from" in str(warning.message) for warning in said):
            made.supxlabel("boxes: letters that no font of this machine has", fontsize=8)
            drawn = png(made)
    return drawn


def _rows(data: Dataset, split: str, count: int, seed: int) -> list[int]:
    """Random examples, sorted by class; of every class as many where that can be."""
    y = data.split(split).y
    random = np.random.RandomState(seed)
    order = random.permutation(len(y))
    if not data.task.predicts_classes:
        return [int(row) for row in order[:count]]
    labels = y.reshape(len(y)).astype("int64")[order]
    # The nth example of its class, so that first ones come first.
    nth = np.zeros(len(labels), "int64")
    for label in np.unique(labels):
        nth[labels == label] = np.arange((labels == label).sum())
    chosen = np.argsort(nth, kind="stable")[:count]
    return [int(order[index]) for index in sorted(chosen, key=lambda index: labels[index])]


def _images(data: Dataset, split: str, rows: list[int]) -> Any:
    columns = 10
    lines = -(-len(rows) // columns)
    made, axes = figure(columns, (columns, 1.25 * lines + 0.5), rows=lines)
    for axis in axes.ravel():
        axis.axis("off")
    for axis, row in zip(axes.ravel(), rows, strict=False):
        image = data.split(split).x[row]
        axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray")
        axis.set_title(_label(data, split, row), fontsize=8)
    return made


def _sequences(data: Dataset, split: str, rows: list[int]) -> Any:
    made, axes = figure(4, (11, 6.5), rows=3)
    for axis in axes.ravel()[len(rows) :]:
        axis.axis("off")
    for axis, row in zip(axes.ravel(), rows, strict=False):
        series = data.split(split).x[row]
        real = np.flatnonzero(np.any(series != 0, axis=-1))
        axis.plot(series[: real[-1] + 1 if real.size else 0], linewidth=1)
        axis.set_xlim(0, len(series) - 1)
        axis.set_title(_label(data, split, row), fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    return made


def _table(data: Dataset, split: str, rows: list[int]) -> Any:
    values = data.split(split).x[rows]  # (n, features)
    made, ((axis,),) = figure(1, (max(5.0, 0.16 * values.shape[1] + 3.5), 0.24 * len(rows) + 1.4))
    limit = float(np.quantile(abs(values), 0.98)) or 1.0
    drawn = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_yticks(range(len(rows)), [_label(data, split, row) for row in rows], fontsize=8)
    axis.set_xlabel("feature, as the model takes it")
    made.colorbar(drawn, ax=axis, shrink=0.8)
    return made


def _texts(data: Dataset, split: str, rows: list[int]) -> Any:
    labels = data.task.predicts_classes
    width, families = 125 if labels else 80, _fonts()
    cells = []
    for row in rows:
        text = _short(str(data.raw(split, row)), 2 * width - 10)
        answer = _label(data, split, row) if labels else str(data.label(split, row))
        answer = _short(answer, 2 * width)
        cells.append((_wrapped(text, width), _wrapped(answer, 22 if labels else 80)))
    lines = sum(max(left.count("\n"), right.count("\n")) + 2 for left, right in cells)
    made, ((axis,),) = figure(1, (11, 0.17 * lines + 0.6))
    axis.axis("off")
    axis.set_ylim(lines, 0)
    axis.set_xlim(0, 1)
    place = 0.5
    for left, right in cells:
        options = {"va": "top", "fontsize": 8, "family": families, "parse_math": False}
        axis.text(0, place, left, **options)
        axis.text(0.85 if labels else 0.52, place, right, weight="bold", **options)
        place += max(left.count("\n"), right.count("\n")) + 2
    return made


def _fonts() -> list[str]:
    from matplotlib.font_manager import get_font_names

    there = set(get_font_names())
    return [name for name in FONTS if name in there]


def _label(data: Dataset, split: str, row: int) -> str:
    label = data.label(split, row)
    return f"{label:g}" if isinstance(label, float) else _short(str(label), LONGEST_LABEL)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or " "
