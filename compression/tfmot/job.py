"""What a child has been given: the twin, its data, and how to fine-tune it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from compression import bridge, isolated
from compression.subject import listed
from compression.tfmot.losses import loss_for
from zoo import registry
from zoo.datasets import Split
from zoo.datasets.base import TOKEN_TASKS
from zoo.datasets.masking import mask_tokens
from zoo.errors import TrainingDiverged, ZooError
from zoo.recipe import Recipe
from zoo.training.pipeline import training_batches

RATE = 0.3  # of the recipe's learning rate, as `compression.tuning` takes
# Options that tf_keras's optimizers share with Keras 3's. Averaged weights are left out: over the
# few steps of a fine-tuning an average with a momentum of 0.999 is the weights it began with.
OPTIONS = ("beta_1", "beta_2", "epsilon", "momentum", "nesterov", "rho", "weight_decay",
           "clipnorm", "clipvalue", "global_clipnorm")  # fmt: skip


class Job:
    """The files of `bridge.Crossing` as the child sees them.

    Attributes:
        options: of the technique.
        variables: of the twin, in the order of the weights.
        held: position of a variable → float mask of its shape, 0 where a weight stays zero.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        info = isolated.read_json(folder / "job.json")
        self.options, self.seed, self.task = info["options"], info["seed"], info["task"]
        self.vocabulary_size = info["vocabulary_size"]
        self.recipe = Recipe.from_json(info["recipe"])
        tf_keras.utils.set_random_seed(self.seed)
        self._build = info["builder"], listed(info["arguments"])
        self.twin = self.built(bridge.listed_arrays(folder / "weights.npz"))
        self.variables = list(self.twin.weights)
        with np.load(folder / "masks.npz") as file:
            self.held = {int(name): file[name].astype("float32") for name in file}
        with np.load(folder / "probe.npz") as file:
            arrays = {n.removeprefix("x/"): file[n] for n in file if n.startswith("x/")}
            self.probe = arrays.get("", arrays)
        wanted = bridge.listed_arrays(folder / "probe.npz")
        found = bridge.outputs_of(self.twin, self.probe)
        bridge.compare(found, wanted, "from Keras 3 to tf_keras")

    def built(self, weights: Sequence[np.ndarray]) -> Any:
        """A new tf_keras model of the builder with these weights."""
        builder, arguments = self._build
        model = registry.build(builder, keras=tf_keras, **arguments)
        model.set_weights(list(weights))
        return model

    @functools.cached_property
    def train(self) -> Split:
        with np.load(self.folder / "train.npz") as file:
            arrays = {n.removeprefix("x/"): file[n] for n in file if n.startswith("x/")}
            return Split(arrays.get("", arrays), file["y"])

    def steps(self, epochs: float) -> int:
        """Training steps of so many epochs, a fraction of one included."""
        return round(epochs * (len(self.train) // self._batch))

    @property
    def _batch(self) -> int:
        return min(self.recipe.batch_size, len(self.train))

    def fine_tune(self, model: Any, callbacks: Sequence[Any] = ()) -> dict[str, Any]:
        """Trains for the options' `epochs`; the learning rate falls to zero along a cosine.

        Returns:
            `epochs`, `steps`, `loss` of the last one.

        Raises:
            TrainingDiverged: a loss that is not finite.
        """
        steps = self.steps(self.options["epochs"])
        if not steps:
            return {"epochs": 0, "steps": 0, "loss": None}
        per_epoch = len(self.train) // self._batch
        whole = max(1, -(-steps // per_epoch))
        per_epoch = -(-steps // whole)
        tokens = None
        if self.task == "translation":
            tokens = float((self.train.y != 0).sum() / len(self.train))
        loss = loss_for(self.task, self.recipe.label_smoothing, tokens)
        model.compile(optimizer=self._optimizer(whole * per_epoch), loss=loss, jit_compile=False)
        epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        batches = (
            training_batches(
                self.train, self._batch, self.seed, epoch,
                transform=self._transform(), bucketed=self.task in TOKEN_TASKS,
            )
            .take(per_epoch)
            .apply(tf.data.experimental.assert_cardinality(per_epoch))
        )  # fmt: skip
        watch = tf_keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda number, _: epoch.assign(number),
            on_epoch_end=lambda number, logs: _said(number, whole, logs["loss"]),
        )
        history = model.fit(
            batches, epochs=whole, shuffle=False, verbose=0, callbacks=[watch, *callbacks]
        )
        return {
            "epochs": round(steps / (len(self.train) // self._batch), 3),
            "steps": whole * per_epoch,
            "loss": float(history.history["loss"][-1]),
        }

    def _optimizer(self, steps: int) -> Any:
        rate = self.options.get("learning_rate") or self.recipe.learning_rate * RATE
        rate = tf_keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.01)
        given = {n: v for n, v in self.recipe.optimizer_options.items() if n in OPTIONS}
        kinds = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
        if self.recipe.optimizer not in kinds:  # muon, which tf_keras lacks
            return tf_keras.optimizers.Adam(rate)
        return getattr(tf_keras.optimizers, kinds[self.recipe.optimizer])(rate, **given)

    def _transform(self) -> Callable[..., Any] | None:
        if self.task != "masked_language_model":
            return None

        def transform(x: Any, y: Any, key: Any) -> tuple[Any, Any]:
            shown, asked = mask_tokens(x["tokens"], key, self.vocabulary_size)
            return {**x, "tokens": shown}, asked

        return transform

    def answer(self, weights: Sequence[np.ndarray], facts: Mapping[str, Any]) -> None:
        """Leaves the weights, what the twin gives with them, and the facts.

        tfmot's masks make -0.0 of negative weights; as 0.0 all zeros compress as one value.
        """
        weights = [np.where(weight == 0, np.zeros_like(weight), weight) for weight in weights]
        np.savez(self.folder / "trained.npz", **bridge.numbered(weights))
        outputs = bridge.outputs_of(self.built(weights), self.probe)
        np.savez(self.folder / "trained_probe.npz", **bridge.numbered(outputs))
        isolated.write_json(self.folder / "answer.json", dict(facts))


def _said(number: int, whole: int, loss: float) -> None:
    if not np.isfinite(loss):
        raise TrainingDiverged(
            f"The loss became {loss} in epoch {number + 1} of the fine-tuning: give a smaller "
            "learning_rate."
        )
    isolated.progress(f"epoch {number + 1}/{whole}  loss {loss:.4f}")


def child(work: Callable[[Job], None]) -> Callable[[Path], None]:
    """Makes a function of a job one of a folder, and leaves typed errors for the parent."""

    @functools.wraps(work)
    def run(folder: Path) -> None:
        try:
            work(Job(folder))
        except ZooError as error:
            bridge.report(folder, error)
            raise

    return run


class Each(tf_keras.callbacks.Callback):
    """Calls a function of no arguments before the first step and after each one."""

    def __init__(self, function: Callable[[], None]):
        super().__init__()
        self._function = tf.function(function, autograph=False)

    def on_train_begin(self, logs: Any = None) -> None:
        self._function()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._function()


def hold(job: Job, positions: Sequence[int]) -> list[Each]:
    """Callbacks that keep the zeros of the variables at these positions."""
    pairs = [(job.variables[p], tf.constant(job.held[p])) for p in positions if p in job.held]

    def mask() -> None:
        for variable, kept in pairs:
            variable.assign(variable * kept)

    return [Each(mask)] if pairs else []
