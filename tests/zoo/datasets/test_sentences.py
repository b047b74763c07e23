"""Texts are cut after sentences, the same way in Python and in the graph."""

from __future__ import annotations

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.datasets.sentences import MARK, split_pair, split_sentences
from zoo.decoding.text import sentences

PIECES = st.sampled_from(
    [
        "Open",
        " ",
        "  ",
        ".",
        "?",
        "!",
        "…",
        "\n",
        "\r\n",
        "\t",
        "。",
        "？",
        "”",
        '"',
        ")",
        "1.5",
        "{a}",
    ]
)
TEXT = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=12).map("".join))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Open", ["Open"]),
        ("", []),
        ("Open the door. Close it?", ["Open the door. ", "Close it?"]),
        ("Version 1.5 of {name}.", ["Version 1.5 of {name}."]),
        ('He said "stop!" Then', ['He said "stop!" ', "Then"]),
        ("One\n\n- two\n", ["One\n\n", "- two\n"]),
        ("打开。关闭？好", ["打开。", "关闭？", "好"]),
    ],
)
def test_where_a_text_is_cut(text: str, parts: list[str]) -> None:
    assert split_sentences(text) == parts


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_the_parts_together_are_the_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text.replace(MARK, " ")


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_the_graph_cuts_as_python_does(texts: list[str]) -> None:
    texts = [text.replace("\0", "") for text in texts]
    found = sentences(tf.constant([text.encode() for text in texts])).to_list()
    assert [[p.decode() for p in row if p] for row in found] == [split_sentences(t) for t in texts]


def test_sentences_are_paired_where_both_sides_have_as_many() -> None:
    assert split_pair("Open it. Now!", "Ábrelo. ¡Ahora!") == [
        ("Open it.", "Ábrelo."),
        ("Now!", "¡Ahora!"),
    ]
    whole = ("Open it. Now!", "Ábrelo ahora mismo.")
    assert split_pair(*whole) == [whole]
    assert split_pair("Open", "Abrir") == [("Open", "Abrir")]
