"""The servers of a measurement: ours with so many processes each, and one that runs already."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving.cases import Target
from serving.errors import StartError
from serving.server import Running, background

WITHOUT_ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "0"}


def name_of(processes: int, *, onednn: bool = True) -> str:
    """What a table calls our server with this many processes; 0 is one for each core."""
    name = {0: "a process a core", 1: "1 process"}.get(processes, f"{processes} processes")
    return name if onednn else f"{name}, no oneDNN"


@contextmanager
def started(config: Path, processes: int, *flags: str, onednn: bool = True) -> Iterator[Running]:
    """`zoo-model-server` with a models.config, on free ports, for as long as the block lasts.

    Args:
        onednn: whether TensorFlow uses oneDNN's kernels, as it does by default.

    Raises:
        StartError: it did not start, or does not know a flag.
    """
    grpc_port, rest_port = _free_ports(2)
    command = [
        sys.executable, "-m", "serving.server", f"--port={grpc_port}",
        f"--rest_api_port={rest_port}", f"--model_config_file={config}", *flags,
    ]  # fmt: skip
    if processes != 1:
        command.append(f"--num_processes={processes}")
    environment = None if onednn else WITHOUT_ONEDNN
    with background(config.parent, command=command, environment=environment) as running:
        if "unknown argument" in running.log_text():
            raise StartError("This server does not know --num_processes.")
        yield running


def target(running: Running, processes: int, *, onednn: bool = True) -> Target:
    return Target(name_of(processes, onednn=onednn), running.rest_port, running.grpc_port)


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; the flags have no way to ask for any free one."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
