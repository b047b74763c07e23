"""Recurrent layers as loops that TFLite can run on a batch of any size.

Keras's loop keeps its inputs and outputs in tensor lists, which the converter cannot make for a
free batch (`'tf.TensorListReserve' op requires element_shape to be static`). `simple_loops` swaps
it, while a model is traced, for one over plain tensors. The inputs are multiplied by the kernel
before the loop, all steps at once. Against 29 unrolled steps of a SimpleRNN of 32 units the file
is half as large; one sequence takes 23 µs instead of 19, 32 of them 94 instead of 166.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHUT = 1e4  # a pre-activation whose sigmoid is exactly 0 or 1 in float32

# What changes from step to step, each (batch, steps, columns), and the step itself:
# (state, the inputs of this step) → new state, without the mask of the output.
Cell = tuple[list[Any], Callable[[list[Any], list[Any]], list[Any]]]


def recurrent_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """SimpleRNN, LSTM, GRU and RNN layers, those inside Bidirectional included."""
    return [layer for layer in model._flatten_layers() if hasattr(layer, "unroll")]


def needs_unrolling(layer: keras.layers.Layer) -> bool:
    """Whether the layer has a cell that there is no loop for here."""
    return _cell_of(layer) is None


@contextmanager
def simple_loops(model: keras.Model) -> Iterator[None]:
    """Inside the block the recurrent layers of `model`, however deep, make no tensor lists."""
    with ExitStack() as restored:
        for layer in recurrent_layers(model):
            for name, value in (("unroll", True), ("use_cudnn", False)):
                if hasattr(layer, name):  # SimpleRNN has no use_cudnn
                    restored.callback(setattr, layer, name, getattr(layer, name))
                    setattr(layer, name, value)
            if needs_unrolling(layer):
                continue
            layer.inner_loop = _loop(layer, _cell_of(layer), layer.inner_loop)
            restored.callback(delattr, layer, "inner_loop")
        yield


def _cell_of(layer: keras.layers.Layer) -> Callable[..., Cell] | None:
    import keras

    cell = layer.cell
    sigmoid = getattr(cell, "recurrent_activation", None) is keras.activations.sigmoid
    if type(cell) is keras.layers.SimpleRNNCell:
        return _simple_rnn
    if type(cell) is keras.layers.LSTMCell and sigmoid:
        return _lstm
    if type(cell) is keras.layers.GRUCell and sigmoid and cell.reset_after:
        return _gru
    return None


def _loop(
    layer: keras.layers.Layer, make: Callable[..., Cell], otherwise: Callable
) -> Callable[..., Any]:
    """In place of the layer's inner_loop: (last output, outputs, states)."""
    import tensorflow as tf

    def inner_loop(sequences: Any, initial_state: Any, mask: Any = None, training: bool = False):
        if training:
            return otherwise(sequences, initial_state, mask=mask, training=training)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        kept = None
        if mask is not None:
            kept = tf.expand_dims(tf.cast(mask, sequences.dtype), -1)  # (B, T, 1)
        inputs, step = make(layer.cell, sequences, kept)
        if kept is not None:
            inputs = [*inputs, kept]
        steps = sequences.shape[1] or tf.shape(sequences)[1]
        # Step by step in memory: (T, B, columns).
        inputs = [tf.transpose(array, (1, 0, 2)) for array in inputs]
        states = list(initial_state) if isinstance(initial_state, (list, tuple)) else initial_state
        states = states if isinstance(states, list) else [states]
        shape = (steps, tf.shape(sequences)[0], layer.cell.units)
        outputs = [tf.zeros(shape, sequences.dtype)] if layer.return_sequences else []

        def body(t: Any, *rest: Any) -> tuple[Any, ...]:
            state, written = list(rest[: len(states)]), rest[len(states) :]
            place = steps - 1 - t if layer.go_backwards else t
            now = [tf.gather(array, place, axis=0) for array in inputs]
            new = step(state, now)
            output = new[0]
            if kept is not None:
                new[0] = state[0] + now[-1] * (new[0] - state[0])  # XNNPACK has no select
                output = new[0] * now[-1] if layer.zero_output_for_mask else new[0]
            for index, tensor in enumerate(new):
                new[index] = tf.ensure_shape(tensor, state[index].shape)
            if written:
                written = [_written(written[0], t, output)]
            return (t + 1, *new, *written)

        variables = (tf.constant(0), *states, *outputs)
        _, *found = tf.while_loop(lambda t, *_: t < steps, body, variables)
        states, outputs = found[: len(states)], found[len(states) :]
        if not outputs:
            return states[0], states[0][:, tf.newaxis], states
        joined = tf.transpose(outputs[0], (1, 0, 2))
        return joined[:, -1], joined, states

    return inner_loop


def _written(array: tf.Tensor, place: Any, row: tf.Tensor) -> tf.Tensor:
    """`array` with `array[place] = row`."""
    import tensorflow as tf
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    found = gen_xla_ops.xla_dynamic_update_slice(
        input=array, update=row[tf.newaxis], indices=tf.stack([place, 0, 0])
    )
    return tf.ensure_shape(found, array.shape)


# === Cells ===


def _simple_rnn(cell: Any, sequences: tf.Tensor, kept: tf.Tensor | None) -> Cell:
    """h_t = f(W x_t + U h_{t-1} + b)."""

    def step(state: list[Any], now: list[Any]) -> list[Any]:
        return [cell.activation(now[0] + _times(state[0], cell.recurrent_kernel))]

    return [_projected(sequences, cell.kernel, cell.bias)], step


def _lstm(cell: Any, sequences: tf.Tensor, kept: tf.Tensor | None) -> Cell:
    """c_t = f c_{t-1} + i g, h_t = o tanh(c_t); where padded, f = 1 and i = 0 keep c as it is."""
    import tensorflow as tf

    inputs = _projected(sequences, cell.kernel, cell.bias)
    if kept is not None:
        columns = [-SHUT] * cell.units + [SHUT] * cell.units + [0.0] * 2 * cell.units
        inputs = inputs + (1.0 - kept) * tf.constant(columns)

    def step(state: list[Any], now: list[Any]) -> list[Any]:
        total = now[0] + _times(state[0], cell.recurrent_kernel)
        enters, stays, candidate, leaves = tf.split(total, 4, axis=-1)
        carry = tf.sigmoid(stays) * state[1] + tf.sigmoid(enters) * cell.activation(candidate)
        return [tf.sigmoid(leaves) * cell.activation(carry), carry]

    return [inputs], step


def _gru(cell: Any, sequences: tf.Tensor, kept: tf.Tensor | None) -> Cell:
    """h_t = h_{t-1} + (1 - z)(g - h_{t-1}); 1 - z is the sigmoid of the negated sum."""
    import tensorflow as tf

    gates = 2 * cell.units  # update and reset
    signs = tf.concat([-tf.ones(cell.units), tf.ones(cell.units)], axis=0)
    bias = cell.bias if cell.use_bias else tf.zeros((2, 3 * cell.units))
    recurrent = tf.convert_to_tensor(cell.recurrent_kernel)
    gate_bias = (bias[0, :gates] + bias[1, :gates]) * signs
    inputs = [
        _projected(sequences, cell.kernel[:, :gates] * signs, gate_bias),
        _projected(sequences, cell.kernel[:, gates:], bias[0, gates:]),
    ]

    def step(state: list[Any], now: list[Any]) -> list[Any]:
        total = now[0] + _times(state[0], recurrent[:, :gates] * signs)
        changes, resets = tf.split(tf.sigmoid(total), 2, axis=-1)
        inner = _times(state[0], recurrent[:, gates:]) + bias[1, gates:]
        candidate = cell.activation(now[1] + resets * inner)
        return [state[0] + changes * (candidate - state[0])]

    return inputs, step


def _projected(sequences: tf.Tensor, kernel: Any, bias: Any) -> tf.Tensor:
    """W x_t + b for all steps: `(batch, steps, columns)`."""
    import tensorflow as tf

    kernel, features = tf.convert_to_tensor(kernel), sequences.shape[-1]
    flat = tf.matmul(tf.reshape(sequences, (-1, features)), kernel)
    if bias is not None:
        flat = flat + tf.convert_to_tensor(bias)
    steps = sequences.shape[1] or tf.shape(sequences)[1]
    return tf.reshape(flat, (-1, steps, kernel.shape[-1]))


def _times(state: tf.Tensor, kernel: Any) -> tf.Tensor:
    import tensorflow as tf

    return tf.matmul(state, tf.convert_to_tensor(kernel))
