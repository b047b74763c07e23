"""Servable exports: versioned SavedModels with named signatures, warmup, model card and checksum.

Importing this package imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

from .card import read_card
from .checksum import verify
from .exporter import export
from .loading import load
from .store import check_name, latest, models, versions

__all__ = [
    "check_name",
    "export",
    "latest",
    "load",
    "models",
    "read_card",
    "verify",
    "versions",
]
