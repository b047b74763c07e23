"""`zoo serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from zoo.cli.output import errors
from zoo.cli.publish import Store
from zoo.errors import InvalidOption


def serve(
    store: Store = Path("store"),
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8501,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8500,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of zoo config; default: every model and version of the store."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="Processes that share the work; 0 for one a core.")
    ] = 1,
    container: Annotated[
        bool,
        typer.Option("--container", help="Run the tensorflow/serving container on the same files."),
    ] = False,
) -> int:
    """Serve the store over REST and gRPC until Ctrl-C.

    New models and versions in the store are taken up while running.

    Examples:

      zoo serve

      zoo config && zoo serve --config config

      zoo config && zoo serve --config config --container
    """
    if container:
        if config is None:
            raise InvalidOption(
                "--container needs --config, the folder that zoo config wrote for this store."
            )
        from serving import container as docker

        return docker.run(store, config, rest_port, grpc_port, prefer_tflite=_prefers_tflite(store))
    from serving import server
    from serving.server.flags import Flags

    server.run(
        store,
        config=config,
        rest_port=rest_port,
        grpc_port=grpc_port,
        host=host,
        processes=processes,
        flags=Flags(prefer_tflite_model=_prefers_tflite(store)),
    )
    return 0


def _prefers_tflite(store: Path) -> bool:
    """Whether some model's newest version is a TFLite file alone, which is then said."""
    from serving.config.tflite import tflite_only

    only = tflite_only(store)
    if only:
        errors().print(
            f"Serving model.tflite where a version has one: the newest version of "
            f"{', '.join(only)} is nothing else.",
            soft_wrap=True,
        )
    return bool(only)
