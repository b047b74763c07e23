"""A subword vocabulary out of training texts: byte-pair merges (Sennrich, Haddow, Birch, 2016).

Only which pieces there are is learnt here. Texts are cut by greedy longest match (see
subword_graph.py), which does as well as replaying the merges in order (Uzan et al., "Greed is All
You Need", 2024) and needs no more than one table lookup a piece.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

# What a piece may not reach across: a word with the space before it, a placeholder, a run of
# other signs, the space that is left. Pieces across words would each be rare.
_CHUNK = re.compile(r" ?\{\w+\}| ?[^\W\d_]+| ?\d| ?[^\w\s]+|\s+|_")

LONGEST_PIECE = 16  # bytes; the tokeniser looks so far ahead at every step
MIN_COUNT = 3  # a rarer pair or character teaches a model nothing that its parts do not

Pair = tuple[str, str]


def learn_pieces(texts: Iterable[str], count: int) -> tuple[bytes, ...]:
    """Pieces of more than one byte, most useful first; the same on every machine.

    Args:
        texts: of the training split only.
        count: how many at most; fewer come out where the texts do not hold that many.

    Returns:
        UTF-8 of whole characters, 2 to `LONGEST_PIECE` bytes each, all different: first the
        characters beyond ASCII by falling frequency, then what the merges joined, in their order.
        Nothing else has to be known: single bytes are in every vocabulary.
    """
    chunks = Counter(chunk for text in texts for chunk in _CHUNK.findall(text))
    characters = Counter()
    for chunk, times in chunks.items():
        for character in chunk:
            characters[character] += times
    by_frequency = sorted(characters.items(), key=lambda item: (-item[1], item[0]))
    pieces = [c for c, times in by_frequency if times >= MIN_COUNT and len(c.encode()) > 1]
    pieces += _merges(chunks, count - len(pieces))
    return tuple(piece.encode() for piece in pieces[:count])


def _merges(chunks: Counter[str], count: int) -> list[str]:
    """The pieces that joining the most frequent neighbours makes, `count` times over.

    The pair counts are kept up to date chunk by chunk, and a heap holds the candidates: one whose
    count has changed since it was pushed is pushed anew. Ties go to the first in the alphabet.
    """
    words = [(list(chunk), times) for chunk, times in sorted(chunks.items()) if len(chunk) > 1]
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, (parts, times) in enumerate(words):
        for pair in itertools.pairwise(parts):
            counts[pair] += times
            places[pair].add(number)
    heap = [(-times, pair) for pair, times in counts.items()]
    heapq.heapify(heap)

    found: dict[str, None] = {}
    while heap and len(found) < count:
        negative, pair = heapq.heappop(heap)
        times = counts[pair]
        if times < MIN_COUNT or times != -negative:
            continue
        joined = pair[0] + pair[1]
        if len(joined.encode()) > LONGEST_PIECE:
            continue
        found[joined] = None  # two pairs can make the same piece
        changed: set[Pair] = set()
        for number in places.pop(pair):
            parts, weight = words[number]
            for old in itertools.pairwise(parts):
                counts[old] -= weight
                changed.add(old)
            parts[:] = _joined(parts, pair)
            for new in itertools.pairwise(parts):
                counts[new] += weight
                places[new].add(number)
                changed.add(new)
        for each in changed:
            if counts[each] >= MIN_COUNT:
                heapq.heappush(heap, (-counts[each], each))
    return list(found)


def _joined(parts: list[str], pair: Pair) -> list[str]:
    """The parts with every occurrence of the pair, from the left, made one."""
    result: list[str] = []
    index = 0
    while index < len(parts):
        if parts[index : index + 2] == list(pair):
            result.append(pair[0] + pair[1])
            index += 2
        else:
            result.append(parts[index])
            index += 1
    return result
