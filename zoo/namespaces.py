"""Keras as a default argument without the seconds that importing it takes."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """Stands for a module and imports it when something of it is first used.

    Builders take the Keras namespace as a default argument, which Python evaluates on import;
    with this in its place, listing the models does not load TensorFlow.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


keras = LazyModule("keras")
