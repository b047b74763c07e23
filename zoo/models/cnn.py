"""Convolutional image classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from zoo import checks
from zoo.errors import ShapeError
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model


@register(
    recipe=Recipe(
        dataset="mnist",
        epochs=12,
        batch_size=128,
        learning_rate=2e-3,
        schedule="cosine",
        arguments={"dropout": 0.3},
    )
)
def cnn_small(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    filters: int = 32,
    dropout: float = 0.0,
    *,
    keras: ModuleType = keras,
) -> Model:
    """One convolution, one pooling and a softmax.

    Input `image`: float32 `(batch, height, width, channels)` in [0, 1].
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Args:
        input_shape: image height, width and channels.
        num_classes: classes to tell apart.
        filters: output channels of the convolution.
        dropout: rate in front of the softmax; 0 adds no layer.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the image is smaller than 4 × 4, or a size is not positive.

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    checks.input_shape(input_shape, "height, width, channels")
    checks.positive(num_classes=num_classes, filters=filters)
    checks.rate(dropout=dropout)
    _check_room(input_shape, blocks=1)

    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(filters, 3, activation="relu", name="conv")(image)  # (B, H-2, W-2, F)
    x = keras.layers.MaxPooling2D(name="pool")(x)  # (B, (H-2)/2, (W-2)/2, F)
    x = keras.layers.Flatten(name="flatten")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="cnn_small")


@register(
    recipe=Recipe(
        dataset="mnist", epochs=8, batch_size=128, schedule="cosine", arguments={"dropout": 0.3}
    ),
    sizes={
        "large": Size(
            {"filters": (64, 128), "dense_units": 1024},
            parameters=3_362_570,
            source="no paper: what benchmarks of compression begin with",
        )
    },
)
def cnn(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    filters: Sequence[int] = (32, 64),
    dense_units: int = 128,
    dropout: float = 0.0,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Convolution blocks and a dense head for small images.

    Input `image`: float32 `(batch, height, width, channels)` in [0, 1].
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Args:
        input_shape: image height, width and channels.
        num_classes: classes to tell apart.
        filters: output channels of each block's convolution.
        dense_units: width of the dense layer before the softmax.
        dropout: rate in front of the softmax; 0 adds no layer.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the image is too small for that many blocks, or a size is not positive.

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    checks.input_shape(input_shape, "height, width, channels")
    checks.positive(num_classes=num_classes, filters=filters, dense_units=dense_units)
    checks.rate(dropout=dropout)
    _check_room(input_shape, blocks=len(filters))

    image = keras.Input(input_shape, name="image")
    x = image
    for number, width in enumerate(filters, 1):
        x = keras.layers.Conv2D(width, 3, activation="relu", name=f"conv_{number}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool_{number}")(x)  # (B, (H-2)/2, (W-2)/2, width)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(dense_units, activation="relu", name="hidden")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="cnn")


def _check_room(shape: Sequence[int], blocks: int) -> None:
    """Each block takes two pixels off a side and halves the rest; something must be left."""
    for size in shape[:2]:
        left = size
        for _ in range(blocks):
            left = (left - 2) // 2
        if left < 1:
            raise ShapeError(
                f"An image of {shape[0]} × {shape[1]} is too small for {blocks} convolution "
                "block(s): use fewer filters or larger images."
            )
