"""Raw example → model input, as plain data.

Each class is a frozen description that a model card can quote. The TensorFlow function that it
stands for is made by `prepare()` (see graphs.py): the arrays of a data set and the signatures of
an exported model run the same operations, so that training and serving cannot drift apart.

Importing this module loads no TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from zoo.datasets.subword_graph import SubwordGraph


class Preprocessing(ABC):
    """Base of the descriptions below.

    `signature` and `input_name` are the names that an exported model gives this step.
    """

    signature: ClassVar[str]
    input_name: ClassVar[str]

    @abstractmethod
    def raw_spec(self) -> tf.TensorSpec:
        """Type and shape of a batch of raw examples; the batch axis, first, is open."""

    @abstractmethod
    def prepare(self) -> tf.Module:
        """A callable module, `raw batch → model input`, that owns any table the step needs.

        An exporter keeps it as an attribute of the module that it saves.
        """

    def graph(self, raw: tf.Tensor) -> tf.Tensor:
        """The step itself on a raw batch. For repeated use keep what `prepare()` returns."""
        return self.prepare()(raw)

    @abstractmethod
    def raw_example(self, x: np.ndarray) -> Any:
        """The raw example behind one example of model input, where it can be had back."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """For a model card: everything but the vocabulary, which goes by size and sha256."""


@dataclass(frozen=True)
class NoPreprocessing(Preprocessing):
    """Float features that the model takes as they are; `shape` is one example's."""

    shape: tuple[int, ...]
    signature: ClassVar[str] = "predict_raw"
    input_name: ClassVar[str] = "features"

    def raw_spec(self) -> tf.TensorSpec:
        import tensorflow as tf

        return tf.TensorSpec((None, *self.shape), tf.float32, name=self.input_name)

    def prepare(self) -> tf.Module:
        from zoo.datasets.graphs import IdentityGraph

        return IdentityGraph(self)

    def raw_example(self, x: np.ndarray) -> np.ndarray:
        return x

    def to_json(self) -> dict[str, Any]:
        return {"kind": "none", "shape": list(self.shape)}


@dataclass(frozen=True)
class ImagePreprocessing(Preprocessing):
    """Encoded image bytes (PNG, JPEG, BMP, GIF) → float32 `(batch, height, width, channels)`.

    Decoded, turned to grey if `channels` is 1, resized if the size differs, times `scale`.
    """

    height: int
    width: int
    channels: int
    scale: float = 1 / 255
    signature: ClassVar[str] = "predict_bytes"
    input_name: ClassVar[str] = "image_bytes"

    def raw_spec(self) -> tf.TensorSpec:
        import tensorflow as tf

        return tf.TensorSpec((None,), tf.string, name=self.input_name)

    def prepare(self) -> tf.Module:
        from zoo.datasets.graphs import ImageGraph

        return ImageGraph(self)

    def from_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 `(n, height, width, channels)` → model input: the graph after its decoding."""
        # One pass, no float64 copy: MNIST is 220 MB as it is.
        return np.multiply(pixels, np.float32(self.scale), dtype=np.float32)

    def raw_example(self, x: np.ndarray) -> bytes:
        """The image as PNG bytes, without loss."""
        from PIL import Image

        pixels = np.rint(x / np.float32(self.scale)).astype(np.uint8)
        png = io.BytesIO()
        Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels).save(png, "PNG")
        return png.getvalue()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "image",
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "scale": self.scale,
        }


@dataclass(frozen=True)
class TextPreprocessing(Preprocessing):
    """UTF-8 text → int32 token ids `(batch, max_length)`, cut or padded with 0 at the end.

    A token is a run of letters, marks and digits of the lower-cased text; everything else
    separates. Ids: 0 padding, 1 a word outside the vocabulary, then `vocabulary` in its order.
    """

    vocabulary: tuple[str, ...] = field(repr=False)
    max_length: int
    signature: ClassVar[str] = "predict_text"
    input_name: ClassVar[str] = "text"

    PADDING: ClassVar[int] = 0
    UNKNOWN: ClassVar[int] = 1
    FIRST_WORD: ClassVar[int] = 2

    @property
    def vocabulary_size(self) -> int:
        """Number of distinct ids, padding and unknown included."""
        return len(self.vocabulary) + self.FIRST_WORD

    def raw_spec(self) -> tf.TensorSpec:
        import tensorflow as tf

        return tf.TensorSpec((None,), tf.string, name=self.input_name)

    def prepare(self) -> tf.Module:
        from zoo.datasets.graphs import TextGraph

        return TextGraph(self)

    def raw_example(self, x: np.ndarray) -> str:
        """The words that are left of a text; the text itself is among a data set's originals."""
        words = ("", "?", *self.vocabulary)
        return " ".join(words[token] for token in x if token != self.PADDING)

    def to_json(self) -> dict[str, Any]:
        lines = "".join(f"{word}\n" for word in self.vocabulary)
        return {
            "kind": "text",
            "max_length": self.max_length,
            "vocabulary": {
                "words": len(self.vocabulary),
                "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            },
        }


@dataclass(frozen=True)
class SubwordPreprocessing(Preprocessing):
    """Text → int32 subword ids `(batch, T)`, the longest piece first, and back without loss.

    T is the length of the longest text of a batch, its end token included, and at most
    `max_length`. Ids: 0 padding, 1 start, 2 end, 3 mask, the 256 single bytes, then `pieces` in
    their order. Since every byte has an id there is no unknown word, in any script.
    """

    pieces: tuple[bytes, ...] = field(repr=False)
    max_length: int
    signature: ClassVar[str] = "predict_text"
    input_name: ClassVar[str] = "text"

    PADDING: ClassVar[int] = 0
    START: ClassVar[int] = 1
    END: ClassVar[int] = 2
    MASK: ClassVar[int] = 3
    FIRST_BYTE: ClassVar[int] = 4
    FIRST_PIECE: ClassVar[int] = 260

    @property
    def vocabulary(self) -> tuple[bytes, ...]:
        """What each id stands for; the first four, which are no text, for nothing."""
        return (*[b""] * self.FIRST_BYTE, *(bytes([byte]) for byte in range(256)), *self.pieces)

    @property
    def vocabulary_size(self) -> int:
        """Number of distinct ids."""
        return self.FIRST_PIECE + len(self.pieces)

    def raw_spec(self) -> tf.TensorSpec:
        import tensorflow as tf

        return tf.TensorSpec((None,), tf.string, name=self.input_name)

    def prepare(self) -> SubwordGraph:
        """The step as a module, whose `decode` maps ids `(batch, steps)` to strings."""
        from zoo.datasets.subword_graph import SubwordGraph

        return SubwordGraph(self)

    def raw_example(self, x: np.ndarray) -> str:
        """The text that the ids before the end token stand for."""
        ids = [int(token) for token in x]
        pieces = ids[: ids.index(self.END)] if self.END in ids else ids
        vocabulary = self.vocabulary
        return b"".join(vocabulary[token] for token in pieces).decode("utf-8", "replace")

    def to_json(self) -> dict[str, Any]:
        lines = "".join(f"{piece.hex()}\n" for piece in self.pieces)
        return {
            "kind": "subwords",
            "max_length": self.max_length,
            "vocabulary": {
                "ids": self.vocabulary_size,
                "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            },
        }


@dataclass(frozen=True)
class Standardization(Preprocessing):
    """Float features → `(features - mean) / std`, by feature (the last axis).

    Without padding: float32 `(batch, features)`. With `padding`: float32 sequences
    `(batch, any steps, features)` → `(batch, steps, features)`, zeros after the last real step;
    a step whose raw features are all exactly 0 is padding, and stays 0.
    """

    mean: tuple[float, ...] = field(repr=False)
    std: tuple[float, ...] = field(repr=False)
    padding: bool = False
    steps: int | None = None
    signature: ClassVar[str] = "predict_raw"
    input_name: ClassVar[str] = "features"

    @classmethod
    def fit(cls, x: np.ndarray, *, steps: int | None = None) -> Standardization:
        """Statistics of training examples `(n, features)`; of their real steps if `steps`."""
        rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
        if steps is not None:
            rows = rows[np.any(rows != 0, axis=-1)]
        std = rows.std(axis=0)
        # A feature that never changes carries nothing: 0 after the mean is taken off.
        std[std == 0] = 1
        return cls(tuple(rows.mean(axis=0).tolist()), tuple(std.tolist()), steps is not None, steps)

    def raw_spec(self) -> tf.TensorSpec:
        import tensorflow as tf

        steps = (None,) if self.padding else ()
        return tf.TensorSpec((None, *steps, len(self.mean)), tf.float32, name=self.input_name)

    def prepare(self) -> tf.Module:
        from zoo.datasets.graphs import StandardizationGraph

        return StandardizationGraph(self)

    def from_features(self, features: np.ndarray) -> np.ndarray:
        """The graph's arithmetic in numpy, for whole data sets."""
        shift = np.asarray(self.mean, np.float32)
        factor = 1 / np.asarray(self.std, np.float32)
        features = features.astype(np.float32)
        x = (features - shift) * factor
        if self.padding:
            x *= np.any(features != 0, axis=-1, keepdims=True)
        return x

    def raw_example(self, x: np.ndarray) -> np.ndarray:
        """Unscaled features, up to rounding; the exact ones are among a data set's originals."""
        features = x * np.asarray(self.std, np.float32) + np.asarray(self.mean, np.float32)
        if self.padding:
            features = features[np.any(x != 0, axis=-1)]
        return features

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "standardization",
            "mean": list(self.mean),
            "std": list(self.std),
            "padding": self.padding,
            "steps": self.steps,
        }
