"""Documents of token ids as rows of one length, for models of language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from zoo.datasets.base import Split
from zoo.datasets.preprocessing import SubwordPreprocessing

START, END = SubwordPreprocessing.START, SubwordPreprocessing.END


def next_tokens(documents: Iterable[Sequence[int]], length: int) -> Split:
    """Rows for a model that predicts the next token.

    The documents, each after a start token, stand in one long line that is cut every `length`
    tokens, so that a row may begin within a document and hold several. Every token but the start
    ones is a target once.

    Args:
        documents: token ids without start token; a document's last one is an end token.
        length: tokens of a row.

    Returns:
        x int32 `(n, length)`, padded with 0 at the very end; y the token after each, 0 where that
        is a start token or nothing.
    """
    line = np.concatenate([np.concatenate([[START], document]) for document in documents])
    after = np.append(line[1:], 0)
    after[after == START] = 0
    return Split(_rows(line, length), _rows(after, length))


def whole_rows(documents: Iterable[Sequence[int]], length: int) -> Split:
    """Rows for a model that sees both sides of a token; all tokens are targets.

    A row is a start token and `length - 1` tokens of the same line as above, which here has no
    other start tokens. Segment 0 is the row's first document, 1 what follows its end token.

    Returns:
        x {"tokens": int32 `(n, length)`, "segments": int32 `(n, length)`}; y a copy of the
        tokens. Padding, at the very end, is 0 everywhere.
    """
    line = np.concatenate([np.asarray(document) for document in documents])
    tokens = np.pad(_rows(line, length - 1), ((0, 0), (1, 0)), constant_values=START)
    ended = np.cumsum(tokens == END, axis=1) - (tokens == END)  # before this token
    segments = np.where(tokens == 0, 0, np.minimum(ended, 1)).astype(np.int32)
    return Split({"tokens": tokens, "segments": segments}, tokens.copy())


def _rows(line: np.ndarray, length: int) -> np.ndarray:
    count = -(-len(line) // length)
    return np.pad(line, (0, count * length - len(line))).reshape(count, length).astype(np.int32)
