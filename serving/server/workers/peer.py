"""A worker as the supervisor sees it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from enum import IntEnum

from serving.errors import StartError
from serving.server.workers import failure
from serving.server.workers.channel import Channel, Message
from serving.server.workers.totals import States
from serving.server.workers.view import Report
from zoo.errors import ZooError


class Phase(IntEnum):
    """How far a worker is."""

    FORKED = 0  # it imports TensorFlow
    LOADING = 1  # its loop runs: it hears what it is told
    LOADED = 2  # its models are loaded
    ACCEPTING = 3  # it was told to accept connections
    SERVING = 4  # it does


@dataclass(eq=False)
class Peer:
    """One worker process, from its fork to its end."""

    slot: int
    pid: int
    channel: Channel
    phase: Phase = Phase.FORKED
    report: Report = field(default_factory=Report)
    counts: States = field(default_factory=dict)  # what it had counted when it last said so
    failure: Message | None = None  # why it could not start
    lacks: list[str] = field(default_factory=list)  # what keeps it from accepting, as was logged

    @property
    def accepts(self) -> bool:
        """Whether clients may reach it."""
        return self.phase >= Phase.ACCEPTING

    def kill(self) -> None:
        """End it now."""
        os.kill(self.pid, signal.SIGKILL)

    def reason(self, status: int) -> str:
        """Why it has ended, with this status of `os.waitpid`."""
        if self.failure is not None:
            return self.failure["text"]
        code = os.waitstatus_to_exitcode(status)
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def start_error(self, status: int) -> ZooError:
        """What ends a server that this worker was needed to start."""
        if self.failure is not None:
            return failure.from_json(self.failure)
        return StartError(f"A worker process ended before it was ready ({self.reason(status)}).")
