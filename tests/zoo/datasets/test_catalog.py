"""Listing and describing: no download, nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo import datasets
from zoo.datasets.base import TOKEN_TASKS
from zoo.errors import UnknownName

ROOT = Path(__file__).parents[3]
EMBEDDED = [
    *("mnist", "mnist_0_4", "mnist_5_9"),
    *("digits", "breast_cancer", "diabetes", "japanese_vowels", "italy_power_demand"),
    *("reuters_r8", "reuters_r52"),
    *("reuters_lm", "reuters_bytes", "reuters_mlm", "ui_strings_en"),
    *("ui_strings_en_es", "ui_strings_en_de", "ui_strings_en_zh_hans"),
]
TASKS = ("classification", "binary", "regression", *TOKEN_TASKS)
ONLINE = ["keras:mnist", "fashion_mnist", "cifar10", "imdb", "reuters"]


def test_lists_the_embedded_sets_first():
    assert datasets.list_datasets() == EMBEDDED + ONLINE
    assert datasets.list_datasets("*mnist") == ["mnist", "keras:mnist", "fashion_mnist"]
    assert datasets.list_datasets("nothing*") == []


@pytest.mark.parametrize("name", EMBEDDED + ONLINE)
def test_describes(name: str):
    info = datasets.describe(name)
    assert info.name == name
    assert info.offline == (name in EMBEDDED)
    assert info.task in TASKS
    assert all((info.summary, info.licence, info.source, info.size, info.split))


@pytest.mark.parametrize("name", datasets.list_datasets("reuters*"))
def test_reuters_is_for_research_only(name: str):
    assert "research purposes only" in datasets.describe(name).licence


def test_describes_any_set_of_tensorflow_datasets():
    info = datasets.describe("tfds:kmnist")
    assert (info.name, info.offline) == ("tfds:kmnist", False)


@pytest.mark.parametrize("ask", [datasets.describe, datasets.load])
@pytest.mark.parametrize("name", ["mnits", "", "tfds:"])
def test_an_unknown_name_gets_the_nearest(ask, name: str):
    with pytest.raises(UnknownName, match="data set"):
        ask(name)


@pytest.mark.parametrize("name", ["ui_strings_en_fr", "ui_strings_es_en", "ui_strings_"])
def test_an_unknown_language_pair_gets_those_there_are(name: str):
    with pytest.raises(UnknownName, match="Unknown language pair") as caught:
        datasets.load(name)
    assert all(pair in str(caught.value) for pair in datasets.list_datasets("ui_strings_en_*"))


def test_imports_nothing_heavy():
    program = (
        "import sys; from zoo import datasets; datasets.list_datasets(); "
        "[datasets.describe(name) for name in datasets.list_datasets()]; "
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'PIL', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_public_names_are_there():
    assert sorted(datasets.__all__) == datasets.__all__
    assert all(hasattr(datasets, name) for name in datasets.__all__)
