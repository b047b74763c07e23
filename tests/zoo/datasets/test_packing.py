"""Documents as rows: nothing is lost, and every token but the start ones is a target once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo.datasets.packing import next_tokens, whole_rows

START, END = 1, 2
documents = st.lists(
    st.lists(st.integers(4, 9), max_size=12).map(lambda tokens: [*tokens, END]),
    min_size=1,
    max_size=8,
)


@given(documents, st.integers(2, 7))
def test_next_tokens_are_each_token_once(documents: list[list[int]], length: int) -> None:
    split = next_tokens(documents, length)
    assert split.x.shape == split.y.shape == (len(split), length)
    assert split.x.dtype == split.y.dtype == np.int32
    line = [token for document in documents for token in (START, *document)]
    assert split.x[split.x != 0].tolist() == line
    assert split.y[split.y != 0].tolist() == [token for token in line if token != START]


@given(documents, st.integers(2, 7))
def test_a_target_is_the_token_after(documents: list[list[int]], length: int) -> None:
    split = next_tokens(documents, length)
    x, y = split.x.ravel(), split.y.ravel()
    after = np.append(x[1:], 0)
    np.testing.assert_array_equal(y, np.where(after == START, 0, after))


def test_next_tokens_by_hand() -> None:
    split = next_tokens([[5, 6, END], [7, END]], length=4)
    np.testing.assert_array_equal(split.x, [[START, 5, 6, END], [START, 7, END, 0]])
    np.testing.assert_array_equal(split.y, [[5, 6, END, 0], [7, END, 0, 0]])


def test_whole_rows_by_hand() -> None:
    split = whole_rows([[5, 6, END], [7, END], [8, 9, END]], length=6)
    tokens = [[START, 5, 6, END, 7, END], [START, 8, 9, END, 0, 0]]
    np.testing.assert_array_equal(split.x["tokens"], tokens)
    np.testing.assert_array_equal(split.x["segments"], [[0, 0, 0, 0, 1, 1], [0] * 6])
    np.testing.assert_array_equal(split.y, tokens)


@given(documents, st.integers(2, 7))
def test_whole_rows_begin_with_start_and_hold_all(documents: list[list[int]], length: int) -> None:
    split = whole_rows(documents, length)
    tokens = split.x["tokens"]
    assert (tokens[:, 0] == START).all()
    line = [token for document in documents for token in document]
    assert tokens[:, 1:][tokens[:, 1:] != 0].tolist() == line
    assert set(np.unique(split.x["segments"])) <= {0, 1}
