"""From a recipe to a run folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import keras
import tensorflow as tf
from rich.console import Console

from zoo import datasets, registry
from zoo.errors import InvalidOption, RunError, ShapeError, TrainingDiverged, TrainingInterrupted
from zoo.recipe import Recipe
from zoo.saving import weights_file
from zoo.training import checkpoint, evaluation, plots, strategies
from zoo.training.callbacks import EpochNumber, ProgressLines, Recorder, StopOnNaN
from zoo.training.history import History
from zoo.training.optimizers import make_optimizer
from zoo.training.pipeline import evaluation_batches, training_batches
from zoo.training.runs import Run

LOSS = {
    "classification": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
    "regression": "mean_squared_error",
}
METRIC = {"classification": "accuracy", "binary": "accuracy", "regression": "r2"}


def train(
    name: str,
    *,
    recipe: Recipe | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    runs: Path | str = "runs",
    strategy: str = "auto",
    replicas: int | None = None,
    explicit: Collection[str] = (),
    command: str = "",
    console: Console | None = None,
) -> Run:
    """Trains a registered model and leaves a run folder.

    Args:
        name: of the model.
        recipe: default: the one beside the builder.
        arguments: builder arguments, over those of the data set, of a named `size` among
            them, and of the recipe, in this order.
        seed: of initialisation, order and dropout. The same seed gives the same weights.
        runs: where run folders lie.
        strategy: `auto`, `one` or `mirrored`, see `strategies.make_strategy`.
        replicas: see `strategies.make_strategy`.
        explicit: recipe fields that the user set; a strategy refuses what it cannot keep of
            these and adapts the others.
        command: for the record.
        console: where progress goes; default: standard error.

    Raises:
        UnknownName, InvalidOption, ShapeError, DataError: what was asked for does not fit.
        TrainingDiverged: a loss that is not finite.
        TrainingInterrupted: Ctrl-C or SIGTERM; the run can be resumed.
    """
    entry = registry.get(name)
    given = dict(arguments or {})
    sized = entry.sized(given.pop("size", None))
    entry.check(given)  # before anything is fetched
    recipe = recipe or entry.recipe
    console = console or Console(stderr=True)
    placed = strategies.make_strategy(strategy, replicas)
    recipe = strategies.adapt(recipe, placed, explicit)
    dataset = datasets.load(recipe.dataset)
    fitting = entry.accepted(dict(dataset.model_arguments))
    arguments = {**recipe.arguments, **sized, **fitting, **given}
    _check_batch_size(recipe, dataset)
    with strategies.scope(placed):
        keras.utils.set_random_seed(seed)
        model = registry.build(name, **arguments)
    check_fit(model, name, dataset)
    run = Run.create(
        Path(runs),
        {
            "model": name,
            "arguments": arguments,
            "dataset": recipe.dataset,
            "recipe": recipe.to_json(),
            "seed": seed,
            "strategy": strategy,
            "replicas": replicas,
            "command": command,
        },
    )
    return _fit(run, model, dataset, recipe, placed, History(), console)


def resume(folder: Path | str, *, console: Console | None = None) -> Run:
    """Goes on with a run from its last completed epoch, to the same weights as without a break.

    Raises:
        RunError: there is no such run, it is complete, diverged, damaged or still training.
    """
    run = Run.open(Path(folder))
    console = console or Console(stderr=True)
    if run.complete:
        raise RunError(f"The run {run.folder} is complete: there is nothing to resume.")
    if run.info["state"] == "diverged":
        raise RunError(
            f"The run {run.folder} diverged and would again: train anew with a smaller "
            "--learning-rate."
        )
    recipe, epochs = run.recipe, run.info["epochs"]
    placed = strategies.make_strategy(run.info["strategy"], run.info["replicas"])
    dataset = datasets.load(run.info["dataset"])
    with strategies.scope(placed):
        keras.utils.set_random_seed(run.info["seed"])
        model = registry.build(run.model, **run.info["arguments"])
    history = History.read(run.folder / "history.csv", epochs) if epochs else History()
    return _fit(run, model, dataset, recipe, placed, history, console)


def _fit(
    run: Run,
    model: keras.Model,
    dataset: datasets.Dataset,
    recipe: Recipe,
    placed: tf.distribute.Strategy | None,
    history: History,
    console: Console,
) -> Run:
    steps = len(dataset.train.x) // recipe.batch_size
    compile_model(model, dataset.task, recipe, steps, placed)
    for sentence in strategies.warnings_for(model, placed):
        console.print(f"[yellow]Warning:[/] {sentence}")
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    batches = training_batches(dataset.train, recipe.batch_size, run.info["seed"], epoch)
    replicas = placed.num_replicas_in_sync if placed else 1
    validation = evaluation_batches(dataset.validation, replicas=replicas)
    progress = ProgressLines(console, recipe.epochs, steps)
    done, began = len(history.rows), time.perf_counter()
    with _locked(run), _recorded_ending(run, progress), _sigterm_interrupts():
        run.update(state="running")
        if done:
            checkpoint.restore(model, run.folder / "checkpoint" / f"epoch-{done:04d}.npz")
        if not done or not _stopped_early(history, recipe):
            model.fit(
                batches,
                validation_data=validation,
                epochs=recipe.epochs,
                initial_epoch=done,
                shuffle=False,  # the pipeline has its own order
                verbose=0,
                callbacks=[
                    EpochNumber(epoch),
                    StopOnNaN(),
                    Recorder(run, history, recipe.early_stopping),
                    progress,
                    keras.callbacks.TensorBoard(
                        run.folder / "tensorboard", write_graph=False, profile_batch=0
                    ),
                ],
            )
        _finish(run, model, dataset, history, time.perf_counter() - began)
    return run


def compile_model(
    model: keras.Model,
    task: datasets.Task,
    recipe: Recipe,
    steps_per_epoch: int,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Compiles with the loss and metric of the task, and the optimizer of the recipe."""
    with strategies.scope(strategy):
        metric = keras.metrics.R2Score(name="r2") if task.kind == "regression" else "accuracy"
        # Other backends always compile; "auto" leaves the choice to them.
        own_xla = keras.backend.backend() != "tensorflow"
        model.compile(
            optimizer=make_optimizer(recipe, steps_per_epoch),
            loss=LOSS[task.kind],
            metrics=[metric],
            jit_compile="auto" if own_xla else recipe.jit_compile,
            steps_per_execution=min(recipe.steps_per_execution, steps_per_epoch),
        )


def check_fit(model: keras.Model, name: str, dataset: datasets.Dataset) -> None:
    """Raises ShapeError where a model cannot take a data set's examples or give its targets."""
    wanted, given = model.inputs[0], dataset.train.x
    same_kind = ("int" in wanted.dtype) == (given.dtype.kind in "iu")
    if tuple(wanted.shape[1:]) != given.shape[1:] or not same_kind:
        raise ShapeError(
            f"{name} takes {wanted.dtype} {tuple(wanted.shape[1:])} an example, but {dataset.name} "
            f"holds {given.dtype} {given.shape[1:]}."
        )
    task, outputs = dataset.task, model.outputs[0].shape[-1]
    needed = {
        "classification": len(task.class_names),
        "binary": 1,
        "regression": dataset.train.y.shape[-1],
    }[task.kind]
    sigmoid = model.output_names[0] == "probability"
    if outputs != needed or sigmoid != (task.kind == "binary"):
        raise ShapeError(
            f"{name} gives {model.output_names[0]} of width {outputs}, but {dataset.name} is a "
            f"{task.kind} task of width {needed}."
        )


def _check_batch_size(recipe: Recipe, dataset: datasets.Dataset) -> None:
    if recipe.batch_size > len(dataset.train.x):
        raise InvalidOption(
            f"The batch size {recipe.batch_size} is larger than the {len(dataset.train.x)} "
            f"training examples of {dataset.name}: choose a smaller --batch-size."
        )


def _stopped_early(history: History, recipe: Recipe) -> bool:
    waited = len(history.rows) - history.best_epoch
    return bool(recipe.early_stopping) and waited >= recipe.early_stopping


def _finish(
    run: Run, model: keras.Model, dataset: datasets.Dataset, history: History, seconds: float
) -> None:
    """Weights, metrics and pictures of the last epoch (of the best, with early stopping)."""
    folder, task = run.folder, dataset.task
    # The same layers without optimizer, whose state would treble the file.
    final = keras.Model(model.inputs, model.outputs, name=model.name)
    run.write("last.weights.h5", weights_file(final))
    kept = history.best_epoch if run.recipe.early_stopping else len(history.rows)
    if run.recipe.early_stopping:
        final.load_weights(folder / "best.weights.h5")
    final.save(folder / "model.keras")
    outputs = {
        name: final.predict(split.x, batch_size=512, verbose=0)
        for name, split in (("validation", dataset.validation), ("test", dataset.test))
    }
    run.write_json(
        "metrics.json",
        {
            "parameters": final.count_params(),
            "epoch": kept,
            "best_epoch": history.best_epoch,
            "seconds": round(seconds, 1),
            "validation": evaluation.metrics(task, dataset.validation.y, outputs["validation"]),
            "test": evaluation.metrics(task, dataset.test.y, outputs["test"]),
        },
    )
    title = f"{run.model} on {dataset.name}"
    run.write("curves.png", plots.curves(history, METRIC[task.kind], title))
    if task.kind != "regression":
        truth = evaluation.classes(task, dataset.test.y)
        guess = evaluation.predicted(task, outputs["test"])
        picture = plots.confusion_matrix(truth, guess, task.class_names, f"{title}, test split")
        run.write("confusion_matrix.png", picture)
    run.update(state="complete")
    for path in (folder / "checkpoint").glob("*"):
        path.unlink()
    (folder / "checkpoint").rmdir()


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    """One process at a time trains into a folder; the lock ends with the process."""
    lock = filelock.FileLock(run.folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(f"The run {run.folder} is being trained by another process.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _recorded_ending(run: Run, progress: ProgressLines) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        run.update(state="interrupted")
        interrupted = TrainingInterrupted(
            f"Interrupted after {run.info['epochs']} epoch(s): go on with "
            f"zoo train --resume {run.folder}"
        )
        interrupted.exit_code = 143 if error.args == (signal.SIGTERM,) else 130
        raise interrupted from None
    except TrainingDiverged:
        run.update(state="diverged")
        raise
    finally:
        progress.close()


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends training as Ctrl-C does; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
