"""predict_text of a masked language model: gaps are filled, everything else stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.datasets import Dataset, SubwordPreprocessing, Task
from zoo.datasets.packing import whole_rows
from zoo.errors import InvalidOption
from zoo.export import export, load

PREPROCESSING = SubwordPreprocessing((b"the ", b" cat", b" sat"), max_length=16)
SIZE = PREPROCESSING.vocabulary_size


def toy() -> Dataset:
    split = whole_rows([[260, 261, 262, 2]] * 8, 16)
    return Dataset(
        "toy",
        Task("masked_language_model"),
        *(split, split, split),
        preprocessing=PREPROCESSING,
        licence="",
        source="",
        model_arguments={"vocabulary_size": SIZE, "max_length": 16},
        originals={"validation": ["the [MASK] sat"] * len(split)},
    )


def encoder(**changes):
    arguments = {"vocabulary_size": SIZE, "max_length": 16, "width": 8, "num_blocks": 1}
    return zoo.build("transformer_encoder", **{**arguments, **changes})


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory):
    """A model that says " cat" wherever it is asked, exported and loaded again."""
    model = encoder()
    bias = np.zeros(SIZE, "float32")
    bias[261], bias[2], bias[5] = 50, 99, 20  # special tokens are no answer, however likely
    model.get_layer("logits").set_weights([bias])
    version = export(model, tmp_path_factory.mktemp("store"), "encoder", dataset=toy())
    serve = load(version)["predict_text"]

    def predict(*texts: str) -> tuple[list[str], np.ndarray]:
        answer = serve(text=np.array([text.encode() for text in texts], object))
        return [text.decode() for text in answer["filled"]], answer["scores"]

    return predict


def test_gaps_are_filled_and_the_rest_stays(predict) -> None:
    texts, scores = predict("the [MASK] sat", "[MASK]", "the cat", "")
    assert texts == ["the cat sat", " cat", "the cat", ""]
    np.testing.assert_allclose(scores, 0, atol=1e-3)
    assert (scores[2:] == 0).all()


def test_all_gaps_are_filled(predict) -> None:
    assert predict("[MASK][MASK] sat [MASK]")[0] == [" cat cat sat cat"]


def test_other_scripts_stay(predict) -> None:
    assert predict("猫 [MASK]")[0] == ["猫 cat"]


def test_a_text_beyond_the_positions_is_cut(predict) -> None:
    (text,), _ = predict("abcdefghijklmnopqrstuvwxyz")
    assert "abcdefghijklmnopqrstuvwxyz".startswith(text)
    assert len(text) > 10


def test_texts_beside_a_text_change_nothing(predict) -> None:
    _, alone = predict("a [MASK]")
    _, beside = predict("a [MASK]", "a much longer [MASK]")
    np.testing.assert_allclose(alone, beside[:1], atol=1e-5)


def test_another_model_cannot_fill(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="transformer_encoder") as error:
        export(encoder(head="pooler"), tmp_path, "encoder", dataset=toy())
    assert "\n" not in str(error.value)
