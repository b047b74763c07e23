"""Versions come and go while clients ask without a pause. No request may fail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.client import RestClient
from serving.server import Running, background
from tests.serving.load import load

pytestmark = pytest.mark.slow

_LATEST = (
    "import sys; from serving.server import run; from serving.server.flags import Flags;"
    "run(sys.argv[1], rest_port=0, grpc_port=0, latest=1, flags=Flags(max_num_load_retries=0))"
)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Versions 1 to 8 of a model that answers its own number, waiting to be published."""
    from tests.serving import models

    folder = tmp_path_factory.mktemp("waiting")
    return {n: models.save_scale(folder / str(n), float(n)) for n in range(1, 9)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, versions: dict[int, Path]) -> Path:
    root = tmp_path_factory.mktemp("store")
    publish(root / "scale", 1, versions)
    return root


@pytest.fixture(scope="module")
def swapping(store: Path) -> Iterator[Running]:
    """A server of the newest version of each model in the store."""
    with background(store, command=[sys.executable, "-c", _LATEST, str(store)]) as running:
        yield running


def publish(model: Path, number: int, versions: dict[int, Path]) -> None:
    """Copy beside, then rename: as an export does."""
    staging = model / f".staging-{number}"
    shutil.copytree(versions[number], staging)
    staging.rename(model / str(number))


def eventually(check: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def states(server: Running, model: str = "scale") -> dict[int, str]:
    with RestClient("localhost", server.rest_port) as client:
        return {entry.version: entry.state for entry in client.status(model)}


def test_swaps_under_load_lose_no_request(
    swapping: Running, store: Path, versions: dict[int, Path]
) -> None:
    with load(swapping, "scale") as seen:
        seen.wait_for(1.0)
        for number in (2, 3, 4):
            publish(store / "scale", number, versions)
            seen.wait_for(float(number))
        shutil.rmtree(store / "scale" / "4")  # back to the one before, which is still there
        seen.wait_for(3.0)
    assert seen.failures == []
    assert set(seen.answers) == {1.0, 2.0, 3.0, 4.0}
    assert len(seen.answers) > 50
    eventually(lambda: states(swapping) == {4: "END", 3: "AVAILABLE", 2: "END", 1: "END"})


def test_broken_and_half_copied_versions_disturb_nothing(
    swapping: Running, store: Path, versions: dict[int, Path]
) -> None:
    model = store / "scale"
    with load(swapping, "scale", clients=1) as seen:
        seen.wait_for(3.0)
        (model / "5").mkdir()
        eventually(lambda: states(swapping).get(5) == "END")
        (model / "6").mkdir()
        (model / "6" / "saved_model.pb").write_bytes(b"\x00not a model")
        eventually(lambda: states(swapping).get(6) == "END")
        with RestClient("localhost", swapping.rest_port) as client:
            newest, empty = client.status("scale")[:2]
        assert (newest.version, newest.error_code != "OK", bool(newest.error_message)) == (
            6,
            True,
            True,
        )
        assert (empty.version, empty.error_code) == (5, "UNIMPLEMENTED")

        # 7 is copied in place, its graph first: it loads when the copy is complete.
        (model / "7").mkdir()
        shutil.copy(versions[7] / "saved_model.pb", model / "7")
        eventually(lambda: states(swapping).get(7) == "END")
        assert set(seen.answers) == {3.0}
        shutil.copytree(versions[7] / "variables", model / "7" / "variables")
        seen.wait_for(7.0)
    assert seen.failures == []
    assert set(seen.answers) == {3.0, 7.0}


def test_new_and_removed_models(swapping: Running, store: Path, versions: dict[int, Path]) -> None:
    with RestClient("localhost", swapping.rest_port) as client:
        publish_into = store / "later"
        publish_into.mkdir()
        publish(publish_into, 8, versions)

        def answers() -> bool:
            try:
                return client.predict("later", {"x": [1.0]})["y"].tolist() == [8.0]
            except Exception:
                return False

        eventually(answers)
        shutil.rmtree(publish_into)
        eventually(lambda: states(swapping, "later") == {8: "END"})
    request = urllib.request.Request(
        f"http://localhost:{swapping.rest_port}/v1/models/later:predict", b'{"instances": [1]}'
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert json.load(caught.value) == {"error": "Servable not found for request: Latest(later)"}


def test_sigterm_under_load_finishes_what_was_accepted(
    tmp_path: Path, versions: dict[int, Path]
) -> None:
    publish(tmp_path / "scale", 7, versions)
    (tmp_path / "broken" / "1").mkdir(parents=True)  # one bad model does not keep the others back
    code = "import sys; from serving.server import run; run(sys.argv[1], rest_port=0, grpc_port=0)"
    with background(tmp_path, command=[sys.executable, "-c", code, str(tmp_path)]) as running:
        with load(running, "scale") as seen:
            seen.wait_for(7.0)
            os.kill(running.process.pid, signal.SIGTERM)
            assert running.process.wait(30) == 0
            eventually(lambda: seen.refused >= 4)
        log = running.log_text()
    assert seen.failures == []
    assert "Traceback" not in log
