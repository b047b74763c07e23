"""From a recipe to a run folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import keras
import tensorflow as tf
from rich.console import Console

from zoo import datasets, registry
from zoo.errors import InvalidOption, RunError, TrainingDiverged, TrainingInterrupted
from zoo.precision import with_precision
from zoo.recipe import Recipe
from zoo.saving import weights_file
from zoo.training import augmentation, checkpoint, evaluation, plots, strategies, transfer
from zoo.training.callbacks import EpochNumber, ProgressLines, Recorder, StopOnNaN
from zoo.training.history import History
from zoo.training.objectives import check_fit, objective_for
from zoo.training.optimizers import make_optimizer
from zoo.training.pipeline import training_batches
from zoo.training.runs import Run


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
    source: Path | str | None = None,
    frozen: Sequence[str] = (),
    limit: int | None = None,
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
        source: a run or an export of the same model to begin with, see `transfer`.
        frozen: patterns of the names of layers that keep the source's weights.
        limit: train on so many examples only, drawn class by class with the seed.
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
    if frozen and source is None:
        raise InvalidOption("--freeze keeps what --from copies: say what to begin with.")
    recipe = recipe or entry.recipe
    console = console or Console(stderr=True)
    placed = strategies.make_strategy(strategy, replicas)
    recipe = strategies.adapt(recipe, placed, explicit)
    augmentation.check(recipe.augment)
    dataset = datasets.load(recipe.dataset)
    augmentation.make_policy(recipe.augment, dataset)  # before a run folder is made
    fitting = entry.accepted({**dataset.model_arguments, **strategies.model_arguments(placed)})
    arguments = {**recipe.arguments, **sized, **fitting, **given}
    dataset = dataset if limit is None else dataset.limited(limit, seed)
    _check_batch_size(recipe, dataset)
    with strategies.scope(placed):
        keras.utils.set_random_seed(seed)
        model = _build(name, arguments, recipe)
    check_fit(model, name, dataset)
    begun = None
    if source is not None:
        begun = transfer.begin(model, name, dataset, source, frozen)
        transfer.show(model, begun, console)
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
            "transfer": begun,
            "limit": limit,
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
    if run.info.get("limit"):
        dataset = dataset.limited(run.info["limit"], run.info["seed"])
    with strategies.scope(placed):
        keras.utils.set_random_seed(run.info["seed"])
        model = _build(run.model, run.info["arguments"], recipe)
    if begun := run.info.get("transfer"):
        if epochs:  # the checkpoint holds the weights
            transfer.freeze_layers(model, begun["freeze"])
        else:
            transfer.begin(model, run.model, dataset, begun["source"], begun["freeze"])
    history = History.read(run.folder / "history.csv", epochs) if epochs else History()
    return _fit(run, model, dataset, recipe, placed, history, console)


def _build(name: str, arguments: Mapping[str, Any], recipe: Recipe) -> keras.Model:
    """The model to train, in the recipe's precision."""
    model = registry.build(name, **arguments)
    return model if recipe.precision == "float32" else with_precision(model, recipe.precision)


def _fit(
    run: Run,
    model: keras.Model,
    dataset: datasets.Dataset,
    recipe: Recipe,
    placed: tf.distribute.Strategy | None,
    history: History,
    console: Console,
) -> Run:
    steps = len(dataset.train) // recipe.batch_size
    objective = objective_for(dataset.task)
    tokens = objective.tokens(dataset.train)
    compile_model(model, dataset.task, recipe, steps, placed, tokens)
    for sentence in [*strategies.warnings_for(model, placed), *objective.warnings()]:
        console.print(f"[yellow]Warning:[/] {sentence}")
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    batches = training_batches(
        dataset.train,
        recipe.batch_size,
        run.info["seed"],
        epoch,
        transform=augmentation.make_policy(recipe.augment, dataset) or objective.transform(dataset),
        bucketed=objective.bucketed,
    )
    replicas = placed.num_replicas_in_sync if placed else 1
    validation = objective.validation(dataset.validation, replicas)
    progress = ProgressLines(console, recipe.epochs, steps)
    done, began = len(history.rows), (time.perf_counter(), time.process_time())
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
        seconds = time.perf_counter() - began[0], time.process_time() - began[1]
        _finish(run, model, dataset, history, *seconds)
    return run


def compile_model(
    model: keras.Model,
    task: datasets.Task,
    recipe: Recipe,
    steps_per_epoch: int,
    strategy: tf.distribute.Strategy | None = None,
    tokens: float | None = None,
) -> None:
    """Compiles with the loss and metric of the task, and the optimizer of the recipe.

    `tokens` is the training split's, see `Objective.tokens`.
    """
    objective = objective_for(task)
    with strategies.scope(strategy):
        optimizer = make_optimizer(recipe, steps_per_epoch)
        if recipe.precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        # Other backends always compile; "auto" leaves the choice to them.
        own_xla = keras.backend.backend() != "tensorflow"
        model.compile(
            optimizer=optimizer,
            loss=objective.loss(recipe, tokens),
            metrics=objective.metrics(),
            jit_compile="auto" if own_xla else recipe.jit_compile,
            steps_per_execution=min(recipe.steps_per_execution, steps_per_epoch),
        )


def _check_batch_size(recipe: Recipe, dataset: datasets.Dataset) -> None:
    if recipe.batch_size > len(dataset.train):
        raise InvalidOption(
            f"The batch size {recipe.batch_size} is larger than the {len(dataset.train)} "
            f"training examples of {dataset.name}: choose a smaller --batch-size."
        )


def _stopped_early(history: History, recipe: Recipe) -> bool:
    waited = len(history.rows) - history.best_epoch
    return bool(recipe.early_stopping) and waited >= recipe.early_stopping


def _finish(
    run: Run,
    model: keras.Model,
    dataset: datasets.Dataset,
    history: History,
    seconds: float,
    cpu_seconds: float,
) -> None:
    """Weights, metrics and pictures of the last epoch (of the best, with early stopping)."""
    folder, objective = run.folder, objective_for(dataset.task)
    # The same layers without optimizer, whose state would treble the file.
    final = keras.Model(model.inputs, model.outputs, name=model.name)
    if run.recipe.precision != "float32":
        final = with_precision(final, "float32")
    run.write("last.weights.h5", weights_file(final))
    kept = history.best_epoch if run.recipe.early_stopping else len(history.rows)
    if run.recipe.early_stopping:
        final.load_weights(folder / "best.weights.h5")
    final.save(folder / "model.keras")
    validation, _ = objective.evaluate(final, dataset, "validation")
    test, outputs = objective.evaluate(final, dataset, "test")
    run.write_json(
        "metrics.json",
        {
            "parameters": final.count_params(),
            "epoch": kept,
            "best_epoch": history.best_epoch,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu_seconds, 1),
            "validation": validation,
            "test": test,
            **({"transfer": run.info["transfer"]} if run.info.get("transfer") else {}),
        },
    )
    title = f"{run.model} on {dataset.name}"
    run.write("curves.png", plots.curves(history, objective.metric, title))
    if dataset.task.predicts_classes:
        truth = evaluation.classes(dataset.task, dataset.test.y)
        guess = evaluation.predicted(dataset.task, outputs)
        names = dataset.task.class_names
        picture = plots.confusion_matrix(truth, guess, names, f"{title}, test split")
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
