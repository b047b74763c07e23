"""Which models are wanted: lists, labels and reloads, with loads that need no TensorFlow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.config import ModelConfig, VersionPolicy
from serving.config.models import ModelFile
from serving.config.text import MissingFile
from serving.server.manager import Manager
from serving.server.source import Source
from serving.server.status import Code, ServingError, invalid


class Loaded:
    def close(self) -> None:
        pass


def _load(model: str, version: int, path: Path) -> Loaded:
    if (path / "broken").exists():
        raise invalid("broken")
    return Loaded()


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager(_load, max_retries=0)
    yield made
    made.stop()


def model(root: Path, name: str, *versions: int, **settings: object) -> ModelConfig:
    """A model whose folder holds these versions."""
    for version in versions:
        (root / name / str(version)).mkdir(parents=True, exist_ok=True)
    return ModelConfig(name, str(root / name), **settings)


def source_of(manager: Manager, listed: list[ModelConfig], **settings: object) -> Source:
    source = Source(manager, lambda: list(listed), 0, **settings)
    source.start()
    return source


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def states(manager: Manager, name: str) -> dict[int, str]:
    return {version.number: version.state.name for version in manager.statuses(name)}


def test_reload_returns_when_the_models_are_available(tmp_path: Path, manager: Manager) -> None:
    source = source_of(manager, [model(tmp_path, "a", 1, 2)])
    every = VersionPolicy("all")
    source.reload([model(tmp_path, "a", 1, 2, policy=every), model(tmp_path, "b", 5)])
    assert states(manager, "b") == {5: "AVAILABLE"}
    eventually(lambda: states(manager, "a") == {1: "AVAILABLE", 2: "AVAILABLE"})
    source.reload([model(tmp_path, "a", 1, 2)])
    eventually(lambda: states(manager, "a") == {1: "END", 2: "AVAILABLE"})
    eventually(lambda: states(manager, "b") == {5: "END"})
    assert manager.model_names() == ["a"]
    source.reload([])
    eventually(lambda: states(manager, "a") == {1: "END", 2: "END"})
    source.stop()


def test_reload_says_what_did_not_load(tmp_path: Path, manager: Manager) -> None:
    source = source_of(manager, [model(tmp_path, "a", 1)])
    broken = model(tmp_path, "b", 3)
    (tmp_path / "b" / "3" / "broken").touch()
    with pytest.raises(ServingError) as caught:
        source.reload([model(tmp_path, "a", 1), broken])
    assert caught.value.code is Code.UNKNOWN
    assert caught.value.message == (
        "1 model(s) did not become available: "
        "{{{name: b version: 3} due to error: INVALID_ARGUMENT: broken}, }"
    )
    assert states(manager, "a") == {1: "AVAILABLE"}
    source.stop()


def test_a_reload_waits_for_new_models_only(tmp_path: Path, manager: Manager) -> None:
    """One that is known and cannot be loaded keeps nobody waiting, as in TensorFlow Serving."""
    known = ModelConfig("missing", str(tmp_path / "missing"))
    broken = model(tmp_path, "broken", 1)
    (tmp_path / "broken" / "1" / "broken").touch()
    source = source_of(manager, [known, broken])
    source.reload([known, broken, model(tmp_path, "a", 1)])
    assert states(manager, "a") == {1: "AVAILABLE"}
    source.stop()


def test_every_model_that_fails_is_named_once(tmp_path: Path, manager: Manager) -> None:
    listed = [model(tmp_path, name, 1, 2, policy=VersionPolicy("all")) for name in ("b", "a")]
    for each in listed:
        for version in (1, 2):
            (Path(each.base_path) / str(version) / "broken").touch()
    source = source_of(manager, listed)
    eventually(lambda: len(manager.failures()) == 4)
    assert manager.unavailable() == (
        "2 servable(s) did not become available: "
        "{{{name: a version: 2} due to error: INVALID_ARGUMENT: broken}, "
        "{{name: b version: 2} due to error: INVALID_ARGUMENT: broken}, }"
    )
    source.stop()


def test_a_list_that_is_refused_is_logged_as_such(
    tmp_path: Path, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "models.config"
    config.write_text("# no models yet")
    source = Source(manager, ModelFile(config), 0)
    source.start()
    config.write_text("model_config_list {}")
    source.relist()
    entry = "config { name: 'a' base_path: '/a' model_platform: 'tensorflow' } "
    for text, said in {
        f"model_config_list {{ {2 * entry} }}": (
            "PollFilesystemAndReloadConfig failed to ReloadConfig: "
            "Illegal to list model a multiple times in config list"
        ),
        "# no models": (
            "PollFilesystemAndReloadConfig failed to ReloadConfig: Cannot transition to requested "
            "config. It is only legal to transition from one ModelConfigList to another."
        ),
        "": f"Failed to read ModelServerConfig file: {config}; Invalid argument",
        "garbage": (f"Failed to read ModelServerConfig file: Invalid protobuf file: '{config}'"),
    }.items():
        config.write_text(text)
        source.relist()
        assert said in [record.message for record in caplog.records]
    source.stop()


def test_a_reload_gives_way_to_the_next(tmp_path: Path, manager: Manager) -> None:
    """One that waits for a folder that never comes does not keep others from reloading."""
    source = source_of(manager, [])
    caught: list[ServingError] = []

    def wait() -> None:
        try:
            source.reload([ModelConfig("missing", str(tmp_path / "missing"))])
        except ServingError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: manager.model_names() == ["missing"])
    source.reload([model(tmp_path, "a", 1)])
    thread.join(10)
    assert [error.code for error in caught] == [Code.ABORTED]
    source.stop()


def test_labels_go_to_available_versions_only(tmp_path: Path, manager: Manager) -> None:
    every = VersionPolicy("all")
    source = source_of(manager, [model(tmp_path, "a", 1, policy=every)], unavailable_labels=False)
    eventually(lambda: states(manager, "a") == {1: "AVAILABLE"})
    source.reload([model(tmp_path, "a", 1, policy=every, labels={"stable": 1})])
    reason = (
        "Request to assign label to version 2 of model a, which is not currently available for "
        "inference"
    )
    moved = model(tmp_path, "a", 1, 2, policy=every, labels={"stable": 2})
    with pytest.raises(ServingError, match=reason) as caught:
        source.reload([moved])
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert states(manager, "a") == {1: "AVAILABLE"}  # nothing has changed
    with manager.lease("a", label="stable") as version:
        assert version.number == 1

    # Safe promotion: first the version, then the label, then the old one may go.
    source.reload([model(tmp_path, "a", 1, 2, policy=every, labels={"stable": 1})])
    eventually(lambda: states(manager, "a")[2] == "AVAILABLE")
    source.reload([moved])
    with manager.lease("a", label="stable") as version:
        assert version.number == 2
    source.stop()


def test_new_labels_may_come_early_and_old_ones_may_not_move(
    tmp_path: Path, manager: Manager
) -> None:
    source = source_of(manager, [model(tmp_path, "a", 1, labels={"stable": 1, "next": 9})])
    eventually(lambda: states(manager, "a") == {1: "AVAILABLE"})
    with pytest.raises(ServingError, match=r"Specific\(a, 9\)"), manager.lease("a", label="next"):
        pass
    with pytest.raises(ServingError, match="label to version 9 of model a"):
        source.reload([model(tmp_path, "a", 1, labels={"stable": 9})])
    source.stop()


def test_early_labels_keep_a_server_from_starting(tmp_path: Path, manager: Manager) -> None:
    with pytest.raises(ServingError, match="not currently available for inference"):
        source_of(
            manager, [model(tmp_path, "a", 1, labels={"stable": 1})], unavailable_labels=False
        )


def test_a_list_that_breaks_changes_nothing(
    tmp_path: Path, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    listed: list[ModelConfig] = [model(tmp_path, "a", 1)]

    def list_models() -> list[ModelConfig]:
        if not listed:
            raise MissingFile(tmp_path / "models.config")
        return list(listed)

    source = Source(manager, list_models, 0)
    source.start()
    eventually(lambda: states(manager, "a") == {1: "AVAILABLE"})
    listed.clear()
    for _ in range(3):
        source.relist()
    assert caplog.text.count("Failed to read ModelServerConfig file") == 1
    assert manager.model_names() == ["a"]
    listed.append(model(tmp_path, "b", 2))
    source.relist()
    assert manager.model_names() == ["b"]
    source.stop()


def test_a_reload_lasts_until_the_list_changes(tmp_path: Path, manager: Manager) -> None:
    listed = [model(tmp_path, "a", 1)]
    source = source_of(manager, listed)
    source.reload([model(tmp_path, "b", 1)])
    source.relist()
    assert manager.model_names() == ["b"]
    listed.append(model(tmp_path, "c", 1))
    source.relist()
    assert manager.model_names() == ["a", "c"]
    source.stop()


def test_versions_that_are_asked_for_and_not_there(
    tmp_path: Path, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    policy = VersionPolicy("specific", versions=(1, 7))
    source = source_of(manager, [model(tmp_path, "a", 1, 2, policy=policy)])
    eventually(lambda: states(manager, "a") == {1: "AVAILABLE"})
    assert (
        "Version 7 of servable a, which was requested to be served as a 'specific' version in the "
        "servable's version policy, was not found in the file system"
    ) in caplog.text
    assert "No versions of servable" not in caplog.text
    source.stop()


def test_base_paths_that_cannot_be_listed(
    tmp_path: Path, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    none, file = tmp_path / "none", tmp_path / "file"
    file.touch()
    source = source_of(manager, [ModelConfig("n", str(none)), ModelConfig("f", str(file))])
    start = "FileSystemStoragePathSource encountered a filesystem access error: "
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        f"{start}Could not find base path {none} for servable n with error NOT_FOUND: {none} not "
        "found",
        f"{start}{file}; Not a directory",
    ]
    source.stop()


def _broken(root: Path) -> ModelConfig:
    found = model(root, "a", 1)
    (root / "a" / "1" / "broken").touch()
    return found


def test_retries_need_no_polling(tmp_path: Path) -> None:
    manager = Manager(_load, max_retries=3, retry_seconds=0.01)
    source = source_of(manager, [_broken(tmp_path)])
    started = time.monotonic()
    eventually(lambda: states(manager, "a") == {1: "END"})
    assert time.monotonic() - started < 0.9  # nobody has polled
    found = manager.statuses("a")[0]
    assert (found.code.name, found.message, found.attempts) == ("INVALID_ARGUMENT", "broken", 4)
    source.stop()
    manager.stop()


def test_nobody_is_told_of_an_error_that_is_tried_again(tmp_path: Path) -> None:
    manager = Manager(_load, max_retries=1, retry_seconds=60)
    source = source_of(manager, [_broken(tmp_path)])
    found = manager.statuses("a")[0]
    eventually(lambda: found.error is not None)
    assert (found.state.name, found.code.name, found.message) == ("LOADING", "OK", "")
    source.stop()
    manager.stop()
