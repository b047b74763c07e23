"""The container's command line, and what happens without an engine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from serving import container
from serving.config import write
from serving.errors import ConfigError


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "my store" / "dense" / "1").mkdir(parents=True)
    write(tmp_path / "my store", tmp_path / "config")
    return tmp_path / "my store", tmp_path / "config"


def test_command_mounts_both_folders_where_they_are(places: tuple[Path, Path]) -> None:
    store, config = places
    command = container.command(store, config, rest_port=9501, grpc_port=9500)
    image = command.index(container.IMAGE)
    before, after = command[:image], command[image + 1 :]
    for path in (store, config):
        assert f"--mount=type=bind,source={path},target={path},readonly" in before
    assert {"--init", "--publish=9501:8501", "--publish=9500:8500"} <= set(before)
    assert before[-1] == "--entrypoint=/usr/bin/tensorflow_model_server"
    assert f"--model_config_file={config}/models.config" in after
    assert f"--monitoring_config_file={config}/monitoring.config" in after
    assert {"--enable_batching=true", "--port=8500", "--rest_api_port=8501"} <= set(after)


def test_the_embedded_server_takes_the_same_flags(places: tuple[Path, Path]) -> None:
    from serving.server.flags import parse

    command = container.command(*places)
    flags, unknown = parse(command[command.index(container.IMAGE) + 1 :])
    assert unknown == []
    assert flags.model_config_file == str(places[1] / "models.config")


def test_without_an_engine_the_command_is_printed(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert container.run(*places) == 0
    printed = capsys.readouterr()
    assert shlex.split(printed.out) == container.command(*places)
    assert "No docker engine answers" in printed.err


def test_without_a_configuration_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="zoo config"):
        container.run(tmp_path, tmp_path)


def test_a_store_of_tflite_files_is_served_as_such(places: tuple[Path, Path]) -> None:
    from serving.config.tflite import tflite_only

    store, config = places
    flag = "--prefer_tflite_model=true"
    assert flag not in container.command(store, config)
    assert flag in container.command(store, config, prefer_tflite=True)
    assert tflite_only(store) == []
    (store / "dense" / "10").mkdir()
    (store / "dense" / "10" / "model.tflite").write_bytes(b"")
    (store / "dense" / "9").mkdir()
    (store / "dense" / "9" / "saved_model.pb").write_bytes(b"")
    assert tflite_only(store) == ["dense"]
    (store / "dense" / "10" / "saved_model.pb").write_bytes(b"")  # beside it: either can be served
    assert tflite_only(store) == []
