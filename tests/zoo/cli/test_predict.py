"""`zoo predict` against a real server in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import zoo
from serving.server import Running, background
from zoo import datasets
from zoo.cli import main
from zoo.export import export

MODELS = ("cnn", "transformer_classifier", "mlp_regressor", "lstm")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serves untrained models: the way is tested, not what they know."""
    store = tmp_path_factory.mktemp("store")
    for name in MODELS:
        entry = zoo.get(name)
        data = datasets.load(entry.recipe.dataset)
        model = zoo.build(name, **entry.accepted(dict(data.model_arguments)))
        export(model, store, name, dataset=data, warmup_batch_sizes=(1,))
        if name == "cnn":
            np.save(store.parent / "cnn-wanted.npy", model.predict(data.test.x[:3], verbose=0))
    with background(store) as running:
        running.folder = store.parent
        yield running


@pytest.fixture(scope="module")
def images(server: Running, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    assert main(["sample", "mnist", "--count", "3", "--out", str(folder)]) == 0
    return sorted(map(str, folder.iterdir()))


def ports(server: Running) -> list[str]:
    return ["--rest-port", str(server.rest_port), "--grpc-port", str(server.grpc_port)]


def answers(capsys: pytest.CaptureFixture, server: Running, *arguments: str) -> list[dict]:
    assert main(["predict", *arguments, "--json", *ports(server)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
def test_images_get_the_models_own_probabilities(
    protocol: str, server: Running, images: list[str], capsys: pytest.CaptureFixture
) -> None:
    found = answers(capsys, server, "cnn", *images, protocol)
    wanted = np.load(server.folder / "cnn-wanted.npy")
    assert [a["example"] for a in found] == images
    for answer, row in zip(found, wanted, strict=True):
        probabilities = [answer["probabilities"][str(digit)] for digit in range(10)]
        np.testing.assert_allclose(probabilities, row, atol=1e-6)
        assert answer["label"] == next(iter(answer["probabilities"])) == str(row.argmax())


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
def test_texts_and_text_files(
    protocol: str, server: Running, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "news.txt"
    path.write_text("Oil prices rose — sharply.", encoding="utf-8")
    said, read = answers(
        capsys, server, "transformer_classifier", "Oil prices rose — sharply.", str(path), protocol
    )
    assert said["probabilities"] == read["probabilities"]
    assert len(said["probabilities"]) == 8


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
@pytest.mark.parametrize("name", ["mlp_regressor", "lstm"])
def test_numbers_from_json_and_numpy_files(
    name: str, protocol: str, server: Running, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = datasets.load(zoo.get(name).recipe.dataset)
    example = np.asarray(data.raw("test", 0))
    np.save(tmp_path / "x.npy", example)
    (tmp_path / "x.json").write_text(json.dumps(example.tolist()), encoding="utf-8")
    found = answers(
        capsys, server, name, json.dumps(example.tolist()), f"{tmp_path}/x.npy",
        f"{tmp_path}/x.json", protocol,
    )  # fmt: skip
    kinds = [{key: value for key, value in a.items() if key != "example"} for a in found]
    assert kinds[0] == kinds[1] == kinds[2]
    assert ("values" in kinds[0]) == (name == "mlp_regressor")


def test_tables_for_one_and_for_several(
    server: Running, images: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["predict", "cnn", images[0], "--top", "2", *ports(server)]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split() == ["class", "probability"]
    assert len(lines) == 3
    assert main(["predict", "cnn", *images, *ports(server)]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
def test_what_cannot_be_asked_is_one_line(
    protocol: str, server: Running, images: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(Path(images[0]).read_bytes()[:60])
    notes = tmp_path / "notes.txt"
    notes.write_text("no image", encoding="utf-8")
    for arguments, words in (
        (["cnn", "a seven, please"], "is not a file"),
        (["cnn", str(notes)], "PNG, JPEG, GIF or BMP"),
        (["cnn", str(truncated)], "answered INVALID_ARGUMENT"),
        (["cnn", str(tmp_path)], "is not a file"),
        (["cnn", images[0], "--version", "9"], "9"),
        (["cn", images[0]], "cn"),
        (["transformer_classifier", str(tmp_path / "gone.txt")], "is not a file"),
        (["lstm", "winter"], "numbers"),
        (["lstm", "[1, 2"], "numbers"),
        (["mlp_regressor", "[1, 2]"], "answered"),
        (["mlp_regressor", "[1, 2]", "[1, 2, 3]"], "different shapes"),
    ):
        assert main(["predict", *arguments, protocol, *ports(server)]) == 1
        said = capsys.readouterr().err.strip()
        assert said.startswith("Error: "), arguments
        assert words in said, (arguments, said)
        assert "\n" not in said, said
