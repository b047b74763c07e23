"""`zoo demo`: the whole way once, from the recipe to answers of a server."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from zoo import quiet, registry
from zoo.cli import output
from zoo.cli import train as training_verb
from zoo.cli.ask import ask, connect
from zoo.cli.inputs import write_sample
from zoo.cli.publish import Store

if TYPE_CHECKING:
    from zoo.datasets import Dataset

PROMPT = 5  # words of a text that a language model is to go on with


def demo(
    model: Annotated[str, typer.Argument(help="A name that zoo list shows.")] = "cnn",
    dataset: Annotated[Optional[str], typer.Option(help="Another data set.")] = None,  # noqa: UP045
    epochs: Annotated[Optional[int], typer.Option(help="Instead of the recipe's.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and dropout.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=100, help="Test examples to ask.")] = 8,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders.")] = Path("runs"),
    store: Store = Path("store"),
) -> None:
    """Train, export, serve, ask over REST and gRPC, compare with the truth, stop.

    Example:

      zoo demo cnn --epochs 3
    """
    recipe = registry.get(model).recipe.replace(dataset=dataset, epochs=epochs)
    quiet.load_tensorflow()
    from serving.server import background
    from zoo import datasets, training
    from zoo.export.runs import export_run

    say = output.errors()
    say.rule(f"train {model} on {recipe.dataset}", align="left")
    run = training.train(
        model,
        recipe=recipe,
        seed=seed,
        runs=runs,
        command=shlex.join(["zoo", *sys.argv[1:]]),
        console=say,
    )
    training_verb.show(run, as_json=False)
    say.rule("export", align="left")
    version = export_run(run, store)
    say.print(f"{version}", highlight=False, soft_wrap=True)
    say.rule("serve and ask", align="left")
    data = datasets.load(run.info["dataset"])
    with tempfile.TemporaryDirectory() as folder, background(store) as server:
        files = [
            str(write_sample(Path(folder) / f"test-{i}", _question(data, i))) for i in range(count)
        ]
        number = int(version.name)
        with connect(False, "localhost", server.rest_port) as client:
            rest = ask(client, model, files, number)
        with connect(True, "localhost", server.grpc_port) as client:
            grpc = ask(client, model, files, number)
        say.print(
            f"REST on port {server.rest_port}, gRPC on port {server.grpc_port}", highlight=False
        )
    compare(data, rest, grpc)
    say.print(f"The server has stopped. To go on: zoo serve --store {store}", highlight=False)


def compare(data: Dataset, rest: list[dict[str, Any]], grpc: list[dict[str, Any]]) -> None:
    """Prints truth beside both answers."""
    if data.task.predicts_tokens:
        _compare_texts(data, rest, grpc)
        return
    truth = [data.label("test", index) for index in range(len(rest))]
    columns = ("test example", "true", "predicted over REST", "over gRPC")
    answers = [(_answer(a), _answer(b)) for a, b in zip(rest, grpc, strict=True)]
    output.table(columns, [(i, truth[i], *pair) for i, pair in enumerate(answers)])
    if data.task.kind != "regression":
        right = sum(a["label"] == name for a, name in zip(rest, truth, strict=True))
        typer.echo(f"{right} of {len(truth)} right")


def _compare_texts(data: Dataset, rest: list[dict[str, Any]], grpc: list[dict[str, Any]]) -> None:
    """Prints what was asked, the reference if there is one, and the answer of both protocols."""
    (written,) = rest[0].keys() - {"example", "score"}
    for index, (first, second) in enumerate(zip(rest, grpc, strict=True)):
        rows = [("text", _question(data, index))]
        if data.references:
            rows.append(("reference", data.label("test", index)))
        rows.append((f"{written} ({first['score']:.2f})", first[written]))
        if second[written] != first[written]:
            rows.append(("over gRPC", second[written]))
        output.table((f"test example {index}", ""), rows)
    same = sum(a[written] == b[written] for a, b in zip(rest, grpc, strict=True))
    typer.echo(f"{same} of {len(rest)} equal over REST and gRPC")


def _question(data: Dataset, index: int) -> Any:
    """A test example as a client would send it."""
    example = data.raw("test", index)
    if data.task.kind == "language_model":  # the beginning of a text, for the model to go on
        return " ".join(example.split()[:PROMPT])
    return example


def _answer(answer: dict[str, Any]) -> str:
    if "values" in answer:
        return ", ".join(f"{value:.1f}" for value in answer["values"])
    return f"{answer['label']} ({answer['probabilities'][answer['label']]:.3f})"
