"""`zoo compress` and `zoo report`: smaller and faster versions, and what they are worth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from zoo import quiet, registry
from zoo.cli import output
from zoo.cli.publish import Store
from zoo.errors import InvalidOption, RunError

OBJECTIVES = ("latency", "size")


def compress(
    model: Annotated[str, typer.Argument(help="A name that zoo list shows.")],
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Run folder; default: the model's newest complete run."),
    ] = None,
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Techniques as a+b+c, or a recipe's name; default: search for them."),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0, help="Most accuracy that may be lost, on validation data.")
    ] = 0.005,
    objective: Annotated[
        str, typer.Option(help="What the search makes small: latency or size.")
    ] = "latency",
    time_limit: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1, help="Seconds after which the search takes the best so far."),
    ] = None,
    store: Store = Path("store"),
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Name of the servable; default: the model's."),
    ] = None,
    epochs: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Of fine-tuning after each technique."),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Of everything random; default: the run's."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders.")] = Path("runs"),
    out: Annotated[
        Path, typer.Option(help="Folder for the report, and for the search's trials.")
    ] = Path("compressed"),
    served: Annotated[bool, typer.Option(help="Measure over gRPC as well as in process.")] = True,
    rounds: Annotated[int, typer.Option(min=1, help="Of timing, all versions in each.")] = 7,
    force: Annotated[
        bool, typer.Option(help="Publish even where accuracy falls further than --max-drop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Publish a smaller, faster version of a trained model, and report what it is worth.

    Without --recipe the techniques and their strengths are searched for, so that accuracy on the
    validation split falls by --max-drop at most; a search that was interrupted goes on.

    Examples:

      zoo compress cnn

      zoo compress cnn --recipe shrink:0.5+distill+dynamic_range

      zoo compress dense --recipe prune+cluster+int8 --epochs 3

      zoo compress lstm --max-drop 0.01 --objective size --time-limit 600
    """
    registry.get(model)
    if objective not in OBJECTIVES:
        raise InvalidOption(
            f"Unknown objective {objective!r}: choose from {', '.join(OBJECTIVES)}."
        )
    name = name or model
    quiet.load_tensorflow()
    from compression import flow, stacks
    from compression import report as reports
    from zoo.training.runs import Run, latest_run

    stack = None if recipe is None else stacks.parse(recipe)  # before anything is loaded
    chosen = Run.open(run) if run else latest_run(runs, model)
    if chosen.model != model:
        raise RunError(f"The run {chosen.folder} trained {chosen.model}, not {model}.")
    say = output.errors()
    subject = flow.subject_of(chosen, seed=seed)
    if stack is not None:
        stacks.check_model(stack, subject)  # before anything is published
    parent = flow.parent_of(chosen, store, name, say)
    subject = dataclasses.replace(subject, parent=parent)
    if stack is not None:
        subject = stacks.apply(stack, subject, epochs=epochs, console=say)
    else:
        from compression import search

        found = search.compress(
            subject,
            max_drop=max_drop,
            objective=objective,
            epochs=epochs,
            time_limit=time_limit,
            # the same for the same question, so that an interrupted search goes on
            folder=out / f"{name}-search-{chosen.folder.name}-{objective}-{max_drop:g}",
            console=say,
        )
        subject = found.chosen
    version = flow.publish_measured(
        subject,
        store,
        name,
        max_drop=None if force else max_drop,
        rounds=rounds,
        over_grpc=served,
        console=say,
    )
    made = reports.from_store(store, name)
    paths = reports.write(made, out / f"{name}-{version.name}")
    _print(made, as_json)
    for path in [] if as_json else [*paths, version]:
        typer.echo(str(path))


def report(
    name: Annotated[str, typer.Argument(help="Name of the servable in the store.")],
    store: Store = Path("store"),
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure all versions anew, which takes a minute.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Of timing, with --measure.")] = 7,
    picture: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="PNG file to draw the versions into."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Size, accuracy and speed of all versions of a model, each against its parent.

    The figures are those in the model cards; --measure makes them anew, in one run, and writes
    them there.

    Examples:

      zoo report cnn

      zoo report cnn --measure --picture cnn.png
    """
    from compression import report as reports

    if measure:
        quiet.load_tensorflow()
        from compression import flow

        flow.measure_all(store, name, output.errors(), rounds=rounds)
    made = reports.from_store(store, name)
    if picture is not None:
        from compression.picture import picture as draw

        picture.write_bytes(draw(made))
    _print(made, as_json)


def _print(made: dict[str, Any], as_json: bool) -> None:
    from compression import report as reports

    if as_json:
        output.json_lines(made)
    else:
        reports.show(made)
