"""Mixed load: both protocols, light and heavy requests, wrong ones, connections that come and go.

Every answer is compared with the session's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio
import numpy as np

from benchmarks.serving import asking
from benchmarks.serving.cases import HOST, METHOD, FailedAnswers, Question, Target

# How often each is asked: (model, rows) → share.
SHARES = {("dense", 1): 60, ("dense", 32): 20, ("cnn", 1): 18, ("cnn", 32): 2}
WRONG_SHARE = 0.02
CONNECTION_REQUESTS = 500  # then a client connects anew
KNOWN = 1000  # answers that are remembered as right, so that most need not be read

_WRONG_BODY = b'{"instances": [[1, 2'
_WRONG_MESSAGE = b"\x0a\x07nothing"


class Mixture:
    """The load's questions, right answers, and how many have been answered."""

    def __init__(
        self,
        target: Target,
        questions: Mapping[tuple[str, int], Question],
        right: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    ):
        self.requests = 0
        self.wrong_requests = 0
        self._target, self._questions, self._right = target, questions, right
        self._known: set[tuple[tuple[str, int], bytes]] = set()

    async def run(self, connections: int, more: Callable[[], bool]) -> None:
        """`connections` clients of each protocol, as long as `more` says so.

        Raises:
            FailedAnswers: an answer was wrong, or a request failed that was right.
        """
        kinds = (self._rest, self._grpc)
        clients = [
            asyncio.create_task(kind(random.Random(index), more))  # noqa: S311 — a fixed mixture
            for kind in kinds
            for index in range(connections)
        ]
        try:
            await asyncio.gather(*clients)
        except (OSError, EOFError, grpc.RpcError, asyncio.TimeoutError) as error:
            raise FailedAnswers(f"after {self.requests:,} requests: {error!r}") from error
        finally:
            for client in clients:
                client.cancel()

    async def _rest(self, chance: random.Random, more: Callable[[], bool]) -> None:
        while more():
            async with asking.RestClient(self._target.rest_port) as client:
                await self._several(_RestAsk(client), "REST", chance, more)

    async def _grpc(self, chance: random.Random, more: Callable[[], bool]) -> None:
        address = f"{HOST}:{self._target.grpc_port}"
        own = [("grpc.use_local_subchannel_pool", 1)]
        while more():
            async with grpc.aio.insecure_channel(address, options=own) as channel:
                await self._several(_GrpcAsk(channel), "gRPC", chance, more)

    async def _several(
        self, ask: Any, protocol: str, chance: random.Random, more: Callable[[], bool]
    ) -> None:
        keys = chance.choices(list(SHARES), list(SHARES.values()), k=CONNECTION_REQUESTS)
        for key in keys:
            if not more():
                return
            if chance.random() < WRONG_SHARE:
                await asyncio.wait_for(ask.wrong(), asking.TIMEOUT)
                self.wrong_requests += 1
            else:
                data = await asyncio.wait_for(ask(self._questions[key]), asking.TIMEOUT)
                self._check(key, protocol, data)
            self.requests += 1

    def _check(self, key: tuple[str, int], protocol: str, data: bytes) -> None:
        if (key, data) in self._known:
            return
        asking.check(protocol, data, self._right[key])
        if len(self._known) < KNOWN:
            self._known.add((key, data))


class _RestAsk:
    def __init__(self, client: asking.RestClient):
        self._client = client

    async def __call__(self, question: Question) -> bytes:
        status, body = await self._client.post(question.path, question.json)
        if status != 200:
            raise FailedAnswers(f"REST answered {status}: {body[:200]!r}")
        return body

    async def wrong(self) -> None:
        status, body = await self._client.post("/v1/models/dense:predict", _WRONG_BODY)
        if status != 400:
            raise FailedAnswers(f"REST answered {status} to a wrong request: {body[:200]!r}")


class _GrpcAsk:
    def __init__(self, channel: grpc.aio.Channel):
        self._call = channel.unary_unary(METHOD)

    async def __call__(self, question: Question) -> bytes:
        return await self._call(question.message)

    async def wrong(self) -> None:
        try:
            await self._call(_WRONG_MESSAGE)
        except grpc.aio.AioRpcError as error:
            # what gRPC itself says of bytes that are no message; a bug's INTERNAL has a reason
            if error.code() is grpc.StatusCode.INTERNAL and not error.details():
                return
            raise
        raise FailedAnswers("gRPC answered a wrong request")
