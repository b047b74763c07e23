"""The project's own load: clients in one event loop. Slower than wrk and h2load, and always there.

It also asks each server once before anything is measured, since h2load does not look into answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping

import grpc
import grpc.aio
import numpy as np

from benchmarks.serving.cases import (
    HOST,
    METHOD,
    Case,
    FailedAnswers,
    Measured,
    Question,
    Target,
    measured,
)
from serving import tensor_proto
from serving.client import messages

TIMEOUT = 60.0  # seconds, for one answer
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Ask = Callable[[], Awaitable[bytes]]


class RestClient:
    """One connection that is kept. Answers come whole; their length must be in their head."""

    def __init__(self, port: int):
        self._port = port

    async def __aenter__(self) -> RestClient:
        self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answered = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answered)
        if length is None:
            raise FailedAnswers(f"An answer without a length: {answered[:200]!r}")
        return int(answered[9:12]), await self._reader.readexactly(int(length[1]))


def ask(target: Target, case: Case, question: Question, seconds: float) -> Measured:
    """Loads a server for some seconds.

    Raises:
        FailedAnswers: an answer was no success, or took too long.
    """
    return asyncio.run(_load(target, case, question, seconds))


async def _load(target: Target, case: Case, question: Question, seconds: float) -> Measured:
    took: list[float] = []
    began = time.perf_counter()

    async def loop(one: Ask) -> None:
        while (started := time.perf_counter()) - began < seconds:
            await asyncio.wait_for(one(), TIMEOUT)
            took.append(time.perf_counter() - started)

    connect = _rest if case.protocol == "REST" else _grpc
    try:
        await asyncio.gather(
            *(connect(target, question, loop) for _ in range(case.connections)),
        )
    except (OSError, EOFError, grpc.RpcError, asyncio.TimeoutError) as error:
        raise FailedAnswers(f"{case}: {error!r}") from error
    return measured(took, time.perf_counter() - began)


async def _rest(target: Target, question: Question, use: Callable[[Ask], Awaitable[None]]) -> None:
    async with RestClient(target.rest_port) as client:

        async def one() -> bytes:
            status, body = await client.post(question.path, question.json)
            if status != 200:
                raise FailedAnswers(f"REST answered {status}: {body[:200]!r}")
            return body

        await use(one)


async def _grpc(target: Target, question: Question, use: Callable[[Ask], Awaitable[None]]) -> None:
    own = [("grpc.use_local_subchannel_pool", 1)]  # else channels to one port share a connection
    address = f"{HOST}:{target.grpc_port}"
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        call = channel.unary_unary(METHOD)
        await use(lambda: call(question.message))


def answer(target: Target, protocol: str, question: Question, times: int = 1) -> bytes:
    """Asks `times` on one connection; the last answer, the body or the message.

    Raises:
        FailedAnswers: one was no success, or none came.
    """

    async def asked() -> bytes:
        answers: list[bytes] = []

        async def several(one: Ask) -> None:
            for _ in range(times):
                answers.append(await asyncio.wait_for(one(), TIMEOUT))

        await (_rest if protocol == "REST" else _grpc)(target, question, several)
        return answers[-1]

    try:
        return asyncio.run(asked())
    except (OSError, EOFError, grpc.RpcError, asyncio.TimeoutError) as error:
        raise FailedAnswers(f"{target.name} does not answer over {protocol}: {error!r}") from error


def check(protocol: str, data: bytes, wanted: Mapping[str, np.ndarray]) -> None:
    """Compares an answer with what the session says, by output.

    Raises:
        FailedAnswers: it is another answer.
    """
    # With one output, a REST answer does not name it.
    found = list(outputs(protocol, data).values())
    right = list(wanted.values())
    same = len(found) == len(right) and all(
        one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-4)
        for one, other in zip(found, right, strict=True)
    )
    if not same:
        raise FailedAnswers(f"A server gives another answer over {protocol} than the session.")


def outputs(protocol: str, data: bytes) -> dict[str, np.ndarray]:
    """The arrays in an answer of a signature with one output, over either protocol."""
    if protocol == "REST":
        return {"predictions": np.asarray(json.loads(data)["predictions"], np.float32)}
    answer = messages.PredictResponse.FromString(data)
    return {name: tensor_proto.to_array(proto) for name, proto in answer.outputs.items()}
