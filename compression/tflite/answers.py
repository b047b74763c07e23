"""Answers of a TFLite file in this process, by the code that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BATCH = 256


def ask(
    content: bytes, inputs: Mapping[str, np.ndarray], *, batch_size: int = BATCH
) -> dict[str, np.ndarray]:
    """Output name → `(examples, …)`, of the signature `serving_default`.

    Args:
        content: of a `model.tflite`.
        inputs: input name → `(examples, …)` of the signature's own types.
        batch_size: how many are computed at a time.

    Raises:
        ServingError: a file that does not load, or inputs that do not fit it.
    """
    import numpy as np

    from serving.server.predict import prepare, signature_for
    from serving.server.tflite import TFLiteServable

    servable = TFLiteServable(content, 1)
    try:
        signature = signature_for(servable, "")
        count = len(next(iter(inputs.values())))
        parts = []
        for start in range(0, max(count, 1), batch_size):
            rows = {name: array[start : start + batch_size] for name, array in inputs.items()}
            parts.append(prepare(servable, signature, rows).now())
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    finally:
        servable.close()
