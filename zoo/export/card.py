"""`model_card.json`: what a version is, where it came from, and what it must hash to."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import __version__
from zoo.errors import StoreError

from .store import readable

if TYPE_CHECKING:
    import keras

    from zoo.datasets import Dataset

CARD = "model_card.json"


def describe(
    name: str,
    model: keras.Model,
    dataset: Dataset | None,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    signatures: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything in the card but the checksum, as JSON values."""
    card = {
        "name": name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "task": None,
        "dataset": None,
        "preprocessing": None,
        "metrics": metrics,
        "parameters": {
            "total": model.count_params(),
            "trainable": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        },
        "signatures": signatures,
        "training": training,
        "versions": _versions(),
    }
    if dataset is not None:
        card["task"] = {
            "kind": dataset.task.kind,
            "class_names": list(dataset.task.class_names),
        }
        card["dataset"] = {
            "name": dataset.name,
            "licence": dataset.licence,
            "source": dataset.source,
        }
        if dataset.preprocessing is not None:
            card["preprocessing"] = dataset.preprocessing.to_json()
    return plain(card)


def write_card(version: Path, card: Mapping[str, Any]) -> None:
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    (version / CARD).write_text(text + "\n", encoding="utf-8")


def read_card(version: Path | str) -> dict[str, Any]:
    """The card of a version folder; StoreError if it is missing or damaged."""
    path = Path(version) / CARD
    with readable(path):
        text = path.read_bytes()
    try:
        card = json.loads(text)
    except ValueError as error:
        raise StoreError(f"{path} is not JSON: export the model again.") from error
    if not isinstance(card, dict):
        raise StoreError(f"{path} is not a model card: export the model again.")
    return card


def _versions() -> dict[str, str]:
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "model-zoo-serving": __version__,
    }


def plain(value: Any) -> Any:
    """`value` in JSON's own types; a number that is not finite becomes null, as JSON has none."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
