"""One row: the trained model, its compressed version and the peers, measured together."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compression import peers
from benchmarks.compression.cases import Case, verdicts
from compression.measure import Version, export_plain, measure, speed
from zoo.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from compression.subject import Subject
    from zoo.training import Run

PLAIN, ZOO, COMPRESSED = "plain export", "zoo export", "compressed"
KEPT = (
    "name", "bytes", "gzip_bytes", "parameters", "nonzero", "macs", "quality", "change",
    "in_process", "served", "ratios",
)  # fmt: skip


def trained(case: Case, runs: Path, seed: int, console: Console) -> Run:
    """The newest complete run of the case's model with its arguments; trained if there is none."""
    from zoo import registry
    from zoo.training import train
    from zoo.training.runs import Run, latest_run

    for folder in sorted((runs / case.model).glob("*/run.json"), reverse=True):
        run = Run.open(folder.parent)
        if run.complete and _same(run.info, case):
            return run
    console.print(f"training {case.name}", highlight=False)
    recipe = registry.get(case.model).recipe.replace(epochs=case.epochs)
    train(
        case.model, recipe=recipe, arguments=dict(case.arguments), seed=seed, runs=runs,
        console=console,
    )  # fmt: skip
    run = latest_run(runs, case.model)
    if not _same(run.info, case):
        raise RunError(f"The run {run.folder} is not that of {case.name}.")
    return run


def _same(info: dict[str, Any], case: Case) -> bool:
    """A run of the case's sizes: those that it names, and the builder's own for all others."""
    from zoo import registry

    entry = registry.get(case.model)
    defaults = {
        name: parameter.default
        for name, parameter in entry.parameters.items()
        if parameter.default is not parameter.empty
    }
    sizes = {"filters", "dense_units", "units", "width", "num_heads", "feed_forward", "num_blocks"}
    wanted = {**defaults, **entry.recipe.arguments, **case.arguments}
    found = {**defaults, **info["arguments"]}
    return all(_plain(wanted[name]) == _plain(found[name]) for name in sizes & wanted.keys())


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def measured(
    case: Case,
    runs: Path,
    console: Console,
    *,
    seed: int = 0,
    rounds: int = speed.ROUNDS,
    stack: str | None = None,
    with_peers: bool = True,
) -> dict[str, Any]:
    """The row of a case, as it is kept: `versions`, `ratios`, `drop`, `targets`, `met`."""
    from compression import stacks
    from compression.publish import publish
    from compression.subject import Subject
    from zoo.export import export

    run = trained(case, runs, seed, console)
    subject = Subject.of(run)
    began = time.perf_counter()
    text = stack or case.stack
    console.print(f"{case.name}: {text}", highlight=False)
    made = stacks.apply(text, subject, console=console)
    seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="compression-") as folder:
        place = Path(folder)
        plain = export_plain(subject.model, place / "plain")
        exported = export(subject.model, place / "zoo", case.name, dataset=subject.dataset)
        flags = () if made.form is None else tuple(made.form.server_flags)
        versions = [
            Version(PLAIN, plain, subject.model),
            Version(ZOO, exported, subject.model),
            Version(COMPRESSED, publish(made, place, case.name), made.model, flags=flags),
        ]
        others, missing = [], {}
        if with_peers:
            others, missing = peers.versions(subject, plain, place / "peers", console)
        result = measure([*versions, *others], subject.dataset, rounds=rounds, console=console)
    return _row(case, text, subject, made, result, missing, seconds)


def _row(
    case: Case,
    text: str,
    subject: Subject,
    made: Subject,
    result: dict[str, Any],
    missing: dict[str, str],
    seconds: float,
) -> dict[str, Any]:
    by_name = {row["name"]: row for row in result["versions"]}
    ours = by_name[COMPRESSED]
    drop = ours["change"]["drop"]
    return {
        "name": case.name,
        "model": case.model,
        "arguments": _plain({**subject.arguments}),
        "data_set": result["dataset"],
        "stack": text,
        "chain": [step.to_json() for step in made.steps],
        "compressed_arguments": _plain({**made.arguments}),
        "seconds": round(seconds, 1),
        "rounds": result["rounds"],
        "client": result["client"],
        "targets": {
            "gzip": case.targets.gzip,
            "batch_1": case.targets.batch_1,
            "batch_32": case.targets.batch_32,
            "drop": case.targets.drop,
        },
        "ratios": ours["ratios"],
        "drop": drop,
        "met": verdicts(case.targets, ours["ratios"], drop),
        "versions": [{key: row[key] for key in KEPT if key in row} for row in result["versions"]],
        "missing": missing,
    }
