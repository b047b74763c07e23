"""BLEU and chrF of a small data set, and the nearest-neighbour baseline on the real one."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.baselines import nearest_neighbour
from zoo import datasets
from zoo.datasets import Dataset, SubwordPreprocessing, Task
from zoo.datasets.ui_strings import translation_split
from zoo.errors import DataError, MissingExtra
from zoo.training import translation

NOTHING = np.zeros((0, 1), np.int32)


def dataset(sources: list[str], references: list[str], language: str = "es") -> Dataset:
    """Texts of the test split, which are the training split's, too; no ids."""
    empty = translation_split(NOTHING, NOTHING)
    return Dataset(
        name="small",
        task=Task("translation", languages=("en", language)),
        train=empty,
        validation=empty,
        test=empty,
        preprocessing=SubwordPreprocessing((), 8),
        licence="",
        source="",
        model_arguments={},
        originals={"train": sources, "test": sources},
        references={"train": references, "test": references},
    )


SPANISH = dataset(
    ["Open the door", "Water heater"],
    ["Abrir la puerta del garaje, por favor.", "Calentador de agua"],
)


def test_the_references_themselves_score_100():
    found = translation.score(SPANISH, SPANISH.references["test"])
    assert found["bleu"] == pytest.approx(100)
    assert found["chrf"] == pytest.approx(100)


def test_bleu_by_hand():
    """One word of nine differs: n-gram precisions of 8/9, 6/8, 4/7 and 3/6, no brevity penalty."""
    small = dataset(["x"], ["a b c d e f g h i"])
    found = translation.score(small, ["a b X d e f g h i"])
    assert found["bleu"] == pytest.approx(100 * (8 / 9 * 6 / 8 * 4 / 7 * 3 / 6) ** 0.25)


def test_case_and_punctuation_count():
    worse = [text.upper().rstrip(".") for text in SPANISH.references["test"]]
    assert translation.score(SPANISH, worse)["bleu"] < 20


def test_signatures_say_how():
    found = translation.score(SPANISH, ["", ""])
    assert (found["bleu"], found["chrf"]) == (0, 0)
    assert found["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")
    assert found["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|")


def test_chinese_is_judged_by_characters():
    chinese = dataset(["Update the device"], ["请立即更新设备"], "zh-Hans")
    found = translation.score(chinese, ["请立即更新装置"])
    assert "|tok:zh|" in found["bleu_signature"]
    assert found["bleu"] == pytest.approx(100 * (5 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25)


def test_another_number_of_translations_is_one_sentence():
    with pytest.raises(DataError, match="has 2 test references, but there are 1 translations"):
        translation.score(SPANISH, ["Abrir"])
    with pytest.raises(DataError, match="has 0 validation references"):
        translation.score(SPANISH, ["Abrir"], "validation")


def test_without_sacrebleu_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(MissingExtra, match=r"pip install 'model-zoo-serving\[translation\]'"):
        translation.score(SPANISH, ["", ""])


def test_the_nearest_string_gives_its_translation():
    near = dataset(["open the doors", "a water heater", "OPEN"], ["b", "c", "d"])
    asked = dataset(["Open the door!", "Water heaters", "open"], ["", "", ""])
    both = {"train": near.originals["train"], "test": asked.originals["test"]}
    near.originals.update(both)
    assert nearest_neighbour.translations(near) == ["b", "c", "d"]


@pytest.mark.slow
def test_the_baseline_of_english_to_spanish():
    """What a translator is measured against."""
    found = nearest_neighbour.score(datasets.load("ui_strings_en_es"))
    assert found["bleu"] == pytest.approx(35.0, abs=0.5)
    assert found["chrf"] == pytest.approx(53.2, abs=0.5)
