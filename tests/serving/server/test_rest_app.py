"""The REST application without a network: limits, CORS, draining."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.config import Batching
from serving.server.batching import Batcher
from serving.server.core import Call, Core
from serving.server.execution import Execution
from serving.server.http1.message import Request, Response
from serving.server.manager import Manager
from serving.server.rest import handlers, routes
from serving.server.rest.app import Limits, RestApp
from serving.server.servable import Signature
from serving.server.steps import Run, Steps


@pytest.fixture
def core() -> Iterator[Core]:
    manager, execution = Manager(lambda *_: None), Execution(1)
    yield Core(manager, execution)
    execution.stop()
    manager.stop()


def _ask(
    app: RestApp,
    method: str,
    path: str,
    chunks: tuple[bytes, ...] = (),
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> tuple[int, dict[str, str], bytes]:
    """What the application answers."""
    request = Request(method, path.encode(), list(headers))

    async def ask() -> Response:
        for chunk in chunks:
            refusal = app.received(request, chunk)
            if refusal is not None:
                return refusal
            request.body.add(chunk)
        answer = app.start(request)
        return answer if isinstance(answer, Response) else await answer

    response = asyncio.run(ask())
    app.gone(request)
    found = {name.decode(): value.decode() for name, value in response.headers}
    return response.status, found | {"close": response.close}, response.body


def test_a_body_beyond_the_limit_is_refused(core: Core) -> None:
    app = RestApp(core, Limits(body_bytes=10))
    status, _, body = _ask(app, "POST", "/v1/models/m:predict", (b"12345678", b"9abcdef"))
    assert status == 400
    assert json.loads(body) == {"error": "Request body is larger than 10 bytes."}


class Slow:
    """Stands where a servable would."""

    def __init__(self, seconds: float, batching: Batching | None = None):
        self._seconds, self.batching, self.name = seconds, batching, "slow"

    def compile(self, signature: Signature, outputs: Any) -> None:
        pass

    def run(self, signature: Signature, feeds: dict, outputs: Any) -> dict[str, np.ndarray]:
        time.sleep(self._seconds)
        return {"y": feeds["x"]}


@pytest.mark.parametrize("batching", [None, Batching()])
@pytest.mark.parametrize(
    ("before", "running", "grace", "wanted"),
    [(0.0, 1.0, 5.0, 504), (0.5, 0.0, 5.0, 200), (0.6, 0.0, 0.0, 504)],
)
def test_the_time_limit_is_the_models(
    core: Core, monkeypatch: pytest.MonkeyPatch, batching: Batching | None, before: float,
    running: float, grace: float, wanted: int,
) -> None:  # fmt: skip
    """Reading a request and waiting for a thread have more time, but not for ever."""

    def handler(call: Call, route: routes.Route, body: bytes) -> Steps:
        time.sleep(before)
        signature = Signature("s", "", {}, {}, {})
        outputs = yield Run(Slow(running, batching), signature, {"x": np.zeros(1)})
        return b"%d" % len(outputs["y"])

    monkeypatch.setitem(handlers.TABLE, "status", handler)
    monkeypatch.setattr("serving.server.core.GRACE_SECONDS", grace)
    if batching is not None:
        core = Core(core.manager, core.execution, batcher=Batcher(batching, core.metrics))
    status, _, body = _ask(RestApp(core, Limits(timeout_seconds=0.3)), "GET", "/v1/models/m")
    assert status == wanted
    if wanted == 504:
        assert json.loads(body) == {"error": "Timed out waiting for notification"}
    else:
        assert body == b"1"


@pytest.mark.parametrize("cors", [False, True])
def test_cors_headers_only_with_their_flag(core: Core, cors: bool) -> None:
    app = RestApp(core, cors=cors)
    origin = ((b"origin", b"http://example.com"),)
    for method, wanted in (("OPTIONS", 200), ("GET", 404)):
        status, headers, _ = _ask(app, method, "/v1/models/m", headers=origin)
        assert status == wanted
        assert (headers.get("access-control-allow-origin") == "*") is cors
        assert (headers.get("access-control-allow-methods") == "POST, GET") is cors
    assert _ask(app, "OPTIONS", "/v1/models/m")[0] == 400


def test_draining_closes_connections(core: Core) -> None:
    app = RestApp(core)
    assert not _ask(app, "GET", "/v1/models/m")[1]["close"]
    app.closing = True
    assert _ask(app, "GET", "/v1/models/m")[1]["close"]


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "/v1/models/m:predict", routes.Route("predict", "m")),
        ("POST", "/V1/Models/m/versions/007:predict", routes.Route("predict", "m", 7)),
        ("POST", "/v1/models/m/labels/a%20b:predict", routes.Route("predict", "m", None, "a b")),
        ("GET", "/v1/models", routes.Route("status", "")),
        ("GET", "/v1/models/m/metadata", routes.Route("metadata", "m")),
        ("GET", "/v1/models/m/versions/3/metadata", routes.Route("metadata", "m", 3)),
        ("GET", "/v1/models/m%2Fn", routes.Route("status", "m/n")),
        ("GET", "/v1/models/", None),
        ("POST", "/v1/models/m", None),
        ("POST", "/v1/models/m:Predict", None),
        ("DELETE", "/v1/models/m", None),
    ],
)
def test_routes(method: str, path: str, wanted: routes.Route | None) -> None:
    assert routes.match(method, path) == wanted
