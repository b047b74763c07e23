"""Writes `docs/models.md` from the registry and the kept figures: `python -m benchmarks.docs`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zoo
from benchmarks import readme, record
from benchmarks.published import PUBLISHED
from benchmarks.transfer import MODEL
from zoo import datasets

PAGE = Path(__file__).parent.parent / "docs" / "models.md"


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


def page() -> str:
    """The whole page as Markdown."""
    exports = record.read("exports")
    rows = {row["model"]: row for row in exports["rows"]}
    results = record.read("models")
    parts = [
        "# Models",
        "",
        "Written by `make docs` from the registry and from `benchmarks/results/`.",
        "",
        f"Results: {readme.machine(results['machine'])}. Sizes and latencies of exports: "
        f"{readme.machine(exports['machine'])}; latency is the median of `serving_default` in "
        "the embedded server's session, in process, on validation examples.",
        "",
        *[f"- [`{name}`](#{name}): {zoo.get(name).summary}" for name in zoo.list_models()],
        "",
        *sizes(),
    ]
    parts += ["", *transfer()]
    for name in zoo.list_models():
        found = [row for row in results["rows"] if row["model"] == name]
        parts += ["", *section(name, rows[name], found)]
    return "\n".join(parts) + "\n"


def sizes() -> list[str]:
    """The published sizes of all models."""
    lines = [
        "## Published sizes",
        "",
        "| model | size | parameters | source |",
        "|---|---|---|---|",
    ]
    for name in zoo.list_models():
        for size, entry in zoo.get(name).sizes.items():
            lines.append(f"| `{name}` | `{size}` | {entry.parameters:,} | {entry.source} |")
    return lines


def transfer() -> list[str]:
    """Whether pre-training helps where labels are few."""
    kept = record.read("transfer")
    lines = [
        "## Transfer learning",
        "",
        f"`{MODEL}` on {kept['rows'][0]['images']} images of `{kept['target']}`, pre-trained on "
        f"`{kept['source']}`: test accuracy, {kept['rows'][0]['epochs']} epochs, seeds "
        f"{kept['rows'][0]['seeds']}. `python -m benchmarks.transfer` measures it.",
        "",
        "| way | mean | lowest | highest |",
        "|---|---|---|---|",
    ]
    for row in kept["rows"]:
        figures = (f"{row[key]:.4f}" for key in ("mean", "lowest", "highest"))
        lines.append(f"| {row['way']} | {' | '.join(figures)} |")
    return lines


def section(name: str, export: Mapping[str, Any], results: list[Mapping[str, Any]]) -> list[str]:
    """One model: text, diagram, facts, results, signatures."""
    entry = zoo.get(name)
    data = datasets.describe(entry.recipe.dataset)
    document = inspect.getdoc(entry.builder)
    published = PUBLISHED.get(name)
    lines = [
        f"## {name}",
        "",
        entry.summary,
        "",
        f"```mermaid\n{export['diagram']}\n```",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {export['parameters']:,} with {_arguments(export['arguments'])} |",
        f"| data set | `{data.name}`: {data.summary} |",
        f"| its licence | {data.licence} |",
        f"| its source | {data.source} |",
    ]
    lines += [f"| measured | {_result(row)} |" for row in results]
    if published:
        lines.append(f"| published | {published[0]} ({published[1]}) |")
    else:
        lines.append("| published | none known on this data |")
    lines += [
        f"| export | {megabytes(export['bytes'])}, {megabytes(export['gzip_bytes'])} gzipped |",
        f"| latency | {export['batch_1_ms']:.3g} ms at batch 1, "
        f"{export['batch_32_ms']:.3g} ms at batch 32 |",
        f"| paper | {document.splitlines()[-1].strip()} |",
        "",
        "| signature | inputs | outputs |",
        "|---|---|---|",
    ]
    for signature, tensors in export["signatures"].items():
        inputs, outputs = (
            "<br>".join(f"`{key}` {_spec(spec)}" for key, spec in tensors[side].items())
            for side in ("inputs", "outputs")
        )
        lines.append(f"| `{signature}` | {inputs} | {outputs} |")
    return lines


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"


def _result(row: Mapping[str, Any]) -> str:
    places = 4 if abs(row["mean"]) < 1 else 2
    text = f"{row['metric']} **{row['mean']:.{places}f}** on {row['data_set']}, "
    text += f"seed{'s' if len(row['values']) > 1 else ''} {row['seeds']}"
    if "chrf" in row:
        text += f"; chrF {row['chrf']:.2f}"
    for name, value in row.get("baseline", {}).items():
        text += f"; baseline {name} {value:.{places}f}"
    if "bleu_signature" in row:
        text += f" (sacrebleu `{row['bleu_signature']}`)"
    return text


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in arguments.items()) or "defaults"


def _spec(spec: Mapping[str, Any]) -> str:
    shape = ", ".join("?" if size in (None, -1) else str(size) for size in spec["shape"])
    return f"{spec['dtype']} ({shape})"


if __name__ == "__main__":
    main()
