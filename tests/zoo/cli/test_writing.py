"""`zoo predict` asks a server for translations and continuations, over both protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.client import GrpcClient, RestClient
from serving.server import Running, background
from zoo import export
from zoo.cli import main
from zoo.cli.demo import compare
from zoo.datasets import Dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(writers: Path) -> Iterator[Running]:
    with background(writers) as running:
        yield running


def ask(server: Running, *arguments: str) -> int:
    ports = ["--rest-port", str(server.rest_port), "--grpc-port", str(server.grpc_port)]
    return main(["predict", *arguments, *ports])


def answers(capsys: pytest.CaptureFixture, server: Running, *arguments: str) -> list[dict]:
    assert ask(server, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
def test_translations(
    protocol: str, server: Running, writers: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "light.txt"
    path.write_text("Turn on the light", encoding="utf-8")
    texts = ["Turn on the light", "", "打开灯"]
    found = answers(capsys, server, "translator", *texts, str(path), protocol, "--version", "1")
    wanted = export.load(writers / "translator" / "1")["predict_text"](text=[*texts, texts[0]])
    assert [a["translation"] for a in found] == [t.decode() for t in wanted["translation"]]
    np.testing.assert_allclose([a["score"] for a in found], wanted["scores"], atol=1e-4)
    assert found[1] == {"example": "", "translation": "", "score": 0}


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
def test_continuations(protocol: str, server: Running, capsys: pytest.CaptureFixture) -> None:
    def said(*options: str) -> list[str]:
        found = answers(capsys, server, "writer", "Turn on", "Turn on", "the", protocol, *options)
        return [a["continuation"] for a in found]

    hot = ("--temperature", "3", "--top-k", "0", "--seed")
    assert said(*hot, "1") == said(*hot, "1") != said(*hot, "2")
    first, second, _ = said("--temperature", "0", "--seed", str(2**62))
    assert first == second == said("--temperature", "5", "--top-k", "1")[0]


def test_both_protocols_say_the_same(server: Running) -> None:
    given = {
        "text": np.array(["Turn on", "the"], object),
        "temperature": np.array([1.0, 2.0], "float32"),
        "top_k": np.array([0, 5], "int32"),
        "seed": np.array([-(2**63), 2**63 - 1], "int64"),
    }
    outputs = []
    for kind, port in ((RestClient, server.rest_port), (GrpcClient, server.grpc_port)):
        with kind("localhost", port) as client:
            answer = client.predict("writer", given, signature="generate_text")
        texts = answer["continuation"].tolist()
        outputs.append([t.decode() if isinstance(t, bytes) else t for t in texts])
    assert outputs[0] == outputs[1]


def test_tables(server: Running, capsys: pytest.CaptureFixture) -> None:
    assert ask(server, "translator", "Turn on the light") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split() == ["translation", "score"]
    assert ask(server, "writer", "Turn", "on") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split() == ["example", "continuation", "score"]


def test_what_cannot_be_asked_is_one_line(server: Running, capsys: pytest.CaptureFixture) -> None:
    for arguments, status, words in (
        (("translator", "light", "--seed", "1"), 2, "takes no seed"),
        (("writer", "light", "--seed", str(2**63)), 2, "seed is"),
        (("writer", "light", "--top-k", str(2**31)), 2, "top_k is"),
    ):
        assert ask(server, *arguments) == status
        said = capsys.readouterr().err.strip()
        assert said.startswith("Error: ")
        assert words in said
        assert "\n" not in said


def test_the_demo_prints_source_reference_and_translation(
    few_translations: Dataset, few_texts: Dataset, capsys: pytest.CaptureFixture
) -> None:
    rest = [{"example": "f", "translation": f"luz {i}", "score": -0.5} for i in range(2)]
    grpc = [rest[0], {**rest[1], "translation": "otra"}]
    compare(few_translations, rest, grpc)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split(maxsplit=1)[0] for line in lines[1:4]] == [
        "text",
        "reference",
        "translation",
    ]
    assert lines[1].endswith("Turn on the light")
    assert lines[2].endswith("Enciende la luz")
    assert "otra" in lines[-2]
    assert lines[-1] == "1 of 2 equal over REST and gRPC"
    compare(
        few_texts,
        [{"example": "f", "continuation": " now", "score": -1.0}] * 1,
        [{"example": "f", "continuation": " now", "score": -1.0}],
    )
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 equal over REST and gRPC"
