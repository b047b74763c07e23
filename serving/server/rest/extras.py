"""What TensorFlow Serving has no path for: is it alive, is it ready, what does it serve.

GET /livez                the process answers
GET /readyz               every wanted model has an available version, and no stop is under way
GET /v1/models?list=1     the models, their versions and labels; with Accept: application/json
GET /openapi.json         the REST interface of the loaded signatures

The Prometheus page, where it is switched on, is the application's own matter: it is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from serving.server.core import Core
from serving.server.rest import openapi

LIST = "/v1/models?list=1"
METHODS = ("GET", "HEAD")
PLAIN_TYPE = [(b"Content-Type", b"text/plain")]


@dataclass(frozen=True)
class Page:
    """An answer of one of these paths."""

    status: int
    content_type: str
    body: bytes


def find(core: Core, method: str, path: str, accept: str) -> Page | None:
    """The page at `path`, None where TensorFlow Serving's own answer is due."""
    if method not in METHODS:
        return None
    if path == "/livez":
        return _json({"status": "alive"})
    if path == "/readyz":
        return _ready(core)
    if path == "/openapi.json":
        return _json(openapi.document(core.manager.available()))
    if path == LIST and "application/json" in accept:
        return _json({"models": _models(core)})
    return None


def _json(value: Any, status: int = 200) -> Page:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return Page(status, "application/json", text.encode("utf-8", "replace"))


def _ready(core: Core) -> Page:
    waiting = core.manager.waiting_for()
    ready = not waiting and not core.draining
    status = "ready" if ready else "stopping" if core.draining else "loading"
    return _json({"status": status, "not_available": waiting}, 200 if ready else 503)


def _models(core: Core) -> list[dict[str, Any]]:
    labels = core.manager.labels()
    found: dict[str, list[dict[str, str]]] = {name: [] for name in core.manager.model_names()}
    for version in core.manager.all_versions():
        if version.model in found:
            entry = {"version": str(version.number), "state": version.state.name}
            found[version.model].append(entry)
    return [
        {
            "name": name,
            "versions": sorted(versions, key=lambda entry: -int(entry["version"])),
            "labels": {label: str(number) for label, number in labels.get(name, {}).items()},
        }
        for name, versions in found.items()
    ]
