"""The child's side: a SavedModel becomes a TFLite file. See compression/isolated.py.

In the folder it is given: `job.json`, `saved_model/` and, for full int8, `calibration.npz`; it
writes `model.tflite`, or `refusal.txt` with the sentence for a model that cannot be converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.isolated import read_json

if TYPE_CHECKING:
    import numpy as np

JOB, SAVED_MODEL, CALIBRATION = "job.json", "saved_model", "calibration.npz"
RESULT, REFUSAL = "model.tflite", "refusal.txt"


def convert(folder: Path) -> None:
    """`saved_model` → `model.tflite`, quantized as the job says."""
    job = read_json(folder / JOB)
    from zoo import quiet

    quiet.load_tensorflow()
    import tensorflow as tf

    from compression.tflite import flatbuffer
    from compression.tflite.embeddings import use_lookups
    from compression.tflite.weights import quantize_weights

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / SAVED_MODEL), signature_keys=["serving_default"]
    )
    activations, weights = job["activations"], job["weights"]
    if activations == "int8" or weights == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if activations == "int8":
        converter.representative_dataset = _one_by_one(folder / CALIBRATION)
    try:
        content = converter.convert()
    except Exception as error:
        operations = _flex_operations(str(error))
        if not operations:
            raise
        (folder / REFUSAL).write_text(
            f"TFLite has no operation {', '.join(operations)}, which this model needs: keep it as "
            "a SavedModel.",
            encoding="utf-8",
        )
        return
    if activations != "int8" and weights in ("int8", "int4"):
        model = flatbuffer.read(content)
        use_lookups(model)
        content = quantize_weights(flatbuffer.write(model), job)
    (folder / RESULT).write_bytes(flatbuffer.stripped(content))


def _flex_operations(message: str) -> list[str]:
    """Names in the converter's message about operations outside TFLite's own."""
    found = re.search(r"(?:Flex|TF Select|Custom) ops: ([\w, .]+)", message)
    return [name.strip() for name in found[1].split(",")] if found else []


def _one_by_one(path: Path) -> Callable[[], Iterator[tuple[str, dict[str, Any]]]]:
    """Examples as the converter asks for them: a batch of one at a time, with the signature."""
    arrays = read_arrays(path)

    def batches() -> Iterator[tuple[str, dict[str, Any]]]:
        for row in range(len(next(iter(arrays.values())))):
            yield "serving_default", {name: a[row : row + 1] for name, a in arrays.items()}

    return batches


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    import numpy as np

    np.savez(path, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    with np.load(path, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def crash(folder: Path) -> None:
    """Ends this process as a fault in the converter does; to see what is made of it."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)
