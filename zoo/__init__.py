"""Keras 3 model builders, recipes, training and servable exports."""

from __future__ import annotations

from zoo.registry import build, get, list_models
from zoo.saving import load_model

__all__ = ["__version__", "build", "get", "list_models", "load_model"]
__version__ = "0.1.0"
