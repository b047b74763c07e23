"""`zoo serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from zoo.cli.publish import Store


def serve(
    store: Store = Path("store"),
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8501,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8500,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of zoo config; default: every model of the store."),
    ] = None,
    container: Annotated[
        bool, typer.Option(help="Run the tensorflow/serving container on the same store.")
    ] = False,
) -> None:
    """Serve the store over REST and gRPC until Ctrl-C.

    New models and versions in the store are taken up while running.

    Examples:

      zoo serve

      zoo config && zoo serve --config config

      zoo config && zoo serve --config config --container
    """
    raise NotImplementedError
