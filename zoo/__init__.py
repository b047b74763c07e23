"""Keras 3 model builders, recipes, training and servable exports."""

from __future__ import annotations

from zoo.registry import build, get, list_models

__all__ = ["__version__", "build", "get", "list_models"]
__version__ = "0.1.0"
