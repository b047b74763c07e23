"""From a run to the store, and from the store to a server's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from zoo import quiet, registry
from zoo.cli import output

Store = Annotated[Path, typer.Option(help="Folder of the model store.")]


def export(
    model: Annotated[str, typer.Argument(help="A name that zoo list shows.")],
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Run folder; default: the model's newest complete run."),
    ] = None,
    store: Store = Path("store"),
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Name of the servable; default: the model's."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders.")] = Path("runs"),
    beam: Annotated[
        int, typer.Option(min=1, help="Of a translator: sequences kept at every step.")
    ] = 1,
    new_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Of a text generator: most tokens that it adds to a text."),
    ] = None,
    explain: Annotated[
        bool, typer.Option(help="Of a classifier: with a signature that explains its answers.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the model card.")] = False,
) -> None:
    """Publish a trained model as the next version in the store.

    Examples:

      zoo export cnn

      zoo export cnn --run runs/cnn/20261122-013000 --name digits

      zoo export transformer_translator --beam 4
    """
    registry.get(model)
    quiet.load_tensorflow()
    from zoo.errors import RunError
    from zoo.export import read_card
    from zoo.export.options import Decoding
    from zoo.export.runs import export_run
    from zoo.training.runs import Run, latest_run

    chosen = Run.open(run) if run else latest_run(runs, model)
    if chosen.model != model:
        raise RunError(f"The run {chosen.folder} trained {chosen.model}, not {model}.")
    version = export_run(chosen, store, name, Decoding(beam, new_tokens), explain=explain)
    card = read_card(version)
    if as_json:
        output.json_lines(card)
        return
    rows = []
    for signature, tensors in card["signatures"].items():
        inputs, outputs = (
            ", ".join(f"{key} {_spec(spec)}" for key, spec in tensors[side].items())
            for side in ("inputs", "outputs")
        )
        rows.append((signature, inputs, outputs))
    output.table(("signature", "inputs", "outputs"), rows)
    typer.echo(f"{version}")


def _spec(spec: dict) -> str:
    sizes = ", ".join("?" if size in (None, -1) else str(size) for size in spec["shape"])
    return f"{spec['dtype']} ({sizes})"


def config(
    store: Store = Path("store"),
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("config"),
) -> None:
    """Write models.config, batching.config and monitoring.config for the store.

    They are TensorFlow Serving's own text format; zoo serve --config and the tensorflow/serving
    container read the same files.
    """
    from serving import config as files

    for path in files.write(store, out):
        typer.echo(str(path))


def sample(
    dataset: Annotated[str, typer.Argument(help="A name that zoo datasets shows.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many test examples.")] = 5,
    first: Annotated[int, typer.Option(min=0, help="Number of the first one.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("samples"),
) -> None:
    """Write test examples as files that zoo predict takes: PNG, text or JSON."""
    quiet.load_tensorflow()
    from zoo import datasets
    from zoo.cli.inputs import write_sample

    data = datasets.load(dataset)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(first, first + count):
        path = write_sample(out / f"{dataset}-{index}", data.raw("test", index))
        rows.append((path, data.label("test", index)))
    output.table(("file", "true"), rows)
