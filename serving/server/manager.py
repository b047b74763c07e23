"""The manager: brings the loaded versions in line with the wanted ones, without a gap.

Rules, as in TensorFlow Serving's availability-preserving policy:
- a wanted version is loaded, and warmed, before one that is no longer wanted is unloaded;
- while no wanted version is available, the newest unwanted one goes on serving;
- a request holds a lease on the version that it runs on, and a session is closed only when the
  last lease on it has ended.

Three things are better than there:
- a version whose load failed is tried again as soon as its files change, so a folder that was
  caught half copied loads when the copy is complete;
- one whose folder is gone is no longer tried at all;
- one whose files change while they load is not served.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from serving.server.catalog import Catalog
from serving.server.lifecycle import State, Version, fingerprint
from serving.server.servable import Servable
from serving.server.status import Code, ServingError, from_exception

log = logging.getLogger(__name__)

Loader = Callable[[str, int, Path], Servable]
SOON_SECONDS = 1.0  # a retry that is due later waits for the next poll


class Lease:
    """Holds a version from `Manager.lease` to the end of its `with` block.

    A class, because a generator's context manager takes longer than the rest of the lease.
    """

    __slots__ = ("_manager", "_version")

    def __init__(self, manager: Manager, version: Version):
        self._manager, self._version = manager, version

    def __enter__(self) -> Version:
        return self._version

    def __exit__(self, *_: Any) -> None:
        self._manager._give_back(self._version)


class Manager(Catalog):
    """The catalog, and what brings it in line with what is wanted."""

    def __init__(
        self,
        loader: Loader,
        *,
        load_threads: int = 1,
        unload_threads: int = 1,
        max_retries: int = 5,
        retry_seconds: float = 60.0,
    ):
        super().__init__()
        self._loader = loader
        self._max_retries, self._retry_seconds = max_retries, retry_seconds
        self._loading = ThreadPoolExecutor(load_threads, thread_name_prefix="load")
        self._unloading = ThreadPoolExecutor(unload_threads, thread_name_prefix="unload")
        self._stopped = False

    # === Requests ===

    def lease(self, model: str, version: int | None = None, label: str | None = None) -> Lease:
        """Hold a version while a request runs on it.

        Args:
            model: its name.
            version: its number; the newest available one by default.
            label: a version label instead of a number.

        Raises:
            ServingError: NOT_FOUND where there is no such version, INVALID_ARGUMENT for a label
                that nobody assigned.
        """
        with self._lock:
            held = self._find(model, version, label)
            held.users += 1
        return Lease(self, held)

    def _give_back(self, held: Version) -> None:
        with self._lock:
            held.users -= 1
            closing = held.users == 0 and held.state is State.UNLOADING
        if closing:
            self._submit(self._unloading, self._close, held)

    # === What is wanted ===

    def reconcile_all(self) -> None:
        """Start what is due of every model."""
        for model in self.model_names():
            self.reconcile(model)

    def set_models(
        self, labels: Mapping[str, Mapping[str, int]], *, unavailable: bool = True
    ) -> None:
        """Serve these models, under these labels; the versions of all others are unloaded.

        Args:
            labels: model name → label → version.
            unavailable: whether a *new* label may go to a version that is not available. One that
                moves never may: its users would lose the version they have.

        Raises:
            ServingError: FAILED_PRECONDITION for such a label; nothing has changed then.
        """
        with self._lock:
            self._check_labels(labels, unavailable)
            self._labels = {name: dict(assigned) for name, assigned in labels.items()}
            dropped = [name for name in self._aspired if name not in labels]
        for name in dropped:
            self.aspire(name, {})
            with self._lock:
                del self._aspired[name]

    def aspire(self, model: str, versions: Mapping[int, Path]) -> None:
        """Serve exactly these versions of `model`: load what is missing, then unload the rest."""
        with self._lock:
            self._aspired[model] = dict(versions)
        self.reconcile(model)

    def ensure(self, model: str) -> None:
        """Note that `model` is wanted, without saying in which versions."""
        with self._lock:
            self._aspired.setdefault(model, {})

    def reconcile(self, model: str, *, look: bool = True) -> None:
        """Start the loads and unloads that are due. Cheap where nothing changed.

        Args:
            look: whether to look at the files of versions that failed. Not at once after a
                failure: a folder that is being filled would be tried without a pause.
        """
        changed = self._changed_files(model) if look else set()
        with self._lock:
            if self._stopped:
                return
            aspired = self._aspired.get(model, {})
            known = self._models.setdefault(model, {})
            due = [
                self._begin_load(known, model, number, path)
                for number, path in sorted(aspired.items(), reverse=True)
                if self._should_load(known.get(number), number in changed)
            ]
            for version in known.values():  # nobody waits for a retry of what is not wanted
                if version.number not in aspired and version.retry_at is not None:
                    version.state, version.retry_at = State.END, None
            retired = list(self._unwanted(known, aspired))
            for version in retired:
                version.state = State.UNLOADING
            closing = [version for version in retired if version.users == 0]
        for version in due:
            self._submit(self._loading, self._load, version)
        for version in retired:
            log.info("Quiescing servable version %s", version)
        for version in closing:
            self._submit(self._unloading, self._close, version)

    def _changed_files(self, model: str) -> set[int]:
        """Wanted versions that failed to load and whose files are others now.

        The disk may be slow, and requests take the lock: it is not held meanwhile.
        """
        with self._lock:
            known = self._models.get(model, {})
            failed = [
                (number, path, known[number].fingerprint)
                for number, path in self._aspired.get(model, {}).items()
                if number in known and known[number].error is not None
            ]
        return {number for number, path, before in failed if fingerprint(path) != before}

    def _should_load(self, version: Version | None, files_changed: bool) -> bool:
        if version is None:
            return True
        if version.state is State.END:  # unloaded in good order and wanted again, or given up
            return version.error is None or files_changed
        if version.state is State.LOADING and version.retry_at is not None:
            return files_changed or time.monotonic() >= version.retry_at
        return False

    def _begin_load(
        self, known: dict[int, Version], model: str, number: int, path: Path
    ) -> Version:
        version = known.get(number)
        if version is None or version.state is State.END:
            version = known[number] = Version(model, number, path)
        version.path, version.retry_at = path, None
        version.state = State.LOADING if version.attempts else State.START
        return version

    def _unwanted(
        self, known: Mapping[int, Version], aspired: Mapping[int, Path]
    ) -> Iterable[Version]:
        serving = {n: v for n, v in known.items() if v.state is State.AVAILABLE}
        unwanted = sorted(n for n in serving if n not in aspired)
        if aspired and not any(number in serving for number in aspired):
            unwanted = unwanted[:-1]  # the newest goes on serving until a wanted one is ready
        return [serving[number] for number in unwanted]

    # === Loading and unloading, on the manager's own threads ===

    def _load(self, version: Version) -> None:
        with self._lock:
            if self._stopped:
                return
            if version.number not in self._aspired.get(version.model, {}):
                version.state = State.END  # no longer wanted when its turn came
                return
            version.state = State.LOADING
            version.attempts += 1
        version.fingerprint = fingerprint(version.path)
        log.info("Successfully reserved resources to load servable %s", version)
        log.info("Approving load for servable version %s", version)
        log.info("Loading servable version %s", version)
        try:
            servable = self._load_whole(version)
        except Exception as error:  # whatever a broken SavedModel raises, the server lives on
            self._failed(version, from_exception(error))
        else:
            with self._lock:
                version.servable, version.state, version.error = servable, State.AVAILABLE, None
            log.info("Successfully loaded servable version %s", version)
        self.reconcile(version.model, look=False)

    def _load_whole(self, version: Version) -> Servable:
        """Load a version whose files stay as they are meanwhile.

        One that is replaced while it is read may give the graph of one model with the weights of
        another, and answer.
        """
        servable = self._loader(version.model, version.number, version.path)
        if fingerprint(version.path) == version.fingerprint:
            return servable
        servable.close()
        raise ServingError(Code.ABORTED, f"The files in {version.path} changed while they loaded.")

    def _failed(self, version: Version, error: ServingError) -> None:
        with self._lock:
            version.error = error
            exhausted = version.attempts > self._max_retries
            version.state = State.END if exhausted else State.LOADING
            version.retry_at = None if exhausted else time.monotonic() + self._retry_seconds
        text = f"{error.code.name}: {error.message}"
        log.error("Loading servable: %s failed: %s", version, text)
        if exhausted:
            log.error("Servable %s cannot be loaded: %s", version, text)
        elif self._retry_seconds < SOON_SECONDS:  # not only when the folders are polled next
            wait = max(0.0, self._retry_seconds) + 0.001
            timer = threading.Timer(wait, self.reconcile, (version.model,), {"look": False})
        timer.daemon = True
        timer.start()

    def _close(self, version: Version) -> None:
        with self._lock:
            servable, version.servable = version.servable, None
        if servable is not None:
            log.info("Done quiescing servable version %s", version)
            log.info("Unloading servable version %s", version)
            servable.close()
        with self._lock:
            version.state = State.END
        log.info("Done unloading servable version %s", version)
        self.reconcile(version.model)  # it may be wanted again by now

    def _submit(
        self, pool: ThreadPoolExecutor, work: Callable[[Version], None], version: Version
    ) -> None:
        try:
            pool.submit(work, version)
        except RuntimeError:  # stopped meanwhile; `stop` closes what is left
            log.debug("Not started after the stop: %s", version)

    # === Start and stop ===

    def stop(self) -> None:
        """Close every session. Requests must have ended before."""
        with self._lock:
            self._stopped = True
        self._loading.shutdown(wait=True, cancel_futures=True)
        self._unloading.shutdown(wait=True, cancel_futures=True)
        for versions in self._models.values():
            for version in versions.values():
                if version.servable is not None:
                    version.servable.close()
                    version.servable, version.state = None, State.END
