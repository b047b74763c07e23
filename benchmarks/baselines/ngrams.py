"""A 5-gram model: what a language model must beat.

Interpolated modified Kneser-Ney smoothing (Chen, Goodman, "An Empirical Study of Smoothing
Techniques for Language Modeling", 1999), on the very token ids that the neural model reads, and
with what it sees of them: the tokens before a target in its own row.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from zoo.datasets import Dataset


def perplexity(dataset: Dataset, order: int = 5, split: str = "validation") -> float:
    """Perplexity per token of a split, of an n-gram model of the training split.

    Args:
        dataset: of the task language_model.
        order: tokens of an n-gram, the predicted one included.
        split: what is predicted.
    """
    size = dataset.model_arguments["vocabulary_size"]
    model = KneserNey(dataset.train.x, dataset.train.y, size, order)
    held = dataset.split(split)
    return float(np.exp(-np.mean(np.log(model.probabilities(held.x, held.y)))))


@dataclasses.dataclass(frozen=True)
class _Level:
    """What one order needs: sorted n-gram keys with their discounted counts, by-context rest.

    An n-gram's key is its context's number times the vocabulary, plus the token.
    """

    keys: np.ndarray  # int64 (types,), sorted
    discounted: np.ndarray  # float64 (types,)
    total: np.ndarray  # float64 (contexts,)
    freed: np.ndarray  # float64 (contexts,), the mass that discounting freed


class KneserNey:
    """Interpolated modified Kneser-Ney: p(w | h) falls back on p(w | h without its first token).

    p(w | h) = max(c(hw) - D(c), 0) / c(h) + γ(h) p(w | h'), where all orders but the highest
    count the different tokens seen before hw instead of its occurrences, and the lowest one falls
    back on the same probability for every id but padding.

    Args:
        x: int `(n, T)`, token ids.
        y: int `(n, T)`, the token after each, 0 where there is none to predict.
        vocabulary_size: number of ids, padding included.
        order: tokens of an n-gram.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, vocabulary_size: int, order: int = 5):
        self.order, self.vocabulary_size = order, vocabulary_size
        self._base = vocabulary_size + 1  # ids and what stands before a row
        history, targets = self._events(x, y)
        self._contexts: list[np.ndarray] = []  # by length from 1: sorted keys of known contexts
        parents = []  # number of a context → that of the context without its first token
        context, contexts = np.zeros(len(targets), np.int64), 1
        for length in range(1, order):
            known, numbers = np.unique(
                history[:, -length] * contexts + context, return_inverse=True
            )
            self._contexts.append(known)
            parents.append(known % contexts)
            context, contexts = numbers, len(known)
        keys, counts = np.unique(context * self._base + targets, return_counts=True)
        self._levels = [self._level(keys, counts, contexts)]
        for parent in reversed(parents):
            before = parent[keys // self._base] * self._base + keys % self._base
            keys, counts = np.unique(before, return_counts=True)
            self._levels.insert(0, self._level(keys, counts, parent.max() + 1))

    def probabilities(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """float64, of every target that is not 0, row by row."""
        history, targets = self._events(x, y)
        result = np.full(len(targets), 1 / (self.vocabulary_size - 1))
        context, contexts = np.zeros(len(targets), np.int64), 1
        for length, level in enumerate(self._levels):
            if length:
                wanted = history[:, -length] * contexts + context
                found = _find(self._contexts[length - 1], wanted)
                context = np.where(context < 0, -1, found)
                contexts = len(self._contexts[length - 1])
            seen = context >= 0
            here = context[seen]
            place = _find(level.keys, here * self._base + targets[seen])
            direct = np.where(place >= 0, level.discounted[place], 0)
            result[seen] = (direct + level.freed[here] * result[seen]) / level.total[here]
        return result

    def _events(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every target with the `order - 1` tokens before it, the nearest last."""
        x = np.asarray(x, np.int64)
        before = max(self.order - 1, 1)
        padded = np.pad(x, ((0, 0), (before - 1, 0)), constant_values=self.vocabulary_size)
        windows = np.lib.stride_tricks.sliding_window_view(padded, before, axis=1)  # (n, T, before)
        wanted = np.asarray(y) != 0
        return windows[wanted], np.asarray(y, np.int64)[wanted]

    def _level(self, keys: np.ndarray, counts: np.ndarray, contexts: int) -> _Level:
        discount = _discounts(counts)[np.minimum(counts, 3)]
        context = keys // self._base
        return _Level(
            keys,
            counts - discount,
            np.bincount(context, counts, contexts),
            np.bincount(context, discount, contexts),
        )


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken off the counts 0, 1, 2, and 3 or more; equation 26 of the paper.

    A corpus too small for the estimate gets 1/2, 1 and 3/2.
    """
    n1, n2, n3, n4 = (np.count_nonzero(counts == times) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return np.array([0, 0.5, 1, 1.5])
    share = n1 / (n1 + 2 * n2)
    estimate = np.array(
        [0, 1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3]
    )
    return np.clip(estimate, 0, np.arange(4))


def _find(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index in the sorted `known`, -1 where it is not there."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, place, -1)
