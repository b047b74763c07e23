"""What there is: models and data sets. Nothing here loads TensorFlow."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from zoo import datasets, registry
from zoo.cli import output

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def list_models(
    pattern: Annotated[str, typer.Argument(help="Shell pattern, as in '*rnn*'.")] = "*",
    sizes: Annotated[bool, typer.Option("--sizes", help="List the published sizes.")] = False,
    as_json: Json = False,
) -> None:
    """List the models and what they are trained on."""
    entries = [registry.get(name) for name in registry.list_models(pattern)]
    if sizes:
        _list_sizes(entries, as_json)
        return
    if as_json:
        output.json_lines(
            [{"name": e.name, "summary": e.summary, "recipe": e.recipe.to_json()} for e in entries]
        )
        return
    output.table(
        ("model", "data set", "epochs", "what it is"),
        [(e.name, e.recipe.dataset, e.recipe.epochs, e.summary) for e in entries],
    )


def _list_sizes(entries: list[registry.Entry], as_json: bool) -> None:
    found = [(entry.name, name, size) for entry in entries for name, size in entry.sizes.items()]
    if as_json:
        output.json_lines(
            [{"model": model, "size": name, **size.to_json()} for model, name, size in found]
        )
        return
    output.table(
        ("model", "size", "parameters", "what is counted", "source"),
        [(model, name, f"{s.parameters:,}", s.counted, s.source) for model, name, s in found],
    )


def show(
    model: Annotated[str, typer.Argument(help="A name that zoo list shows.")],
    as_json: Json = False,
) -> None:
    """Show a model's documentation, arguments and recipe."""
    entry = registry.get(model)
    recipe = entry.recipe.to_json()
    arguments = {name: p.default for name, p in entry.parameters.items()}
    if as_json:
        shown = {"name": model, "arguments": arguments, "recipe": recipe}
        sizes = {name: size.to_json() for name, size in entry.sizes.items()}
        output.json_lines({**shown, "sizes": sizes} if sizes else shown)
        return
    typer.echo(inspect.getdoc(entry.builder))
    typer.echo("")
    output.table(("argument", "default"), arguments.items())
    typer.echo("")
    output.table(("recipe", "value"), recipe.items())
    if entry.sizes:
        typer.echo("")
        _list_sizes([entry], as_json=False)


def list_datasets(
    pattern: Annotated[str, typer.Argument(help="Shell pattern, as in 'reuters*'.")] = "*",
    as_json: Json = False,
) -> None:
    """List the data sets: embedded ones, and those that need the internet."""
    found = [datasets.describe(name) for name in datasets.list_datasets(pattern)]
    if as_json:
        output.json_lines([vars(info) for info in found])
        return
    output.table(
        ("data set", "task", "size", "needs internet", "what it is"),
        [(i.name, i.task, i.size, "no" if i.offline else "yes", i.summary) for i in found],
    )
