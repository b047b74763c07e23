"""Knowledge distillation: a student learns what a teacher answers, beside the labels."""

from compression.distillation.comparison import compare
from compression.distillation.technique import TARGETS, distill

__all__ = ["TARGETS", "compare", "distill"]
