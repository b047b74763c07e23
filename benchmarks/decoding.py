"""What keeping keys and values saves: tokens a second of greedy decoding, with a cache and without.

Without one, every step passes the whole sequence so far through the model again. Both ways are one
compiled graph, take the most probable token, and go on to the given length whatever the token is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

import zoo
from benchmarks import record
from zoo.cli.output import table
from zoo.decoding import CausalSteps, TranslatorSteps

LENGTHS = (16, 64, 256)
BATCHES = (1, 8)
SOURCE_STEPS = 16
START = 1


def main(rounds: int = 3) -> None:
    keras.utils.set_random_seed(0)
    rows = [
        {"model": name, "batch": batch, "tokens": length, **speeds(name, batch, length, rounds)}
        for name in ("transformer_translator", "causal_lm")
        for batch in BATCHES
        for length in LENGTHS
    ]
    columns = ("model", "batch", "tokens", "with cache", "without", "times")
    table(columns, [row.values() for row in rows])
    print(record.write("decoding", rows, unit="tokens a second, all rows together", rounds=rounds))


def speeds(name: str, batch: int, length: int, rounds: int) -> dict[str, float]:
    """Medians over rounds, in which the two ways take turns."""
    model = zoo.build(name, max_length=max(LENGTHS))
    source = tf.fill((batch, SOURCE_STEPS), 9)
    ways = {
        "cached": _cached(model, source, batch, length),
        "uncached": _uncached(model, source, batch, length),
    }
    first = {way: run().numpy() for way, run in ways.items()}  # traces, too
    if (first["cached"] != first["uncached"]).mean() > 0.01:  # ties of rounding may differ
        raise RuntimeError(f"{name} says something else with its cache")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            run().numpy()
            seconds[way].append(time.perf_counter() - began)
    fast, slow = (batch * length / statistics.median(seconds[way]) for way in ways)
    return {"cached": fast, "uncached": slow, "speedup": fast / slow}


def _cached(model: keras.Model, source: Any, batch: int, length: int) -> Callable[[], tf.Tensor]:
    translates = model.name == "transformer_translator"
    steps = TranslatorSteps(model) if translates else CausalSteps(model)

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        begun = source if translates else tf.fill((batch, 1), START)

        def advance(step, tokens, state):
            last = tf.gather(tokens, step, axis=1)
            logits, state = steps(last, tf.fill((batch,), step), state)
            return step + 1, _with(tokens, step + 1, logits), state

        _, tokens, _ = tf.while_loop(
            lambda step, *_: step < length,
            advance,
            (tf.constant(0), _begin(batch, length), dict(steps.start(begun, length))),
        )
        return tokens

    return run


def _uncached(model: keras.Model, source: Any, batch: int, length: int) -> Callable[[], tf.Tensor]:
    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        def advance(step, tokens):
            given = tokens[:, : step + 1]
            if model.name == "transformer_translator":
                given = {"source": source, "target": given}
            logits = model(given, training=False)
            return step + 1, _with(tokens, step + 1, logits[:, -1])

        _, tokens = tf.while_loop(
            lambda step, _: step < length, advance, (tf.constant(0), _begin(batch, length))
        )
        return tokens

    return run


def _begin(batch: int, length: int) -> tf.Tensor:
    return tf.pad(tf.fill((batch, 1), START), [[0, 0], [0, length]])


def _with(tokens: tf.Tensor, column: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The tokens with the most probable ones, padding apart, in a column."""
    chosen = 1 + tf.argmax(logits[:, 1:], axis=-1, output_type=tf.int32)
    return tf.where(tf.range(tokens.shape[1])[None] == column, chosen[:, None], tokens)


if __name__ == "__main__":
    main()
