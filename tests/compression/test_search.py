"""The search from end to end: the budget, the same choice twice, going on, and what it leaves."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest
from rich.console import Console

from compression import compress, stacks
from compression.errors import BudgetNotMet, NotApplicable
from compression.measure import Version, loaded, quality
from compression.subject import Form, Subject
from compression.tuning import fine_tune
from zoo import datasets, registry
from zoo.datasets import NoPreprocessing, Split
from zoo.errors import InvalidOption, TrainingInterrupted
from zoo.export import read_card
from zoo.recipe import Recipe

BUDGET = 0.04


@pytest.fixture(scope="module")
def subject():
    """A dense network with one hidden layer on the digits."""
    digits = datasets.load("digits")

    def images(split):
        return Split(split.x.reshape(-1, 8, 8, 1), split.y)

    data = dataclasses.replace(
        digits,
        train=images(digits.train),
        validation=images(digits.test),  # the larger one of the two
        test=images(digits.validation),
        preprocessing=NoPreprocessing((8, 8, 1)),
        originals={},
    )
    arguments = {"input_shape": (8, 8, 1), "units": (32,)}
    recipe = Recipe("digits", epochs=12, batch_size=32, learning_rate=5e-3)
    keras.utils.set_random_seed(0)
    made = Subject(registry.build("dense", **arguments), "dense", arguments, data, recipe)
    fine_tune(made, made.model, epochs=12, learning_rate=5e-3)
    return made


@pytest.fixture(scope="module")
def found(subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    console = Console(file=(folder / "log.txt").open("w"), width=120)
    result = compress(
        subject,
        max_drop=BUDGET,
        epochs=6,
        folder=folder,
        store=folder / "store",
        name="digits",
        console=console,
    )
    console.file.close()
    return result


def test_the_choice_is_the_fastest_within_the_budget(found, subject):
    rows = {row["stack"]: row for row in found.trials}
    within = [row for row in rows.values() if row["drop"] <= BUDGET]
    assert rows[found.stack]["cost"] == min(row["cost"] for row in within)
    assert rows[found.stack]["cost"] < rows["dynamic_range"]["cost"]
    assert "shrink" in found.stack
    assert any(row["drop"] > BUDGET for row in rows.values())  # the strongest was too strong
    assert found.trials[0]["stack"] == "dynamic_range"
    assert rows[found.stack]["gzip_bytes"] < 0.5 * found.baseline["gzip_bytes"]


def test_the_chosen_subject_is_the_chosen_trial(found, subject):
    assert found.chosen.form.name == "dynamic_range"
    assert [step.technique for step in found.chosen.steps] == [
        part.technique for part in stacks.parse(found.stack).parts
    ]
    row = next(row for row in found.trials if row["stack"] == found.stack)
    assert len(found.chosen.form.tflite) == row["bytes"]
    with loaded([Version("chosen", found.version)]) as servables:
        for split, value in (
            ("validation", row["validation"]),
            ("test", found.test["chosen"]["value"]),
        ):
            assert quality.answers(servables["chosen"], subject.dataset, split).value == value
    card = read_card(found.version)
    assert [step["technique"] for step in card["compression"]["chain"]] == [
        step.technique for step in found.chosen.steps
    ]
    assert card["compression"]["measurements"]["stack"] == found.stack


def test_the_test_split_is_reported_against_the_baseline(found, subject):
    before = np.mean(
        subject.model.predict(subject.dataset.test.x, verbose=0).argmax(1) == subject.dataset.test.y
    )
    assert found.test["baseline"]["value"] == pytest.approx(before)
    assert found.test["drop"] == pytest.approx(before - found.test["chosen"]["value"])


def test_what_the_folder_holds(found):
    picture = (found.folder / "front.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5000
    front = json.loads((found.folder / "front.json").read_text())
    assert front == [dict(row) for row in found.front]
    assert found.stack in {row["stack"] for row in found.trials}
    result = json.loads((found.folder / "result.json").read_text())
    assert result["stack"] == found.stack
    log = (found.folder / "log.txt").read_text()
    assert "hidden_1=0.125 alone" in log
    assert "chosen" in log
    assert "float32 SavedModel" in log


class Interrupting(Console):
    """Ctrl-C when the second trial has been told."""

    def print(self, *things, **options):
        if "shrink" in str(things[0]) and "kB" in str(things[0]):
            raise KeyboardInterrupt


def test_an_interrupted_search_goes_on_to_the_same_choice(found, subject, tmp_path):
    with pytest.raises(TrainingInterrupted, match="goes on from the trials") as caught:
        compress(subject, max_drop=BUDGET, epochs=6, folder=tmp_path, console=Interrupting())
    assert caught.value.exit_code == 130
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").glob("*.json")}
    assert 2 <= len(finished) < len(found.trials)
    second = compress(subject, max_drop=BUDGET, epochs=6, folder=tmp_path)
    for path, time in finished.items():
        assert path.stat().st_mtime_ns == time
    assert second.stack == found.stack
    for ours, theirs in zip(second.trials, found.trials, strict=True):
        assert ours["stack"] == theirs["stack"]
        assert ours["validation"] == theirs["validation"]
        assert ours["bytes"] == theirs["bytes"]
    assert second.chosen.form.tflite == found.chosen.form.tflite


def test_a_budget_that_nothing_meets_says_how_close_one_came(found, subject):
    with pytest.raises(BudgetNotMet, match=r"the closest, .*, loses -?0\.\d{4}"):
        compress(subject, max_drop=-0.9, epochs=6, folder=found.folder)


def test_size_adds_zeros_and_few_values(subject, tmp_path):
    result = compress(subject, max_drop=0.99, objective="size", epochs=0, folder=tmp_path)
    assert "prune:0.8+cluster:16" in result.stack
    sizes = [row["gzip_bytes"] for row in result.trials if row["status"] == "done"]
    chosen = next(row for row in result.trials if row["stack"] == result.stack)
    assert chosen["gzip_bytes"] == min(sizes)
    assert chosen["nonzero"] < chosen["parameters"]
    assert result.version is None


def test_no_time_at_all(subject, tmp_path):
    with pytest.raises(BudgetNotMet, match="No candidate was tried within the 1e-06 s"):
        compress(subject, time_limit=1e-6, folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_drop": 1.0}, "max_drop is 1.0"),
        ({"max_drop": float("nan")}, "max_drop is nan"),
        ({"objective": "speed"}, "latency or size"),
        ({"epochs": -1}, "epochs is -1"),
        ({"time_limit": 0}, "more than 0 seconds"),
    ],
)
def test_options_that_make_no_sense(subject, options, words):
    with pytest.raises(InvalidOption, match=words):
        compress(subject, **options)


def test_a_quantized_model_is_refused(subject):
    with pytest.raises(NotApplicable, match="float16 already"):
        compress(dataclasses.replace(subject, form=Form("float16")))
