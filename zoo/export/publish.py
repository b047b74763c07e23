"""Publish a version folder with one rename, so that no reader ever sees half of one.

    store/NAME/.lock                   held while a version number is chosen, or leftovers removed
    store/NAME/.staging-ID/lock        held by the live exporter for as long as it writes
    store/NAME/.staging-ID/version/    becomes store/NAME/VERSION

A kernel drops a dead process's flock, so a staging folder whose lock is free has no owner any
more, whatever killed it: the next export removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import StoreError

from .store import check_name, next_version, reason

STAGING = ".staging-"  # never a number, so TensorFlow Serving does not look inside


class Staging:
    """A private folder `path` to fill, and `publish()` to make it the next version."""

    def __init__(self, folder: Path, home: Path):
        self.path = home / "version"
        self._folder = folder

    def publish(self) -> Path:
        """Flush every byte to the disk, then rename; the folder of the new version."""
        with _writing(self._folder):
            _flush_tree(self.path)
            with _locked(self._folder / ".lock"):
                version = self._folder / str(next_version(self._folder))
                # next_version saw no such entry and every exporter holds the lock here: rename(2)
                # would otherwise replace an empty folder without a word.
                os.rename(self.path, version)
            _flush(self._folder)
        return version


@contextmanager
def staging(store: Path | str, name: str) -> Iterator[Staging]:
    """A staging folder for the next version of `name`; removed at the end, whatever happened.

    Raises StoreError if the store cannot be written.
    """
    folder = Path(store).absolute() / check_name(name)
    with _writing(folder):
        _make_folders(folder)
        # The lock keeps another exporter's clean-up away until this folder's own lock is held.
        with _locked(folder / ".lock"):
            _remove_leftovers(folder)
            home = folder / f"{STAGING}{uuid.uuid4().hex}"
            home.mkdir()
            owner = _lock(home / "lock")
    try:
        with _writing(folder):
            (home / "version").mkdir()
        yield Staging(folder, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.close(owner)


def _remove_leftovers(folder: Path) -> None:
    for home in folder.glob(f"{STAGING}*"):
        try:
            owner = _lock(home / "lock", wait=False)
        except (BlockingIOError, FileNotFoundError):
            continue  # its exporter lives, or has just removed it
        try:
            # A live exporter that is removing this very folder may be faster: not an error.
            shutil.rmtree(home, ignore_errors=True)
            if home.exists():
                raise StoreError(f"Cannot remove {home}, which a dead export left: delete it.")
        finally:
            os.close(owner)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, *, wait: bool = True) -> int:
    # A file opened for writing: network file systems refuse an exclusive lock on anything else.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_folders(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush(path.parent)


def _flush_tree(root: Path) -> None:
    for parent, _, files in os.walk(root):
        for file in files:
            _flush(Path(parent, file))
        _flush(Path(parent))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems flush folders by themselves and refuse to be asked.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"Cannot publish a version in {folder}: {reason(error)}; nothing was published."
        ) from error
