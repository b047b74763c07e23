"""The REST application: which request is answered how, within which limits."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from serving.server.core import Core
from serving.server.http1 import target
from serving.server.http1.message import Headers, Request, Response, error_page
from serving.server.rest import extras, handlers, routes
from serving.server.status import HTTP_STATUS, Code, ServingError, from_exception, invalid

log = logging.getLogger(__name__)

_JSON: Headers = [(b"Content-Type", b"application/json")]
_PREFLIGHT: Headers = [(b"Content-Type", b"text/html; charset=ISO-8859-1")]
_CORS: Headers = [
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"POST, GET"),
    (b"Access-Control-Allow-Headers", b"Content-Type"),
]
_WITHOUT_CORS = (b"text/html", b"text/plain")  # pages of libevent, and metrics
# rapidjson's escapes; they differ from Python's in the case of their digits.
_ESCAPES = str.maketrans(
    {chr(code): f"\\u{code:04X}" for code in range(32)}
    | {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)

COMPRESSED_BYTES = 64 * 1024  # shorter answers go as they are, as from TensorFlow Serving


@dataclass(frozen=True)
class Limits:
    """What one REST request may ask of the server."""

    timeout_seconds: float = 30.0
    body_bytes: int = 256 * 1024 * 1024
    held_bytes: int = 1024 * 1024 * 1024  # of all requests together


@dataclass(slots=True)
class _Work:
    """What a handler has to do for a request."""

    route: routes.Route
    body: bytes

    @property
    def kind(self) -> tuple[str, str]:
        return self.route.verb, self.route.name


class RestApp:
    """TensorFlow Serving's REST interface. See `http1.Application`.

    Args:
        core: what answers.
        limits: what one request may ask for.
        cors: whether to send CORS headers.
        metrics_path: where the Prometheus page is; empty for nowhere.
        metrics_page: makes that page; by default it is the core's own.

    `closing` is set on shutdown: every answer then closes its connection.
    """

    def __init__(
        self,
        core: Core,
        limits: Limits = Limits(),
        *,
        cors: bool = False,
        metrics_path: str = "",
        metrics_page: Callable[[], Awaitable[bytes]] | None = None,
    ):
        self._core, self._limits = core, limits
        self._cors = _CORS if cors else []
        self._metrics_path, self._metrics_page = metrics_path, metrics_page
        self._held = 0  # bytes of all bodies that are in memory
        self.closing = False

    # === What connections tell ===

    def received(self, request: Request, data: bytes) -> Response | None:
        self._held += len(data)
        request.held += len(data)
        if request.held > self._limits.body_bytes:
            limit = self._limits.body_bytes
            return self._closed(_error(invalid(f"Request body is larger than {limit} bytes.")))
        if self._held > self._limits.held_bytes:
            text = "Too many large requests at a time; try again."
            return self._closed(_error(ServingError(Code.RESOURCE_EXHAUSTED, text)))
        return None

    def gone(self, request: Request) -> None:
        self._held -= request.held
        request.held = 0
        request.body.clear()

    def start(self, request: Request) -> Response | Awaitable[Response]:
        found = self._find(request)
        if isinstance(found, _Work):
            work = (found.kind, len(found.body), handlers.TABLE[found.route.verb])
            call = self._core.call(found.route.verb, "REST")
            if not self._core.is_quick(*work[:2]):
                return self._later(request, call, *work, found.route, found.body)
            try:
                data = self._core.answer_now(call, *work, found.route, found.body)
                found = Response(200, _JSON, data)
            except Exception as error:
                found = self._failed(request, error)
        if not isinstance(found, Response) or _is_worth_deflating(request, found):
            return self._completed(request, found)
        return self._with_headers(found)

    # === Answers ===

    def _find(self, request: Request) -> Response | Awaitable[Response] | _Work:
        """The answer where it needs no handler, else what has to be done for it."""
        if request.method == "POST" and len(request.target) <= target.SHORT:
            route = routes.inference(request.target)
            if route is not None:
                return self._inference(request, route)
        return self._find_other(request)

    def _inference(self, request: Request, route: routes.Route) -> Response | _Work:
        body = request.body.whole()
        if b"gzip" in request.header(b"content-encoding"):
            try:
                body = _inflate(body, self._limits.body_bytes)
            except ServingError as error:
                return _error(error)
        return _Work(route, body)

    def _find_other(self, request: Request) -> Response | Awaitable[Response] | _Work:
        """Anything but a request for an inference at an address of common length."""
        method = request.method
        if method not in target.METHODS:
            return error_page(501)
        path = target.read(request.target)
        if path is None:
            return error_page(400)
        page = self._page(request, path)
        if page is not None:
            return page
        if not path.lower().startswith("/v1/"):
            return error_page(404)
        if method == "OPTIONS":
            return Response(200 if _has_origin(request) else 400, _PREFLIGHT)
        try:
            route = routes.match(method, path)
        except routes.BadVersion:
            return Response(400, _JSON)
        if route is None:
            return _error(invalid(f"Malformed request: {method} {path}"))
        if not route.name:
            return _error(invalid("Missing model name in request."))
        return self._inference(request, route) if method == "POST" else _Work(route, b"")

    def _page(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """What is no part of TensorFlow Serving's interface for models."""
        where = self._metrics_path
        if where and re.split("[?#]", path, maxsplit=1)[0] == where:
            if path == where:  # with any method
                return self._metrics()
            text = f"Unexpected path: {path}. Should be {where}"
            return Response(400, extras.PLAIN_TYPE, text.encode())
        if request.method not in extras.METHODS:
            return None
        accept = request.header(b"accept").decode("latin-1")
        page = extras.find(self._core, request.method, path, accept)
        if page is None:
            return None
        return Response(page.status, [(b"Content-Type", page.content_type.encode())], page.body)

    async def _metrics(self) -> Response:
        make = self._metrics_page
        page = self._core.metrics.page() if make is None else await make()
        return Response(200, extras.PLAIN_TYPE, page)

    async def _later(self, request: Request, *work: Any) -> Response:
        try:
            data = await self._core.answer(*work, timeout=self._limits.timeout_seconds)
            found = Response(200, _JSON, data)
        except Exception as error:
            found = self._failed(request, error)
        return await self._completed(request, found)

    async def _completed(self, request: Request, found: Response | Awaitable[Response]) -> Response:
        """An answer that is still to be made, or to be deflated."""
        response = found if isinstance(found, Response) else await found
        if _is_worth_deflating(request, response):
            body = response.body
            body = await self._core.execution.run("gzip", len(body), _deflate, body)
            more = [(b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding")]
            response = Response(response.status, [*response.headers, *more], body)
        return self._with_headers(response)

    def _with_headers(self, response: Response) -> Response:
        if self._cors and response.headers[0][1] not in _WITHOUT_CORS:
            response.headers = [*response.headers, *self._cors]
        response.close |= self.closing
        return response

    def _closed(self, response: Response) -> Response:
        response.close = True
        return response

    def _failed(self, request: Request, error: Exception) -> Response:
        known = isinstance(error, (ServingError, RecursionError, asyncio.TimeoutError))
        if not known and not hasattr(error, "error_code"):
            # not TensorFlow's: a bug worth its traceback
            log.error("%s %r failed", request.method, request.target, exc_info=error)
        return _error(error)


def _has_origin(request: Request) -> bool:
    return re.search(rb"https?://", request.header(b"origin")) is not None


def _inflate(body: bytes, limit: int) -> bytes:
    """The gzip body unpacked; a broken one counts as empty, as in TensorFlow Serving."""
    try:
        inflater = zlib.decompressobj(wbits=31)
        plain = inflater.decompress(body, limit)
    except zlib.error:
        return b""
    if inflater.unconsumed_tail:
        raise invalid(f"Request body is larger than {limit} bytes when inflated.")
    return plain if inflater.eof and not inflater.unused_data else b""


def _is_worth_deflating(request: Request, response: Response) -> bool:
    if len(response.body) < COMPRESSED_BYTES:
        return False
    if any(name.lower() == b"content-encoding" for name, _ in response.headers):
        return False
    for piece in request.header(b"accept-encoding").split(b","):
        coding, _, quality = piece.strip().partition(b";")
        if coding == b"gzip":
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def _deflate(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def _error(error: BaseException) -> Response:
    if isinstance(error, RecursionError):
        error = invalid("JSON Parse error: Values are nested too deeply.")
    elif isinstance(error, asyncio.TimeoutError):
        error = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
    known = from_exception(error)
    text = known.message.translate(_ESCAPES).encode("utf-8", "surrogateescape")
    return Response(HTTP_STATUS[known.code], _JSON, b'{\n    "error": "' + text + b'"\n}')
