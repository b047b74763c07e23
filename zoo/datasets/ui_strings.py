"""Home Assistant's interface strings in English and another language, for translation.

Every component of the released wheel has one JSON file a language; strings of the same component
and key are translations of each other.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.datasets.base import SPLITS, Dataset, DatasetInfo, Split, Task
from zoo.datasets.cache import Cache
from zoo.datasets.preprocessing import SubwordPreprocessing
from zoo.datasets.sentences import split_pair
from zoo.datasets.subwords import learn_pieces
from zoo.datasets.wheels import Wheel
from zoo.errors import DataError

WHEEL = Wheel("homeassistant", size=51_240_053)
_FILE = re.compile(r"homeassistant/components/([^/]+)/translations/([^/]+)\.json")

MAX_LENGTH = 256  # tokens a side that are looked at: no test string of en-es or en-zh-Hans has more
# What is trained on: 0.2 % of the strings are longer, most of them help pages.
LONGEST_TRAINING = 128
BATCH = 1024  # texts tokenised at once

Strings = dict[tuple[str, ...], str]  # (component, key, key in it, …) → string
Pair = tuple[str, str]  # (English, translation)


@dataclass(frozen=True)
class Language:
    """The other language, the size of the vocabulary it shares with English, a checksum."""

    tag: str  # BCP 47, which its files are named by, too
    vocabulary_size: int  # ids, for both languages together
    sha256: str  # of the prepared file: the same on every machine


SPANISH = Language("es", 4096, "932c8a1795028385fc72c359338b25c424fae9a5914baddb86e4876b4ce7541b")
GERMAN = Language("de", 4096, "3439e936efc4e71a21873c160b64c61d30a3be79928b784ed3ae4ede5787fc52")
# Two thousand characters come before the first word.
CHINESE = Language(
    "zh-Hans", 6144, "b20d3a0c0ccbbb79840a0635305a7090f98635519562ba5d0b4071687a690d4e"
)


def load_en_es(info: DatasetInfo, cache: Cache) -> Dataset:
    """English to Spanish: see `_load`."""
    return _load(info, cache, SPANISH)


def load_en_de(info: DatasetInfo, cache: Cache) -> Dataset:
    """English to German: see `_load`."""
    return _load(info, cache, GERMAN)


def load_en_zh_hans(info: DatasetInfo, cache: Cache) -> Dataset:
    """English to Chinese in simplified characters: see `_load`."""
    return _load(info, cache, CHINESE)


def _load(info: DatasetInfo, cache: Cache, language: Language) -> Dataset:
    """Token ids of both sides; `raw` is the English string and `label` its translation.

    Training has sentences, see sentences.py, wherever both sides have as many; the other splits
    keep their strings whole. Strings of more than `LONGEST_TRAINING` tokens on either side are
    left out of train and validation. The test split has all: its references are whole, its ids
    end at `MAX_LENGTH`.
    """
    prepared = _prepared(cache, info.name, language)
    pieces = tuple(bytes.fromhex(piece) for piece in prepared["pieces"])
    preprocessing = SubwordPreprocessing(pieces, MAX_LENGTH)
    encode = _encoder(preprocessing)
    splits, sources, targets = {}, {}, {}
    for name in SPLITS:
        pairs = prepared[name]
        if name == "train":
            pairs = _sentences(pairs)
        source, target = (encode([pair[side] for pair in pairs]) for side in (0, 1))
        if name != "test":
            short = np.flatnonzero(~(_too_long(source) | _too_long(target)))
            pairs = [pairs[row] for row in short]
            source, target = (_trimmed(ids[short]) for ids in (source, target))
        splits[name] = translation_split(source, target)
        sources[name], targets[name] = ([pair[side] for pair in pairs] for side in (0, 1))
    return Dataset(
        name=info.name,
        task=Task("translation", languages=("en", language.tag)),
        **splits,
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={
            "vocabulary_size": preprocessing.vocabulary_size,
            "max_length": MAX_LENGTH,
        },
        originals=sources,
        references=targets,
    )


def _sentences(pairs: Sequence[Pair]) -> list[Pair]:
    """Different pairs of sentences; those that would be in another split by themselves go out."""
    parts = dict.fromkeys(part for pair in pairs for part in split_pair(*pair))
    return [
        (source, target)
        for source, target in parts
        if _usable(source, target) and split_of(source) == "train"
    ]


def translation_split(source: np.ndarray, target: np.ndarray) -> Split:
    """Ids of both sides, `(n, steps)` with an end token and padding, as a decoder is taught.

    It is given the start token and then what it should have said so far.
    """
    start, end = SubwordPreprocessing.START, SubwordPreprocessing.END
    said = np.where(target == end, 0, target)[:, :-1]
    given = np.pad(said, ((0, 0), (1, 0)), constant_values=start)
    return Split({"source": source, "target": given}, target)


def _encoder(preprocessing: SubwordPreprocessing) -> Callable[[Sequence[str]], np.ndarray]:
    """Texts → int32 `(n, longest)`, by the very graph that exported models hold."""
    import tensorflow as tf

    graph = preprocessing.prepare()
    # Kept inside a function, or the graph's table would be gone with `graph`.
    tokenize = tf.function(lambda raw: graph(raw), input_signature=[preprocessing.raw_spec()])

    def encode(texts: Sequence[str]) -> np.ndarray:
        raw = np.array([text.encode() for text in texts], object)
        order = np.argsort([len(text) for text in raw], kind="stable")
        ids = np.zeros((len(raw), preprocessing.max_length), np.int32)
        for rows in np.array_split(order, max(1, len(raw) // BATCH)):  # of like length
            found = tokenize(raw[rows]).numpy()
            ids[rows, : found.shape[1]] = found
        return _trimmed(ids)

    return encode


def _trimmed(ids: np.ndarray) -> np.ndarray:
    """Without the columns that are all padding."""
    return ids[:, : _lengths(ids).max()]


def _too_long(ids: np.ndarray) -> np.ndarray:
    return _lengths(ids) > LONGEST_TRAINING


def _lengths(ids: np.ndarray) -> np.ndarray:
    return np.count_nonzero(ids, axis=1)


# === Out of the wheel ===


def _prepared(cache: Cache, name: str, language: Language) -> dict[str, Any]:
    """The pairs of each split and the vocabulary's pieces, as hex; kept in the cache."""
    file = f"{name}.json"
    content = cache.read(file, "sha256", language.sha256)
    if content is None:
        with cache.writing(file) as scratch:
            # Another process may have made it while this one waited for its turn.
            content = cache.read(file, "sha256", language.sha256)
            if content is None:
                cache.tell_if_damaged(file)
                content = _prepare(cache, name, language)
                (scratch / file).write_bytes(content)
                cache.publish(scratch / file)
    return json.loads(content)


def _prepare(cache: Cache, name: str, language: Language) -> bytes:
    with WHEEL.open(cache) as wheel:
        pairs = join(read_strings(wheel, "en"), read_strings(wheel, language.tag))
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS}
    for pair in pairs:
        splits[split_of(pair[0])].append(pair)
    texts = [text for pair in splits["train"] for text in pair]
    pieces = learn_pieces(texts, language.vocabulary_size - SubwordPreprocessing.FIRST_PIECE)
    prepared = {"pieces": [piece.hex() for piece in pieces], **splits}
    content = json.dumps(prepared, ensure_ascii=False).encode()
    found = hashlib.sha256(content).hexdigest()
    if found != language.sha256:
        raise DataError(
            f"{name} prepared from {WHEEL} has sha256 {found}, which is not the expected one; "
            "report this."
        )
    return content


def english(cache: Cache) -> Strings:
    """All English strings by component and key, translated or not; some are empty."""
    with WHEEL.open(cache) as wheel:
        return read_strings(wheel, "en")


def read_strings(wheel: zipfile.ZipFile, language: str) -> Strings:
    """Every string of a language by component and key, without space around it."""
    return {
        (component, *key): text.strip()
        for name in sorted(wheel.namelist())
        if (match := _FILE.fullmatch(name)) and match[2] == language
        for component in [match[1]]
        for key, text in _leaves(json.loads(wheel.read(name)))
    }


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, str):
            yield (key,), value
        else:
            yield from (((key, *rest), text) for rest, text in _leaves(value))


def join(english: Strings, other: Strings) -> list[Pair]:
    """Different pairs that can teach or test a translation, in the order of their keys.

    Left out are strings that one language lacks, that were not translated (both are equal: names,
    units), and those without a word beside their placeholders.
    """
    pairs = dict.fromkeys(
        (english[key], other[key]) for key in sorted(english.keys() & other.keys())
    )
    return [pair for pair in pairs if _usable(*pair)]


def _usable(source: str, target: str) -> bool:
    return bool(source != target and target and normalised(source))


def normalised(source: str) -> str:
    """What variants of a string have in common: lower-case letters and digits of its words."""
    return re.sub(r"\{\w*\}|[\W_]", "", source.lower())


def split_of(source: str) -> str:
    """80 % train, 10 % validation, 10 % test, by the normalised English string alone.

    So no variant of a test string is trained on, and the split is the same for every language.
    """
    digest = hashlib.sha256(normalised(source).encode()).digest()
    tenth = int.from_bytes(digest[:8], "big") % 10
    return {0: "test", 1: "validation"}.get(tenth, "train")
