"""How large a version is: the bytes of the model's own files, raw and compressed."""

from __future__ import annotations

import gzip
from pathlib import Path

LEVEL = 9  # of gzip
TFLITE = "model.tflite"
SAVED_MODEL = ("saved_model.pb", "fingerprint.pb")
FOLDERS = ("variables", "assets")


def own_files(version: Path, *, tflite: bool | None = None) -> list[Path]:
    """The files that a server reads to run the model, sorted.

    `model.tflite`, or the graph, variables and assets of a SavedModel. The model card and the
    warmup requests are left out: they are the same for every form of a model.

    Args:
        version: folder `store/NAME/VERSION`.
        tflite: which of the two where a version holds both; default: what a server with
            `--prefer_tflite_model` takes.
    """
    if tflite if tflite is not None else (version / TFLITE).is_file():
        return [version / TFLITE]
    found = [version / name for name in SAVED_MODEL if (version / name).is_file()]
    for folder in FOLDERS:
        found += [path for path in (version / folder).rglob("*") if path.is_file()]
    # Another runtime's model is whatever its folder holds.
    return sorted(found or (path for path in version.rglob("*") if path.is_file()))


def sizes(version: Path, *, tflite: bool | None = None) -> dict[str, int]:
    """`bytes` and `gzip_bytes` of the model's own files, each file compressed by itself."""
    contents = [path.read_bytes() for path in own_files(version, tflite=tflite)]
    return {
        "bytes": sum(map(len, contents)),
        "gzip_bytes": sum(len(gzip.compress(content, LEVEL, mtime=0)) for content in contents),
    }


def stored_weights(version: Path) -> dict[str, int] | None:
    """`parameters` and `nonzero` of a SavedModel's float variables; None for a TFLite model.

    For a version whose trained Keras model is not at hand.
    """
    if not (version / "variables" / "variables.index").is_file():
        return None
    import numpy as np
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    found = {"parameters": 0, "nonzero": 0}
    for name, dtype in reader.get_variable_to_dtype_map().items():
        # Keras's own export writes each variable once more under this name.
        if dtype.is_floating and not name.startswith("_all_variables/"):
            value = reader.get_tensor(name)
            found["parameters"] += value.size
            found["nonzero"] += int(np.count_nonzero(value))
    return found
