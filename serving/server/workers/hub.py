"""What makes the workers one server: common statuses, reloads that all follow, a common page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.config.models import ModelConfig
from serving.server.metrics import Metrics
from serving.server.workers import totals
from serving.server.workers.channel import ChannelError, Message
from serving.server.workers.peer import Peer, Phase
from serving.server.workers.view import Report, merge

CHECK_SECONDS = 10.0  # for a worker to look at a reload: the next one waits for that
COLLECT_SECONDS = 2.0  # then a worker's last report is on the page

Replies = Mapping[Peer, Message]
Done = Callable[[Message], None]  # is given `code` and `message`, code 0 where all went well
_FINE: Message = {"code": 0, "message": ""}


@dataclass
class _Question:
    """Something that several workers were asked."""

    missing: set[Peer]
    then: Callable[[Replies], None]
    deadline: float
    replies: dict[Peer, Message] = field(default_factory=dict)


@dataclass
class _Reload:
    """Other models for all workers; `wait` for a reply only when they are available."""

    models: list[dict[str, Any]]
    wait: bool
    done: Done


class Hub:
    """All messages between workers go through here.

    Args:
        peers: the workers that live; the supervisor keeps this list.
        models: what a worker serves that starts now.
        give_up: ends a worker that cannot follow the others.
    """

    def __init__(
        self,
        peers: list[Peer],
        models: list[dict[str, Any]],
        give_up: Callable[[Peer, str], None],
    ):
        self._peers, self.models, self._give_up = peers, models, give_up
        self._view = Report()
        self._questions: dict[int, _Question] = {}
        self._number = 0
        self._reloads: deque[_Reload] = deque()
        self._reloading = False
        self._of_the_dead = Metrics()
        self.changed_once = False  # the models are no longer those of the start

    # === Messages ===

    def heard(self, peer: Peer, message: Message) -> None:
        """A worker's message about its models, its counts, or to the others."""
        match message["kind"]:
            case "report":
                peer.report = Report.from_json(message)
                self.show()
            case "counts":
                peer.counts = message["states"]
            case "reply":
                self._replied(peer, message)
            case "collect":
                self._collect(peer, message["id"])
            case "reload":
                self.reload(message["models"], lambda end: self._reply(peer, message["id"], end))

    def tell(self, peer: Peer, kind: str, **fields: Any) -> None:
        """Send to one worker."""
        try:
            peer.channel.send({"kind": kind, **fields})
        except ChannelError as error:
            self._give_up(peer, str(error))

    def _reply(self, peer: Peer, number: int, fields: Message) -> None:
        self.tell(peer, "reply", id=number, **fields)

    def _accepting(self) -> list[Peer]:
        return [peer for peer in self._peers if peer.accepts]

    def _ask(
        self,
        peers: Iterable[Peer],
        kind: str,
        then: Callable[[Replies], None],
        *,
        seconds: float = float("inf"),
        **fields: Any,
    ) -> None:
        """Ask these workers, and hand their replies on when all have come or the time is over."""
        self._number += 1
        number, asked = self._number, list(peers)
        self._questions[number] = _Question(set(asked), then, time.monotonic() + seconds)
        for peer in asked:
            self.tell(peer, kind, id=number, **fields)
        self._settle()

    def _replied(self, peer: Peer, message: Message) -> None:
        question = self._questions.get(message["id"])
        if question is not None and peer in question.missing:
            question.missing.discard(peer)
            question.replies[peer] = message
            self._settle()

    def _settle(self) -> None:
        """Go on with every question that has been answered."""
        now = time.monotonic()
        for number, question in list(self._questions.items()):
            over = not question.missing or now >= question.deadline
            if over and self._questions.pop(number, None) is not None:
                question.then(question.replies)

    def tick(self) -> float:
        """Go on where a time is over; returns the seconds until the next one may be."""
        self._settle()
        soonest = min((q.deadline for q in self._questions.values()), default=float("inf"))
        return soonest - time.monotonic()

    def gone(self, peer: Peer) -> None:
        """A worker has ended: what it had counted stays, and nobody waits for it."""
        totals.add(self._of_the_dead, peer.counts)
        for question in self._questions.values():
            question.missing.discard(peer)
        self._settle()
        self.show()

    # === Statuses ===

    def show(self, *, again: bool = False) -> None:
        """Tell all workers what is true of all that accept connections."""
        view = merge([peer.report for peer in self._accepting()])
        if view != self._view or again:
            self._view = view
            for peer in self._accepting():
                self.tell(peer, "view", **view.to_json())

    def may_join(self, peer: Peer) -> bool:
        """Whether a worker answers for everything that clients were told is available."""
        return peer.phase is Phase.LOADED and not self.lacks(peer)

    def lacks(self, peer: Peer) -> list[str]:
        """What clients were told is available and this worker has not: `model version`."""
        missing = self._view.available() - peer.report.available()
        return sorted(f"{model} {version}" for model, version in missing)

    # === Reloads ===

    def reload(
        self, models: Sequence[ModelConfig] | list[dict[str, Any]], done: Done, *, wait: bool = True
    ) -> None:
        """Serve other models everywhere, or nowhere where a label cannot be assigned."""
        self._reloads.append(_Reload(list(models), wait, done))
        self._next_reload()

    def _next_reload(self) -> None:
        if self._reloads and not self._reloading:
            self._reloading = True
            job = self._reloads.popleft()
            self._ask(
                self._accepting(),
                "check",
                lambda replies: self._checked(job, replies),
                seconds=CHECK_SECONDS,
                models=job.models,
            )

    def _checked(self, job: _Reload, replies: Replies) -> None:
        self._reloading = False
        error = _first_error(replies)
        if error["code"]:
            job.done(error)
        else:
            self.models, self.changed_once = job.models, True
            for peer in list(self._peers):
                if not peer.accepts:
                    self._give_up(peer, "")  # it has begun with other models
            self._ask(
                self._accepting(),
                "reload",
                lambda replies: self._reloaded(job, replies),
                models=job.models,
                wait=job.wait,
            )
        self._next_reload()

    def _reloaded(self, job: _Reload, replies: Replies) -> None:
        """Answer when every worker also says what it now serves."""
        error = _first_error(replies)
        self._ask(self._accepting(), "sync", lambda _: job.done(error), seconds=COLLECT_SECONDS)

    # === Metrics ===

    def _collect(self, asker: Peer, number: int) -> None:
        others = [peer for peer in self._accepting() if peer is not asker]

        def answer(replies: Replies) -> None:
            told = [
                replies[peer]["states"] if peer in replies else peer.counts
                for peer in others
                if peer in replies or peer in self._peers
            ]
            ended = totals.states(self._of_the_dead, all_kinds=False)
            self._reply(asker, number, {"states": [ended, *told]})

        self._ask(others, "collect", answer, seconds=COLLECT_SECONDS)


def _first_error(replies: Replies) -> Message:
    for reply in replies.values():
        if reply["code"]:
            return {"code": reply["code"], "message": reply["message"]}
    return _FINE
