"""Augmentation: named policies that change training batches, made of Keras's own layers.

A policy acts in the data pipeline, in front of the model and on training batches alone: no model,
no validation batch and no exported graph ever holds any of it. Everything random is drawn from
the batch's key, so a run that is resumed sees the very batches that it would have seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from zoo.datasets import Dataset
from zoo.datasets.preprocessing import ImagePreprocessing, TextPreprocessing
from zoo.errors import InvalidOption, UnknownName
from zoo.training.pipeline import Transform

NONE = "none"
SHIFT = 0.08  # of height and width: two pixels of 28 or 32
ROTATION = 10 / 360  # of a turn
ZOOM = 0.1  # of the size
MIXUP_ALPHA = 0.2
TOKEN_DROPOUT = 0.1
OPERATIONS = 2  # of RandAugment, one after the other


@dataclasses.dataclass(frozen=True)
class Policy:
    """A way to change training batches.

    Attributes:
        summary: what it does, in a line.
        of: what it changes, `images` or `tokens`.
        make: the data set → the transform.
    """

    summary: str
    of: str
    make: Callable[[Dataset], Transform]


def check(name: str) -> None:
    """Raises UnknownName unless `name` is `none` or one of `POLICIES`."""
    if name != NONE and name not in POLICIES:
        raise UnknownName("augmentation policy", name, [NONE, *POLICIES])


def make_policy(name: str, dataset: Dataset) -> Transform | None:
    """The transform of a policy for a data set; None for `none`.

    Raises:
        UnknownName: no such policy, with the nearest names.
        InvalidOption: the policy is for another kind of data.
    """
    check(name)
    if name == NONE:
        return None
    policy = POLICIES[name]
    if policy.of != _kind(dataset):
        fitting = [NONE, *(other for other in POLICIES if POLICIES[other].of == _kind(dataset))]
        raise InvalidOption(
            f"The augmentation {name} changes {policy.of} that are to be classified, and "
            f"{dataset.name} has none: choose {', '.join(fitting)}."
        )
    return policy.make(dataset)


def _kind(dataset: Dataset) -> str:
    """What of a data set can be augmented: images, tokens or nothing."""
    kinds = {ImagePreprocessing: "images", TextPreprocessing: "tokens"}
    classes = dataset.task.kind == "classification"
    return kinds.get(type(dataset.preprocessing), "nothing") if classes else "nothing"


# === Random numbers ===


class KeyedSeeds(keras.random.SeedGenerator):
    """The seeds that a layer draws while it works on one batch: functions of the key alone.

    Keras's generator keeps its place in a variable, which a resumed run would have to restore and
    parallel maps would advance in any order.
    """

    def __init__(self, key: tf.Tensor):
        # Without the base's variable; `next` is all that Keras's random functions use.
        self.key, self.drawn = key, 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        self.drawn += 1
        return tf.random.experimental.stateless_fold_in(self.key, self.drawn)


def _for_pipelines(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A preprocessing layer whose methods compute with TensorFlow, whatever Keras's backend is."""
    layer.backend.set_backend("tensorflow")
    return layer


def _changed(layer: keras.layers.Layer, images: tf.Tensor, seeds: KeyedSeeds) -> tf.Tensor:
    drawn = layer.get_random_transformation(images, training=True, seed=seeds)
    return tf.ensure_shape(layer.transform_images(images, drawn, training=True), images.shape)


# === Images ===

BORDER = {"fill_mode": "constant", "fill_value": 0.0, "dtype": "float32"}
VALUES = {"value_range": (0, 1), "dtype": "float32"}


def _shift() -> keras.layers.Layer:
    # Whole pixels: half ones would blur.
    return keras.layers.RandomTranslation(SHIFT, SHIFT, interpolation="nearest", **BORDER)


def _rotation() -> keras.layers.Layer:
    return keras.layers.RandomRotation(ROTATION, **BORDER)


def _zoom() -> keras.layers.Layer:
    return keras.layers.RandomZoom(ZOOM, ZOOM, **BORDER)


def _in_turn(*makers: Callable[[], keras.layers.Layer]) -> Callable[[Dataset], Transform]:
    """A policy's `make`: these layers one after the other, other numbers for every image."""

    def make(dataset: Dataset) -> Transform:
        layers = [_for_pipelines(maker()) for maker in makers]

        def transform(images: Any, y: Any, key: tf.Tensor) -> tuple[Any, Any]:
            seeds = KeyedSeeds(key)
            for layer in layers:
                images = _changed(layer, images, seeds)
            return images, y

        return transform

    return make


def _mixing(maker: Callable[[], keras.layers.Layer]) -> Callable[[Dataset], Transform]:
    """A policy's `make`: pairs of a batch are mixed, and so are their targets.

    y: int `(batch,)` → float32 `(batch, classes)`, rows sum to 1.
    """

    def make(dataset: Dataset) -> Transform:
        layer = _for_pipelines(maker())
        classes = len(dataset.task.class_names)

        def transform(images: Any, y: Any, key: tf.Tensor) -> tuple[Any, Any]:
            drawn = layer.get_random_transformation(images, training=True, seed=KeyedSeeds(key))
            mixed = layer.transform_images(images, drawn, training=True)
            targets = layer.transform_labels(tf.one_hot(y, classes), drawn, training=True)
            return tf.ensure_shape(mixed, images.shape), targets

        return transform

    return make


def _randaugment_layers(channels: int) -> Sequence[keras.layers.Layer]:
    """The operations of Cubuk et al. as Keras has them, at about a fifth of their full range.

    Without Equalization, for which Keras takes one histogram over all images of a batch.
    """
    layers = keras.layers
    operations = [
        layers.RandomShear(0.2, 0.2, **BORDER),
        layers.RandomTranslation(0.1, 0.1, **BORDER),
        layers.RandomRotation(20 / 360, **BORDER),
        layers.RandomBrightness(0.2, **VALUES),
        layers.RandomContrast(0.2, **VALUES),
        layers.RandomSharpness((0.4, 0.6), **VALUES),  # 0.5 leaves an image as it is
        layers.RandomPosterization((3, 8), **VALUES),
        layers.Solarization(0.1, 0.2, **VALUES),
        layers.AutoContrast(**VALUES),
    ]
    if channels == 3:
        operations.append(layers.RandomColorDegeneration(0.2, **VALUES))
    return [_for_pipelines(layer) for layer in operations]


def _randaugment(dataset: Dataset) -> Transform:
    """Draws the operations for a batch and their strengths for every image.

    keras.layers.RandAugment computes all of its operations and keeps two; here only those that
    were drawn run.

    Cubuk et al., "RandAugment: Practical Automated Data Augmentation", 2020.
    """
    layers = _randaugment_layers(dataset.preprocessing.channels)

    def transform(images: Any, y: Any, key: tf.Tensor) -> tuple[Any, Any]:
        seeds = KeyedSeeds(key)
        for _ in range(OPERATIONS):
            choice = tf.random.stateless_uniform((), seeds.next(), 0, len(layers), tf.int32)
            key = seeds.next()
            branches = [
                lambda layer=layer, images=images, key=key: _changed(layer, images, KeyedSeeds(key))
                for layer in layers
            ]
            images = tf.switch_case(choice, branches)
        return images, y

    return transform


# === Text ===


def _token_dropout(dataset: Dataset) -> Transform:
    """Words become unknown ones; padding stays. A model learns not to hang on a single word.

    Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods for Text Classification",
    2015, section 3.2 (there they are left out).
    """
    unknown = dataset.preprocessing.UNKNOWN
    padding = dataset.preprocessing.PADDING

    def transform(tokens: Any, y: Any, key: tf.Tensor) -> tuple[Any, Any]:
        dropped = tf.random.stateless_uniform(tf.shape(tokens), key) < TOKEN_DROPOUT
        return tf.where(dropped & (tokens != padding), tf.cast(unknown, tokens.dtype), tokens), y

    return transform


POLICIES = {
    "shift": Policy("up to 8 % of height and width, by whole pixels", "images", _in_turn(_shift)),
    "rotation": Policy("up to 10° either way", "images", _in_turn(_rotation)),
    "zoom": Policy("up to 10 % in or out, by height and width", "images", _in_turn(_zoom)),
    "affine": Policy(
        "shift, rotation and zoom", "images", _in_turn(_shift, _rotation, _zoom)
    ),
    "mixup": Policy(
        "weighted means of two images and of their targets (Zhang et al., 2018)",
        "images",
        _mixing(lambda: keras.layers.MixUp(MIXUP_ALPHA, dtype="float32")),
    ),
    "cutmix": Policy(
        "a patch from another image, targets by area (Yun et al., 2019)",
        "images",
        _mixing(lambda: keras.layers.CutMix(1.0, dtype="float32")),
    ),
    "randaugment": Policy(
        "two of nine operations a batch (Cubuk et al., 2020)", "images", _randaugment
    ),
    "token_dropout": Policy("a tenth of the words become unknown ones", "tokens", _token_dropout),
}  # fmt: skip
