"""The manager's rules, with loads that end when the test says so."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.server.lifecycle import State
from serving.server.manager import Manager
from serving.server.status import ServingError, invalid


class Loaded:
    """Stands where a servable would; remembers whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Loads:
    """A loader whose loads wait for `allow`, and fail for versions in `broken`."""

    def __init__(self) -> None:
        self.allowed: dict[int, threading.Event] = {}
        self.broken: set[int] = set()
        self.count = 0

    def allow(self, *versions: int) -> None:
        for version in versions:
            self.allowed.setdefault(version, threading.Event()).set()

    def __call__(self, model: str, version: int, path: Path) -> Loaded:
        self.count += 1
        self.allowed.setdefault(version, threading.Event()).wait(10)
        if version in self.broken:
            raise invalid("broken")
        return Loaded()


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def manager(loads: Loads) -> Iterator[Manager]:
    made = Manager(loads, max_retries=1, retry_seconds=0.05)
    yield made
    loads.allow(*range(10))
    made.stop()


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def states(manager: Manager) -> dict[int, str]:
    return {v.number: v.state.name for v in manager.statuses("m")}


def aspire(manager: Manager, *versions: int) -> None:
    manager.aspire("m", {version: Path(f"/m/{version}") for version in versions})


def test_the_old_version_serves_until_the_new_one_is_ready(manager: Manager, loads: Loads) -> None:
    loads.allow(1)
    aspire(manager, 1)
    eventually(lambda: states(manager) == {1: "AVAILABLE"})
    aspire(manager, 2)
    eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "LOADING"})
    with manager.lease("m") as version:
        assert version.number == 1
    loads.allow(2)
    eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})
    with manager.lease("m") as version:
        assert version.number == 2


def test_a_session_is_closed_after_its_last_request(manager: Manager, loads: Loads) -> None:
    loads.allow(1, 2)
    aspire(manager, 1)
    eventually(lambda: states(manager) == {1: "AVAILABLE"})
    with manager.lease("m") as first, manager.lease("m", 1) as again:
        aspire(manager, 2)
        eventually(lambda: states(manager) == {1: "UNLOADING", 2: "AVAILABLE"})
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"), manager.lease("m", 1):
            pass
        loaded = first.servable
        assert not loaded.closed
        assert again.servable is loaded
    eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})
    assert loaded.closed


def test_a_failing_version_is_retried_then_given_up(manager: Manager, loads: Loads) -> None:
    loads.allow(1, 2)
    loads.broken.add(2)
    aspire(manager, 1)
    eventually(lambda: states(manager) == {1: "AVAILABLE"})
    aspire(manager, 2)
    eventually(lambda: manager.statuses("m", 2)[0].attempts == 1)
    time.sleep(0.06)
    manager.reconcile("m")
    eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "END"})
    assert manager.statuses("m", 2)[0].message == "broken"
    manager.reconcile("m")
    assert loads.count == 3


def test_a_version_that_vanishes_between_retries_ends(manager: Manager, loads: Loads) -> None:
    loads.allow(1, 2)
    loads.broken.add(2)
    aspire(manager, 1, 2)
    eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "LOADING"})
    eventually(lambda: manager.statuses("m", 2)[0].retry_at is not None)
    aspire(manager, 1)
    assert states(manager) == {1: "AVAILABLE", 2: "END"}


def test_changed_files_bring_another_try(tmp_path: Path, loads: Loads, manager: Manager) -> None:
    loads.allow(3)
    loads.broken.add(3)
    folder = tmp_path / "3"
    folder.mkdir()
    manager.aspire("m", {3: folder})
    eventually(lambda: manager.statuses("m")[0].retry_at is not None)
    time.sleep(0.06)
    manager.reconcile("m")
    eventually(lambda: states(manager) == {3: "END"})
    loads.broken.clear()
    (folder / "saved_model.pb").write_bytes(b"now complete")
    manager.reconcile("m")
    eventually(lambda: states(manager) == {3: "AVAILABLE"})


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_files_that_change_while_they_load_are_not_served(
    tmp_path: Path, loads: Loads, manager: Manager, change: str
) -> None:
    folder = tmp_path / "4"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"one")
    loads.allow(3)
    aspire(manager, 3)
    eventually(lambda: states(manager) == {3: "AVAILABLE"})
    manager.aspire("m", {3: Path("/m/3"), 4: folder})
    eventually(lambda: 4 in loads.allowed)  # its files have been looked at, and are being read
    if change == "replaced":
        (folder / "saved_model.pb").write_bytes(b"another")
    else:
        shutil.rmtree(folder)
    loads.allow(4)
    eventually(lambda: manager.statuses("m", 4)[0].error is not None)
    assert manager.statuses("m", 4)[0].error.code.name == "ABORTED"
    with manager.lease("m") as version:
        assert version.number == 3
    if change == "gone":
        aspire(manager, 3)
        assert states(manager) == {3: "AVAILABLE", 4: "END"}
    else:
        manager.reconcile("m")
        eventually(lambda: states(manager) == {3: "AVAILABLE", 4: "AVAILABLE"})


def test_without_any_wanted_version_all_unload(manager: Manager, loads: Loads) -> None:
    loads.allow(1, 2)
    aspire(manager, 1, 2)
    eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "AVAILABLE"})
    aspire(manager)
    eventually(lambda: states(manager) == {1: "END", 2: "END"})
    aspire(manager, 1)
    eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "END"})


def test_who_is_waited_for_at_the_start(manager: Manager, loads: Loads) -> None:
    loads.allow(1, 2)
    loads.broken.add(2)
    aspire(manager, 1)
    manager.aspire("broken", {2: Path("/m/2")})
    manager.ensure("absent")
    eventually(lambda: manager.undecided() == ["broken", "absent"])
    eventually(lambda: manager.undecided(patient=False) == [])
    time.sleep(0.06)
    manager.reconcile("broken")
    eventually(lambda: manager.undecided() == ["absent"])
    assert [str(version) for version in manager.failures()] == ["{name: broken version: 2}"]


def test_labels_and_unknown_names(manager: Manager, loads: Loads) -> None:
    loads.allow(1)
    manager.set_models({"m": {"stable": 1, "next": 2}})
    aspire(manager, 1)
    eventually(lambda: states(manager) == {1: "AVAILABLE"})
    with manager.lease("m", label="stable") as version:
        assert version.number == 1
    for target, message in {
        ("m", None, "next"): r"Specific\(m, 2\)",
        ("m", None, "none"): "Unrecognized servable version label: none",
        ("n", None, None): r"Latest\(n\)",
    }.items():
        with pytest.raises(ServingError, match=message), manager.lease(*target):
            pass
    with pytest.raises(ServingError, match="Could not find version 7 of model m"):
        manager.statuses("m", 7)
    with pytest.raises(ServingError, match="Could not find any versions of model n"):
        manager.statuses("n")
    manager.set_models({})
    eventually(lambda: states(manager) == {1: "END"})


def test_leases_from_many_threads_never_see_a_closed_session(
    manager: Manager, loads: Loads
) -> None:
    loads.allow(*range(1, 10))
    aspire(manager, 1)
    eventually(lambda: states(manager) == {1: "AVAILABLE"})
    stop, seen = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                with manager.lease("m") as version:
                    loaded = version.servable
                    time.sleep(0.0005)
                    if loaded.closed or version.state not in (State.AVAILABLE, State.UNLOADING):
                        seen.append(str(version))
            except ServingError as error:
                seen.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 10):
        aspire(manager, number)
        eventually(lambda number=number: states(manager)[number] == "AVAILABLE")
    stop.set()
    for thread in threads:
        thread.join()
    assert seen == []
