"""Loading `.keras` files that hold layers of this package."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import RunError
from zoo.layers import layers_for

if TYPE_CHECKING:
    import keras


def load_model(path: str | Path) -> keras.Model:
    """Loads a `.keras` file; the layers of `zoo.layers` are known to Keras afterwards.

    Raises:
        RunError: the file is missing or damaged.
    """
    import keras

    layers_for(keras)
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path} does not exist.")
    try:
        # Keras's own safe mode: a `.keras` file with pickled code (Lambda) is refused.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a damaged archive
        raise RunError(f"{path} is not a readable Keras model: {_first_line(error)}.") from error


def weights_file(model: keras.Model) -> bytes:
    """The content of a `.weights.h5` file, without optimizer state.

    The HDF5 library ends the process when a file it writes meets a full disk. A `.keras` file
    holds the same HDF5 file, which Keras makes in memory; so it is taken out of one of these.

    Raises:
        RunError: the temporary folder is full.
    """
    import keras

    plain = keras.Model(model.inputs, model.outputs, name=model.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        try:
            plain.save(path)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}.") from error
        with zipfile.ZipFile(path) as archive:
            return archive.read("model.weights.h5")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
