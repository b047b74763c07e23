"""Loading `.keras` files that hold layers of this package."""

from __future__ import annotations

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


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
