"""Which models of a store can be served by TFLite only."""

from __future__ import annotations

from pathlib import Path

from serving.config.store import store_models

TFLITE_FILE = "model.tflite"
_SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")


def tflite_only(store: Path) -> list[str]:
    """Names of the models whose newest version holds a `model.tflite` and no SavedModel.

    Raises:
        ConfigError: the store is missing or cannot be read.
    """
    return [model.name for model in store_models(store) if _needs_tflite(Path(model.base_path))]


def _needs_tflite(folder: Path) -> bool:
    numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]
    newest = folder / str(max(numbers, default=0))
    has_other = any((newest / name).is_file() for name in _SAVED_MODELS)
    return (newest / TFLITE_FILE).is_file() and not has_other
