"""The supervisor: it starts workers, keeps them running, and lets them in when they are ready.

It has no event loop, no thread and no TensorFlow, so that a fork of it is a clean start.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from serving.errors import StartError
from serving.server.workers.channel import Channel, ChannelError, Message
from serving.server.workers.forking import fork
from serving.server.workers.hub import Hub
from serving.server.workers.lister import Lister
from serving.server.workers.peer import Peer, Phase
from serving.server.workers.signals import Signals
from serving.server.workers.turn import Board, Turn

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 1.0, 30.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

Work = Callable[[socket.socket, Turn], None]  # a worker's whole life, given its end of the channel


@dataclass
class _Slot:
    """A place for a worker, and when the next one takes it."""

    number: int
    failures: int = 0
    due: float = 0.0
    peer: Peer | None = None


class Supervisor:
    """Keeps `count` workers running until SIGTERM or SIGINT.

    At the start all workers must come up, and they begin to accept together. Later, one that ends
    is followed by another, which begins to accept when it answers for all that the others do.

    Args:
        work: what each worker does.
        count: how many.
        lister: which models there are.
        sockets: what they listen at; closed here when they stop.
        lines: what is logged when all of them answer.
    """

    def __init__(
        self,
        work: Work,
        count: int,
        *,
        lister: Lister,
        sockets: Mapping[str, socket.socket],
        lines: Sequence[str],
    ):
        self._work, self._lister = work, lister
        self._sockets, self._lines = sockets, lines
        self._slots = [_Slot(number) for number in range(count)]
        self._peers: list[Peer] = []
        self._board = Board(count)
        self._hub = Hub(self._peers, lister.models, self._give_up)
        self._selector = selectors.DefaultSelector()
        self._started = self._stopping = False

    def run(self) -> None:
        """Returns when the last worker has ended.

        Raises:
            ZooError: a worker could not start when the server did.
        """
        with Signals(SIGNALS) as self._signals:
            self._selector.register(self._signals.woken, selectors.EVENT_READ)
            try:
                while self._peers or not self._stopping:
                    self._turn()
            finally:
                for peer in list(self._peers):
                    peer.kill()
                    os.waitpid(peer.pid, 0)
                self._selector.close()

    def _turn(self) -> None:
        """One round: fork what is due, wait for something, deal with it."""
        if not self._stopping:
            for slot in self._slots:
                if slot.peer is None and time.monotonic() >= slot.due:
                    self._fork(slot)
            if self._started:
                self._look()
        for key, events in self._selector.select(self._seconds()):
            if key.data is None:
                self._signalled(self._signals.come())
            elif key.data in self._peers:
                if events & selectors.EVENT_WRITE:
                    key.data.channel.flush()
                if events & selectors.EVENT_READ:
                    self._read(key.data)
        for peer in self._peers:
            self._watch(peer)

    def _look(self) -> None:
        try:
            self._lister.look(self._hub)
        except Exception:  # a bug or a sick disk must not end the server
            log.exception("Listing the models failed; trying again")
            self._lister.later()

    def _seconds(self) -> float | None:
        """Until something is due; None for nothing."""
        now = time.monotonic()
        due = [self._hub.tick()]
        if not self._stopping:
            due += [slot.due - now for slot in self._slots if slot.peer is None]
            if self._started:
                due.append(self._lister.due - now)
        soonest = min(due)
        return None if soonest == float("inf") else max(0.0, soonest)

    # === Signals ===

    def _signalled(self, numbers: Container[int]) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stop()
        for peer in list(self._peers):
            ended, status = os.waitpid(peer.pid, os.WNOHANG)
            if ended:
                self._read(peer, status)

    def _stop(self) -> None:
        """Have the workers finish the requests under way."""
        if self._stopping:
            return
        self._stopping = True
        if self._started:
            log.info("Stopping: finishing the requests under way")
        for peer in self._peers:
            if peer.accepts:
                self._hub.tell(peer, "stop")
            else:
                peer.kill()  # there is nothing to finish
        for listener in self._sockets.values():
            listener.close()

    # === Workers ===

    def _fork(self, slot: _Slot) -> None:
        # Whoever holds another one's channel keeps it from seeing its end.
        others = [*self._signals.ends, *(peer.channel.socket for peer in self._peers)]

        def life(end: socket.socket) -> None:
            self._selector.close()
            for other in others:
                other.close()
            self._work(end, Turn(self._board, slot.number))

        try:
            pid, end = fork(life, SIGNALS)
        except OSError as error:
            if not self._started:
                raise StartError(f"A worker process cannot start: {error.strerror}.") from error
            log.error("A worker process cannot start: %s", error.strerror)
            slot.due = time.monotonic() + _next_backoff(slot)
            return
        slot.peer = Peer(slot.number, pid, Channel(end))
        self._peers.append(slot.peer)
        self._selector.register(end, selectors.EVENT_READ, slot.peer)

    def _watch(self, peer: Peer) -> None:
        events = selectors.EVENT_READ
        if peer.channel.is_full:
            events |= selectors.EVENT_WRITE
        if self._selector.get_key(peer.channel.socket).events != events:
            self._selector.modify(peer.channel.socket, events, peer)

    def _read(self, peer: Peer, status: int | None = None) -> None:
        """Hear what a worker says. At the end of it, or with an exit status, it has ended."""
        try:
            messages, more = peer.channel.receive()
        except ChannelError as error:
            log.error("Worker process %d is given up: %s", peer.pid, error)
            messages, more = [], False
        for message in messages:
            try:
                self._heard(peer, message)
            except Exception:  # a bug, which must not end the server
                log.exception("A message of worker process %d was not understood", peer.pid)
        if status is not None:
            self._bury(peer, status)
        elif not more:
            peer.kill()  # without its channel it would serve what nobody knows of
            self._bury(peer, os.waitpid(peer.pid, 0)[1])

    def _heard(self, peer: Peer, message: Message) -> None:
        kind = message["kind"]
        if kind == "hello":
            peer.phase = Phase.LOADING
            late = self._hub.changed_once or self._started
            fields = {"models": self._hub.models, "late": late}
            self._hub.tell(peer, "reply", id=message["id"], **fields)
        elif kind == "loaded":
            peer.phase = Phase.LOADED
        elif kind == "serving":
            self._serving(peer)
        elif kind == "failed":
            peer.failure = message["error"]
        else:
            self._hub.heard(peer, message)
        self._let_in()

    def _let_in(self) -> None:
        """Have workers accept connections: at first all at once, later those that know enough."""
        if self._stopping:
            return
        loaded = [peer for peer in self._peers if peer.phase is Phase.LOADED]
        if not self._started and len(loaded) < len(self._slots):
            return
        for peer in loaded:
            if not self._started or self._hub.may_join(peer):
                peer.phase = Phase.ACCEPTING
            else:
                self._explain(peer)
        accepting = [peer for peer in loaded if peer.accepts]
        if accepting:
            self._started = True
            self._hub.show(again=True)
        for peer in accepting:
            self._hub.tell(peer, "accept")

    def _explain(self, peer: Peer) -> None:
        """Log once what a worker that has loaded its models still waits for."""
        lacks = self._hub.lacks(peer)
        if lacks and lacks != peer.lacks:
            log.warning(
                "Worker process %d takes no requests yet: others serve what it could not load (%s)",
                peer.pid, ", ".join(lacks),
            )  # fmt: skip
        peer.lacks = lacks

    def _serving(self, peer: Peer) -> None:
        peer.phase = Phase.SERVING
        self._slots[peer.slot].failures = 0
        if all(p.phase is Phase.SERVING for p in self._peers) and self._lines:
            for line in self._lines:
                log.info("%s", line)
            self._lines = ()
        elif not self._lines:
            log.info("Worker process %d answers", peer.pid)

    def _give_up(self, peer: Peer, reason: str) -> None:
        """End a worker; the next round finds it ended, and starts another one."""
        if reason:
            log.error("Worker process %d is given up: %s", peer.pid, reason)
        else:
            self._slots[peer.slot].failures = -1  # not its fault
        peer.kill()

    # === Ends ===

    def _bury(self, peer: Peer, status: int) -> None:
        if peer not in self._peers:
            return
        self._selector.unregister(peer.channel.socket)
        peer.channel.socket.close()
        self._peers.remove(peer)
        self._board.leave(peer.slot)
        slot = self._slots[peer.slot]
        slot.peer = None
        self._hub.gone(peer)
        if self._stopping:
            return
        if not self._started:
            raise peer.start_error(status)
        seconds = self._backoff(slot, peer)
        again = f" in {seconds:.0f} s" if seconds else ""
        log.warning(
            "Worker process %d has ended (%s): another one starts%s",
            peer.pid, peer.reason(status), again,
        )  # fmt: skip
        slot.due = time.monotonic() + seconds
        self._let_in()  # what only the dead one had, nobody needs any more

    def _backoff(self, slot: _Slot, peer: Peer) -> float:
        if peer.accepts or slot.failures < 0:
            slot.failures = 0
            return 0.0
        return _next_backoff(slot)


def _next_backoff(slot: _Slot) -> float:
    """Seconds until the next try, after one that came to nothing."""
    slot.failures += 1
    return min(FIRST_BACKOFF_SECONDS * 2 ** (slot.failures - 1), LAST_BACKOFF_SECONDS)
