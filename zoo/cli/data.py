"""`zoo data`: what a data set holds, in numbers and as a sheet of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from zoo import quiet
from zoo.cli import output

if TYPE_CHECKING:
    from zoo.datasets import Dataset


def data(
    name: Annotated[str, typer.Argument(help="A name that zoo datasets shows.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The sheet of samples to write; default: NAME.png."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, validation or test: where samples are from.")
    ] = ("train"),
    seed: Annotated[int, typer.Option(min=0, help="Which samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show a data set: splits, classes, shapes, licence, source; write a sheet of samples.

    Examples:

      zoo data mnist

      zoo data reuters_r8 --split test --out news.png
    """
    from zoo import datasets

    datasets.describe(name)  # an unknown name is told before TensorFlow is loaded
    quiet.load_tensorflow()
    from zoo.datasets.facts import facts
    from zoo.datasets.sheet import sheet

    loaded = datasets.load(name)
    loaded.split(split)
    found = facts(loaded)
    picture = out or Path(f"{name.replace(':', '-').replace('/', '-')}.png")
    picture.write_bytes(sheet(loaded, split, seed))
    if as_json:
        output.json_lines({**found, "summary": datasets.describe(name).summary, "sheet": picture})
        return
    typer.echo(f"{name}: {datasets.describe(name).summary}\n")
    _show(loaded, found, split)
    typer.echo(f"\nlicence  {found['licence']}\nsource   {found['source']}\nsheet    {picture}")


def _show(loaded: Dataset, found: dict[str, Any], split: str) -> None:
    rows = [
        (name, f"{part['examples']:,}", _forms(part["inputs"]), _form(part["targets"]))
        for name, part in found["splits"].items()
    ]
    output.table(("split", "examples", "inputs, of each", "target"), rows)
    typer.echo("")
    if "classes" in found:
        splits = list(found["splits"])
        rows = [(label, *(count[s] for s in splits)) for label, count in found["classes"].items()]
        output.table(("class", *splits), rows)
    elif "targets" in found:
        columns = ("mean", "std", "least", "largest")
        rows = [[target[column] for column in columns] for target in found["targets"]]
        output.table(columns, rows)
    else:
        columns = found.get("languages", ("example", "answer"))
        output.table(columns, [_pair(loaded, split, index) for index in range(5)])


def _pair(loaded: Dataset, split: str, index: int) -> tuple[str, str]:
    pair = loaded.raw(split, index), loaded.label(split, index)
    return tuple(text if len(text) <= 70 else f"{text[:69]}…" for text in map(str, pair))


def _forms(inputs: dict[str, Any]) -> str:
    return ", ".join(
        _form(one) if key == "x" else f"{key} {_form(one)}" for key, one in inputs.items()
    )


def _form(one: dict[str, Any]) -> str:
    return f"{one['dtype']} ({', '.join(map(str, one['shape']))})" if one["shape"] else one["dtype"]
