"""h2load (nghttp2), where it is installed: a client in C that leaves more of the machine's cores
to the server than one in Python, posting framed gRPC messages over HTTP/2."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from compression.errors import MeasurementFailed

PROBE = 8  # requests from which the number for the wanted time is estimated


@functools.cache
def installed() -> bool:
    return shutil.which("h2load") is not None


def load(
    host: str, port: int, method: str, message: bytes, length: int, clients: int, seconds: float
) -> np.ndarray:
    """Seconds that each of many requests took; `clients` ask at a time, for about `seconds`.

    Args:
        host, port: the server's.
        method: path of the gRPC method.
        message: a request.
        length: bytes of a right answer.
        clients: connections, one request at a time on each.
        seconds: how long.

    Raises:
        MeasurementFailed: some answer was no success.
    """
    url = f"http://{host}:{port}{method}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "body").write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        # The slow first requests of a connection, and how many fit into the time.
        began = time.perf_counter()
        first = _run(url, folder, PROBE * clients, clients, length)
        each = max(float(np.median(first)) / clients, 1e-6)
        left = max(seconds - (time.perf_counter() - began), seconds / 2)
        count = max(PROBE * clients, round(left / each))
        return _run(url, folder, count, clients, length)


def _run(url: str, folder: str, count: int, clients: int, length: int) -> np.ndarray:
    log = Path(folder, "log")
    log.unlink(missing_ok=True)
    done = subprocess.run(  # noqa: S603 - a list, no shell
        ["h2load", "-t1", "-m1", f"-c{clients}",  # noqa: S607 - where it is installed
         f"-n{count}", "--log-file=log", "--data=body",
         "-H", "content-type: application/grpc", "-H", "te: trailers", url],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    # A call that fails has HTTP status 200 as well, and no message: the messages' bytes tell.
    data = re.search(r"\((\d+)\) data$", done.stdout, re.MULTILINE)
    lines = (
        [line.split("\t") for line in log.read_text("ascii").splitlines()] if log.exists() else []
    )
    right = data is not None and int(data[1]) == count * (5 + length)
    if done.returncode or not right or len(lines) != count:
        raise MeasurementFailed(
            f"h2load saw answers that were no success ({len(lines)} of {count} came)."
        )
    return np.array([int(line[2]) for line in lines]) / 1e6
