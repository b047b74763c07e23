"""`zoo predict`: ask a running server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Optional

import numpy as np
import typer

from zoo.cli import output
from zoo.cli.inputs import read_example
from zoo.errors import DataError, InvalidOption

if TYPE_CHECKING:
    from serving.client import GrpcClient, RestClient

SIGNATURES = ("predict_bytes", "predict_text", "generate_text", "predict_raw", "serving_default")
# What a text generator takes beside its text, with the values where none are given.
SAMPLING = {"temperature": np.float32(0.8), "top_k": np.int32(40), "seed": np.int64(0)}
WRITTEN = ("translation", "continuation", "filled")  # outputs that are text


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
    temperature: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Of a text generator: 0 takes the most probable token; default 0.8."),
    ] = None,
    top_k: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of a text generator: tokens to choose among, 0 for all; default 40."),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of a text generator: the same seed gives the same text; default 0."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Ask a running server for classes with probabilities, for values, or for text.

    Examples:

      zoo predict cnn seven.png

      zoo predict transformer_classifier "oil prices rose" --grpc

      zoo predict mlp_regressor "[0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0, 0.02, -0.02]"

      zoo predict transformer_translator "Turn on the light"

      zoo predict transformer_encoder "the company [MASK] it will pay a dividend"

      zoo predict causal_lm "Oil prices" --temperature 0.7 --top-k 20 --seed 3
    """
    options = {"temperature": temperature, "top_k": top_k, "seed": seed}
    options = {name: value for name, value in options.items() if value is not None}
    with connect(grpc, host, grpc_port if grpc else rest_port, timeout) as client:
        answers = ask(client, model, examples, version, options)
    written = next((name for name in WRITTEN if name in answers[0]), None)
    if as_json:
        output.json_lines(answers)
    elif written:
        columns = (written, "score") if len(answers) == 1 else ("example", written, "score")
        output.table(columns, [[a[column] for column in columns] for a in answers])
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
    client: RestClient | GrpcClient,
    model: str,
    examples: list[str],
    version: int | None = None,
    options: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Answers for command line arguments, one dictionary an example.

    Args:
        options: values for inputs of `SAMPLING`, the same for every example.

    Returns:
        `example`, and `label` with `probabilities` (class → probability, most likely first),
        `values`, or `translation`, `continuation` or `filled` with `score`.

    Raises:
        InvalidOption: the model has no such input.
    """
    signatures = client.signatures(model, version=version)
    name = next((name for name in SIGNATURES if name in signatures), None)
    if name is None:
        raise DataError(f"{model} has no signature that takes one example at a time.")
    inputs = signatures[name]["inputs"]
    own = [key for key in inputs if key not in SAMPLING]
    if len(own) != 1:
        raise DataError(f"{model} takes {', '.join(inputs)} together: ask it with serving.client.")
    for option in options or {}:
        if option not in inputs:
            raise InvalidOption(f"{model} takes no {option}: only text generators do.")
    batch = {own[0]: _array([read_example(name, model, example) for example in examples])}
    for key in set(inputs) - set(own):
        batch[key] = _repeated(key, (options or {}).get(key, SAMPLING[key]), len(examples))
    answer = client.predict(model, batch, version=version, signature=name)
    return [
        {"example": example, **_readable({key: value[i] for key, value in answer.items()})}
        for i, example in enumerate(examples)
    ]


def _repeated(name: str, value: float, count: int) -> np.ndarray:
    try:
        return np.full(count, value, SAMPLING[name].dtype)
    except OverflowError as error:
        kind = SAMPLING[name].dtype
        raise InvalidOption(f"{name} is {value}, which is no {kind}: choose another.") from error


def _array(batch: list[Any]) -> np.ndarray:
    if isinstance(batch[0], (bytes, str)):
        return np.array(batch, dtype=object)
    try:
        return np.array(batch, dtype="float32")
    except ValueError as error:
        raise DataError("The examples have different shapes: ask for one at a time.") from error


def _readable(outputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """One example's outputs, classes ranked."""
    for written in WRITTEN:
        if written in outputs:
            return {written: _text(outputs[written]), "score": float(outputs["scores"])}
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
