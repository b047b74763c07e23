"""Examples that show a converter which values activations take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compression.subject import Subject
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    import keras
    import numpy as np


def examples(
    subject: Subject, calibration: int | np.ndarray | Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Input name → `(examples, …)`, of the model's own types.

    Args:
        calibration: how many examples of the training split to draw with the subject's seed, or
            the examples themselves: one array, or one for each input by name.

    Raises:
        InvalidOption: a number below 1, no examples, or arrays that do not fit the inputs.
    """
    import numpy as np

    if isinstance(calibration, (int, np.integer)) and not isinstance(calibration, bool):
        if calibration < 1:
            raise InvalidOption(f"calibration is {calibration}: at least 1 example is needed.")
        split = subject.dataset.train
        count = min(int(calibration), len(split))
        rows = np.random.default_rng(subject.seed).choice(len(split), count, replace=False)
        calibration = split.inputs(np.sort(rows))
    return fitted(subject.model, calibration)


def fitted(model: keras.Model, arrays: Any) -> dict[str, np.ndarray]:
    """The arrays by input name, once their shapes are known to fit."""
    import numpy as np

    if not isinstance(arrays, Mapping):
        if len(model.inputs) != 1:
            names = ", ".join(tensor.name for tensor in model.inputs)
            raise InvalidOption(
                f"Calibration data is one array and {model.name} has the inputs {names}: give a "
                "mapping from their names."
            )
        arrays = {model.inputs[0].name: arrays}
    found = {}
    for tensor in model.inputs:
        if tensor.name not in arrays:
            raise InvalidOption(f"Calibration data lacks the input {tensor.name!r}.")
        array, wanted = np.asarray(arrays[tensor.name]), tuple(tensor.shape)
        fits = array.ndim == len(wanted) and all(
            size is None or size == given
            for size, given in zip(wanted[1:], array.shape[1:], strict=True)
        )
        if not fits:
            raise InvalidOption(
                f"Calibration data for {tensor.name!r} has shape {array.shape} and the model takes "
                f"{wanted}."
            )
        if not len(array):
            raise InvalidOption(f"Calibration data for {tensor.name!r} has no examples.")
        found[tensor.name] = array.astype(tensor.dtype)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        raise InvalidOption(f"Calibration data has different numbers of examples: {counts}.")
    return found
