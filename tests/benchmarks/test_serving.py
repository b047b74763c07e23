"""The benchmark of serving: a short run of every tool, and what counts as a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import record
from benchmarks.serving import asking, models, report, servers, tools
from benchmarks.serving.__main__ import main
from benchmarks.serving.cases import INPUT, Case, FailedAnswers, Question, Target
from serving import tensor_proto
from serving.client import messages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    models.make_store(folder, ["dense"])
    return folder


@pytest.fixture(scope="module")
def target(store: Path) -> Iterator[Target]:
    with servers.started(store / "models.config", 1) as running:
        yield servers.target(running, 1)


@pytest.fixture(scope="module")
def question() -> Question:
    return models.questions(["dense"], [2])["dense", 2]


def test_both_forms_of_a_request_say_the_same(question: Question) -> None:
    request = messages.PredictRequest.FromString(question.message)
    sent = tensor_proto.to_array(request.inputs[INPUT])
    np.testing.assert_array_equal(sent, question.rows)
    instances = json.loads(question.json)["instances"]
    np.testing.assert_array_equal(np.float32(instances), question.rows)
    assert question.framed == b"\0" + len(question.message).to_bytes(4, "big") + question.message


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_each_tool(target: Target, question: Question, protocol: str, own: bool) -> None:
    _, tool = tools.choose(protocol, own=own)  # the own one again, where no other is installed
    case = Case("dense", 2, protocol, 2)
    size = len(asking.answer(target, protocol, question))
    result = tool(target, case, question, size, 1)
    assert result.rate > 1
    assert 0 < result.p50 <= result.p99 < 60_000


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_answers_that_fail_are_no_measurement(target: Target, protocol: str, own: bool) -> None:
    """Each is answered at once, which would look fast."""
    _, tool = tools.choose(protocol, own=own)  # the own one again, where no other is installed
    unknown = Question("unknown", np.zeros((1, 28, 28, 1), np.float32))
    with pytest.raises(FailedAnswers):
        tool(target, Case("unknown", 1, protocol, 2), unknown, 100, 1)


def test_wrong_answers_and_silence(target: Target, question: Question) -> None:
    wrong = {"y": np.zeros((2, 10), np.float32)}
    nobody = Target("nobody", 1, 1)
    for protocol in ("REST", "gRPC"):
        with pytest.raises(FailedAnswers, match="another answer"):
            asking.check(protocol, asking.answer(target, protocol, question), wrong)
        with pytest.raises(FailedAnswers, match="does not answer"):
            asking.answer(nobody, protocol, question)


def test_a_short_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    arguments = ["--quick", "--models", "dense", "--batches", "1", "--store", str(store)]
    assert main([*arguments, "--keep"]) == 0
    printed = capsys.readouterr()
    assert "measured on another two-core machine" in printed.out
    assert "dense, 1 row, gRPC" in printed.err
    kept = json.loads((tmp_path / "serving.json").read_text())
    assert [(row["protocol"], row["connections"]) for row in kept["rows"]] == [
        ("REST", 4),
        ("gRPC", 4),
    ]
    for row in kept["rows"]:
        assert row["requests_per_second"] > 1
        assert row["of_limit"] > 0
    assert kept["machine"]["cores"] >= 1
    assert kept["command"].startswith("python -m benchmarks.serving --quick")
    assert all(row["calls_per_second"] > 1 for row in kept["limits"])


def test_kept_rows_stay_beside_new_ones() -> None:
    def row(connections: int, rate: float) -> dict:
        return dict.fromkeys(report.KEY, "x") | {"connections": connections, "rate": rate}

    assert report.merged([row(1, 1.0), row(4, 2.0)], [row(4, 3.0)]) == [row(1, 1.0), row(4, 3.0)]
