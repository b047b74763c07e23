"""A server in a process of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.errors import StartError

_READY = {
    "grpc_port": re.compile(r"Running gRPC ModelServer at \S+?:(\d+) \.\.\."),
    "rest_port": re.compile(r"Exporting HTTP/REST API at:localhost:(\d+) \.\.\."),
}
_STORE = "import sys; from serving.server import run; run(sys.argv[1], rest_port=0, grpc_port=0)"


@dataclass
class Running:
    """A server that answers on these ports of localhost."""

    rest_port: int
    grpc_port: int
    process: subprocess.Popen
    log: Path

    def log_text(self) -> str:
        """What the server has written to stderr so far."""
        return self.log.read_text(errors="replace")


@contextmanager
def background(
    store: Path | str,
    *,
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> Iterator[Running]:
    """Serve `store` from another process on free ports; SIGTERM at the end of the block.

    Args:
        store: as for `run`.
        command: another way to start a server; it must open both ports.
        environment: variables that it has besides this process's.
        timeout: seconds until it must answer.

    Raises:
        StartError: it ended, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="model-server-") as folder:
        log = Path(folder) / "stderr"
        arguments = list(command or [sys.executable, "-c", _STORE, str(store)])
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 — a list, no shell
                arguments, stderr=stderr, env={**os.environ, **(environment or {})}
            )
        try:
            ports = _wait(process, log, timeout)
            yield Running(process=process, log=log, **ports)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen, log: Path, timeout: float) -> dict[str, int]:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        text = log.read_text(errors="replace")
        found = {name: pattern.search(text) for name, pattern in _READY.items()}
        if all(found.values()):
            return {name: int(match[1]) for name, match in found.items()}
        if ended:
            last = text.strip().splitlines()[-1:] or ["it said nothing"]
            raise StartError(f"The model server ended with {process.returncode}: {last[0]}")
        time.sleep(0.05)
    raise StartError(f"The model server did not answer within {timeout:.0f} seconds.")
