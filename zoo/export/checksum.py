"""The fingerprint of a version folder: SHA-256 of every file, and one over them all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from zoo.errors import StoreError

from .card import CARD, read_card
from .store import readable


def fingerprint(version: Path) -> dict[str, Any]:
    """{"algorithm", "files": {relative path: {"sha256", "size"}}, "tree"} of a version folder.

    The card is left out, because it holds the result. `tree` is the SHA-256 of the lines
    `<sha256>  <path>` in path order: `sha256sum` over the sorted files gives the same lines.
    """
    with readable(version):
        paths = sorted(
            path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()
        )
        files = {path: _digest(version / path) for path in paths if path != CARD}
    return {"algorithm": "sha256", "files": files, "tree": _tree(files)}


def verify(version: Path | str) -> None:
    """StoreError that names the first file that is missing, changed or not in the model card."""
    version = Path(version)
    expected = read_card(version).get("checksum")
    expected = expected if isinstance(expected, dict) else {}
    files, tree = expected.get("files"), expected.get("tree")
    if not isinstance(files, dict) or not isinstance(tree, str):
        raise StoreError(f"{version / CARD} holds no checksum: export the model again.")
    found = fingerprint(version)
    for path in sorted(files.keys() | found["files"].keys()):
        if path not in found["files"]:
            raise StoreError(f"{version} lacks {path}: export the model again.")
        if path not in files:
            raise StoreError(f"{version} holds {path}, which its model card does not list.")
        if found["files"][path] != files[path]:
            raise StoreError(f"{version / path} changed since it was exported: export it again.")
    if found["tree"] != tree:
        raise StoreError(f"{version / CARD} holds a checksum that does not fit its own files.")


def _digest(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return {"sha256": digest.hexdigest(), "size": size}


def _tree(files: dict[str, Any]) -> str:
    lines = "".join(f"{entry['sha256']}  {path}\n" for path, entry in files.items())
    return hashlib.sha256(lines.encode()).hexdigest()
