"""The TensorFlow side of preprocessing: one `tf.Module` for each description.

Every module maps a raw batch to model input with plain TensorFlow operations, so that it works
eagerly, inside a SavedModel signature, and in TensorFlow Serving without any custom operation.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf

from zoo.datasets.preprocessing import (
    ImagePreprocessing,
    NoPreprocessing,
    Standardization,
    TextPreprocessing,
)


class IdentityGraph(tf.Module):
    """float32 `(batch, *shape)`, unchanged."""

    def __init__(self, preprocessing: NoPreprocessing):
        super().__init__(name="preprocessing")
        self._shape = preprocessing.shape

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.convert_to_tensor(raw, tf.float32), (None, *self._shape))


class ImageGraph(tf.Module):
    """string `(batch,)` → float32 `(batch, height, width, channels)`.

    Bytes that are no image end in an `InvalidArgumentError`.
    """

    def __init__(self, preprocessing: ImagePreprocessing):
        super().__init__(name="preprocessing")
        self._preprocessing = preprocessing

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        raw, image = tf.convert_to_tensor(raw, tf.string), self._preprocessing
        shape = (image.height, image.width, image.channels)
        pixels = tf.map_fn(self._decode, raw, fn_output_signature=tf.TensorSpec(shape))
        return pixels * image.scale  # (B, H, W, C)

    def _decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """One image's bytes → float32 `(height, width, channels)` in the unit of its pixels."""
        height, width = self._preprocessing.height, self._preprocessing.width
        pixels = self._grey(encoded) if self._preprocessing.channels == 1 else self._rgb(encoded)
        size = tf.shape(pixels)
        pixels = tf.cond(
            tf.logical_and(size[0] == height, size[1] == width),
            lambda: tf.cast(pixels, tf.float32),
            lambda: tf.image.resize(pixels, (height, width), antialias=True),
        )
        return tf.ensure_shape(pixels, (height, width, self._preprocessing.channels))

    def _rgb(self, encoded: tf.Tensor) -> tf.Tensor:
        return _with_rank(tf.io.decode_image(encoded, channels=3, expand_animations=False), 3)

    def _grey(self, encoded: tf.Tensor) -> tf.Tensor:
        # The PNG and JPEG decoders give one channel themselves (and leave grey pixels exact);
        # those of GIF and BMP do not.
        colour_only = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 2), "GI|BM")
        return tf.cond(
            colour_only,
            lambda: tf.image.rgb_to_grayscale(self._rgb(encoded)),
            lambda: _with_rank(tf.io.decode_image(encoded, 1, expand_animations=False), 1),
        )


def _with_rank(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    pixels.set_shape((None, None, channels))  # decode_image leaves even the rank open
    return pixels


class TextGraph(tf.Module):
    """string `(batch,)` → int32 `(batch, max_length)`.

    The vocabulary is a file, one word a line, that a SavedModel takes over among its assets.
    """

    def __init__(self, preprocessing: TextPreprocessing):
        super().__init__(name="preprocessing")
        self._max_length = preprocessing.max_length
        self._first_word = preprocessing.FIRST_WORD
        self._folder = tempfile.TemporaryDirectory(prefix="vocabulary-")  # lives as long as self
        file = Path(self._folder.name, "vocabulary.txt")
        file.write_text("".join(f"{word}\n" for word in preprocessing.vocabulary), "utf-8")
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(file),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            # One before the first line: FIRST_WORD turns it into UNKNOWN.
            default_value=preprocessing.UNKNOWN - preprocessing.FIRST_WORD,
        )

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        words = self._cut(raw)
        ids = tf.cast(self._table.lookup(words) + self._first_word, tf.int32)
        return ids.to_tensor(default_value=0, shape=(None, self._max_length))

    def words(self, raw: tf.Tensor) -> tf.Tensor:
        """The word of each token, unknown ones too, "" for padding: string `(batch, steps)`."""
        return self._cut(raw).to_tensor(default_value="", shape=(None, self._max_length))

    def _cut(self, raw: tf.Tensor) -> tf.RaggedTensor:
        return split_words(raw)[:, : self._max_length]


def split_words(text: tf.Tensor) -> tf.RaggedTensor:
    """string `(batch,)` → ragged string `(batch, words)`: the one definition of a word."""
    # tf.strings.lower ends a text at its first NUL.
    text = tf.strings.regex_replace(text, r"\x00", " ")
    text = tf.strings.lower(text, encoding="utf-8")
    return tf.strings.split(tf.strings.regex_replace(text, r"[^\pL\pM\pN]+", " "))


class StandardizationGraph(tf.Module):
    """float32 `(batch, features)`, or `(batch, any steps, features)` → `(batch, steps, …)`."""

    def __init__(self, preprocessing: Standardization):
        super().__init__(name="preprocessing")
        self._preprocessing = preprocessing

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        mean = tf.constant(self._preprocessing.mean, tf.float32)
        # The factor, and not the divisor: graph optimisers would make it one, and round anew.
        factor = 1 / tf.constant(self._preprocessing.std, tf.float32)
        raw = tf.convert_to_tensor(raw, tf.float32)
        x = (raw - mean) * factor
        if not self._preprocessing.padding:
            return x
        real = tf.reduce_any(raw != 0, axis=-1, keepdims=True)
        return self._padded(tf.where(real, x, 0.0))

    def _padded(self, x: tf.Tensor) -> tf.Tensor:
        steps, given = self._preprocessing.steps, tf.shape(x)[1]
        few = tf.debugging.assert_less_equal(
            given, steps, f"a sequence has more than {steps} steps"
        )
        # In a graph the check of the shape below could come first, and say less.
        with tf.control_dependencies([few] if few is not None else []):
            x = tf.pad(x, [[0, 0], [0, tf.maximum(steps - given, 0)], [0, 0]])
        return tf.ensure_shape(x, (None, steps, len(self._preprocessing.mean)))
