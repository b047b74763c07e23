"""`zoo explain`: what in an example speaks for the class that a model gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from rich.console import Console

from zoo import quiet
from zoo.cli import heatmap, output
from zoo.cli.ask import connect
from zoo.cli.inputs import read_example
from zoo.cli.publish import Store
from zoo.errors import DataError, StoreError

EXPLAIN = "explain"
ENTRY = {"image_bytes": "predict_bytes", "text": "predict_text"}  # how read_example knows them


def explain(
    model: Annotated[str, typer.Argument(help="Name of an exported classifier.")],
    example: Annotated[str, typer.Argument(help="An image file, a text, or JSON numbers.")],
    store: Store = Path("store"),
    version: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Version; default: the newest."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("explanation.png"),
    top: Annotated[int, typer.Option(min=1, help="How many words or features to list.")] = 10,
    server: Annotated[
        bool, typer.Option("--server", help="Ask a running server instead of the store.")
    ] = False,
    grpc: Annotated[bool, typer.Option("--grpc", help="Ask a server, over gRPC.")] = False,
    host: Annotated[str, typer.Option(help="Address of the server.")] = "localhost",
    rest_port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = 8500,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the server.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, write nothing.")] = False,
) -> None:
    """Explain a classifier's answer: integrated gradients of the predicted class.

    Images and sequences give a PNG, texts coloured words, features a table. Red speaks for the
    class, blue against it; together they are its probability less that of an empty example.

    Examples:

      zoo explain cnn seven.png --out why-seven.png

      zoo explain transformer_classifier "oil prices rose" --grpc
    """
    if server or grpc:
        with connect(grpc, host, grpc_port if grpc else rest_port, timeout) as client:
            signatures = client.signatures(model, version=version)
            key, raw = _read(model, signatures, example)
            answer = client.predict(model, {key: raw}, version=version, signature=EXPLAIN)
    else:
        key, raw, answer = _from_store(store, model, version, example)
    found = {name: np.asarray(value)[0] for name, value in answer.items()}
    if as_json:
        output.json_lines(_plain(example, found))
        return
    label, chance = _text(found["label"]), float(found["output"])
    title = f"{label} ({chance:.3f}, empty {float(found['baseline_output']):.3f})"
    _show(key, raw[0], found, title, out, top)


def _from_store(
    store: Path, model: str, version: int | None, example: str
) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
    from zoo.export import latest, load, read_card, versions

    if version is not None and version not in versions(store, model):
        raise StoreError(f"{store} holds no version {version} of {model!r}.")
    folder = latest(store, model) if version is None else store / model / str(version)
    key, raw = _read(model, read_card(folder)["signatures"], example)
    quiet.load_tensorflow()
    return key, raw, load(folder)[EXPLAIN](**{key: raw})


def _read(model: str, signatures: dict[str, Any], example: str) -> tuple[str, np.ndarray]:
    """The input's name and a batch of one."""
    if EXPLAIN not in signatures:
        raise DataError(
            f"{model} has no signature {EXPLAIN}: only classifiers do that were exported with "
            "their data set, and without --no-explain."
        )
    (key,) = signatures[EXPLAIN]["inputs"]
    raw = read_example(ENTRY.get(key, key), model, example)
    return key, np.array([raw], object if isinstance(raw, (bytes, str)) else "float32")


def _show(
    key: str, raw: Any, found: dict[str, np.ndarray], title: str, out: Path, top: int
) -> None:
    values = found["attributions"]
    if "tokens" in found:
        words = [_text(word) for word in found["tokens"] if len(word)]
        values = values[: len(words)]
        typer.echo(title)
        Console().print(heatmap.coloured_words(words, values))
        rows = [(words[index], float(values[index])) for index in heatmap.strongest(values, top)]
        output.table(("word", "attribution"), rows)
    elif values.ndim == 1:
        typer.echo(title)
        order = heatmap.strongest(values, top)
        rows = [(index, float(raw[index]), float(values[index])) for index in order]
        output.table(("feature", "value", "attribution"), rows)
    else:
        picture = (
            heatmap.image_overlay(raw, values, title)
            if key == "image_bytes"
            else heatmap.sequence_overlay(values, title)
        )
        out.write_bytes(picture)
        typer.echo(f"{title}: {out}")


def _plain(example: str, found: dict[str, np.ndarray]) -> dict[str, Any]:
    names = [_text(name) for name in found["classes"]]
    plain = {
        "example": example,
        "label": _text(found["label"]),
        "probabilities": dict(zip(names, map(float, found["probabilities"]), strict=True)),
        "output": float(found["output"]),
        "baseline_output": float(found["baseline_output"]),
        "attributions": found["attributions"].tolist(),
    }
    if "tokens" in found:
        plain["tokens"] = [_text(token) for token in found["tokens"]]
    return plain


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
