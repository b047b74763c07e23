"""Where a text may be cut so that its parts can be translated one after the other.

After the mark that ends a sentence and the space behind it, and after a line's end. The pattern
means the same to Python's `re` and to the RE2 of TensorFlow's graphs.
"""

from __future__ import annotations

import re

ENDS = r"([.!?…][\"')\]*_`]*[ \t]+|[。！？][”’）]*|[ \t]*\r?\n[ \t\r\n]*)"
MARK = "\x1e"  # ASCII's record separator; in a text it counts as a space
SPACE = r"[ \t\r\n]"


def split_sentences(text: str) -> list[str]:
    """The parts of a text; put together they are the text again.

    >>> split_sentences("Door open. Close it?\\nNow")
    ['Door open. ', 'Close it?\\n', 'Now']
    """
    parts = re.sub(ENDS, r"\1" + MARK, text.replace(MARK, " ")).split(MARK)
    return [part for part in parts if part]


def split_pair(source: str, target: str) -> list[tuple[str, str]]:
    """Pairs of sentences, without space around them, where both sides have as many; else one."""
    sources, targets = split_sentences(source), split_sentences(target)
    if len(sources) != len(targets):
        return [(source, target)]
    return [(a.strip(), b.strip()) for a, b in zip(sources, targets, strict=True)]
