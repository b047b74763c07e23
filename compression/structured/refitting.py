"""Least-squares repair: what reads the remaining units makes up for those that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.factors import LARGEST, calls_of, layer_inputs

if TYPE_CHECKING:
    from compression.structured.slicing import Narrowed
    from compression.subject import Subject

RIDGE = 1e-3  # of the inputs' mean square: holds weights whose inputs say little


def refit_readers(
    subject: Subject, narrowed: Narrowed, masks: Mapping[str, np.ndarray]
) -> list[str]:
    """Changes Dense and Conv2D layers of a narrower model so that they answer as before.

    From the first layer to the last, kernel and bias of each that reads fewer units are moved by
    ridge regression: on training examples the narrower layer, given what it is given now, should
    say what the subject's layer says about what that one is given. Units that were zero
    everywhere change nothing.

    He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", 2017, section 3.1.2.

    Args:
        subject: with the wider model and the examples.
        narrowed: its model is changed in place.
        masks: of the narrower model; their layers stay as they are.

    Returns:
        Names of the layers that were changed.
    """
    changed = []
    for layer in narrowed.model.layers:
        wide = subject.model.get_layer(layer.name)
        if not _reads_fewer(wide, narrowed) or layer.kernel.path in masks:
            continue
        unknown = int(np.prod(layer.kernel.shape[:-1]))
        if unknown > LARGEST or len(calls_of(subject.model, wide)) != 1:
            continue  # so many equations take too long; a layer of several calls has several
        left = narrowed.kept[wide.kernel.path][-1]
        target = _answers(wide, layer_inputs(subject, subject.model, wide))[:, left]
        given = layer_inputs(subject, narrowed.model, layer)
        _move(layer, given, target - _answers(layer, given))
        changed.append(layer.name)
    return changed


def _reads_fewer(wide: Any, narrowed: Narrowed) -> bool:
    if type(wide).__name__ not in ("Dense", "Conv2D"):
        return False
    return len(narrowed.kept[wide.kernel.path][-2]) < wide.kernel.shape[-2]


def _answers(layer: Any, rows: np.ndarray) -> np.ndarray:
    """Kernel and bias without the activation: `(rows, outputs)`."""
    kernel = np.asarray(layer.kernel)
    answer = rows @ kernel.reshape(-1, kernel.shape[-1])
    return answer if layer.bias is None else answer + np.asarray(layer.bias)


def _move(layer: Any, rows: np.ndarray, missing: np.ndarray) -> None:
    """Adds to kernel and bias what explains `missing` best."""
    kernel = np.asarray(layer.kernel)
    x = rows.astype("float64")
    means = x.mean(axis=0), missing.mean(axis=0, dtype="float64")
    if layer.bias is None:
        means = np.zeros_like(means[0]), np.zeros_like(means[1])
    x -= means[0]
    moment = x.T @ x / len(x)
    moment += RIDGE * max(np.trace(moment) / len(moment), 1e-12) * np.eye(len(moment))
    step = np.linalg.solve(moment, x.T @ (missing - means[1]) / len(x))
    layer.kernel.assign(kernel + step.reshape(kernel.shape).astype("float32"))
    if layer.bias is not None:
        layer.bias.assign(np.asarray(layer.bias) + (means[1] - means[0] @ step).astype("float32"))
