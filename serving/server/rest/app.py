"""The ASGI application. It reads a request, hands its work to the execution, writes the answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from serving.server.core import Core
from serving.server.rest import extras, handlers, routes
from serving.server.status import HTTP_STATUS, Code, ServingError, from_exception, invalid

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON: Headers = [(b"content-type", b"application/json")]
_PREFLIGHT: Headers = [(b"content-type", b"text/html; charset=ISO-8859-1")]
_HTML: Headers = [(b"content-type", b"text/html"), (b"connection", b"close")]
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n"
    b"</BODY></HTML>\n"
)
_CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
]


COMPRESSED_BYTES = 64 * 1024  # shorter answers go as they are, as from TensorFlow Serving


class Disconnected(Exception):
    """The client went away before its request was complete."""


@dataclass(frozen=True)
class Limits:
    """What one REST request may ask of the server."""

    timeout_seconds: float = 30.0
    body_bytes: int = 256 * 1024 * 1024
    held_bytes: int = 1024 * 1024 * 1024  # of all requests together


class RestApp:
    """TensorFlow Serving's REST interface as an ASGI application.

    Args:
        core: what answers.
        limits: what one request may ask for.
        cors: whether to send CORS headers.
        metrics_path: where the Prometheus page is; empty for nowhere.

    `closing` is set on shutdown: every answer then closes its connection.
    """

    def __init__(
        self,
        core: Core,
        limits: Limits = Limits(),
        *,
        cors: bool = False,
        metrics_path: str = "",
    ):
        self._core, self._limits = core, limits
        self._cors = _CORS if cors else []
        self._metrics_path = metrics_path
        self._held = 0  # bytes of all bodies that are in memory
        self.closing = False
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.under_way += 1
        try:
            status, headers, body = await self._answer(scope, receive)
            if len(body) >= COMPRESSED_BYTES and _accepts_gzip(scope):
                body = await self._core.execution.run("gzip", len(body), _deflate, body)
                headers = [*headers, (b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
        except Disconnected:
            return
        finally:
            self.under_way -= 1
        headers = [*headers, *self._cors, (b"content-length", b"%d" % len(body))]
        if self.closing and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, Headers, bytes]:
        method, path = scope["method"], _path(scope)
        accept = _header(scope, b"accept").decode("latin-1")
        page = extras.find(self._core, method, path, accept, self._metrics_path)
        if page is not None:
            return page.status, [(b"content-type", page.content_type.encode())], page.body
        if not path.lower().startswith("/v1/"):
            return 404, _HTML, _NOT_FOUND
        if method == "OPTIONS":
            return (200 if _has_origin(scope) else 400), _PREFLIGHT, b""
        try:
            route = routes.match(method, path)
            if route is None:
                raise invalid(f"Malformed request: {method} {path}")
            if method != "POST":
                return 200, _JSON, await self._result(route, b"")
            return 200, _JSON, await self._result_of_body(route, scope, receive)
        except routes.BadVersion:
            return 400, _JSON, b""
        except (ServingError, RecursionError, asyncio.TimeoutError) as error:
            return _error(error)
        except Disconnected:
            raise
        except Exception as error:
            if not hasattr(error, "error_code"):  # not TensorFlow's: a bug worth its traceback
                log.exception("%s %s failed", method, path)
            return _error(error)

    async def _result(self, route: routes.Route, body: bytes) -> bytes:
        handler = handlers.TABLE[route.verb]
        return await self._core.answer(
            self._core.call(route.verb, "REST"),
            (route.verb, route.name),
            len(body),
            handler,
            route,
            body,
            timeout=self._limits.timeout_seconds,
        )

    async def _result_of_body(self, route: routes.Route, scope: Scope, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        try:
            await self._read(receive, chunks)
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if _header(scope, b"content-encoding").lower() == b"gzip":
                body = _inflate(body, self._limits.body_bytes)
            return await self._result(route, body)
        finally:
            self._held -= sum(map(len, chunks))

    async def _read(self, receive: Receive, chunks: list[bytes]) -> None:
        """Fill `chunks` with the body.

        Raises:
            ServingError: it is too large, or all bodies together are.
            Disconnected: the client went away.
        """
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            self._held += len(chunk)
            if size > self._limits.body_bytes:
                raise invalid(f"Request body is larger than {self._limits.body_bytes} bytes.")
            if self._held > self._limits.held_bytes:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED, "Too many large requests at a time; try again."
                )
            more = message.get("more_body", False)


def _path(scope: Scope) -> str:
    """The request's target as it was sent: percent signs and the query string are part of it."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    return (path + b"?" + query if query else path).decode("utf-8", "replace")


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _has_origin(scope: Scope) -> bool:
    return _header(scope, b"origin").startswith((b"http://", b"https://"))


def _inflate(body: bytes, limit: int) -> bytes:
    """The gzip body unpacked; a broken one counts as empty, as in TensorFlow Serving."""
    try:
        inflater = zlib.decompressobj(wbits=31)
        plain = inflater.decompress(body, limit)
    except zlib.error:
        return b""
    if inflater.unconsumed_tail:
        raise invalid(f"Request body is larger than {limit} bytes when inflated.")
    return plain if inflater.eof else b""


def _accepts_gzip(scope: Scope) -> bool:
    for piece in _header(scope, b"accept-encoding").split(b","):
        coding, _, quality = piece.strip().partition(b";")
        if coding == b"gzip":
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def _deflate(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def _error(error: BaseException) -> tuple[int, Headers, bytes]:
    if isinstance(error, RecursionError):
        error = invalid("JSON Parse error: Values are nested too deeply.")
    elif isinstance(error, asyncio.TimeoutError):
        error = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
    known = from_exception(error)
    text = json.dumps(known.message, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return HTTP_STATUS[known.code], _JSON, b'{\n    "error": ' + text + b"\n}"
