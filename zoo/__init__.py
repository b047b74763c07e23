"""Keras 3 model builders, recipes, training and servable exports."""

from __future__ import annotations

__version__ = "0.1.0"
