"""Recurrent sequence classifiers."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from zoo import checks
from zoo.layers import layers_for
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


@register(
    recipe=Recipe(
        dataset="reuters_r8",
        epochs=10,
        batch_size=32,
        learning_rate=2e-3,
        schedule="cosine",
        label_smoothing=0.1,
        arguments={"dropout": 0.5},
    )
)
def bidirectional_lstm(
    vocabulary_size: int = 20000,
    max_length: int = 128,
    input_shape: tuple[int, int] | None = None,
    num_classes: int = 8,
    width: int = 64,
    units: int = 64,
    dropout: float = 0.0,
    *,
    keras: ModuleType = keras,
) -> Model:
    """LSTM that reads a text or a sequence both ways, masked mean pooling and a softmax.

    Input `tokens`: int32 `(batch, max_length)`; id 0 is padding.
    Or, with `input_shape`, input `sequence`: float32 `(batch, steps, features)`; a step of zeros
    only is padding.
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Args:
        vocabulary_size: number of token ids, padding and unknown included.
        max_length: steps of a text.
        input_shape: steps and features of a sequence; None is for texts.
        num_classes: classes to tell apart.
        width: size of the token embeddings; sequences have none.
        units: width of the state of each direction.
        dropout: rate in front of the LSTM and of the softmax; 0 adds no layers.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: `input_shape` is not two positive numbers, or another size not positive.

    Graves, Schmidhuber, "Framewise Phoneme Classification with Bidirectional LSTM", 2005.
    """
    checks.positive(
        vocabulary_size=vocabulary_size,
        max_length=max_length,
        num_classes=num_classes,
        width=width,
        units=units,
    )
    checks.rate(dropout=dropout)
    layers = layers_for(keras)

    if input_shape is None:
        inputs = keras.Input((max_length,), dtype="int32", name="tokens")
        x = keras.layers.Embedding(vocabulary_size, width, name="embedding")(inputs)  # (B, T, W)
    else:
        checks.input_shape(input_shape, "steps, features")
        x = inputs = keras.Input(input_shape, name="sequence")
    keep = layers.PaddingMask(name="keep")(inputs)  # (B, T)
    if dropout:
        x = keras.layers.Dropout(dropout, name="input_dropout")(x)
    recurrent = keras.layers.LSTM(units, return_sequences=True, name="lstm")
    x = keras.layers.Bidirectional(recurrent, name="both_ways")(x, mask=keep)  # (B, T, 2 units)
    # Of the last states each would have to carry the whole text.
    x = layers.MaskedMean(name="mean")(x, keep)  # (B, 2 units)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, probabilities, name="bidirectional_lstm")
