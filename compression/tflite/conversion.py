"""From a Keras 3 model to the bytes of a TFLite file."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compression import isolated
from compression.errors import NotApplicable
from compression.tflite import layers, worker
from compression.tflite.process import converter

if TYPE_CHECKING:
    import keras
    import numpy as np

LONGEST_UNROLLED = 512  # steps of a cell there is no loop for; each is a copy of its operations


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What a TFLite file stores and computes with.

    Attributes:
        weights: float32, float16, int8 or int4.
        embeddings: tables that rows are looked up in, float32, int8 or int4.
        activations: float32: weights are turned into floats first; dynamic: inputs of products
            are quantized to int8 while it runs; int8: everything is, with ranges from examples.
        granularity: channel for a scale for each output channel or row; tensor for one in all,
            which keeps equal weights equal.
    """

    weights: str = "float32"
    embeddings: str = "float32"
    activations: str = "float32"
    granularity: str = "channel"


def convert(
    model: keras.Model,
    numbers: Numbers = Numbers(),
    *,
    calibration: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """The content of a `model.tflite` that answers as the model does.

    It has the one signature `serving_default` with the model's own tensors by name, float32 or
    int32, and a free batch size. Recurrent layers are loops over plain tensors. Only TFLite's
    builtin operations are in it, so that every runtime reads it. The model is left as it was.

    Args:
        model: functional, with a batch axis in front of everything.
        numbers: what it stores and computes with.
        calibration: input name → examples, for activations in int8.

    Raises:
        NotApplicable: an operation that TFLite does not have, or a sequence too long to unroll.
        ConverterCrashed: the converter ended with an error or a signal.
    """
    from compression.tflite import saved

    with tempfile.TemporaryDirectory(prefix="tflite-") as name:
        folder = Path(name)
        never = layers.NEVER_IN_INT8 if numbers.activations == "int8" else layers.NEVER
        saved.write(model, folder / worker.SAVED_MODEL, LONGEST_UNROLLED, never=never)
        isolated.write_json(folder / worker.JOB, dataclasses.asdict(numbers))
        if calibration is not None:
            worker.write_arrays(folder / worker.CALIBRATION, calibration)
        return run_worker("convert", folder, f"Converting {model.name} to TFLite")


def run_worker(function: str, folder: Path, what: str) -> bytes:
    """A function of worker.py in a child process, and the file that it wrote.

    Raises:
        NotApplicable: what the worker found the model to be unfit for.
        ConverterCrashed: it ended with an error or a signal.
    """
    converter.run(f"compression.tflite.worker:{function}", folder, what)
    refusal = folder / worker.REFUSAL
    if refusal.is_file():
        raise NotApplicable(refusal.read_text(encoding="utf-8"))
    return (folder / worker.RESULT).read_bytes()
