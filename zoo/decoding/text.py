"""From text to text: tokenise, search, and decode, in one graph."""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf

from zoo.datasets.sentences import ENDS, MARK, SPACE
from zoo.decoding.beam import beam_search, length_penalty
from zoo.decoding.search import END, PADDING, START, greedy, sample
from zoo.decoding.steps import CausalSteps, TranslatorSteps

MORE_THAN_SOURCE = 50  # tokens by which a translation may be longer, Vaswani et al. 2017, sec. 6.1


class Tokenizer(Protocol):
    """What `SubwordPreprocessing.prepare()` returns."""

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        """string `(batch,)` → int32 `(batch, steps)`, END and then 0 at the end of each row."""

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 `(batch, steps)` → string `(batch,)`, up to END."""


def translation(
    steps: TranslatorSteps,
    tokenizer: Tokenizer,
    text: tf.Tensor,
    beam: int = 1,
    spaced: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Translations, sentence by sentence, and how sure the model is of them.

    A text of nothing but white space has the empty string as translation, with score 0. Of a
    sentence longer than the model's positions, the tokens that fit are translated. Lines stay
    lines.

    Args:
        steps: the model.
        tokenizer: of both languages.
        text: string `(batch,)`.
        beam: sequences kept at every step; 1 is greedy search.
        spaced: whether the language of the translation has spaces between sentences.

    Returns:
        string `(batch,)`, valid UTF-8, and float32 `(batch,)`: the log-probability of the tokens
        over `length_penalty` of their number, which is what beam search maximises.
    """
    parts = sentences(text)
    bare = tf.strings.regex_replace(parts.flat_values, f"{SPACE}+$", "")
    begins, ends = tf.strings.length(bare), tf.strings.length(parts.flat_values)
    gaps = tf.strings.substr(parts.flat_values, begins, ends - begins)
    if not spaced:
        gaps = tf.strings.regex_replace(gaps, r"[ \t]+", "")
    found, scores, lengths = _translated(steps, tokenizer, tf.strings.strip(bare), beam)
    whole = tf.strings.reduce_join(parts.with_flat_values(found + gaps), axis=1)
    scores, lengths = (
        tf.reduce_sum(parts.with_flat_values(part), axis=1)
        for part in (scores, tf.cast(lengths, tf.float32))
    )
    return tf.strings.strip(whole), scores / length_penalty(lengths)


def sentences(text: tf.Tensor) -> tf.RaggedTensor:
    """string `(batch,)` → ragged string `(batch, sentences)`, as `split_sentences` cuts."""
    text = tf.strings.regex_replace(text, MARK, " ")
    return tf.strings.split(tf.strings.regex_replace(text, ENDS, rf"\1{MARK}"), MARK)


def _translated(
    steps: TranslatorSteps, tokenizer: Tokenizer, text: tf.Tensor, beam: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Translation, log-probability and number of tokens of each sentence."""
    source = tokenizer(text)[:, : steps.max_length]
    words = tf.strings.length(tf.strings.strip(text)) > 0
    batch = tf.shape(source)[:1]
    lengths = tf.math.count_nonzero(source, axis=1, dtype=tf.int32)
    limits = tf.minimum(lengths + MORE_THAN_SOURCE, steps.max_length)
    limits = tf.where(words, limits, 0)
    state = steps.start(source, _largest(limits))
    given = (state, tf.fill(batch, START), tf.fill(batch, 0), limits)
    found = greedy(steps, *given) if beam == 1 else beam_search(steps, *given, beam=beam)
    return _text(tokenizer, found.tokens), tf.where(words, found.scores, 0.0), found.lengths


def continuation(
    steps: CausalSteps,
    tokenizer: Tokenizer,
    text: tf.Tensor,
    *,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    seed: tf.Tensor,
    most: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """How texts go on, up to the end token or the last position of the model.

    The empty text is a prompt like any other: the model begins a text. A text that fills the
    model's positions has no continuation: the empty string with score 0.

    Args:
        steps: the model.
        tokenizer: of its language.
        text: string `(batch,)`.
        temperature: float32 `(batch,)`, see `sample`.
        top_k: int32 `(batch,)`, see `sample`.
        seed: int64 `(batch,)`, see `sample`.
        most: new tokens at most, if the positions would allow more.

    Returns:
        string `(batch,)`, valid UTF-8, without the prompt, and float32 `(batch,)`: the
        log-probability of its tokens under the model at temperature 1.
    """
    pieces = tokenizer(text)
    prompts = tf.pad(tf.where(pieces == END, PADDING, pieces), [[0, 0], [1, 0]])
    prompts += tf.one_hot(0, tf.shape(prompts)[1], START, 0, dtype=tf.int32)
    prompts = prompts[:, : steps.max_length]
    lengths = tf.math.count_nonzero(prompts, axis=1, dtype=tf.int32)
    limits = steps.max_length - lengths
    limits = limits if most is None else tf.minimum(limits, most)
    found = sample(
        steps,
        steps.start(prompts, _largest(lengths + limits)),
        tf.gather(prompts, lengths - 1, batch_dims=1),
        lengths - 1,
        limits,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
    )
    return _text(tokenizer, found.tokens), found.scores


def _largest(sizes: tf.Tensor) -> tf.Tensor:
    """At least 1: with no text at all, or nothing but empty ones, there is one unused position."""
    return tf.reduce_max(tf.concat([sizes, [1]], 0))


def _text(tokenizer: Tokenizer, tokens: tf.Tensor) -> tf.Tensor:
    """Decoded tokens; single bytes that a model put together wrongly become U+FFFD."""
    text = tokenizer.decode(tokens)
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
