"""Checks of builder arguments, so that a wrong shape is one sentence and not a traceback."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from zoo.errors import ShapeError


def input_shape(shape: Sequence[int], axes: str) -> None:
    """Raises ShapeError unless `shape` has positive sizes for the named axes.

    Args:
        shape: the input's shape without its batch axis.
        axes: the axes' names, as in `"height, width, channels"`.
    """
    builder = inspect.stack()[1].function
    names = axes.split(", ")
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if len(sizes) != len(names) or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ShapeError(
            f"{builder} takes input_shape=({axes}) in positive whole numbers, not {shape!r}."
        )


def positive(**values: int | Sequence[int]) -> None:
    """Raises ShapeError unless every value, or every member of it, is a positive integer."""
    builder = inspect.stack()[1].function
    for name, value in values.items():
        members = value if isinstance(value, (tuple, list)) else (value,)
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in members):
            raise ShapeError(f"{builder} takes {name} in positive whole numbers, not {value!r}.")


def rate(**values: float) -> None:
    """Raises ShapeError unless every value is a rate from 0 up to, not including, 1."""
    builder = inspect.stack()[1].function
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ShapeError(f"{builder} takes {name} from 0 to below 1, not {value!r}.")
