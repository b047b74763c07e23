"""The TensorFlow side of subwords: text → ids and back, with TensorFlow's own operations only.

So a SavedModel with it runs in the stock TensorFlow Serving binary, which need not have TF-Text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from zoo.datasets.preprocessing import SubwordPreprocessing


class SubwordGraph(tf.Module):
    """string `(batch,)` → int32 `(batch, T)` ids; `decode` leads back.

    Any byte string is taken as it is: NULs, invalid UTF-8, the empty string. The vocabulary is a
    constant of the saved graph: a piece may hold a line feed, which an asset's lines may not.
    """

    def __init__(self, preprocessing: SubwordPreprocessing):
        super().__init__(name="preprocessing")
        self._max_length = preprocessing.max_length
        self._end = preprocessing.END
        self._vocabulary = np.array(preprocessing.vocabulary, object)
        first = preprocessing.FIRST_BYTE
        keys = self._vocabulary[first:]
        self._longest = max(len(key) for key in keys)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(keys, tf.string),
                tf.range(first, first + len(keys), dtype=tf.int64),
            ),
            default_value=-1,
        )

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        """Ids of the longest pieces, from the left; then the end token, then padding.

        T is that of the longest text and at most `max_length`: of a longer text the pieces that
        fit before the end token are left.

        Args:
            raw: string `(batch,)`.

        Returns:
            int32 `(batch, T)`.
        """
        raw = tf.convert_to_tensor(raw, tf.string)
        size = tf.strings.length(raw)  # (B,) bytes
        batch = tf.shape(raw)[0]

        def unfinished(position: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
            fits = tf.shape(ids)[1] < self._max_length - 1
            return tf.logical_and(fits, tf.reduce_any(position < size))

        def advance(position: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            length, piece = self._longest_piece(raw, position)
            piece = tf.where(position < size, piece, 0)
            return tf.minimum(position + length, size), tf.concat([ids, piece[:, None]], axis=1)

        _, ids = tf.while_loop(
            unfinished,
            advance,
            (tf.zeros([batch], tf.int32), tf.zeros([batch, 0], tf.int32)),
            (tf.TensorShape([None]), tf.TensorShape([None, None])),
            parallel_iterations=1,
        )
        steps = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)  # (B,)
        end = self._end * tf.one_hot(steps, tf.shape(ids)[1] + 1, dtype=tf.int32)
        return tf.pad(ids, [[0, 0], [0, 1]]) + end  # (B, T)

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """The bytes of the pieces before the end token; the other three special ids are nothing.

        Args:
            ids: int32 or int64 `(batch, steps)`.

        Returns:
            string `(batch,)`.
        """
        ended = tf.cumsum(tf.cast(tf.equal(ids, self._end), tf.int32), axis=1) > 0
        pieces = tf.gather(tf.constant(self._vocabulary, tf.string), tf.where(ended, 0, ids))
        return tf.strings.reduce_join(pieces, axis=1)

    def _longest_piece(self, raw: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Length and id, int32 `(batch,)`, of the longest piece that stands at each position.

        All lengths are looked up at once. Past a text's end the cut-outs repeat its rest, so a
        length can be too large by then, never the piece wrong; at the end all are empty.
        """
        lengths = tf.range(1, self._longest + 1)  # (L,)
        grid = [tf.shape(raw)[0], self._longest]
        cut = tf.strings.substr(
            raw[:, None],
            tf.broadcast_to(position[:, None], grid),
            tf.broadcast_to(lengths, grid),
        )  # (B, L)
        found = self._table.lookup(cut)  # (B, L), -1 where there is no such piece
        length = tf.reduce_max(tf.where(found >= 0, lengths, 0), axis=1)  # (B,)
        piece = tf.gather(found, tf.maximum(length - 1, 0), axis=1, batch_dims=1)
        return length, tf.cast(piece, tf.int32)
