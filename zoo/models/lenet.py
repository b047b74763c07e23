"""LeNet-5."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from zoo import checks
from zoo.errors import ShapeError
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register

if TYPE_CHECKING:
    from keras import Model


@register(
    recipe=Recipe(
        dataset="mnist",
        epochs=15,
        batch_size=64,
        learning_rate=2e-3,
        schedule="cosine",
        augment="shift",
    )
)
def lenet5(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    filters: Sequence[int] = (6, 16),
    dense_units: Sequence[int] = (120, 84),
    *,
    keras: ModuleType = keras,
) -> Model:
    """LeNet-5: two convolutions with average pooling, three dense layers, tanh throughout.

    Input `image`: float32 `(batch, height, width, channels)` in [0, 1].
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    The first convolution pads, which gives 28 × 28 digits the paper's 28 × 28 feature maps of a
    32 × 32 image. As in today's usual form the second convolution sees every map of the first,
    pooling has no weights and a softmax takes the place of the radial basis functions, which
    makes 61,706 parameters for grey 28 × 28 digits.

    Args:
        input_shape: image height, width and channels.
        num_classes: classes to tell apart.
        filters: output channels of the two convolutions.
        dense_units: widths of the two dense layers before the softmax.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: the image is smaller than 12 × 12, a size is not positive, or there are
            not two of `filters` and two of `dense_units`.

    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    checks.input_shape(input_shape, "height, width, channels")
    checks.positive(num_classes=num_classes, filters=filters, dense_units=dense_units)
    for name, sizes in (("filters", filters), ("dense_units", dense_units)):
        if len(sizes) != 2:
            raise ShapeError(f"lenet5 takes two {name}, not {len(sizes)}.")
    if min(input_shape[:2]) < 12:
        raise ShapeError(
            f"An image of {input_shape[0]} × {input_shape[1]} is too small for lenet5: it takes "
            "12 × 12 or larger."
        )
    layers = keras.layers

    image = keras.Input(input_shape, name="image")
    conv_1 = layers.Conv2D(filters[0], 5, padding="same", activation="tanh", name="conv_1")
    x = conv_1(image)  # (B, H, W, 6)
    x = layers.AveragePooling2D(2, name="pool_1")(x)  # (B, H/2, W/2, 6)
    x = layers.Conv2D(filters[1], 5, activation="tanh", name="conv_2")(x)  # (B, H/2-4, W/2-4, 16)
    x = layers.AveragePooling2D(2, name="pool_2")(x)  # (B, (H/2-4)/2, (W/2-4)/2, 16)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units[0], activation="tanh", name="hidden_1")(x)
    x = layers.Dense(dense_units[1], activation="tanh", name="hidden_2")(x)
    probabilities = layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="lenet5")
