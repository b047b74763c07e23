"""`zoo demo`: the whole way once, from the recipe to answers of a server."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def demo(
    model: Annotated[str, typer.Argument(help="A name that zoo list shows.")] = "cnn",
    dataset: Annotated[Optional[str], typer.Option(help="Another data set.")] = None,  # noqa: UP045
    epochs: Annotated[Optional[int], typer.Option(help="Instead of the recipe's.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(min=0)] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many test examples to ask.")] = 5,
) -> None:
    """Train, export, serve, ask over REST and gRPC, compare with the truth, stop."""
    raise NotImplementedError
