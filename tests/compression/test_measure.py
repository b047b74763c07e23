"""Sizes, answers and speed of versions, against figures worked out by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from compression.errors import MeasurementFailed
from compression.measure import Version, export_plain, files, h2load, loaded, measure, served, speed
from compression.measure import quality as judging
from serving.server.status import ServingError
from zoo import datasets
from zoo.datasets import Dataset
from zoo.errors import InvalidOption
from zoo.export import export


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def model(digits: Dataset) -> keras.Model:
    keras.utils.set_random_seed(0)
    made = zoo.build("softmax_regression", **digits.model_arguments)
    made.compile("adam", "sparse_categorical_crossentropy")
    made.fit(digits.train.x, digits.train.y, epochs=5, verbose=0)
    weights = made.get_weights()
    weights[0][:5] = 0
    made.set_weights(weights)
    return made


@pytest.fixture(scope="module")
def versions(
    model: keras.Model, digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> list[Version]:
    """Keras's own export and the zoo's."""
    folder = tmp_path_factory.mktemp("measured")
    published = export(model, folder / "store", "digits", dataset=digits)
    return [
        Version("plain", export_plain(model, folder / "plain"), model),
        Version("zoo", published, model),
    ]


@pytest.fixture(scope="module")
def result(versions: list[Version], digits: Dataset) -> dict:
    return measure(versions, digits, rounds=2, seconds=0.05)


# === Files ===


def test_only_the_models_own_files_count(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "assets.extra").mkdir()
    contents = {
        "saved_model.pb": b"a" * 1000,
        "variables/variables.index": b"b" * 50,
        "model_card.json": b"c" * 70,
        "assets.extra/tf_serving_warmup_requests": b"d" * 90,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert files.sizes(tmp_path) == {
        "bytes": 1050,
        "gzip_bytes": sum(len(gzip.compress(one * n, 9)) for one, n in ((b"a", 1000), (b"b", 50))),
    }
    (tmp_path / "model.tflite").write_bytes(b"e" * 30)
    assert files.own_files(tmp_path) == [tmp_path / "model.tflite"]
    assert files.sizes(tmp_path, tflite=False)["bytes"] == 1050


def test_plain_export_holds_every_weight_twice(versions: list[Version]) -> None:
    def stored(version: Version) -> int:
        return (version.path / "variables" / "variables.data-00000-of-00001").stat().st_size

    assert stored(versions[0]) > 1.9 * 650 * 4
    assert stored(versions[1]) < 1.4 * 650 * 4


def test_weights_in_a_saved_model_are_found_again(versions: list[Version]) -> None:
    for version in versions:
        assert files.stored_weights(version.path) == {"parameters": 650, "nonzero": 600}


# === Answers ===


def test_answers_are_those_of_the_model(
    versions: list[Version], model: keras.Model, digits: Dataset
) -> None:
    with loaded(versions[1:]) as servables:
        found = judging.answers(servables["zoo"], digits)  # 360: one batch and a part
        few = judging.answers(servables["zoo"], digits, limit=7)
    guess = model.predict(digits.test.x, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(found.predicted, guess)
    right = guess == digits.test.y
    assert found.value == pytest.approx(right.mean())
    spread = np.sqrt(right.mean() * (1 - right.mean()) / len(right))
    assert found.interval == pytest.approx(1.96 * spread)
    np.testing.assert_array_equal(few.predicted, guess[:7])


def test_change_is_that_of_paired_answers() -> None:
    def answers(*right: bool) -> judging.Answers:
        there = np.array(right)
        return judging.Answers("accuracy", there.mean(), 0.0, {}, there.astype(int), there)

    parent = answers(True, True, True, False)
    assert judging.against(parent, parent) == {"drop": 0, "drop_interval": 0, "agreement": 1}
    change = judging.against(parent, answers(True, False, True, False))
    assert change["drop"] == pytest.approx(0.25)
    assert change["agreement"] == pytest.approx(0.75)
    assert change["drop_interval"] == pytest.approx(1.96 * np.std([0, 1, 0, 0]) / 2)


def test_regression_has_an_interval_and_no_agreement(tmp_path: Path) -> None:
    data = datasets.load("diabetes")
    model = zoo.build("mlp_regressor", **data.model_arguments)
    with loaded([Version("it", export_plain(model, tmp_path))]) as servables:
        found = judging.answers(servables["it"], data)
    assert found.name == "r2"
    assert found.interval > 0
    assert judging.against(found, found) == {"drop": 0, "drop_interval": None, "agreement": None}


def test_tokens_are_judged_where_there_is_one() -> None:
    logits = np.log(np.array([[[0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]]))
    predicted, right, loss = judging._tokens(logits, np.array([[2, 2, 0]]))
    assert predicted.tolist() == [2, 1]
    assert right.tolist() == [True, False]
    assert loss == pytest.approx(-np.log(0.7) - np.log(0.1))


def test_a_data_set_of_another_form_is_refused(versions: list[Version]) -> None:
    class Others:
        name = "others"

        def split(self, _: str) -> datasets.Split:
            return datasets.Split({"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}, np.zeros(3))

    with loaded(versions[:1]) as servables, pytest.raises(InvalidOption, match="others holds a, b"):
        judging.feeds(servables["plain"], Others(), "test", [0])


# === Speed ===


def test_versions_take_turns() -> None:
    assert [speed.turn("abc", number) for number in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"],
    ]  # fmt: skip


def test_ratio_is_the_median_of_those_within_a_round() -> None:
    parent = [np.full(5, 4.0), np.full(5, 40.0), np.full(5, 400.0)]
    other = [np.full(5, 2.0), np.full(5, 10.0), np.array([100.0, 100, 100, 9e9, 100])]
    assert speed.ratio(parent, other) == 4.0
    assert speed.summary(other[:1], 32) == {
        "p50_ms": 2000.0, "p99_ms": 2000.0, "examples_per_second": 16.0,
    }  # fmt: skip


def test_all_figures_of_two_versions(result: dict, versions: list[Version]) -> None:
    assert json.loads(json.dumps(result)) == result
    plain, ours = result["versions"]
    for row in (plain, ours):
        assert row["parent"] == "plain"
        assert (row["parameters"], row["nonzero"], row["macs"]) == (650, 600, 640)
        assert row["quality"]["value"] > 0.5
        for place in ("in_process", "served"):
            one, many = row[place]["batch_1"], row[place]["batch_32"]
            assert 0 < one["p50_ms"] <= one["p99_ms"]
            assert many["examples_per_second"] > one["examples_per_second"]
        assert row["served"]["largest_difference"] < 1e-6
    assert set(plain["ratios"].values()) == {1.0}
    assert ours["change"] == {"drop": 0, "drop_interval": 0, "agreement": 1}
    assert ours["ratios"]["bytes"] == pytest.approx(
        files.sizes(versions[1].path)["bytes"] / files.sizes(versions[0].path)["bytes"], abs=1e-4
    )


def test_either_client_times_a_server(versions: list[Version], digits: Dataset) -> None:
    with loaded(versions[:1]) as servables:
        inputs = judging.feeds(servables["plain"], digits, "test", range(2))
    message = served.request("plain", inputs)
    with served.servers({"plain": versions[0].path}, {}) as ports:
        port = ports["plain"]
        length = len(served._first(port, "plain", message))
        took = served._own_load(port, "plain", message, 2, 0.1)
        assert len(took) >= 2 * speed.FEWEST
        assert took.min() > 0
        if h2load.installed():
            arguments = (served.HOST, port, served.METHOD)
            assert h2load.load(*arguments, message, length, 2, 0.1).min() > 0
            with pytest.raises(MeasurementFailed, match="no success"):
                h2load.load(*arguments, served.request("other", inputs), length, 1, 0.1)


def test_what_cannot_be_measured(versions: list[Version], digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="different names"):
        measure([versions[0], versions[0]], digits)
    with pytest.raises(InvalidOption, match="no version 'grandparent'"):
        measure(versions, digits, parents={"zoo": "grandparent"})
    with pytest.raises(ServingError):
        measure([Version("nothing", tmp_path)], digits)
