"""Text for language models: Reuters news and Home Assistant's interface strings, as token rows."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.datasets import packing, text, ui_strings
from zoo.datasets.base import SPLITS, Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.masking import mask_tokens
from zoo.datasets.preprocessing import SubwordPreprocessing
from zoo.datasets.splits import VALIDATION, hold_out
from zoo.datasets.subwords import learn_pieces
from zoo.errors import DataError

LENGTH = 128  # tokens of a row
BYTES = 256  # bytes of a row
PROMPT = 1 / 8  # of a row is what `raw` gives, which `label` goes on with
LONGEST_TEXT = 1 << 15  # tokens: no text has more
BATCH = 256  # texts tokenised at once

Documents = dict[str, list[list[str]]]  # split → documents → the texts of one document
Rows = dict[str, Split]


@dataclass(frozen=True)
class Corpus:
    """A prepared file in the cache: documents of token ids by split, and the vocabulary.

    `sha256` is the file's, the same on every machine.
    """

    file: str
    vocabulary_size: int
    sha256: str
    documents: Callable[[Cache], Documents]


def load_reuters_lm(info: DatasetInfo, cache: Cache) -> Dataset:
    """R8's texts; the next token at every step."""
    return _next_tokens(info, *_tokenized(cache, REUTERS))


def load_reuters_bytes(info: DatasetInfo, cache: Cache) -> Dataset:
    """R8's texts; the next byte at every step."""
    subwords, documents = _tokenized(cache, REUTERS)
    end, first = SubwordPreprocessing.END, SubwordPreprocessing.FIRST_BYTE
    vocabulary = subwords.vocabulary

    def spelled(document: Sequence[int]) -> list[int]:
        return [
            byte
            for token in document
            for byte in ([end] if token == end else [first + each for each in vocabulary[token]])
        ]

    tokens = {split: [spelled(document) for document in documents[split]] for split in SPLITS}
    return _next_tokens(info, SubwordPreprocessing((), BYTES), tokens)


def load_ui_strings_en(info: DatasetInfo, cache: Cache) -> Dataset:
    """Home Assistant's English strings; a document holds those of one component, in order."""
    return _next_tokens(info, *_tokenized(cache, UI_STRINGS))


def load_reuters_mlm(info: DatasetInfo, cache: Cache) -> Dataset:
    """R8's texts; masked tokens, the same ones in every load for validation and test.

    In train nothing is masked and every token is a target: training draws masks for each batch.
    `raw` is a row's first text with "[MASK]" in it, and `label` the text as it was.
    """
    preprocessing, tokens = _tokenized(cache, REUTERS)
    rows = {split: packing.whole_rows(tokens[split], LENGTH) for split in SPLITS}
    whole = {split: rows[split].y for split in SPLITS}
    for number, split in enumerate(("validation", "test")):
        x = rows[split].x
        shown, asked = mask_tokens(x["tokens"], [0, number], preprocessing.vocabulary_size)
        rows[split] = Split({**x, "tokens": shown.numpy()}, asked.numpy())
    vocabulary = list(preprocessing.vocabulary)
    vocabulary[preprocessing.MASK] = b" [MASK]"
    return _dataset(
        info,
        "masked_language_model",
        rows,
        preprocessing,
        model_arguments={"num_segments": 2, "head": "masked_language_model"},
        originals={split: _Texts(rows[split].x["tokens"], vocabulary) for split in SPLITS},
        references={split: _Texts(whole[split], vocabulary) for split in SPLITS},
    )


def _next_tokens(
    info: DatasetInfo,
    preprocessing: SubwordPreprocessing,
    tokens: Mapping[str, Sequence[Sequence[int]]],
) -> Dataset:
    length = preprocessing.max_length
    rows = {split: packing.next_tokens(tokens[split], length) for split in SPLITS}
    vocabulary, prompt = preprocessing.vocabulary, int(PROMPT * length)
    return _dataset(
        info,
        "language_model",
        rows,
        preprocessing,
        model_arguments={},
        originals={split: _Texts(rows[split].x[:, :prompt], vocabulary) for split in SPLITS},
        references={split: _Texts(rows[split].x[:, prompt:], vocabulary) for split in SPLITS},
    )


def _dataset(
    info: DatasetInfo,
    kind: str,
    rows: Rows,
    preprocessing: SubwordPreprocessing,
    model_arguments: Mapping[str, Any],
    **texts: Mapping[str, Sequence[str]],
) -> Dataset:
    return Dataset(
        name=info.name,
        task=Task(kind),
        **rows,
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={
            "vocabulary_size": preprocessing.vocabulary_size,
            "max_length": preprocessing.max_length,
            **model_arguments,
        },
        **texts,
    )


@dataclass(frozen=True, eq=False)
class _Texts(Sequence):
    """What the tokens of each row stand for, up to the first end token; decoded when asked for."""

    tokens: np.ndarray
    vocabulary: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> str:
        tokens = itertools.takewhile(SubwordPreprocessing.END.__ne__, self.tokens[row].tolist())
        return b"".join(self.vocabulary[token] for token in tokens).decode(errors="replace")


# === Texts ===


def reuters(cache: Cache) -> Documents:
    """The documents of R8's own splits."""
    (texts, topics), (test, _) = text.read_orange(cache, "r8")
    kept, held = hold_out(np.unique(topics, return_inverse=True)[1], VALIDATION)
    return _apart(
        {
            "train": [[texts[index].strip()] for index in kept],
            "validation": [[texts[index].strip()] for index in held],
            "test": [[each.strip()] for each in test],
        }
    )


def interface(cache: Cache) -> Documents:
    """One document for each component, which as a whole is in one split.

    Components share many strings, such as "Failed to connect": these are in several splits.
    """
    documents: Documents = {split: [] for split in SPLITS}
    strings = ui_strings.english(cache)
    for component, keys in itertools.groupby(strings, key=lambda key: key[0]):
        document = [strings[key] for key in keys if strings[key]]
        documents[ui_strings.split_of(component)].append(document)
    return _apart(documents)


def _apart(documents: Documents) -> Documents:
    """Without the documents that a language model would know by heart.

    What is in test as well is left out of validation and train, and what is in validation of
    train, which then has every document once.
    """
    known = {tuple(document) for document in documents["test"]}
    left = {"test": documents["test"]}
    for split in ("validation", "train"):
        different = dict.fromkeys(map(tuple, documents[split]))
        left[split] = [list(document) for document in different if document not in known]
        known |= different.keys()
    return {split: left[split] for split in SPLITS}


# === Tokens ===


def _tokenized(
    cache: Cache, corpus: Corpus
) -> tuple[SubwordPreprocessing, dict[str, list[list[int]]]]:
    """The preprocessing, and by split the ids of every document; prepared once, then cached."""
    content = cache.read(corpus.file, "sha256", corpus.sha256)
    if content is None:
        with cache.writing(corpus.file) as scratch:
            # Another process may have made it while this one waited for its turn.
            content = cache.read(corpus.file, "sha256", corpus.sha256)
            if content is None:
                cache.tell_if_damaged(corpus.file)
                content = _prepare(cache, corpus)
                (scratch / corpus.file).write_bytes(content)
                cache.publish(scratch / corpus.file)
    prepared = json.loads(content)
    pieces = tuple(bytes.fromhex(piece) for piece in prepared["pieces"])
    return SubwordPreprocessing(pieces, LENGTH), {split: prepared[split] for split in SPLITS}


def _prepare(cache: Cache, corpus: Corpus) -> bytes:
    documents = corpus.documents(cache)
    texts = itertools.chain(*documents["train"])
    pieces = learn_pieces(texts, corpus.vocabulary_size - SubwordPreprocessing.FIRST_PIECE)
    encode = _encoder(SubwordPreprocessing(pieces, LONGEST_TEXT))
    prepared = {"pieces": [piece.hex() for piece in pieces]}
    for split in SPLITS:
        ids = iter(encode([*itertools.chain(*documents[split])]))
        prepared[split] = [
            [token for _ in document for token in next(ids)] for document in documents[split]
        ]
    content = json.dumps(prepared, separators=(",", ":")).encode()
    found = hashlib.sha256(content).hexdigest()
    if found != corpus.sha256:
        raise DataError(
            f"{corpus.file} was prepared with sha256 {found}, which is not the expected one; "
            "report this."
        )
    return content


def _encoder(preprocessing: SubwordPreprocessing) -> Callable[[Sequence[str]], list[list[int]]]:
    """Texts → the ids of each with its end token, by the graph that exported models hold."""
    import tensorflow as tf

    graph = preprocessing.prepare()
    # Kept inside a function, or the graph's table would be gone with `graph`.
    tokenize = tf.function(lambda raw: graph(raw), input_signature=[preprocessing.raw_spec()])

    def encode(texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in texts]
        order = np.argsort([len(each) for each in texts], kind="stable")
        for rows in np.array_split(order, max(1, len(texts) // BATCH)):  # of like length
            for row, ids in zip(rows, tokenize([texts[row] for row in rows]).numpy(), strict=True):
                found[row] = ids[ids != 0].tolist()
        return found

    return encode


REUTERS = Corpus(
    "reuters_tokens.json",
    512,
    "a5c6488dfe4f4f8279c0ecdd64ba8d68a5bb0decc0a373d9599ecad8c6b7c407",
    reuters,
)
UI_STRINGS = Corpus(
    "ui_strings_en_tokens.json",
    1024,
    "293a70a43381a0eeb68ad8fea2c255dec68560391d321a4e7dc3f48d110c20db",
    interface,
)
