"""The `zoo` command. It imports everything and nothing imports it."""

from __future__ import annotations

from zoo.cli.app import main

__all__ = ["main"]
