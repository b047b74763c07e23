"""The REST application without a network: limits, CORS, draining."""

from __future__ import annotations

import asyncio
import gzip
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
    found = {name.decode().lower(): value.decode() for name, value in response.headers}
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


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [(b"https://e.com", 200), (b"chrome-extension://http://x", 200), (b"null", 400),
     (b"HTTP://e.com", 400), (b"ftp://e.com", 400)],
)  # fmt: skip
def test_a_preflight_wants_an_origin_of_the_web(core: Core, origin: bytes, wanted: int) -> None:
    asked = _ask(RestApp(core), "OPTIONS", "/v1/models/m", headers=((b"origin", origin),))
    assert (asked[0], asked[2]) == (wanted, b"")


def test_pages_that_are_no_answer_of_a_model_have_no_cors_headers(core: Core) -> None:
    app = RestApp(core, cors=True, metrics_path="/metrics")
    for path in ("/foo", "/metrics", "/v1/models/{"):
        assert "access-control-allow-origin" not in _ask(app, "GET", path)[1]


@pytest.mark.parametrize(
    ("method", "path", "status", "phrase"),
    [
        ("TRACE", "/v1/models/m", 501, "Not Implemented"),
        ("PROPFIND", "/foo", 501, "Not Implemented"),
        ("GET", "/v1/models/{m}", 400, "Bad Request"),
        ("GET", "/v1/models/100%", 400, "Bad Request"),
        ("POST", "/v1/models/m:predict?x=[]", 400, "Bad Request"),
        ("GET", "/foo?x", 404, "Not Found"),
        ("POST", "v1/models/m:predict", 404, "Not Found"),
        ("GET", "//v1/models/m", 404, "Not Found"),
        ("OPTIONS", "*", 404, "Not Found"),
    ],
)
def test_what_does_not_get_as_far_as_the_interface(
    core: Core, method: str, path: str, status: int, phrase: str
) -> None:
    page = (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n"
        "</BODY></HTML>\n"
    ).encode()
    found, headers, body = _ask(RestApp(core), method, path)
    assert (found, body) == (status, page)
    assert (headers["content-type"], headers["close"]) == ("text/html", True)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/m?a#b", 404, "Could not find any versions of model m?a#b"),
        ("GET", "http://host:80/v1/models/m", 404, "Could not find any versions of model m"),
        ("GET", "//host/v1/models/m", 404, "Could not find any versions of model m"),
        ("GET", "/v1/models/a%2Fb+c%1F", 404, "Could not find any versions of model a/b+c\x1f"),
        ("POST", "/v1/models/m:predict?a", 400, "Malformed request: POST /v1/models/m:predict?a"),
        ("HEAD", "/v1/models/m", 400, "Malformed request: HEAD /v1/models/m"),
        ("GET", "/v1/models/labels/x/metadata", 400, "Missing model name in request."),
        ("GET", "/v1/models/versions/1", 400, "Missing model name in request."),
    ],
)
def test_messages_about_a_path(
    core: Core, method: str, path: str, status: int, message: str
) -> None:
    found, _, body = _ask(RestApp(core), method, path)
    assert (found, json.loads(body)) == (status, {"error": message})


def test_long_addresses(core: Core) -> None:
    name = "m" * 100_000
    status, _, body = _ask(RestApp(core), "GET", f"/v1/models/{name}")
    assert (status, name in body.decode()) == (404, True)
    asked = _ask(RestApp(core), "POST", f"/v1/models/{name}:predict", (b'{"instances": [1]}',))
    assert (asked[0], name in asked[2].decode()) == (404, True)
    assert _ask(RestApp(core), "GET", f"/v1/models/{name}{{")[0] == 400


def test_errors_are_written_as_rapidjson_writes_them(core: Core) -> None:
    body = _ask(RestApp(core), "GET", "/v1/models/%1F%22%5C%0A%FF%C3%A9%7F")[2]
    assert body.endswith(b'model \\u001F\\"\\\\\\n\xff\xc3\xa9\x7f"\n}')


def test_the_metrics_page_answers_any_method_at_its_exact_path(core: Core) -> None:
    app = RestApp(core, metrics_path="/m/page")
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"):
        status, headers, page = _ask(app, method, "/m/page")
        assert (status, headers["content-type"]) == (200, "text/plain")
        assert b"# TYPE" in page
    status, headers, page = _ask(app, "GET", "/m/page?x=1")
    assert (status, headers["content-type"]) == (400, "text/plain")
    assert page == b"Unexpected path: /m/page?x=1. Should be /m/page"
    assert _ask(app, "GET", "/m/page/")[0] == 404


_ZIPPED = gzip.compress(b"[]")


@pytest.mark.parametrize(
    ("coding", "body", "wanted"),
    [
        (b"gzip", _ZIPPED, "[]"),
        (b"x-gzip, identity", _ZIPPED, "[]"),
        (b"GZIP", b"[]", "[]"),  # not taken for gzip
        (b"deflate", b"[]", "[]"),
        (b"gzip", b"[]", ""),
        (b"gzip", b"", ""),
        (b"gzip", _ZIPPED[:-1], ""),
        (b"gzip", _ZIPPED + b"x", ""),
        (b"gzip", _ZIPPED + _ZIPPED, ""),
        (b"gzip", _ZIPPED[:-8] + bytes(8), ""),
        (b"gzip", gzip.compress(b""), ""),
    ],
)
def test_bodies_that_say_they_are_zipped(
    core: Core, monkeypatch: pytest.MonkeyPatch, coding: bytes, body: bytes, wanted: str
) -> None:
    monkeypatch.setitem(handlers.TABLE, "predict", lambda call, route, body: body)
    headers = ((b"content-encoding", coding),)
    assert (
        _ask(RestApp(core), "POST", "/v1/models/m:predict", (body,), headers)[2].decode() == wanted
    )


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
