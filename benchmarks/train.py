"""Training speed: `zoo train` beside plain `model.fit` and bare `tf.function` loops.

All variants of a model take the same examples, batch size, optimizer and loss, each on its own
copy of the model. Rounds go through the variants in turn, so that a change in the machine's speed
meets all of them; medians over the rounds are quoted. Compilation is in none of the figures.

- `plain fit`: `model.compile(optimizer, loss, metrics)`, `model.fit(x, y, batch_size)` on numpy
  arrays, everything else Keras's default.
- `zoo train`: the pipeline, compilation and callbacks of `zoo.training` without the writing of
  files at the end of an epoch.
- `bare …`: forward, gradients, update, mean loss and accuracy in a `tf.function` over the zoo's own
  pipeline: one step a call or 32 in a graph loop, with and without XLA. `no metrics` is the loop of
  32 with the recipe's choice of XLA, and without loss and accuracy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import zoo
from benchmarks import record
from zoo import datasets
from zoo.cli.output import table
from zoo.datasets import Dataset, Split
from zoo.recipe import Recipe
from zoo.training.callbacks import EpochNumber, StopOnNaN
from zoo.training.fit import compile_model
from zoo.training.optimizers import make_optimizer
from zoo.training.pipeline import training_batches

# Steps an epoch of the measurement: a second or so of work each.
LOSS = {"classification": "sparse_categorical_crossentropy", "binary": "binary_crossentropy"}
STEPS = {"dense": 384, "cnn": 64, "lstm": 96, "transformer_classifier": 32}
FUSED = 32

Epoch = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--models", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/train.json")
    options = parser.parse_args()
    rows = {name: measure(name, options.rounds) for name in options.models}
    columns = list(next(iter(rows.values())))
    table(columns, [[_shown(row[column]) for column in columns] for row in rows.values()])
    if options.keep:
        kept = {row["model"]: row for row in record.rows("train")} | rows
        found = [kept[name] for name in STEPS if name in kept]
        print(record.write("train", found, unit="steps per second, median"))


def measure(name: str, rounds: int) -> dict[str, object]:
    """Median steps per second of every variant, and the ratios that matter."""
    entry = zoo.get(name)
    recipe = entry.recipe
    data = datasets.load(recipe.dataset)
    arguments = {**entry.accepted(dict(data.model_arguments)), **recipe.arguments}
    # The small sets are repeated to fill an epoch of useful length.
    count = STEPS[name] * recipe.batch_size
    split = Split(_filled(data.train.x, count), _filled(data.train.y, count))

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        return zoo.build(name, **arguments)

    variants = {
        "plain fit": plain_fit(model(), data, split, recipe),
        "zoo train": zoo_train(model(), data, split, recipe),
        "bare": bare_loop(model(), data, split, recipe, fused=1, jit=False),
        "bare XLA": bare_loop(model(), data, split, recipe, fused=1, jit=True),
        "bare 32": bare_loop(model(), data, split, recipe, fused=FUSED, jit=False),
        "bare 32 XLA": bare_loop(model(), data, split, recipe, fused=FUSED, jit=True),
        "no metrics": bare_loop(
            model(), data, split, recipe, fused=FUSED, jit=recipe.jit_compile, metrics=False
        ),
    }
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for turn in range(rounds + 1):
        for variant, epoch in variants.items():
            began = time.perf_counter()
            epoch()
            if turn:  # the first round compiles
                seconds[variant].append(time.perf_counter() - began)
    rates = {variant: STEPS[name] / statistics.median(s) for variant, s in seconds.items()}
    best = max((variant for variant in rates if variant.startswith("bare")), key=rates.get)
    return {
        "model": name,
        "batch": recipe.batch_size,
        "rounds": rounds,
        **rates,
        "zoo / plain": _paired(seconds["plain fit"], seconds["zoo train"]),
        "zoo / best bare": _paired(seconds[best], seconds["zoo train"]),
        "zoo / no metrics": _paired(seconds["no metrics"], seconds["zoo train"]),
        "best bare": best,
    }


def plain_fit(model: keras.Model, data: Dataset, split: Split, recipe: Recipe) -> Epoch:
    steps = len(split) // recipe.batch_size
    model.compile(make_optimizer(recipe, steps), LOSS[data.task.kind], metrics=["accuracy"])
    return lambda: model.fit(split.x, split.y, batch_size=recipe.batch_size, verbose=0)


def zoo_train(model: keras.Model, data: Dataset, split: Split, recipe: Recipe) -> Epoch:
    number = tf.Variable(0, dtype=tf.int64, trainable=False)
    batches = training_batches(split, recipe.batch_size, 0, number)
    compile_model(model, data.task, recipe, len(split) // recipe.batch_size)
    callbacks = [EpochNumber(number), StopOnNaN()]
    return lambda: model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)


def bare_loop(
    model: keras.Model,
    data: Dataset,
    split: Split,
    recipe: Recipe,
    *,
    fused: int,
    jit: bool,
    metrics: bool = True,
) -> Epoch:
    steps = len(split) // recipe.batch_size
    number = tf.Variable(0, dtype=tf.int64, trainable=False)
    batches = training_batches(split, recipe.batch_size, 0, number)
    optimizer = make_optimizer(recipe, steps)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.get(LOSS[data.task.kind])
    mean = keras.metrics.Mean()
    binary = data.task.kind == "binary"
    accuracy = (
        keras.metrics.BinaryAccuracy() if binary else keras.metrics.SparseCategoricalAccuracy()
    )

    @tf.function(jit_compile=jit)
    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            value = tf.reduce_mean(loss(y, outputs))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        if metrics:
            mean.update_state(value)
            accuracy.update_state(y, outputs)

    @tf.function
    def several(iterator: tf.data.Iterator) -> None:
        for _ in tf.range(fused):
            step(*next(iterator))

    def epoch() -> None:
        number.assign_add(1)
        if fused == 1:
            for x, y in batches:
                step(x, y)
            return
        iterator = iter(batches)
        for _ in range(steps // fused):
            several(iterator)

    return epoch


def _filled(array: np.ndarray, count: int) -> np.ndarray:
    repeats = -(-count // len(array))
    return np.concatenate([array] * repeats)[:count]


def _paired(other: list[float], ours: list[float]) -> float:
    """Median over the rounds of how many times faster ours was in that round."""
    return statistics.median(a / b for a, b in zip(other, ours, strict=True))


def _shown(value: object) -> object:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 20 else f"{value:.2f}"
    return value


if __name__ == "__main__":
    main()
