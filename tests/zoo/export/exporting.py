"""A process that exports on request, in a child for each request, and kills that child as told.

TensorFlow is imported once; the children are forked before it starts any thread. A request is a
line of JSON on stdin, the reply a line on stdout: {"status": wait status, "error": text}.

    {"store": path}                    export; further keys:
    "after": seconds                   SIGKILL so long after the export began
    "entries": n                       SIGKILL when the store holds n files and folders
    "event": n, "signal": s            signal s at the n-th file operation of the Python part
    "limit": bytes                     no file may become larger
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def signal_at_event(store: str, number: int, which: int) -> None:
    """Send this process the signal just before its number-th operation inside `store`."""
    seen = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event in EVENTS and str(arguments[0]).startswith(store):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), which)

    sys.addaudithook(hook)


def work(request: dict, started: int, failure: int) -> int:
    import keras

    from zoo import export
    from zoo.errors import ZooError

    x = keras.Input((100,), name="x")
    y = keras.layers.Dense(100, name="y")(x)  # 40 kB
    model = keras.Model(x, y, name="model")
    if "limit" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"],) * 2)
    os.write(started, b"!")
    if "event" in request:
        signal_at_event(request["store"], request["event"], request["signal"])
    try:
        export.export(model, request["store"], "model", warmup_batch_sizes=(1, 8))
    except ZooError as error:
        os.write(failure, str(error).encode())
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def kill_as_told(child: int, request: dict) -> None:
    if "after" in request:
        time.sleep(request["after"])
        os.kill(child, signal.SIGKILL)
    while "entries" in request and not os.waitid(
        os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ):
        # os.walk passes over folders that vanish meanwhile, as TensorFlow's temporary one does.
        there = sum(len(folders) + len(files) for _, folders, files in os.walk(request["store"]))
        if there >= request["entries"]:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.0005)


def serve() -> None:
    import tensorflow  # noqa: F401

    import zoo.export.signatures
    import zoo.export.warmup  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        started, failure = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            status = 70
            try:
                status = work(request, started[1], failure[1])
            finally:
                os._exit(status)
        os.close(started[1])
        os.close(failure[1])
        os.read(started[0], 1)
        kill_as_told(child, request)
        status = os.waitpid(child, 0)[1]
        error = os.read(failure[0], 100_000).decode()
        os.close(started[0])
        os.close(failure[0])
        print(json.dumps({"status": status, "error": error}), flush=True)


if __name__ == "__main__":
    serve()
