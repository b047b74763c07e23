"""Subwords: the learnt pieces, and text → ids → the same text, eagerly and out of a SavedModel."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zoo.datasets import SubwordPreprocessing
from zoo.datasets.subwords import LONGEST_PIECE, MIN_COUNT, learn_pieces

ROOT = Path(__file__).parents[3]
TEXTS = [
    *("The lower light is lower.", "Der niedrigste Wert", "更新设备", "设备更新", "更新 {name}")
    * 3,
    *("Lowest {name} of {name}\n\n", "the light of the lights", "más luz más días") * 4,
]
PIECES = learn_pieces(TEXTS, 90)
SUBWORDS = SubwordPreprocessing(PIECES, 64)
graph = SUBWORDS.prepare()
tokenize = tf.function(graph.__call__, input_signature=[SUBWORDS.raw_spec()])


# === Learning ===


def test_pieces_are_whole_characters_seen_often_enough():
    assert len(set(PIECES)) == len(PIECES) <= 90
    joined = "\0".join(TEXTS)
    for piece in PIECES:
        assert 2 <= len(piece) <= LONGEST_PIECE
        assert joined.count(piece.decode()) >= MIN_COUNT


def test_frequent_words_and_placeholders_become_one_piece():
    assert {b" lower", b" light", b" {name}", "更新".encode(), "más".encode()} <= set(PIECES)


def test_characters_come_first_and_pieces_end_with_words():
    assert {"更".encode(), "á".encode()} <= set(PIECES[:8])
    assert not any(b" " in piece.strip() for piece in PIECES)


def test_the_most_frequent_neighbours_are_joined_first():
    """The words of Sennrich et al., 2016, section 3.2, without an end-of-word sign."""
    texts = ["low"] * 5 + ["lower"] * 4 + ["newest"] * 6 + ["widest"] * 3
    # we 4 + 6; lo 5 + 4 before st 6 + 3, by the alphabet; then newest is n e we st, 6 times.
    assert learn_pieces(texts, 5) == (b"we", b"lo", b"st", b"ewe", b"ewest")


def test_fewer_pieces_where_there_are_no_more():
    assert learn_pieces([], 10) == ()
    assert learn_pieces(["ab"] * MIN_COUNT, 10) == (b"ab",)
    assert learn_pieces(["ab"] * (MIN_COUNT - 1), 10) == ()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_another_process_learns_the_same(seed: str):
    program = (
        "import json, sys; from zoo.datasets.subwords import learn_pieces; "
        "print([piece.hex() for piece in learn_pieces(json.load(sys.stdin), 90)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONHASHSEED": seed},
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{[piece.hex() for piece in PIECES]}\n", done.stderr


# === Text to ids ===


def by_hand(text: bytes) -> list[int]:
    """Greedy longest match, written down plainly."""
    ids = {piece: number for number, piece in enumerate(SUBWORDS.vocabulary) if piece}
    found = []
    while text:
        piece = next(text[:n] for n in range(LONGEST_PIECE, 0, -1) if text[:n] in ids)
        found.append(ids[piece])
        text = text[len(piece) :]
    return [*found[: SUBWORDS.max_length - 1], SUBWORDS.END]


SAMPLES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=15).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.sampled_from(SUBWORDS.vocabulary), max_size=12).map(b"".join),
)


@given(st.lists(SAMPLES, min_size=1, max_size=4))
@example([b"", b"\0", b"\0\0 a\0", b"\xff\xfe", b"\xe6\x9b"])
@example(["更新 👩‍🔧 {name}".encode(), b"\n\t\r", b"The lower light"])
@settings(deadline=None)
def test_ids_are_the_longest_pieces_and_lead_back(texts: list[bytes]):
    ids = tokenize(tf.constant(texts, tf.string))
    expected = [by_hand(text) for text in texts]
    assert ids.dtype == tf.int32
    assert ids.shape[1] == max(len(row) for row in expected)
    for row, tokens in zip(ids.numpy().tolist(), expected, strict=True):
        assert row == tokens + [0] * (len(row) - len(tokens))
    if all(len(text) < SUBWORDS.max_length for text in texts):
        assert graph.decode(ids).numpy().tolist() == texts


def test_any_piece_leads_back():
    pieces = list(SUBWORDS.vocabulary[SUBWORDS.FIRST_BYTE :])
    ids = tokenize(pieces).numpy()
    np.testing.assert_array_equal(ids[:, 0], np.arange(4, SUBWORDS.vocabulary_size))
    np.testing.assert_array_equal(ids[:, 1:], [[SUBWORDS.END]] * len(pieces))


def test_too_long_a_text_keeps_its_beginning_and_an_end():
    ids = tokenize([b"#" * 200, b"the"]).numpy()
    assert ids.shape == (2, 64)
    assert ids[0].tolist() == [4 + ord("#")] * 63 + [SUBWORDS.END]
    assert graph.decode(ids).numpy().tolist() == [b"#" * 63, b"the"]


def test_an_empty_batch_is_empty():
    ids = tokenize(tf.constant([], tf.string))
    assert ids.shape == (0, 1)
    assert graph.decode(ids).shape == (0,)


# === Ids to text ===


def test_special_ids_are_no_text_and_the_end_ends():
    letter = 4 + ord("a")
    ids = [[1, letter, 0, 3, letter, 2, letter, 2], [letter] * 8, [2] * 8, [0] * 8]
    assert graph.decode(tf.constant(ids)).numpy().tolist() == [b"aa", b"a" * 8, b"", b""]
    assert [SUBWORDS.raw_example(np.array(row)) for row in ids] == ["aa", "a" * 8, "", ""]


# === Out of a SavedModel ===


def test_a_session_of_a_server_gives_the_same(tmp_path: Path):
    module = tf.Module()
    module.preprocessing = SUBWORDS.prepare()

    @tf.function(input_signature=[SUBWORDS.raw_spec()])
    def serve(text):
        ids = module.preprocessing(text)
        return {"ids": ids, "text": module.preprocessing.decode(ids)}

    tf.saved_model.save(module, str(tmp_path), signatures={"predict_text": serve})
    texts = np.array([b"The lower light", b"", b"\0\n\xff", "更新设备 {name}".encode()], object)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = loaded.signature_def["predict_text"]
        (given,) = signature.inputs.values()
        ids, text = session.run(
            [signature.outputs[name].name for name in ("ids", "text")], {given.name: texts}
        )
    np.testing.assert_array_equal(ids, tokenize(texts).numpy())
    assert text.tolist() == texts.tolist()
    assert operations(tmp_path) <= OPERATIONS_OF_TENSORFLOW


def operations(path: Path) -> set[str]:
    """Names of the operations in a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    functions = [function.node_def for graph in graphs for function in graph.library.function]
    return {node.op for nodes in [*(graph.node for graph in graphs), *functions] for node in nodes}


OPERATIONS_OF_TENSORFLOW = {name for name in dir(tf.raw_ops) if not name.startswith("_")} | {
    "StatefulPartitionedCall",
    "PartitionedCall",
}


# === The description ===


def test_json_holds_size_and_checksum():
    lines = "".join(f"{piece.hex()}\n" for piece in PIECES)
    assert json.loads(json.dumps(SUBWORDS.to_json())) == {
        "kind": "subwords",
        "max_length": 64,
        "vocabulary": {
            "ids": 260 + len(PIECES),
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
        },
    }


def test_is_data():
    assert SubwordPreprocessing(**vars(SUBWORDS)) == SUBWORDS
    assert hash(SUBWORDS) == hash(SubwordPreprocessing(**vars(SUBWORDS)))
    assert repr(SUBWORDS) == "SubwordPreprocessing(max_length=64)"
