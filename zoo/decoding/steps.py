"""One token at a time: models as step functions over cached keys and values.

Attention in a causal model looks at keys and values of earlier steps, which later steps do not
change. So they are computed once and kept, and a step costs one position instead of all of them.
Cross-attention's keys and values are those of the source, computed before the first step.

Everything here calls the model's own layers, found by the names that `zoo.models.sublayers` gives
them; there is no second set of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import tensorflow as tf

State = Mapping[str, tf.Tensor]  # name → (batch, ...), so that a beam can pick rows of it all


class Steps(Protocol):
    """What a search needs of a model."""

    max_length: int

    def __call__(
        self, tokens: tf.Tensor, positions: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, State]:
        """Logits of the next tokens.

        Args:
            tokens: int32 `(batch,)`, the token of each row at its position.
            positions: int32 `(batch,)`, from 0; rows need not be equally far.
            state: what the call before returned.

        Returns:
            float32 `(batch, vocabulary)` and the state with the new keys and values.
        """


class TranslatorSteps:
    """Steps of a `transformer_translator`; `start` reads the source."""

    def __init__(self, model: keras.Model):
        self._layer = model.get_layer
        self._blocks = _blocks(model, "decoder")
        shared = "embedding" in {layer.name for layer in model.layers}
        self._embedding = self._layer("embedding" if shared else "target_embedding")
        self._positions = self._layer("target_positions")
        self._output = None if shared else self._layer("output")
        self.max_length = self._positions.max_length
        source = next(tensor for tensor in model.inputs if tensor.name == "source")
        cross = {
            f"{block}_cross_{part}": self._layer(f"{block}_cross_{part}").output
            for block in self._blocks
            for part in ("key", "value")
        }
        keep = self._layer("source_keep").output
        # The encoder, and what the decoder's cross-attention makes of its output.
        self._read = keras.Model(source, {**cross, "keep": keep})

    def start(self, source: tf.Tensor, room: tf.Tensor | int) -> State:
        """Reads the source.

        Args:
            source: int32 `(batch, source steps)`.
            room: positions that the target may take, at most `max_length`.

        Returns:
            The state before the first step.
        """
        state = dict(self._read(source, training=False))
        like = state[f"{self._blocks[0]}_cross_key"]
        empty = tf.zeros((tf.shape(like)[0], room, like.shape[-1]), like.dtype)
        names = (f"{block}_self_{part}" for block in self._blocks for part in ("key", "value"))
        return {**state, **dict.fromkeys(names, empty)}

    def __call__(
        self, tokens: tf.Tensor, positions: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, State]:
        x = self._positions(self._embedding(tokens[:, None]), positions=positions[:, None])
        state = dict(state)
        seen = _seen(positions, state[f"{self._blocks[0]}_self_key"])
        for block in self._blocks:
            for part in ("key", "value"):
                name = f"{block}_self_{part}"
                state[name] = _written(state[name], positions, self._layer(name)(x))
            x = self._sublayer(f"{block}_self", x, seen, state)
            x = self._sublayer(f"{block}_cross", x, state["keep"], state)
            outer = self._layer(f"{block}_outer")(self._layer(f"{block}_inner")(x))
            x = self._layer(f"{block}_outer_norm")(x + outer)
        x = self._output(x) if self._output else self._embedding(x, reverse=True)
        return self._layer("logits")(x)[:, 0], state

    def _sublayer(self, name: str, x: tf.Tensor, mask: tf.Tensor, state: State) -> tf.Tensor:
        return self._layer(f"{name}_norm")(x + _attend(self._layer, name, x, mask, state))


class CausalSteps:
    """Steps of a `causal_lm`; `start` reads the prompts in one pass."""

    def __init__(self, model: keras.Model):
        self._layer = model.get_layer
        self._blocks = _blocks(model, "block")
        self._embedding = self._layer("embedding")
        self._positions = self._layer("positions")
        self.max_length = self._positions.max_length
        self._read = keras.Model(
            model.inputs,
            {
                f"{block}_self_{part}": self._layer(f"{block}_self_{part}").output
                for block in self._blocks
                for part in ("key", "value")
            },
        )

    def start(self, tokens: tf.Tensor, room: tf.Tensor | int) -> State:
        """Reads the prompts.

        Args:
            tokens: int32 `(batch, steps)`, each row's padding at its end. A step at a position
                overwrites what the padding left there, and no step looks further.
            room: positions that prompt and continuation may take, at most `max_length`.

        Returns:
            The state before the first step.
        """
        free = tf.maximum(room - tf.shape(tokens)[1], 0)
        return {
            name: tf.pad(cached, [[0, 0], [0, free], [0, 0]])
            for name, cached in self._read(tokens, training=False).items()
        }

    def __call__(
        self, tokens: tf.Tensor, positions: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, State]:
        x = self._positions(self._embedding(tokens[:, None]), positions=positions[:, None])
        state = dict(state)
        seen = _seen(positions, state[f"{self._blocks[0]}_self_key"])
        for block in self._blocks:
            h = self._layer(f"{block}_self_norm")(x)
            for part in ("key", "value"):
                name = f"{block}_self_{part}"
                state[name] = _written(state[name], positions, self._layer(name)(h))
            x += _attend(self._layer, f"{block}_self", h, seen, state)
            h = self._layer(f"{block}_outer_norm")(x)
            x += self._layer(f"{block}_outer")(self._layer(f"{block}_inner")(h))
        x = self._embedding(self._layer("norm")(x), reverse=True)
        return self._layer("logits")(x)[:, 0], state


def _blocks(model: keras.Model, kind: str) -> list[str]:
    """Names of the blocks, first to last: those that have self-attention."""
    names = {layer.name for layer in model.layers}
    count = sum(name.startswith(f"{kind}_") and name.endswith("_self_query") for name in names)
    return [f"{kind}_{number}" for number in range(1, count + 1)]


def _seen(positions: tf.Tensor, cache: tf.Tensor) -> tf.Tensor:
    """bool `(batch, room)`: the positions up to and with each row's own."""
    return tf.range(tf.shape(cache)[1])[None] <= positions[:, None]


def _written(cache: tf.Tensor, positions: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """The cache `(batch, room, width)` with `(batch, 1, width)` put at the positions."""
    rows = tf.range(tf.shape(positions)[0])
    return tf.tensor_scatter_nd_update(cache, tf.stack([rows, positions], axis=1), new[:, 0])


def _attend(layer: Any, name: str, x: tf.Tensor, mask: tf.Tensor, state: State) -> tf.Tensor:
    key, value = state[f"{name}_key"], state[f"{name}_value"]
    attended = layer(f"{name}_attention")(layer(f"{name}_query")(x), key, value, mask)
    return layer(f"{name}_output")(attended)
