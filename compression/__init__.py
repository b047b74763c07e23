"""Compression of zoo models: pruning, quantization, distillation, and a search over all of them.

    from compression import prune, cluster, quantize, distill, shrink, factorize, qat, compress

Each takes a run of the zoo, a `Subject`, or a Keras 3 model with its builder and data.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compression.clustering import cluster
    from compression.distillation import distill
    from compression.low_rank import factorize
    from compression.pruning import prune
    from compression.publish import publish
    from compression.qat import qat
    from compression.quantization import quantize
    from compression.search import compress
    from compression.structured import shrink
    from compression.subject import Subject

__all__ = [
    "Subject",
    "cluster",
    "compress",
    "distill",
    "factorize",
    "prune",
    "publish",
    "qat",
    "quantize",
    "shrink",
]

_homes = {
    "Subject": "subject",
    "cluster": "clustering",
    "compress": "search",
    "distill": "distillation",
    "factorize": "low_rank",
    "prune": "pruning",
    "publish": "publish",
    "qat": "qat",
    "quantize": "quantization",
    "shrink": "structured",
}


class _Package(ModuleType):
    """Keeps functions apart from modules of the same name (`publish`, `qat`).

    Whoever imports such a module sets it as an attribute here, which would hide the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _homes and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        # TensorFlow takes seconds to load: only on use.
        if name not in _homes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_homes[name]}"), name)


sys.modules[__name__].__class__ = _Package
