"""Listing and help, which answer within a second."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import zoo
from zoo import datasets
from zoo.cli import main


def printed(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_list_shows_every_model(capsys: pytest.CaptureFixture) -> None:
    text = printed(capsys, "list")
    assert all(name in text for name in zoo.list_models())
    names = [model["name"] for model in json.loads(printed(capsys, "list", "cnn*", "--json"))]
    assert names == ["cnn", "cnn_small"]


def test_datasets_shows_every_data_set(capsys: pytest.CaptureFixture) -> None:
    text = printed(capsys, "datasets")
    assert all(name in text for name in datasets.list_datasets())
    offline = {
        info["name"]: info["offline"] for info in json.loads(printed(capsys, "datasets", "--json"))
    }
    assert offline["mnist"] is True
    assert offline["cifar10"] is False


def test_show_names_arguments_and_recipe(capsys: pytest.CaptureFixture) -> None:
    text = printed(capsys, "show", "transformer_classifier")
    assert "Attention Is All You Need" in text
    assert "num_heads" in text
    shown = json.loads(printed(capsys, "show", "cnn", "--json"))
    assert shown["arguments"]["filters"] == [32, 64]
    assert shown["recipe"]["dataset"] == "mnist"


@pytest.mark.parametrize(
    "verb",
    ["list", "show", "datasets", "train", "export", "config", "serve", "sample", "predict", "demo"],
)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture) -> None:
    assert "Usage: zoo " + verb in printed(capsys, verb, "--help")


def test_without_a_verb_there_is_help(capsys: pytest.CaptureFixture) -> None:
    assert "Usage: zoo" in printed(capsys)


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["datasets"], ["train", "--help"]])
def test_nothing_heavy_is_loaded_for_an_answer(arguments: list[str]) -> None:
    """What keeps these verbs under a second: no TensorFlow, no scikit-learn."""
    script = (
        "import sys; from zoo.cli import main; main(sys.argv[1:]); "
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'grpc'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m zoo.cli list --json | head -1", shell=True, capture_output=True
    )
    assert done.stdout == b"[\n"
    assert done.stderr == b""
