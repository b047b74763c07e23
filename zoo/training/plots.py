"""Pictures of a run: curves by epoch, and which classes are taken for which."""

from __future__ import annotations

import numpy as np

from zoo.pictures import figure, png
from zoo.training.history import History


def curves(history: History, metric: str, title: str) -> bytes:
    """PNG of loss and metric by epoch, training and validation."""
    drawing, (axes,) = figure(2, (10, 4))
    epochs = history.column("epoch")
    for axis, name in zip(axes, ("loss", metric), strict=True):
        axis.plot(epochs, history.column(name), label="training")
        axis.plot(epochs, history.column(f"val_{name}"), label="validation")
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
        axis.legend()
    # The first epoch's loss can dwarf all others.
    if max(history.column("loss")) > 20 * max(min(history.column("loss")), 1e-12):
        axes[0].set_yscale("log")
    drawing.suptitle(title)
    return png(drawing)


def confusion_matrix(
    truth: np.ndarray, guess: np.ndarray, class_names: tuple[str, ...], title: str
) -> bytes:
    """PNG of counts, rows the true class, columns the predicted; colour is the row's share."""
    from sklearn.metrics import confusion_matrix as count

    counts = count(truth, guess, labels=range(len(class_names)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.55 * len(class_names) + 2)
    drawing, ((axis,),) = figure(1, (side, side))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(class_names))
    axis.set_xticks(ticks, class_names, rotation=45, ha="right")
    axis.set_yticks(ticks, class_names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title(title)
    if len(class_names) <= 20:
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column]:
                ink = "white" if shares[row, column] > 0.5 else "black"
                axis.text(
                    column, row, counts[row, column], ha="center", va="center", color=ink, size=8
                )
    return png(drawing)
