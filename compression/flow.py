"""The way from a run to a published, measured version: what `zoo compress` does, step by step."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.errors import BudgetNotMet
from compression.report import attach, chain_text, measurements_of
from zoo.errors import InvalidOption, StoreError

if TYPE_CHECKING:
    import keras
    from rich.console import Console

    from compression.measure import Version
    from compression.subject import Subject
    from zoo.training import Run

PARENT, CHILD = "parent", "compressed"


def parent_of(run: Run, store: Path, name: str, console: Console | None = None) -> Path:
    """The version in the store that holds the run's model as it was trained; exported if missing.

    Raises:
        RunError: the run is not complete.
        StoreError: the store cannot be written.
    """
    from zoo.export import read_card, versions
    from zoo.export.runs import export_run

    metrics = run.metrics()
    store = Path(store)
    for number in reversed(versions(store, name) if store.is_dir() else []):
        card = read_card(store / name / str(number))
        chain = (card.get("compression") or {}).get("chain")
        same = card.get("metrics", {}).get("test") == metrics["test"]
        if same and not chain and card.get("training", {}).get("seed") == run.info["seed"]:
            return store / name / str(number)
    version = export_run(run, store, name)
    if console is not None:
        console.print(f"{version}: the model as it was trained", highlight=False, soft_wrap=True)
    return version


def subject_of(run: Run, parent: Path | None = None, seed: int | None = None) -> Subject:
    """The run's model as the beginning of a chain; `seed` in place of the run's.

    Raises:
        RunError: the run is damaged.
    """
    from compression.subject import Subject

    subject = dataclasses.replace(Subject.from_run(run), parent=parent)
    return subject if seed is None else dataclasses.replace(subject, seed=seed)


def publish_measured(
    subject: Subject,
    store: Path | str,
    name: str,
    *,
    max_drop: float | None = None,
    rounds: int = 7,
    over_grpc: bool = True,
    console: Console | None = None,
) -> Path:
    """Measures a compressed subject beside its parent, then publishes it with the figures.

    Args:
        subject: with a `parent`.
        store: of the parent, too.
        name: of the servable.
        max_drop: most that the main metric may fall on the validation split; None for no limit.
        rounds: of timing.
        over_grpc: measure it as served, too.
        console: where progress goes.

    Raises:
        BudgetNotMet: it falls further; nothing is published.
        StoreError: the store cannot be written.
    """
    from compression.measure import Version, loaded, measure, quality
    from compression.publish import publish

    with tempfile.TemporaryDirectory(prefix="compressed-") as folder:
        candidate = Version(
            CHILD,
            publish(subject, folder, name),
            subject.model,
            flags=() if subject.form is None else tuple(subject.form.server_flags),
        )
        parent = _parent_version(subject)
        with loaded([parent, candidate]) as servables:
            validation = {
                key: quality.answers(servable, subject.dataset, "validation")
                for key, servable in servables.items()
            }
        drop = validation[PARENT].value - validation[CHILD].value
        if max_drop is not None and drop > max_drop + 1e-9:
            raise BudgetNotMet(
                f"{chain_text([step.to_json() for step in subject.steps])} loses {drop:.4f} of "
                f"{validation[CHILD].name} on the validation split, more than {max_drop:g}: use "
                "weaker techniques or more epochs, or publish it all the same with --force."
            )
        result = measure(
            [parent, candidate],
            subject.dataset,
            rounds=rounds,
            over_grpc=over_grpc,
            console=console,
        )
    row = next(row for row in result["versions"] if row["name"] == CHILD)
    return publish(
        subject,
        store,
        name,
        metrics={
            "validation": dict(validation[CHILD].metrics),
            "test": row["quality"]["all"],
        },
        measurements=measurements_of(result, CHILD),
    )


def _parent_version(subject: Subject) -> Version:

    if subject.parent is None:
        raise InvalidOption("A subject without a parent has nothing to be measured against.")
    return stored_version(subject.parent, PARENT)


def stored_version(path: Path, name: str | None = None) -> Version:
    """A published version, with its architecture where the card says how it was built."""
    from compression.measure import Version
    from zoo.export import read_card

    card = read_card(path)
    flags = tuple((card.get("compression") or {}).get("server_flags") or ())
    return Version(name or path.name, path, _architecture(card), trained=False, flags=flags)


def _architecture(card: Mapping[str, Any]) -> keras.Model | None:
    """The model that a card describes with fresh weights; None if no builder makes it."""
    from compression.subject import listed
    from zoo import registry
    from zoo.errors import ZooError

    training = card.get("training") or {}
    try:
        model = registry.build(training["model"], **listed(training["arguments"]))
    except (KeyError, TypeError, ZooError):
        return None
    total = (card.get("parameters") or {}).get("total")
    return model if model.count_params() == total else None


def measure_all(
    store: Path | str,
    name: str,
    console: Console | None = None,
    *,
    rounds: int = 7,
    over_grpc: bool = True,
) -> None:
    """Measures all versions of a model in one run, and puts the figures into their cards.

    Each is compared with its parent, and one without a parent with the oldest version.

    Raises:
        StoreError: there is no such model, or its cards do not name one data set.
    """
    from compression.measure import measure
    from zoo import datasets
    from zoo.export import read_card, versions

    store = Path(store)
    paths = [store / name / str(number) for number in versions(store, name)]
    if not paths:
        raise StoreError(f"{store} holds no version of {name!r}: export the model first.")
    cards = {path.name: read_card(path) for path in paths}
    result = measure(
        [stored_version(path) for path in paths],
        datasets.load(_data_set(cards, name)),
        parents={number: _parent_number(card, name, cards) for number, card in cards.items()},
        rounds=rounds,
        over_grpc=over_grpc,
        console=console,
    )
    for row in result["versions"]:
        _keep_static(row, cards[row["name"]])
    for path in paths:
        attach(path, measurements_of(result, path.name))


def _data_set(cards: Mapping[str, Mapping[str, Any]], name: str) -> str:
    named = {(card.get("dataset") or {}).get("name") for card in cards.values()}
    if len(named) != 1 or None in named:
        raise StoreError(
            f"The versions of {name} name {'no' if named == {None} else 'more than one'} data set "
            "to be judged with."
        )
    return named.pop()


def _parent_number(card: Mapping[str, Any], name: str, known: Mapping[str, Any]) -> str:
    """The version that a card's version came from where it is still there; else the oldest."""
    parent = (card.get("compression") or {}).get("parent") or {}
    number = str(parent.get("version"))
    return number if parent.get("name") == name and number in known else min(known, key=int)


def _keep_static(row: dict[str, Any], card: Mapping[str, Any]) -> None:
    """Parameters and operations of a version whose Keras model is gone: as its card says."""
    before = ((card.get("compression") or {}).get("measurements") or {}).get("version") or {}
    for key in ("parameters", "nonzero", "macs"):
        if row[key] is None:
            row[key] = before.get(key)
