"""Generation of token sequences as TensorFlow graph code, for exported models too.

A model is turned into a step function whose keys and values are kept between steps (`steps`), and
a search asks the step function for one token after another (`search`, `beam`).
"""

from __future__ import annotations

__all__ = ["CausalSteps", "TranslatorSteps", "beam_search", "greedy", "sample", "translate"]


def __getattr__(name: str):
    """Imports on first use: TensorFlow takes seconds."""
    import importlib

    homes = {
        "beam_search": "beam",
        "greedy": "search",
        "sample": "search",
        "translate": "corpus",
        "CausalSteps": "steps",
        "TranslatorSteps": "steps",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{homes[name]}"), name)
