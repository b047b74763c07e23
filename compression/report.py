"""The report about all versions of a model: table, JSON and picture, from what their cards hold."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import StoreError

COLUMNS = (
    "version", "chain", "KiB", "gzip KiB", "parameters", "non-zero", "MACs",
    "accuracy", "agreement", "p50 ms", "p99 ms", "examples/s at 32",
    "gzip", "speed 1", "speed 32",
)  # fmt: skip
PLACES = {"in_process": "in process", "served": "over gRPC"}


def from_store(store: Path | str, name: str) -> dict[str, Any]:
    """What the cards of all versions of a model say; JSON's own values.

    Returns:
        `name` and `versions`, oldest first: `version`, `chain`, `form`, `needs`, `server_flags`,
        `parent`, `skipped`, and `measured`: the row of `compression.measure`, None where a
        version was never measured. `parent_measured` is the parent's row of the same run.

    Raises:
        StoreError: there is no such model, or a card is damaged.
    """
    from zoo.export import read_card, versions

    store, found = Path(store), []
    numbers = versions(store, name)
    if not numbers:
        raise StoreError(f"{store} holds no version of {name!r}: run zoo compress or zoo export.")
    for number in numbers:
        card = read_card(store / name / str(number))
        found.append({"version": number, **of_card(card)})
    _measured_as_parents(found, name)
    return {"name": name, "versions": found}


def of_card(card: Mapping[str, Any]) -> dict[str, Any]:
    """The part of one version."""
    about = card.get("compression") or {}
    measurements = about.get("measurements") or {}
    return {
        "chain": about.get("chain") or [],
        "form": about.get("form", "savedmodel"),
        "needs": about.get("needs") or [],
        "server_flags": about.get("server_flags") or [],
        "parent": about.get("parent"),
        "skipped": skipped(about.get("chain") or []),
        "dataset": (card.get("dataset") or {}).get("name"),
        "measured": measurements.get("version"),
        "parent_measured": measurements.get("parent"),
        "run": measurements.get("run"),
    }


def _measured_as_parents(found: Sequence[dict[str, Any]], name: str) -> None:
    """A version that was never measured by itself has the row of its newest child's run."""
    by_number = {row["version"]: row for row in found}
    for row in reversed(found):
        parent = row["parent"] or {}
        other = by_number.get(parent.get("version")) if parent.get("name") == name else None
        if other is not None and other["measured"] is None and row["parent_measured"]:
            other["measured"], other["run"] = row["parent_measured"], row["run"]


def skipped(chain: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What the techniques left alone: `technique`, `layer`, `reason`."""
    return [
        {"technique": step["technique"], "layer": layer, "reason": reason}
        for step in chain
        for layer, reason in step.get("skipped", {}).items()
    ]


def chain_text(chain: Sequence[Mapping[str, Any]]) -> str:
    """The techniques in a row, as `shrink+distill+dynamic_range`."""
    return "+".join(step["technique"] for step in chain) or "as trained"


def measurements_of(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a card keeps of a run of `compression.measure.measure`: this version and the parent."""
    rows = {row["name"]: row for row in result["versions"]}
    about = {key: value for key, value in result.items() if key != "versions"}
    return {"version": rows[name], "parent": rows[rows[name]["parent"]], "run": about}


def attach(version: Path, measurements: Mapping[str, Any]) -> None:
    """Puts measurements into the card of a published version; its checksum stays right.

    The card is replaced whole, so that a reader never sees half of one.
    """
    from zoo.export.card import CARD, read_card, write_card

    card = read_card(version)
    about = dict(card.get("compression") or {"chain": [], "parent": None, "form": "savedmodel"})
    card["compression"] = {**about, "measurements": dict(measurements)}
    temporary = version.parent / f".card-{version.name}-{os.getpid()}"
    try:
        temporary.mkdir(exist_ok=True)
        write_card(temporary, card)
        os.replace(temporary / CARD, version / CARD)
    except OSError as error:
        raise StoreError(f"Cannot write the model card of {version}: {error.strerror}.") from error
    finally:
        (temporary / CARD).unlink(missing_ok=True)
        if temporary.is_dir():
            temporary.rmdir()


# === Table ===


def rows(report: Mapping[str, Any], place: str = "in_process") -> list[list[str]]:
    """The table's cells, in the order of `COLUMNS`.

    Args:
        report: of `from_store`.
        place: `in_process` or `served`: whose speed.
    """
    return [
        [str(version["version"]), chain_text(version["chain"]), *cells(version["measured"], place)]
        for version in report["versions"]
    ]


def cells(row: Mapping[str, Any] | None, place: str) -> list[str]:
    """The cells of a measured row, after version and chain."""
    if row is None:
        return ["not measured", *[""] * (len(COLUMNS) - 3)]
    quality, change, speed = row["quality"], row["change"], row.get(place) or {}
    one, many = speed.get("batch_1", {}), speed.get("batch_32", {})
    ratios = row["ratios"]
    return [
        f"{row['bytes'] / 1024:,.1f}",
        f"{row['gzip_bytes'] / 1024:,.1f}",
        _count(row["parameters"]),
        _count(row["nonzero"]),
        _count(row["macs"]),
        f"{quality['value']:.4f} ± {quality['interval']:.4f}",
        _number(change["agreement"], ".4f"),
        _number(one.get("p50_ms"), ".3f"),
        _number(one.get("p99_ms"), ".3f"),
        _number(many.get("examples_per_second"), ",.0f"),
        f"{ratios['gzip_bytes']:.3f}",
        _number(ratios.get(f"{place}_batch_1"), ".2f", "×"),
        _number(ratios.get(f"{place}_batch_32"), ".2f", "×"),
    ]


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def show(report: Mapping[str, Any]) -> None:
    """Prints a table for each place of measurement, and what was skipped and is needed."""
    from zoo.cli import output

    shown = list(PLACES)[: 2 if any(_served(version) for version in report["versions"]) else 1]
    for place in shown:
        output.table(COLUMNS, rows(report, place), f"{report['name']}, {PLACES[place]}")
        print()  # noqa: T201 - between two tables
    lines = notes(report)
    left = [
        [str(version["version"]), *item.values()]
        for version in report["versions"]
        for item in version["skipped"]
    ]
    if left:
        output.table(("version", "technique", "layer", "left alone because"), left)
        print()  # noqa: T201
    for line in lines:
        print(line)  # noqa: T201


def _served(version: Mapping[str, Any]) -> bool:
    return bool((version["measured"] or {}).get("served"))


def notes(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each version that needs something, loses accuracy or is slower."""
    lines = []
    for version in report["versions"]:
        row, label = version["measured"], f"Version {version['version']}"
        if version["needs"] or version["server_flags"]:
            wanted = ", ".join([*version["needs"], *version["server_flags"]])
            lines.append(f"{label} needs {wanted}.")
        if row is None or version["parent"] is None:
            continue
        lines.append(f"{label}: {difference(row)}.")
        slow = [
            f"{ratio:.2f}× at batch {batch} {where}"
            for place, where in PLACES.items()
            for batch in (1, 32)
            if (ratio := row["ratios"].get(f"{place}_batch_{batch}")) is not None and ratio < 0.95
        ]
        if slow:
            lines.append(f"{label} is slower than its parent here: {', '.join(slow)}.")
    return lines


def difference(row: Mapping[str, Any]) -> str:
    """What accuracy became, as words."""
    quality, change = row["quality"], row["change"]
    drop, width = change["drop"], change.get("drop_interval")
    words = f"{quality['metric']} {'falls' if drop > 0 else 'rises'} by {abs(drop):.4f}"
    return words if width is None else f"{words} ± {width:.4f}, of paired answers"


# === Files ===


def write(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `report.json` and `report.png` into a folder; their paths."""
    from compression.picture import picture

    folder.mkdir(parents=True, exist_ok=True)
    text, image = folder / "report.json", folder / "report.png"
    text.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    image.write_bytes(picture(report))
    return [text, image]
