"""Work in a child process: tfmot changes the process it is imported in, converters may crash it.

The child gets a folder and a function's name, nothing else: what goes in and out is files there
(`.npz` without pickles, JSON, SavedModels). Lines of its standard output that begin with
`PROGRESS` are shown, all others are kept for the error message.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compression.errors import ConverterCrashed

PROGRESS = "progress: "
_LAST_LINES = 40


def run(
    function: str,
    folder: Path,
    what: str,
    *,
    timeout: float = 3600.0,
    environment: dict[str, str] | None = None,
    show: Callable[[str], None] | None = None,
) -> None:
    """Runs `module:function` with the folder as its argument, in a new Python.

    Args:
        function: such as `compression.tfmot.worker:prune`, of this package.
        folder: what it reads and writes.
        what: in the error message, such as "Pruning lstm with tfmot".
        timeout: seconds after which it is killed.
        environment: variables on top of this process's.
        show: gets each line of progress.

    Raises:
        ConverterCrashed: it ended with an error or a signal, or took too long.
    """
    command = [sys.executable, "-m", "compression.isolated", function, str(folder)]
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    child = subprocess.Popen(  # noqa: S603 - this Python, and names given by our own code
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    )  # fmt: skip
    late = threading.Timer(timeout, child.kill)
    late.start()
    said: list[str] = []
    try:
        for line in child.stdout:
            if line.startswith(PROGRESS):
                if show is not None:
                    show(line.removeprefix(PROGRESS).rstrip())
            elif line.strip():
                said = [*said[1 - _LAST_LINES :], line.rstrip()]
        status = child.wait()
    finally:
        over = not late.is_alive()
        late.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdout.close()
    if status:
        raise ConverterCrashed(f"{what} failed: {_reason(status, said, over and status < 0)}.")


def _reason(status: int, said: list[str], late: bool) -> str:
    if late:
        return "it took too long and was ended"
    if status < 0:
        name = signal.Signals(-status).name
        return f"its process was ended by {name} (signal {-status})"
    words = said[-1].rstrip(".") if said else f"its process ended with status {status}"
    return " ".join(words.split())[:500]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def progress(text: str) -> None:
    """From inside a child: a line for whoever watches."""
    sys.stdout.write(f"{PROGRESS}{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """The child's side."""
    function, folder = arguments
    module, name = function.split(":")
    if not module.startswith("compression."):
        sys.stdout.write(f"{function} is not a function of compression\n")
        return 2
    try:
        getattr(importlib.import_module(module), name)(Path(folder))
    except Exception as error:
        words = str(error).strip().splitlines() or [""]
        sys.stdout.write(f"{type(error).__name__}: {words[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
