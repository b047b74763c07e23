"""`zoo predict`: ask a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import numpy as np
import typer

from zoo.cli import output
from zoo.cli.inputs import read_example
from zoo.errors import DataError

if TYPE_CHECKING:
    from serving.client import GrpcClient, RestClient

SIGNATURES = ("predict_bytes", "predict_text", "predict_raw", "serving_default")


def predict(
    model: Annotated[str, typer.Argument(help="Name of a served model.")],
    examples: Annotated[list[str], typer.Argument(help="Image files, texts, or JSON numbers.")],
    grpc: Annotated[bool, typer.Option("--grpc/--rest", help="Protocol.")] = False,
    host: Annotated[str, typer.Option(help="Address of the server.")] = "localhost",
    rest_port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = 8500,
    version: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Version; default: the newest."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Ask a running server for classes with probabilities, or for values.

    Examples:

      zoo predict cnn seven.png

      zoo predict transformer_classifier "oil prices rose" --grpc

      zoo predict mlp_regressor "[0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0, 0.02, -0.02]"
    """
    with connect(grpc, host, grpc_port if grpc else rest_port, timeout) as client:
        answers = ask(client, model, examples, version)
    if as_json:
        output.json_lines(answers)
    elif "values" in answers[0]:
        output.table(("example", "values"), [(a["example"], _row(a["values"])) for a in answers])
    elif len(answers) == 1:
        ranked = list(answers[0]["probabilities"].items())[:top]
        output.table(("class", "probability"), ranked)
    else:
        columns = ("example", *(f"{rank}." for rank in range(1, top + 1)))
        rows = [
            (
                a["example"],
                *(f"{name} {p:.4f}" for name, p in list(a["probabilities"].items())[:top]),
            )
            for a in answers
        ]
        output.table(columns[: len(rows[0])], rows)


def connect(grpc: bool, host: str, port: int, timeout: float = 10.0) -> RestClient | GrpcClient:
    """A client of either protocol."""
    from serving.client import GrpcClient, RestClient

    return (GrpcClient if grpc else RestClient)(host, port, timeout=timeout)


def ask(
    client: RestClient | GrpcClient, model: str, examples: list[str], version: int | None = None
) -> list[dict[str, Any]]:
    """Answers for command line arguments, one dictionary an example.

    Returns:
        `example`, and `label` with `probabilities` (class → probability, most likely first), or
        `values`.
    """
    signatures = client.signatures(model, version=version)
    name = next((name for name in SIGNATURES if name in signatures), None)
    if name is None:
        raise DataError(f"{model} has no signature that takes one example at a time.")
    inputs = signatures[name]["inputs"]
    if len(inputs) != 1:
        raise DataError(f"{model} takes {', '.join(inputs)} together: ask it with serving.client.")
    batch = [read_example(name, model, example) for example in examples]
    answer = client.predict(
        model, {next(iter(inputs)): _array(batch)}, version=version, signature=name
    )
    return [
        {"example": example, **_readable({key: value[i] for key, value in answer.items()})}
        for i, example in enumerate(examples)
    ]


def _array(batch: list[Any]) -> np.ndarray:
    if isinstance(batch[0], (bytes, str)):
        return np.array(batch, dtype=object)
    try:
        return np.array(batch, dtype="float32")
    except ValueError as error:
        raise DataError("The examples have different shapes: ask for one at a time.") from error


def _readable(outputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """One example's outputs, classes ranked."""
    if "classes" in outputs:
        names = [_text(name) for name in outputs["classes"]]
        pairs = zip(names, (float(p) for p in outputs["probabilities"]), strict=True)
        return {
            "label": _text(outputs["label"]),
            "probabilities": dict(sorted(pairs, key=lambda pair: -pair[1])),
        }
    if "probabilities" in outputs:
        ranked = sorted(enumerate(outputs["probabilities"].tolist()), key=lambda pair: -pair[1])
        return {"label": str(ranked[0][0]), "probabilities": {str(k): p for k, p in ranked}}
    return {"values": np.concatenate([np.ravel(value) for value in outputs.values()]).tolist()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _row(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
