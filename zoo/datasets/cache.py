"""The user's cache folder: verified files, published whole, by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.datasets.progress import Progress
from zoo.errors import DataError

ENVIRONMENT = "ZOO_CACHE"


@dataclass(frozen=True)
class Cache:
    """A folder of data files, and what to call while one of them is being fetched."""

    folder: Path
    progress: Progress | None = None

    @classmethod
    def open(cls, folder: Path | None = None, progress: Progress | None = None) -> Cache:
        """That folder, else the one named by ZOO_CACHE, else the platform's for this user."""
        if folder is None and not (folder := os.environ.get(ENVIRONMENT)):
            from platformdirs import user_cache_path

            folder = user_cache_path("model-zoo-serving", appauthor=False)
        # Absolute: pip, a child process, is told this path too.
        return cls(Path(folder).expanduser().absolute(), progress)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """An empty scratch folder for making the file `name`, held by one process at a time.

        A second process waits here. The scratch folder is gone afterwards, whatever happened;
        what a killed process left behind is removed by the next one that writes `name`.
        An `OSError` within becomes a `DataError` that names the cache.
        """
        prefix = f".{name}.part-"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.folder / f".{name}.lock", name):
                for left_behind in self.folder.glob(f"{prefix}*"):
                    shutil.rmtree(left_behind, ignore_errors=True)
                scratch = tempfile.mkdtemp(prefix=prefix, dir=self.folder)
                try:
                    yield Path(scratch)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            raise DataError(
                f"Cannot write {name} to the data cache {self.folder} "
                f"({error.strerror or error}): make room there, "
                f"or name another folder in {ENVIRONMENT}."
            ) from error

    def publish(self, scratch_file: Path) -> Path:
        """Move a finished file out of its scratch folder, all of it or nothing."""
        with open(scratch_file, "rb") as file:
            os.fsync(file.fileno())
        path = self.folder / scratch_file.name
        os.replace(scratch_file, path)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the new name, too, survives a power cut
        finally:
            os.close(descriptor)
        return path

    def read(self, name: str, algorithm: str, digest: str) -> bytes | None:
        """The file's bytes if their checksum is right; None if it is missing or damaged."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(
                f"Cannot read the cached {path} ({error.strerror or error}): remove it, "
                f"or name another folder in {ENVIRONMENT}."
            ) from error
        right = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest
        return content if right else None

    def tell_if_damaged(self, name: str) -> None:
        """Says that a file which `read` did not accept is there all the same."""
        if (self.folder / name).exists():
            sys.stderr.write(f"The cached {self.folder / name} is damaged, so it is made again.\n")


@contextlib.contextmanager
def _alone(lock_file: Path, name: str) -> Iterator[None]:
    """Waits for the lock, and says so. The system frees it when a process dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        sys.stderr.write(f"Waiting for another process that is making {name} ...\n")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
