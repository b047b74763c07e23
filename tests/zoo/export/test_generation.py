"""Signatures that write text."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.zoo.conftest import LONGEST, TEXTS
from zoo import export
from zoo.datasets import Dataset
from zoo.decoding import translate
from zoo.errors import DataError, InvalidOption, ShapeError
from zoo.export import warmup
from zoo.export.options import Decoding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def predict_text(writers: Path):
    return export.load(writers / "translator" / "1")["predict_text"]


@pytest.fixture(scope="module")
def generate_text(writers: Path):
    call = export.load(writers / "writer" / "1")["generate_text"]

    def generate(texts: list[str], temperature=0.0, top_k=0, seed=0) -> dict[str, np.ndarray]:
        return call(
            text=texts,
            temperature=np.full(len(texts), temperature, "float32"),
            top_k=np.full(len(texts), top_k, "int32"),
            seed=np.broadcast_to(np.asarray(seed, "int64"), len(texts)),
        )

    return generate


def test_translations_are_those_of_the_model(
    predict_text, small_translator: keras.Model, few_translations: Dataset
) -> None:
    found = predict_text(text=TEXTS)
    assert found.keys() == {"translation", "scores"}
    wanted = translate(small_translator, few_translations, TEXTS, batch_size=2)
    assert [text.decode() for text in found["translation"]] == wanted
    assert found["scores"].dtype == np.float32
    assert (found["scores"][[0, 2, 3]] < 0).all()


def test_nothing_is_translated_to_nothing(predict_text) -> None:
    found = predict_text(text=["", " \n", "light"])
    assert found["translation"][:2].tolist() == [b"", b""]
    assert found["scores"][:2].tolist() == [0, 0]
    assert predict_text(text=np.array([], object))["translation"].shape == (0,)


def test_any_text_has_some_translation(predict_text) -> None:
    """Another script, control characters, no valid UTF-8, more tokens than positions."""
    texts = ["打开灯 🙂", "a\0b", b"\xff\xfe", "x" * 5000, "Turn on the light " * 300]
    found = predict_text(text=texts)
    for text in found["translation"]:
        text.decode()
    assert np.isfinite(found["scores"]).all()


def test_a_long_text_is_cut_at_the_positions(predict_text, few_translations: Dataset) -> None:
    """The tokens behind the cut say nothing; one before it does."""
    whole = "Turn on the light " * 300
    ids = few_translations.preprocessing.graph([whole]).numpy()
    assert ids.shape == (1, LONGEST)
    kept = few_translations.preprocessing.raw_example(ids[0])
    assert whole.startswith(kept)
    scores = predict_text(text=[whole, whole + "heater", kept + "heater", "heater" + whole])
    assert len(set(scores["scores"][:3].tolist())) == 1
    assert scores["scores"][3] != scores["scores"][0]


def test_a_beam_scores_at_least_as_well(writers: Path, predict_text) -> None:
    wide = export.load(writers / "translator" / "2")["predict_text"]
    texts = [TEXTS[0], TEXTS[2], TEXTS[3], "heater off", "the the", "on"]
    greedy, beam = predict_text(text=texts)["scores"], wide(text=texts)["scores"]
    assert (beam >= greedy - 1e-4).all()
    assert (beam > greedy + 1e-4).any()


def test_the_model_card_says_how_it_searches(writers: Path) -> None:
    cards = [export.read_card(writers / name) for name in ("translator/1", "translator/2")]
    assert [card["decoding"]["search"] for card in cards] == ["greedy", "beam"]
    assert [card["decoding"]["beam"] for card in cards] == [1, 3]
    assert export.read_card(writers / "writer/1")["decoding"]["new_tokens"] == 8


def test_a_seed_repeats_a_continuation(generate_text) -> None:
    first, again = (generate_text(["Turn", "Turn"], 1.5, 0, [3, 4]) for _ in range(2))
    assert first["continuation"].tolist() == again["continuation"].tolist()
    assert first["continuation"][0] != first["continuation"][1]
    np.testing.assert_array_equal(
        generate_text(["Turn"], 1.5, 0, 4)["continuation"], first["continuation"][1:]
    )


def test_without_temperature_every_seed_says_the_same(generate_text) -> None:
    found = generate_text(["Turn on"] * 3, 0.0, 0, [1, 2, 3])
    assert len(set(found["continuation"].tolist())) == 1
    one = generate_text(["Turn on"], 5.0, 1, 9)
    assert one["continuation"][0] == found["continuation"][0]


def test_new_tokens_and_positions_end_a_continuation(generate_text, few_texts: Dataset) -> None:
    graph = few_texts.preprocessing.prepare()
    found = generate_text(["", "Turn", "light " * 200], 1.0, 0, 5)
    assert found["continuation"][2] == b""
    assert found["scores"][2] == 0
    assert found["continuation"][0]
    assert (graph(found["continuation"]).numpy() > 0).sum(axis=1).max() <= LONGEST


def test_sampling_needs_a_value_for_each_text(writers: Path) -> None:
    call = export.load(writers / "writer" / "1")["generate_text"]
    with pytest.raises(DataError, match="one value a text"):
        call(
            text=["a", "b"],
            temperature=np.ones(1, "float32"),
            top_k=np.ones(2, "int32"),
            seed=np.ones(2, "int64"),
        )


def test_more_steps_than_positions_are_refused_in_one_line(writers: Path) -> None:
    call = export.load(writers / "translator" / "1")["serving_default"]
    short, long = np.ones((1, 3), "int32"), np.ones((1, LONGEST + 1), "int32")
    assert call(source=short, target=short)["logits"].shape[:2] == (1, 3)
    for given, name in (((long, short), "source"), ((short, long), "target")):
        with pytest.raises(DataError, match=f"{name} has more steps than the {LONGEST}") as error:
            call(source=given[0], target=given[1])
        assert "\n" not in str(error.value)


def test_warmup_asks_what_a_client_would(writers: Path) -> None:
    requests = list(warmup.read(writers / "translator" / "1"))
    assert [name for name, _ in requests] == ["serving_default"] * 2 + ["predict_text"] * 2
    assert requests[3][1]["text"].tolist() == [text.encode() for text in TEXTS]
    assert requests[1][1]["source"].any()
    batch = dict(warmup.read(writers / "writer" / "1"))["generate_text"]
    assert batch["text"].tolist() == [b"Turn on the light", b""]
    assert batch["seed"].tolist() == [0, 0]


def test_only_operations_of_tensorflow_itself(writers: Path) -> None:
    """So that the stock TensorFlow Serving binary can load them."""
    from tensorflow.python.framework import op_def_registry

    from .conftest import graph_ops

    for version in ("translator/1", "translator/2", "writer/1"):
        ops = graph_ops(writers / version)
        assert "While" in ops or "StatelessWhile" in ops
        assert not [op for op in ops if op_def_registry.get(op) is None]
        assert not ops & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}


@pytest.mark.parametrize(
    ("option", "words"), [({"beam": 0}, "beam is 0"), ({"new_tokens": -1}, "new_tokens is -1")]
)
def test_options_without_sense_are_one_sentence(option: dict, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        Decoding(**option)


def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, few_texts: Dataset, few_translations: Dataset,
    small_translator: keras.Model, small_language_model: keras.Model,
) -> None:  # fmt: skip
    import zoo

    fewer = zoo.build("causal_lm", vocabulary_size=20, max_length=8, width=8, num_heads=2)
    for model, data, decoding, error, words in (
        (small_language_model, few_translations, Decoding(), InvalidOption, "only transformer_tr"),
        (small_translator, few_texts, Decoding(), InvalidOption, "only causal_lm"),
        (small_language_model, few_texts, Decoding(beam=2), InvalidOption, "beam is an option"),
        (small_translator, few_translations, Decoding(new_tokens=2), InvalidOption, "new_tokens"),
        (fewer, few_texts, Decoding(), ShapeError, "logits for 20 tokens"),
    ):
        with pytest.raises(error, match=words) as caught:
            export.export(model, tmp_path, "m", dataset=data, decoding=decoding)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "m").exists()


def test_a_text_is_translated_sentence_by_sentence(predict_text) -> None:
    """Lines and spaces between sentences stay; the score counts all of their tokens."""
    parts = ["Turn on the light.", "Open the door!"]
    alone = [text.decode() for text in predict_text(text=parts)["translation"]]
    found = predict_text(text=["Turn on the light. Open the door!", "\n".join(parts)])
    spaced, lined = (text.decode() for text in found["translation"])
    assert spaced == " ".join(alone).strip()
    assert lined == "\n".join(alone).strip()
    assert found["scores"][0] == found["scores"][1]
    assert found["scores"][0] < 0
