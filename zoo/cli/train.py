"""`zoo train`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from zoo import quiet, registry
from zoo.cli import output
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    from zoo.training import Run

# Typer reads these annotations at run time, so they keep to what Python 3.10 evaluates.
Text = Optional[str]  # noqa: UP045
Whole = Optional[int]  # noqa: UP045
Real = Optional[float]  # noqa: UP045
Flag = Optional[bool]  # noqa: UP045
Place = Optional[Path]  # noqa: UP045


def train(
    model: Annotated[Text, typer.Argument(help="A name that zoo list shows.")] = None,
    dataset: Annotated[Text, typer.Option(help="Another data set than the recipe's.")] = None,
    epochs: Annotated[Whole, typer.Option(help="Passes over the training split.")] = None,
    batch_size: Annotated[Whole, typer.Option(help="Examples a step, over all replicas.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and dropout.")] = 0,
    learning_rate: Annotated[Real, typer.Option(help="Peak learning rate.")] = None,
    optimizer: Annotated[Text, typer.Option(help="adam, adamw, muon, rmsprop or sgd.")] = None,
    schedule: Annotated[
        Text, typer.Option(help="constant, cosine, exponential, inverse_sqrt or linear.")
    ] = None,
    warmup_epochs: Annotated[Real, typer.Option(help="Linear warmup over so many epochs.")] = None,
    augment: Annotated[
        Text,
        typer.Option(
            help="none, shift, rotation, zoom, affine, mixup, cutmix, randaugment or token_dropout."
        ),
    ] = None,
    early_stopping: Annotated[
        Whole, typer.Option(help="Stop after so many epochs without a better validation loss.")
    ] = None,
    label_smoothing: Annotated[
        Real, typer.Option(help="Share of a target spread evenly over all classes or tokens.")
    ] = None,
    precision: Annotated[
        Text, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")
    ] = None,
    jit: Annotated[Flag, typer.Option("--jit/--no-jit", help="Compile with XLA.")] = None,
    steps_per_execution: Annotated[Whole, typer.Option(help="Steps fused into a call.")] = None,
    strategy: Annotated[str, typer.Option(help="auto, one or mirrored.")] = "auto",
    replicas: Annotated[Whole, typer.Option(help="Replicas of the mirrored strategy.")] = None,
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="NAME=VALUE", help="A builder argument, repeatable."),
    ] = None,
    source: Annotated[
        Place,
        typer.Option("--from", metavar="RUN_OR_STORE", help="Begin with a trained model's layers."),
    ] = None,
    freeze: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATTERN", help="Layers of --from to keep, as in 'conv*'."),
    ] = None,
    limit: Annotated[Whole, typer.Option(min=1, help="Train on so many examples only.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders.")] = Path("runs"),
    resume: Annotated[Place, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Train a model by its recipe and leave a run folder.

    Examples:

      zoo train cnn

      zoo train cnn --epochs 5 --batch-size 128 --set filters=16,32 --seed 1

      zoo train cnn --from runs/cnn/20261122-013000 --freeze 'conv*' --dataset mnist_5_9

      zoo train --resume runs/cnn/20261122-013000
    """
    overrides = {
        "dataset": dataset,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "schedule": schedule,
        "warmup_epochs": warmup_epochs,
        "augment": augment,
        "early_stopping": early_stopping,
        "label_smoothing": label_smoothing,
        "precision": precision,
        "jit_compile": jit,
        "steps_per_execution": steps_per_execution,
    }
    if resume is not None:
        changed = [name for name, value in overrides.items() if value is not None]
        if model or changed or settings or source or freeze or limit:
            raise InvalidOption(
                "--resume takes everything from its run: leave out the model and the options "
                "that change it."
            )
        quiet.load_tensorflow()
        from zoo import training

        show(training.resume(resume, console=output.errors()), as_json)
        return
    if model is None:
        raise InvalidOption("Say which model to train, as in zoo train cnn; zoo list shows all.")
    recipe = registry.get(model).recipe.replace(**overrides)
    arguments = parse_settings(settings or [])
    quiet.load_tensorflow()
    from zoo import training

    run = training.train(
        model,
        recipe=recipe,
        arguments=arguments,
        seed=seed,
        runs=runs,
        strategy=strategy,
        replicas=replicas,
        explicit=[name for name, value in overrides.items() if value is not None],
        source=source,
        frozen=freeze or (),
        limit=limit,
        command=shlex.join(["zoo", *sys.argv[1:]]),
        console=output.errors(),
    )
    show(run, as_json)


def show(run: Run, as_json: bool) -> None:
    """Prints a complete run's metrics."""
    metrics = run.metrics()
    if as_json:
        output.json_lines({"run": str(run.folder), **metrics})
        return
    splits = metrics["validation"], metrics["test"]
    output.table(
        (f"{run.model} on {run.info['dataset']}", "validation", "test"),
        [
            (name, *(_with_interval(split, name) for split in splits))
            for name in metrics["test"]
            if name != "accuracy_interval"
        ],
    )
    seconds = f"{metrics['seconds']:.0f} s"
    typer.echo(f"{metrics['parameters']:,} parameters, {seconds}, {run.folder}")


def _with_interval(metrics: dict[str, Any], name: str) -> str:
    if isinstance(metrics[name], str):  # the signature of a score
        return metrics[name]
    interval = metrics.get(f"{name}_interval")
    return f"{metrics[name]:.4f}" + (f" ± {interval:.4f}" if interval is not None else "")


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Builder arguments from `NAME=VALUE`: JSON, numbers with commas between, or a word."""
    arguments = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise InvalidOption(f"--set takes NAME=VALUE, not {setting!r}.")
        arguments[name.strip().replace("-", "_")] = _value(text.strip())
    return arguments


def _value(text: str) -> Any:
    for candidate in (text, f"[{text}]" if "," in text else text, text.lower()):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    return text
