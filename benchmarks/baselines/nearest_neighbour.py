"""Translation by looking up the most similar known string: what a translator must beat."""

from __future__ import annotations

import numpy as np

from zoo.datasets import Dataset
from zoo.datasets.sentences import split_sentences
from zoo.training import translation

ROWS = 256  # test strings compared at once with all training strings


def score(dataset: Dataset, split: str = "test") -> dict[str, object]:
    """BLEU and chrF of the baseline on a split, as `zoo.training.translation.score` gives them.

    Args:
        dataset: of the task translation.
        split: what is translated.
    """
    return translation.score(dataset, translations(dataset, split), split)


def translations(dataset: Dataset, split: str = "test") -> list[str]:
    """For each sentence of each string the translation of the nearest training string.

    Nearest by the cosine of TF-IDF vectors of the lower-cased character 1- to 5-grams; the first
    one in the training split where several are equally near. Sentence by sentence, because that
    is what the training split holds and how the model translates.
    """
    parts = [split_sentences(text) for text in dataset.originals[split]]
    found = iter(_nearest(dataset, [part.strip() for text in parts for part in text]))
    space = " " if dataset.task.spaced else ""
    return [space.join(next(found) for _ in text) for text in parts]


def _nearest(dataset: Dataset, sentences: list[str]) -> list[str]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 5))
    known = vectorizer.fit_transform(dataset.originals["train"]).T.tocsr()  # (features, train)
    asked = vectorizer.transform(sentences)  # (n, features), rows of length 1
    nearest = [
        np.asarray((asked[start : start + ROWS] @ known).argmax(axis=1)).ravel()
        for start in range(0, asked.shape[0], ROWS)
    ]
    return [dataset.references["train"][row] for row in np.concatenate(nearest)]
