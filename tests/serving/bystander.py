"""Somebody who asks well while another client does not, and the server's memory meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc

from serving.server import Running
from tests.serving.raw_http2 import PREDICT, SECONDS, check_answer, message

SLOWEST = 3.0  # seconds that an answer to others may take, on a machine that is busy too
MIB = 64  # that a flood may take of the memory while it lasts


class Others:
    """Somebody who asks well all the time, and how long the slowest answer took."""

    def __init__(self, server: Running):
        self.slowest, self.answers = 0.0, 0
        self.failures: list[BaseException] = []
        self._server, self._stop = server, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Others:
        self.before = self.peak = mib(self._server)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.05)
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with grpc.insecure_channel(f"localhost:{self._server.grpc_port}") as channel:
            ask = channel.unary_unary(PREDICT)
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    data = ask(message()[5:], timeout=SECONDS)
                    check_answer({"grpc-status": "0"}, b"\0" * 5 + data)
                except BaseException as error:
                    self.failures.append(error)
                    return
                self.answers += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.peak = max(self.peak, mib(self._server))
                time.sleep(0.005)

    def check(self) -> None:
        assert self.failures == []
        assert self.answers
        assert self.slowest < SLOWEST
        assert self.peak - self.before < MIB


def mib(server: Running) -> float:
    """Resident memory of the server."""
    statm = Path(f"/proc/{server.process.pid}/statm").read_text()
    return int(statm.split()[1]) * 4096 / 2**20
