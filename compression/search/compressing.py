"""The search: scan, chains of candidates, and the choice."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.errors import BudgetNotMet, NotApplicable
from compression.search import chains, saved, sensitivity, showing
from compression.search.judging import Judge
from compression.search.result import Result
from compression.subject import Subject
from zoo.errors import InvalidOption, TrainingInterrupted

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.datasets import Dataset

OBJECTIVES = {"latency": ("cost", "gzip_bytes"), "size": ("gzip_bytes", "cost")}
FORM = "dynamic_range"
SMALLER = ("int4", "int4_embeddings")  # forms to try on what was found, where size counts
WEAKER = ("float16", "float32")  # forms that lose less, where nothing else is within the budget
CLUSTERS = 16


def compress(
    thing: Any,
    data: Dataset | None = None,
    *,
    max_drop: float = 0.005,
    objective: str = "latency",
    seed: int | None = None,
    epochs: float | None = None,
    time_limit: float | None = None,
    folder: Path | str | None = None,
    store: Path | str | None = None,
    name: str | None = None,
    console: Console | None = None,
    **rest: Any,
) -> Result:
    """The fastest or smallest version that loses at most `max_drop` on the validation split.

    Each layer is first compressed alone, which says how sensitive it is. Then candidates are
    tried from the strongest on, the most sensitive layers given back, until one is within the
    budget. The test split is asked once, about the one that is chosen.

    Args:
        thing: a run, a Subject, or a model with `builder` and `arguments` in `rest`.
        data: what it is trained further and judged with; default: its own.
        max_drop: of the task's main metric: accuracy, or R² of a regression.
        objective: `latency`: fewest operations, weighed by the speed of the form, then bytes;
            `size`: fewest bytes after gzip. Neither hangs on the clock, so that the same seed
            chooses the same.
        seed: of everything random; default: the subject's.
        epochs: of training after each technique; default: see `compression.stacks.apply`.
        time_limit: seconds after which no trial begins; the best so far is chosen.
        folder: keeps every finished trial; the same call goes on where another ended.
        store: publishes the chosen version there.
        name: of the published model; default: its builder's.
        console: where progress and the table of trials go.

    Raises:
        InvalidOption: options without sense, or a folder of another search.
        NotApplicable: the model is in a quantized form already.
        BudgetNotMet: no candidate is within the budget; the sentence says how close one came.
        TrainingInterrupted: Ctrl-C; with a folder the search can go on.
    """
    _check(max_drop, objective, epochs, time_limit)
    from compression.search.judging import seeded

    subject = seeded(Subject.of(thing, **({"dataset": data} if data else {}), **rest), seed)
    if subject.form is not None:
        raise NotApplicable(
            f"The model is in the form {subject.form.name} already: compress what it was made from."
        )
    with _kept(folder) as kept, _resumable(folder):
        saved.claim(kept, subject, {"seed": subject.seed, "epochs": epochs})
        search = Search(subject, kept, max_drop, objective, epochs, time_limit, console)
        return search.result(None if folder is None else kept, store, name)


class _Late(Exception):
    """The time limit is over."""


class Search:
    """One search on its way."""

    def __init__(
        self,
        subject: Subject,
        folder: Path,
        max_drop: float,
        objective: str,
        epochs: float | None,
        time_limit: float | None,
        console: Console | None,
    ):
        self.subject, self.folder, self.console = subject, folder, console
        self.max_drop, self.objective, self.time_limit = max_drop, objective, time_limit
        self.deadline = math.inf if time_limit is None else time.monotonic() + time_limit
        self.judge = Judge(subject, folder, epochs, console)
        self.notes: list[str] = []

    def result(self, folder: Path | None, store: Path | str | None, name: str | None) -> Result:
        """Runs the search, chooses, asks the test split once, publishes."""
        try:
            self._run()
        except _Late:
            self._note(f"The time limit of {self.time_limit:g} s ended the search.")
        rows = list(self.judge.rows.values())
        best = self._choose(rows)
        self._warn_of_few_examples()
        test = self.judge.test(best["stack"])
        chosen = self.judge.make(best["stack"])
        version = None
        if store is not None:
            from compression.publish import publish

            metrics = {
                "validation": {best["metric"]: best["validation"]},
                "test": test["chosen"]["all"],
            }
            title = name or self.subject.builder
            version = publish(chosen, store, title, metrics=metrics, measurements=best)
        base = self.judge.baseline
        done = [row for row in [base, *rows] if row["status"] == "done"]
        sizes = ("gzip_bytes", "latency_ms")
        front = [done[number] for number in chains.front(done, sizes, "validation")]
        found = Result(chosen, best["stack"], rows, front, base, test, self.notes, folder, version)
        showing.write(found, self.folder, self.max_drop)
        if self.console is not None:
            showing.table(found, self.max_drop, self.console)
        return found

    # === Trials ===

    def _run(self) -> None:
        ending = f"+{FORM}"
        if self._trial(FORM)["status"] == "impossible":
            ending = ""
        budget = self.max_drop / 2 if self.objective == "size" else self.max_drop
        scanned = self._scan("shrink", self.subject, sensitivity.shrinks)
        levels: dict[str, list[float]] = {}
        for change, sensitive in scanned.items():
            levels.setdefault(change.rpartition("=")[0], []).append(sensitive)
        candidates = [f"shrink:{keep}+distill" for keep in chains.shrinking(levels)]
        number = chains.strongest(
            len(candidates), lambda n: self._passes(candidates[n] + ending, budget)
        )
        shape = [] if number is None else [candidates[number]]
        if self.objective == "size":
            self._smaller(shape, ending)
        if not any(map(self._within, self.judge.rows.values())):
            for form in WEAKER:
                if self._passes("+".join([*shape, form]), self.max_drop):
                    break
                if self._passes(form, self.max_drop):
                    break

    def _smaller(self, shape: list[str], ending: str) -> None:
        """Zeros and few values, which gzip makes small, on top of the shape that was found."""
        from compression.stacks import parse

        start = self.judge.trained(parse(shape[0]).parts if shape else ())
        scanned = self._scan(saved.key("+".join([*shape, "prune"])), start, sensitivity.prunes)
        stacks = [
            "+".join([*shape, f"prune:{strength}", f"cluster:{CLUSTERS}"])
            for strength in chains.pruning(scanned)
        ]
        number = chains.strongest(
            len(stacks), lambda n: self._passes(stacks[n] + ending, self.max_drop)
        )
        found = [] if number is None else [stacks[number]]
        for form in SMALLER:  # of the smaller one first, which makes the other superfluous
            if any(self._passes(f"{stack}+{form}", self.max_drop) for stack in [*found, *shape]):
                return

    def _trial(self, text: str) -> Mapping[str, Any]:
        if time.monotonic() > self.deadline:
            raise _Late
        return self.judge.trial(text)

    def _passes(self, text: str, budget: float) -> bool:
        row = self._trial(text)
        return row["status"] == "done" and row["drop"] <= budget + 1e-9

    def _within(self, row: Mapping[str, Any]) -> bool:
        return row["status"] == "done" and row["drop"] <= self.max_drop + 1e-9

    def _scan(
        self, name: str, subject: Subject, changes: Callable[[Subject], dict[str, Any]]
    ) -> dict[str, float]:
        """Layer → sensitivity; what an ended search had found already is not sought again."""
        path = self.folder / f"scan-{name}.json"
        found = saved.read(path) or {}
        missing = {k: change for k, change in changes(subject).items() if k not in found}
        for layer, row in sensitivity.scan(subject, missing) if missing else ():
            found[layer] = row
            saved.write(path, found)
            if self.console is not None:
                self.console.print(
                    f"{layer} alone: drop {row['drop']:.4f}, loss {row['loss']:+.4f}",
                    highlight=False,
                )
            if time.monotonic() > self.deadline:
                raise _Late
        return {layer: row["sensitivity"] for layer, row in found.items()}

    # === The choice ===

    def _choose(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        done = [row for row in rows if row["status"] == "done"]
        within = [row for row in done if self._within(row)]
        if not within:
            raise BudgetNotMet(self._how_close(done, rows))
        order = OBJECTIVES[self.objective]
        return min(within, key=lambda row: (*(row[part] for part in order), row["stack"]))

    def _how_close(
        self, done: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
    ) -> str:
        if done:
            near = min(done, key=lambda row: row["drop"])
            metric = {"r2": "R²"}.get(near["metric"], near["metric"])
            return (
                f"None of {len(done)} candidate(s) keeps the loss of {metric} on the validation "
                f"split to {self.max_drop:g}: the closest, {near['stack']}, loses "
                f"{near['drop']:.4f}; allow that much, or give more epochs."
            )
        if self.time_limit is not None and not rows:
            return f"No candidate was tried within the {self.time_limit:g} s: give more time."
        reason = next((row["reason"] for row in rows if "reason" in row), "no technique applies.")
        return f"No candidate could be made: {reason}"

    def _warn_of_few_examples(self) -> None:
        if self.subject.dataset.task.kind == "regression":
            return
        examples = len(self.subject.dataset.validation)
        if not self.subject.dataset.task.predicts_tokens and 1 / examples > self.max_drop > 0:
            self._note(
                f"The validation split has {examples} examples, so that a single one weighs "
                f"{1 / examples:.3f}: a budget of {self.max_drop:g} allows no error more there, "
                "and says little about other data."
            )

    def _note(self, text: str) -> None:
        self.notes.append(text)
        if self.console is not None:
            self.console.print(f"[yellow]Note:[/] {text}", highlight=False)


@contextmanager
def _kept(folder: Path | str | None) -> Iterator[Path]:
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="zoo-compress-") as path:
        yield Path(path)


@contextmanager
def _resumable(folder: Path | str | None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise TrainingInterrupted(
            "Interrupted: give folder= another time, so that a search can go on."
            if folder is None
            else f"Interrupted: the same search goes on from the trials in {folder}."
        ) from None


def _check(max_drop: float, objective: str, epochs: float | None, time_limit: float | None) -> None:
    if not -1 < max_drop < 1:
        raise InvalidOption(f"max_drop is {max_drop}: it is a difference between -1 and 1.")
    if objective not in OBJECTIVES:
        raise InvalidOption(f"Unknown objective {objective!r}: choose {' or '.join(OBJECTIVES)}.")
    if epochs is not None and not 0 <= epochs < math.inf:
        raise InvalidOption(f"epochs is {epochs}: it must not be negative.")
    if time_limit is not None and not time_limit > 0:
        raise InvalidOption(f"time_limit is {time_limit}: it must be more than 0 seconds.")
