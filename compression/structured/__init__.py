"""Structured pruning: units that matter little are removed, and the model is built narrower."""

from __future__ import annotations

from compression.structured.groups import Group, find_groups
from compression.structured.shrinking import groups_of, shrink
from compression.structured.widths import Width, declare

__all__ = ["Group", "Width", "declare", "find_groups", "groups_of", "shrink"]
