"""Which tokens a masked language model is asked for, by BERT's rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.datasets.preprocessing import SubwordPreprocessing

if TYPE_CHECKING:
    import tensorflow as tf

ASKED = 0.15  # of the tokens
MASKED, RANDOM = 0.8, 0.1  # of the tokens asked for; the others stay as they are


def mask_tokens(
    tokens: tf.Tensor, key: tf.Tensor, vocabulary_size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Hides tokens at random; the same key hides the same ones.

    Each token but padding, start and end is asked for with probability 0.15. Of those asked for,
    80 % become the mask token, 10 % any byte or piece, and 10 % stay.

    Args:
        tokens: int32 `(batch, steps)`.
        key: int64 `(2,)`.
        vocabulary_size: number of ids.

    Returns:
        What the model is shown, and the original token where it is asked for and 0 elsewhere;
        both int32 `(batch, steps)`.

    Devlin et al., "BERT", 2019, section 3.1.
    """
    import tensorflow as tf

    first = SubwordPreprocessing.FIRST_BYTE
    ask_key, fate_key, token_key = tf.unstack(tf.random.experimental.stateless_split(key, 3))
    shape = tf.shape(tokens)
    asked = (tf.random.stateless_uniform(shape, ask_key) < ASKED) & (tokens >= first)
    fate = tf.random.stateless_uniform(shape, fate_key)
    other = tf.random.stateless_uniform(shape, token_key, first, vocabulary_size, tf.int32)
    changed = tf.where(fate < MASKED, SubwordPreprocessing.MASK, other)
    shown = tf.where(asked & (fate < MASKED + RANDOM), changed, tokens)
    return shown, tf.where(asked, tokens, 0)
