"""A process without TensorFlow that publishes small folders, and dies or is interrupted as told.

python -m tests.zoo.export.publishing STORE versions N     publish N versions, print their numbers
python -m tests.zoo.export.publishing STORE each_line S    signal S before each line, one run a line
python -m tests.zoo.export.publishing STORE interrupted | locked | limited
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

from zoo import export
from zoo.export import publish
from zoo.export.publish import STAGING, staging

FILES = {"saved_model.pb": b"graph" * 100, "variables/data": b"weights" * 1000}


def publish_one(store: Path, name: str = "cnn") -> Path:
    with staging(store, name) as stage:
        for path, content in FILES.items():
            (stage.path / path).parent.mkdir(exist_ok=True)
            (stage.path / path).write_bytes(content)
        return stage.publish()


def is_whole(version: Path) -> bool:
    found = {
        path.relative_to(version).as_posix(): path.read_bytes()
        for path in version.rglob("*")
        if path.is_file()
    }
    return found == FILES


def leftovers(store: Path) -> list[Path]:
    return list((store / "cnn").glob(f"{STAGING}*"))


def versions(store: Path, count: str) -> None:
    for _ in range(int(count)):
        print(publish_one(store).name)


def each_line(store: Path, which: str) -> None:
    """One forked export for each line that an undisturbed one runs, `which` sent before that line.

    Prints {"exit", "before", "after", "whole", "leftovers"} of each: its exit code (negative: a
    signal), the versions before and after, whether the last two are whole, staging folders left.
    """
    number, code = 0, -1
    while code != 0:
        number += 1
        before = export.versions(store, "cnn")
        child = os.fork()
        if child == 0:
            code = 70
            try:
                sys.settrace(_signal_at_line(number, int(which)))
                publish_one(store)
                sys.settrace(None)
                code = 0
            except KeyboardInterrupt:
                code = 130
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        after = export.versions(store, "cnn")
        report = {
            "exit": code,
            "before": before,
            "after": after,
            "whole": all(is_whole(store / "cnn" / str(version)) for version in after[-2:]),
            "leftovers": len(leftovers(store)),
        }
        print(json.dumps(report))


def _signal_at_line(number: int, which: int):
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename not in (publish.__file__, __file__):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                os.kill(os.getpid(), which)
        return trace

    return trace


def interrupted(store: Path) -> None:
    with staging(store, "cnn") as stage:
        (stage.path / "half").write_text("…")
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()


def locked(store: Path) -> None:
    with staging(store, "cnn"), publish._locked(store / "cnn" / ".lock"):
        os.kill(os.getpid(), signal.SIGKILL)


def limited(store: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    publish_one(store)


if __name__ == "__main__":
    _, folder, mode, *arguments = sys.argv
    globals()[mode](Path(folder), *arguments)
