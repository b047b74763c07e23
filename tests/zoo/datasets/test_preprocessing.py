"""Preprocessing graphs: eagerly, and out of a SavedModel in a session, as servers run them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.datasets import (
    ImagePreprocessing,
    NoPreprocessing,
    Preprocessing,
    Standardization,
    TextPreprocessing,
)

IMAGE = ImagePreprocessing(28, 28, 1)
COLOUR = ImagePreprocessing(16, 20, 3)
TEXT = TextPreprocessing(("the", "été", "oil", "42", "石油"), 6)
FEATURES = Standardization((1.5, -2.0, 0.1), (0.3, 7.0, 1.0))
SEQUENCES = Standardization((1.5, -2.0), (0.3, 7.0), padding=True, steps=5)
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
NONE = NoPreprocessing((4, 1))


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


RAW = {
    IMAGE: np.array([encoded(pixels(28, 28)), encoded(pixels(40, 30, 3), "JPEG")], object),
    COLOUR: np.array([encoded(pixels(16, 20, 3)), encoded(pixels(9, 9), "GIF")], object),
    TEXT: np.array(["The OIL, of Été: 42!", "", "石油 " * 9], object),
    FEATURES: pixels(7, 3).astype(np.float32) / 7,
    SEQUENCES: pixels(3, 4, 2).astype(np.float32) / 7,
    NONE: pixels(3, 4, 1).astype(np.float32) / 7,
}
EACH = pytest.mark.parametrize("preprocessing", RAW, ids=lambda each: type(each).__name__)


# === Every kind ===


@EACH
def test_a_session_gives_what_eager_execution_gives(preprocessing: Preprocessing, tmp_path: Path):
    raw = RAW[preprocessing]
    eager = preprocessing.graph(raw).numpy()
    served = run_in_session(saved(preprocessing, tmp_path), preprocessing, raw)
    assert served.dtype == eager.dtype
    np.testing.assert_array_equal(served, eager)


def saved(preprocessing: Preprocessing, folder: Path) -> str:
    """A SavedModel with the preprocessing as its only signature."""
    module = tf.Module()
    module.preprocessing = preprocessing.prepare()
    spec = preprocessing.raw_spec()

    @tf.function(input_signature=[spec])
    def serve(raw):
        return {"x": module.preprocessing(raw)}

    tf.saved_model.save(module, str(folder), signatures={preprocessing.signature: serve})
    return str(folder)


def run_in_session(path: str, preprocessing: Preprocessing, raw: np.ndarray) -> np.ndarray:
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        graph = v1.saved_model.load(session, ["serve"], path)
        signature = graph.signature_def[preprocessing.signature]
        (given,) = signature.inputs.values()
        return session.run(signature.outputs["x"].name, {given.name: raw})


@EACH
def test_a_batch_is_its_examples(preprocessing: Preprocessing):
    graph, raw = preprocessing.prepare(), RAW[preprocessing]
    batch = graph(raw).numpy()
    for row, example in zip(batch, raw, strict=True):
        np.testing.assert_array_equal(graph([example]).numpy()[0], row)


@EACH
def test_an_empty_batch_is_empty(preprocessing: Preprocessing):
    raw = RAW[preprocessing]
    spec = preprocessing.raw_spec()
    nothing = tf.zeros((0, *raw.shape[1:]), spec.dtype)
    assert preprocessing.graph(nothing).shape == (0, *preprocessing.graph(raw).shape[1:])


@EACH
def test_json_is_small_and_whole(preprocessing: Preprocessing):
    description = json.loads(json.dumps(preprocessing.to_json()))
    assert description["kind"] in ("image", "text", "standardization", "none")


@EACH
def test_is_data(preprocessing: Preprocessing):
    assert preprocessing == type(preprocessing)(**vars(preprocessing))
    assert hash(preprocessing) == hash(type(preprocessing)(**vars(preprocessing)))


# === Images ===


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_pixels_are_exact(kind: str):
    image = pixels(28, 28)
    x = IMAGE.graph([encoded(image, kind)]).numpy()
    np.testing.assert_array_equal(x, IMAGE.from_pixels(image[np.newaxis, ..., np.newaxis]))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_colour_pixels_are_exact(kind: str):
    image = pixels(16, 20, 3)
    x = COLOUR.graph([encoded(image, kind)]).numpy()
    np.testing.assert_array_equal(x, COLOUR.from_pixels(image[np.newaxis]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
@pytest.mark.parametrize("shape", [(28, 28), (100, 50), (5, 90, 3), (28, 28, 3)])
@pytest.mark.parametrize("preprocessing", [IMAGE, COLOUR])
def test_any_size_and_colour_comes_out_in_range(preprocessing, shape, kind: str):
    x = preprocessing.graph([encoded(pixels(*shape), kind)]).numpy()
    assert x.shape[1:] == (preprocessing.height, preprocessing.width, preprocessing.channels)
    assert 0 <= x.min() < x.max() <= 1


def test_resizing_keeps_an_even_picture_even():
    x = IMAGE.graph([encoded(np.full((90, 33), 128, np.uint8))]).numpy()
    np.testing.assert_allclose(x, 128 / 255, atol=1e-6)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"hello",
        b"GIF89a",
        b"BM",
        encoded(pixels(28, 28))[:40],
        b"\x89PNG\r\n\x1a\n" + b"x" * 99,
    ],
    ids=["empty", "text", "gif head", "bmp head", "cut png", "png head"],
)
@pytest.mark.parametrize("preprocessing", [IMAGE, COLOUR])
def test_a_corrupt_image_is_an_invalid_argument(preprocessing, broken: bytes):
    good = encoded(pixels(28, 28))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?i)image|png|gif|bmp"):
        preprocessing.graph([good, broken])


def test_a_corrupt_image_in_a_session_is_an_invalid_argument(tmp_path: Path):
    path = saved(IMAGE, tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Unknown image file format.*PNG"):
        run_in_session(path, IMAGE, np.array([b"hello"], object))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.binary(min_size=9))
@settings(deadline=None, max_examples=25)
def test_raw_examples_are_lossless(height: int, width: int, channels: int, seed: bytes):
    preprocessing = ImagePreprocessing(height, width, channels)
    values = np.frombuffer(seed, np.uint8)
    x = preprocessing.from_pixels(np.resize(values, (1, height, width, channels)))
    np.testing.assert_array_equal(preprocessing.graph([preprocessing.raw_example(x[0])]), x)


# === Text ===

tokenize = TEXT.prepare()


def test_ids_follow_the_vocabulary():
    assert tokenize(["The OIL, of Été: 42!"]).numpy().tolist() == [[2, 4, 1, 3, 5, 0]]
    assert tokenize(["the " * 9, "石油-石油", " \t\n"]).numpy().tolist() == [
        [2] * 6,
        [6, 6, 0, 0, 0, 0],
        [0] * 6,
    ]


def test_a_nul_is_only_a_separator():
    assert tokenize(["the\x00oil\x00"]).numpy().tolist() == [[2, 4, 0, 0, 0, 0]]


def test_invalid_utf8_is_only_a_separator():
    assert tokenize([b"the\xff\xfeoil"]).numpy().tolist() == [[2, 4, 0, 0, 0, 0]]


@given(st.lists(st.text(), min_size=1, max_size=5))
@settings(deadline=None)
def test_any_text_gives_ids_and_then_padding(texts: list[str]):
    ids = tokenize([text.encode("utf-8", "replace") for text in texts]).numpy()
    assert (ids.dtype, ids.shape) == (np.int32, (len(texts), 6))
    assert ids.min() >= 0
    assert ids.max() < TEXT.vocabulary_size
    # Zeros only after the last token.
    assert ((np.diff((ids != 0).astype(int), axis=1)) <= 0).all()


@given(st.text(st.characters(max_codepoint=127)))
@settings(deadline=None)
def test_plain_text_is_split_as_documented(text: str):
    words = re.findall(r"[a-z0-9]+", text.lower())[:6]
    expected = [{"the": 2, "oil": 4, "42": 5}.get(word, 1) for word in words]
    assert tokenize([text]).numpy()[0].tolist() == expected + [0] * (6 - len(words))


@given(st.text())
@settings(deadline=None)
def test_case_and_separators_do_not_matter(text: str):
    text = text.encode("utf-8", "replace").decode()
    once = tokenize([text]).numpy()
    np.testing.assert_array_equal(tokenize([f" -{text}.\n"]).numpy(), once)


def test_the_vocabulary_is_an_asset_and_not_in_the_card(tmp_path: Path):
    path = Path(saved(TEXT, tmp_path))
    words = (path / "assets" / "vocabulary.txt").read_text("utf-8").splitlines()
    assert tuple(words) == TEXT.vocabulary
    card = TEXT.to_json()
    assert card["vocabulary"]["words"] == 5
    assert len(card["vocabulary"]["sha256"]) == 64


def test_ids_read_back_as_words():
    assert TEXT.raw_example(np.array([2, 1, 4, 0, 0, 0])) == "the ? oil"


# === Features ===


def test_standardization_by_hand():
    x = FEATURES.graph([[1.5, -2.0, 0.1], [1.8, 5.0, 1.1]]).numpy()
    np.testing.assert_allclose(x, [[0, 0, 0], [1, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(FEATURES.raw_example(x[1]), [1.8, 5.0, 1.1], atol=1e-6)


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_numpy_and_graph_agree_to_the_bit(steps: int, seed: int):
    raw = np.random.default_rng(seed).normal(size=(3, steps, 2)).astype(np.float32) * 9
    raw[1, steps // 2 :] = 0
    x = SEQUENCES.graph(raw).numpy()
    np.testing.assert_array_equal(x[:, :steps], SEQUENCES.from_features(raw))
    assert not x[:, steps:].any()
    assert not x[1, steps // 2 :].any()


def test_too_long_a_sequence_is_an_invalid_argument(tmp_path: Path):
    raw = np.ones((1, 6, 2), np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 5 steps"):
        SEQUENCES.graph(raw)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 5 steps"):
        run_in_session(saved(SEQUENCES, tmp_path), SEQUENCES, raw)


def test_a_constant_feature_becomes_zero():
    fitted = Standardization.fit(np.array([[1, 5], [3, 5]], np.float32))
    assert fitted == Standardization((2.0, 5.0), (1.0, 1.0))
