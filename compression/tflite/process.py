"""One child process for all conversions: it imports TensorFlow once and not for each.

As in compression/isolated.py a job is a function and a folder, and a crash of the child is an
error of that job alone: the next one starts another child. It ends with this process.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from compression import isolated
from compression.errors import ConverterCrashed

END = "\x01end "  # begins the line after a job's last one; its status follows
SECONDS = 3600.0  # a job may take
_KEPT = 40  # lines


class Converter:
    """Runs jobs one after another, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._owner = 0

    def run(self, function: str, folder: Path, what: str) -> None:
        """`module:function` of this package with the folder as its argument.

        Raises:
            ConverterCrashed: it ended with an error or a signal, or took too long.
        """
        with self._lock:
            child = self._started()
            late = threading.Timer(SECONDS, child.kill)
            late.start()
            try:
                status, said = self._ask(child, [function, str(folder)])
            finally:
                over = not late.is_alive()
                late.cancel()
            if child.poll() is not None or status is None:
                self._child, status = None, child.wait()
                child.stdout.close()
        if status:
            reason = isolated._reason(status, said, over and status < 0)
            raise ConverterCrashed(f"{what} failed: {reason}.")

    def _started(self) -> subprocess.Popen[str]:
        """The living child. A fork of this process gets one of its own."""
        if self._child is None or self._child.poll() is not None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._child = subprocess.Popen(
                [sys.executable, "-m", "compression.tflite.process"],
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        return self._child

    def _ask(self, child: Any, job: list[str]) -> tuple[int | None, list[str]]:
        """The job's status, None where the child died of it, and the last lines it wrote."""
        said: list[str] = []
        try:
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
        except OSError:
            return None, said
        for line in child.stdout:
            if line.startswith(END):
                return int(line.removeprefix(END)), said
            if line.strip():
                said = [*said[1 - _KEPT :], line.rstrip()]
        return None, said

    def close(self) -> None:
        """End the child, once it has done what it was given."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None and self._owner == os.getpid():
            child.stdin.close()
            child.stdout.close()
            child.wait()


converter = Converter()
atexit.register(converter.close)


def main() -> None:
    """The child's side: jobs from standard input until it is closed."""
    for line in sys.stdin:
        status = isolated.main(json.loads(line))
        sys.stderr.flush()
        sys.stdout.write(f"{END}{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
