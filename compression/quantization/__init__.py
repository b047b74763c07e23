"""Quantization after training: one function, and the named forms that it makes."""

from __future__ import annotations

from compression.quantization.forms import FORMS, FormInfo
from compression.quantization.quantize import quantize

__all__ = ["FORMS", "FormInfo", "quantize"]
