"""`zoo explain` on a store, and through a server over both protocols."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from serving.server import background
from zoo import datasets
from zoo.cli import heatmap, main
from zoo.export import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model for images, sequences, texts and features each, and one that has no classes."""
    store = tmp_path_factory.mktemp("store")
    small = {"transformer_classifier": {"width": 8, "num_heads": 1, "num_blocks": 1}}
    for name, data in (
        ("dense", "mnist"),
        ("lstm", "italy_power_demand"),
        ("transformer_classifier", "reuters_r8"),
        ("softmax_regression", "digits"),
        ("mlp_regressor", "diabetes"),
    ):
        loaded = datasets.load(data)
        fitting = zoo.get(name).accepted(dict(loaded.model_arguments))
        model = zoo.build(name, **{**fitting, **small.get(name, {})})
        export(model, store, name, dataset=loaded, warmup_batch_sizes=())
    return store


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("samples")
    for data in ("mnist", "italy_power_demand", "digits"):
        assert main(["sample", data, "--count", "1", "--out", str(folder)]) == 0
    return {path.stem.removesuffix("-0"): str(path) for path in folder.iterdir()}


@pytest.mark.parametrize(("model", "data"), [("dense", "mnist"), ("lstm", "italy_power_demand")])
def test_writes_a_picture(
    model: str, data: str, store: Path, samples: dict[str, str], tmp_path: Path, capsys
) -> None:
    out = tmp_path / "why.png"
    assert main(["explain", model, samples[data], "--store", str(store), "--out", str(out)]) == 0
    picture = Image.open(out).convert("RGB")
    assert min(picture.size) > 300
    assert capsys.readouterr().out.strip().endswith(f": {out}")
    red, _, blue = (np.asarray(picture).astype(int)[..., channel] for channel in range(3))
    assert (red - blue > 40).any()
    assert (blue - red > 40).any()


def test_words(store: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["transformer_classifier", "Oil prices ROSE", "--store", str(store)]
    assert main(["explain", *arguments]) == 0
    said = capsys.readouterr().out
    assert "oil prices rose" in said
    assert main(["explain", *arguments, "--json"]) == 0
    (found,) = [json.loads(capsys.readouterr().out)]
    assert found["tokens"][:4] == ["oil", "prices", "rose", ""]
    assert found["attributions"][3:] == [0.0] * 125
    assert sum(found["attributions"]) == pytest.approx(
        found["output"] - found["baseline_output"], rel=0.02, abs=2e-4
    )
    assert max(found["probabilities"], key=found["probabilities"].get) == found["label"]


def test_features(store: Path, samples: dict[str, str], capsys: pytest.CaptureFixture) -> None:
    arguments = ["softmax_regression", samples["digits"], "--store", str(store), "--top", "3"]
    assert main(["explain", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["feature", "value", "attribution"]
    assert len(lines) == 5


def test_a_server_gives_the_same(store: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["explain", "transformer_classifier", "oil prices rose", "--json"]
    assert main([*arguments, "--store", str(store)]) == 0
    wanted = json.loads(capsys.readouterr().out)
    with background(store) as server:
        ports = ["--rest-port", str(server.rest_port), "--grpc-port", str(server.grpc_port)]
        for protocol in ("--server", "--grpc"):
            assert main([*arguments, protocol, *ports]) == 0
            found = json.loads(capsys.readouterr().out)
            assert found["tokens"] == wanted["tokens"]
            np.testing.assert_allclose(found["attributions"], wanted["attributions"], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dense", "nothing.png"], "dense takes image files, and 'nothing.png' is not a file."),
        (["mlp_regressor", "[1]"], "mlp_regressor has no signature explain: only classifiers"),
        (["vgg", "a.png"], "holds no version of 'vgg'"),
        (["dense", "a.png", "--version", "7"], "holds no version 7 of 'dense'"),
        (["softmax_regression", "[1, 2]"], "Signature 'explain' cannot take these values"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: str, store: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["explain", *arguments, "--store", str(store)]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_colours_are_signed_and_deepest_for_the_largest() -> None:
    line = heatmap.coloured_words(["for", "against", "none"], np.float32([0.2, -0.1, 0]))
    assert line.plain == "for against none "
    styles = [str(span.style) for span in line.spans]
    assert styles[0] == "white on rgb(178,24,43)"
    red, blue = (int(styles[1].split("(")[1].split(")")[0].split(",")[i]) for i in (0, 2))
    assert blue > red
    assert styles[2] == "black on rgb(255,255,255)"


def test_colour_images_are_overlaid_too() -> None:
    png = io.BytesIO()
    Image.fromarray(np.zeros((6, 9, 3), np.uint8) + 90).save(png, "PNG")
    heat = np.random.default_rng(0).normal(size=(12, 18, 3)).astype("float32")
    picture = Image.open(io.BytesIO(heatmap.image_overlay(png.getvalue(), heat, "title")))
    assert picture.size[0] > picture.size[1] > 200
