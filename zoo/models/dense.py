"""Fully connected models."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from zoo import checks
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register

if TYPE_CHECKING:
    from keras import Model


@register(
    recipe=Recipe(dataset="digits", epochs=300, batch_size=32, optimizer="sgd", learning_rate=0.01)
)
def softmax_regression(
    input_shape: tuple[int] = (64,),
    num_classes: int = 10,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Softmax regression: one linear layer and a softmax.

    p(class k | x) = exp(w_k · x + b_k) / Σ_j exp(w_j · x + b_j)

    Input `features`: float32 `(batch, features)`.
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Raises:
        ShapeError: `input_shape` is not one positive number, or `num_classes` is not positive.

    Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4.
    """
    checks.input_shape(input_shape, "features")
    checks.positive(num_classes=num_classes)

    features = keras.Input(input_shape, name="features")
    head = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")
    return keras.Model(features, head(features), name="softmax_regression")


@register(
    recipe=Recipe(
        dataset="diabetes", epochs=50, batch_size=32, learning_rate=0.05, schedule="cosine"
    )
)
def mlp_regressor(
    input_shape: tuple[int] = (10,),
    num_outputs: int = 1,
    units: int = 16,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Perceptron with one hidden ReLU layer and a linear output, for mean squared error.

    Input `features`: float32 `(batch, features)`.
    Output `values`: float32 `(batch, num_outputs)`, unbounded.

    Raises:
        ShapeError: a size that is not a positive number.

    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.
    """
    checks.input_shape(input_shape, "features")
    checks.positive(num_outputs=num_outputs, units=units)

    features = keras.Input(input_shape, name="features")
    x = keras.layers.Dense(units, activation="relu", name="hidden")(features)
    values = keras.layers.Dense(num_outputs, name="values")(x)
    return keras.Model(features, values, name="mlp_regressor")


@register(
    recipe=Recipe(
        dataset="mnist",
        epochs=20,
        batch_size=128,
        learning_rate=2e-3,
        schedule="cosine",
        jit_compile=True,
    )
)
def dense(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    units: Sequence[int] = (64, 32),
    *,
    keras: ModuleType = keras,
) -> Model:
    """Perceptron on flattened images: ReLU layers and a softmax.

    Input `image`: float32 `(batch, height, width, channels)` in [0, 1].
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Raises:
        ShapeError: `input_shape` is not three positive numbers, or another size not positive.

    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.
    """
    checks.input_shape(input_shape, "height, width, channels")
    checks.positive(num_classes=num_classes, units=units)

    image = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(image)  # (B, H·W·C)
    for number, width in enumerate(units, 1):
        x = keras.layers.Dense(width, activation="relu", name=f"hidden_{number}")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="dense")
