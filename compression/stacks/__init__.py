"""Stacks: techniques one after another, written as `shrink:0.5+distill+prune:0.6+int8`.

A part is a name, optionally `:STRENGTH`, optionally `@EPOCHS`. What the strengths mean is in
`compression.stacks.parts`; the order that works in `compression.stacks.order`.
"""

from compression.stacks.parts import RECIPES, Part, Stack, names, parse
from compression.stacks.running import apply, check_model, run

__all__ = ["RECIPES", "Part", "Stack", "apply", "check_model", "names", "parse", "run"]
