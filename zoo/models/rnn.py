"""Recurrent sequence classifiers."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from zoo import checks
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register

if TYPE_CHECKING:
    from keras import Model


@register(
    recipe=Recipe(
        dataset="japanese_vowels",
        epochs=100,
        batch_size=16,
        learning_rate=3e-3,
        schedule="cosine",
        jit_compile=True,
        arguments={"dropout": 0.2},
    )
)
def simple_rnn(
    input_shape: tuple[int, int] = (29, 12),
    num_classes: int = 9,
    units: int = 32,
    dropout: float = 0.0,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Elman network: h_t = tanh(W x_t + U h_{t-1} + b), softmax of the last state.

    Input `sequence`: float32 `(batch, steps, features)`; a step of zeros only is padding.
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Raises:
        ShapeError: `input_shape` is not two positive numbers, or another size not positive.

    Elman, "Finding Structure in Time", 1990.
    """
    checks.input_shape(input_shape, "steps, features")
    checks.positive(num_classes=num_classes, units=units)
    checks.rate(dropout=dropout)

    sequence = keras.Input(input_shape, name="sequence")
    x = keras.layers.Masking(name="mask")(sequence)
    x = keras.layers.SimpleRNN(units, name="rnn")(x)  # (B, units)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(sequence, probabilities, name="simple_rnn")


@register(
    recipe=Recipe(
        dataset="italy_power_demand", epochs=150, batch_size=16, schedule="cosine", jit_compile=True
    )
)
def lstm(
    input_shape: tuple[int, int] = (24, 1),
    units: int = 128,
    dense_units: int = 64,
    *,
    keras: ModuleType = keras,
) -> Model:
    """LSTM and a tanh layer in front of one sigmoid, for two classes.

    Input `sequence`: float32 `(batch, steps, features)`.
    Output `probability`: float32 `(batch, 1)`, of the second class.

    Raises:
        ShapeError: `input_shape` is not two positive numbers, or another size not positive.

    Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; forget gate: Gers et al., 2000.
    """
    checks.input_shape(input_shape, "steps, features")
    checks.positive(units=units, dense_units=dense_units)

    sequence = keras.Input(input_shape, name="sequence")
    x = keras.layers.LSTM(units, name="lstm")(sequence)  # (B, units)
    x = keras.layers.Dense(dense_units, activation="tanh", name="hidden")(x)
    probability = keras.layers.Dense(1, activation="sigmoid", name="probability")(x)
    return keras.Model(sequence, probability, name="lstm")


@register(
    recipe=Recipe(
        dataset="japanese_vowels",
        epochs=100,
        batch_size=16,
        schedule="cosine",
        jit_compile=True,
        arguments={"dropout": 0.3},
    )
)
def gru(
    input_shape: tuple[int, int] = (29, 12),
    num_classes: int = 9,
    units: int = 32,
    dropout: float = 0.0,
    bidirectional: bool = False,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Gated recurrent unit over a padded sequence, softmax of the last state.

    Input `sequence`: float32 `(batch, steps, features)`; a step of zeros only is padding.
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Args:
        input_shape: steps and features.
        num_classes: classes to tell apart.
        units: width of the state, of each direction.
        dropout: rate in front of the softmax; 0 adds no layer.
        bidirectional: read the sequence both ways and join the two last states.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: `input_shape` is not two positive numbers, or another size not positive.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014; both
    directions: Schuster, Paliwal, "Bidirectional Recurrent Neural Networks", 1997.
    """
    checks.input_shape(input_shape, "steps, features")
    checks.positive(num_classes=num_classes, units=units)
    checks.rate(dropout=dropout)

    sequence = keras.Input(input_shape, name="sequence")
    x = keras.layers.Masking(name="mask")(sequence)
    recurrent = keras.layers.GRU(units, name="gru")
    if bidirectional:
        recurrent = keras.layers.Bidirectional(recurrent, name="both_ways")
    x = recurrent(x)  # (B, units), or twice that
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(sequence, probabilities, name="gru")
