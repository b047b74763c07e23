"""One trial: a stack is applied, published in the search's folder, loaded, asked and timed."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compression import stacks
from compression.errors import ConverterCrashed, NotApplicable, UnsupportedCpu
from compression.search import saved
from compression.subject import Form, Step, Subject
from zoo.errors import TrainingDiverged

if TYPE_CHECKING:
    from rich.console import Console

ROUNDS, SECONDS = 3, 0.04  # of timing: the choice does not hang on it
BASE = "float32 SavedModel"
IMPOSSIBLE = (NotApplicable, ConverterCrashed, UnsupportedCpu, TrainingDiverged)
# Operations of a form against those of float32, roughly, for a choice that a busy machine does
# not change; measured in shared rounds on dense, convolutional and attention models.
COST = {"dynamic_range": 0.35, "int4": 0.4, "int8": 0.45, "qat": 0.45, "float16": 0.95}


class Judge:
    """Trials of one search, each done once for ever.

    Args:
        subject: the model as it came.
        folder: of the search.
        epochs: as in `stacks.apply`.
        console: where progress goes.
    """

    def __init__(
        self, subject: Subject, folder: Path, epochs: float | None, console: Console | None
    ):
        self.subject, self.folder = subject, folder
        self.epochs, self.console = epochs, console
        self.rows: dict[str, dict[str, Any]] = {}
        self.baseline = self._baseline()

    def trial(self, text: str) -> dict[str, Any]:
        """The row of a stack: `status` `done` with figures, or `impossible` with the reason."""
        path = self.folder / "trials" / f"{saved.key(text)}.json"
        row = saved.read(path)
        if row is None:
            began = time.perf_counter()
            try:
                row = self._measured(text, self.make(text))
            except IMPOSSIBLE as error:
                row = {"status": "impossible", "reason": str(error)}
            row = {"stack": text, **row, "seconds": round(time.perf_counter() - began, 1)}
            saved.write(path, row)
        if text not in self.rows and self.console is not None:
            self.console.print(told(row), highlight=False)
        self.rows[text] = row
        return row

    def make(self, text: str) -> Subject:
        """The subject of a stack, from what is kept of its training as far as that goes."""
        parts = stacks.parse(text).parts
        stacks.check_model(stacks.Stack(parts, text), self.subject)
        ending = parts[-1:] if parts[-1].quantizes else ()
        trained = self.trained(parts[: len(parts) - len(ending)])
        if not ending:
            return trained
        form = self._kept_form(text, ending[0].technique)
        if form is not None:
            step = saved.read(self._version(text).parent / "step.json")
            return trained.then(Step(**step), form=form)
        return stacks.run(ending, trained, self.subject, epochs=self.epochs)

    def trained(self, parts: tuple[stacks.Part, ...]) -> Subject:
        """The float model after these parts."""
        if not parts:
            return self.subject
        text = "+".join(part.text for part in parts)
        folder = self.folder / "trained" / saved.key(text)
        found = saved.load(folder, self.subject)
        if found is not None:
            return found
        # What brings a model back belongs to what changed it: they are run together.
        cut = max((n + 1 for n, p in enumerate(parts) if p.technique in ("shrink", "lowrank",
                   "distill")), default=0)  # fmt: skip
        first = parts[:cut] if cut < len(parts) else ()
        start = self.trained(first) if first else self.subject
        made = stacks.run(parts[len(first) :], start, self.subject, epochs=self.epochs)
        saved.save(folder, made)
        return saved.load(folder, self.subject)

    def test(self, text: str) -> dict[str, Any]:
        """Figures of a trial and of the baseline on the test split."""
        from compression.measure import Version, loaded, quality

        versions = [
            Version(BASE, self._version(BASE)),
            Version("chosen", self._version(text)),
        ]
        with loaded(versions) as servables:
            before, after = (
                quality.answers(servable, self.subject.dataset, "test")
                for servable in servables.values()
            )
        return {
            "baseline": before.to_json("test"),
            "chosen": after.to_json("test"),
            **quality.against(before, after),
        }

    def _baseline(self) -> dict[str, Any]:
        path = self.folder / "baseline.json"
        row = saved.read(path)
        if row is None:
            row = {"stack": BASE, **self._measured(BASE, self.subject)}
            saved.write(path, row)
        return row

    def _version(self, text: str) -> Path:
        return self.folder / "versions" / saved.key(text) / "1"

    def _measured(self, text: str, subject: Subject) -> dict[str, Any]:
        from compression.measure import Version, loaded, quality, speed, static
        from compression.publish import publish

        version = self._version(text)
        shutil.rmtree(version.parent, ignore_errors=True)  # of a trial that did not end
        published = publish(subject, version.parents[1], version.parent.name)
        if subject.form is not None:
            saved.write(version.parent / "step.json", subject.steps[-1].to_json())
        versions = [Version("base", self._version(BASE)), Version("this", published)]
        data = self.subject.dataset
        with loaded(versions) as servables:
            answers = {
                name: quality.answers(servable, data, "validation")
                for name, servable in servables.items()
            }
            inputs = {
                size: quality.feeds(
                    servables["this"], data, "validation", np.arange(size) % len(data.validation)
                )
                for size in speed.BATCHES
            }
            times = speed.in_process(servables, inputs, rounds=ROUNDS, seconds=SECONDS)
        row = static(Version("this", published, subject.model), data)
        form = "savedmodel" if subject.form is None else subject.form.name
        return {
            "status": "done",
            "form": form,
            **{name: row[name] for name in ("bytes", "gzip_bytes", "parameters", "nonzero")},
            "macs": row["macs"],
            "cost": row["macs"] * COST.get(form, 1.0),
            "metric": answers["this"].name,
            "validation": answers["this"].value,
            **quality.against(answers["base"], answers["this"]),
            "latency_ms": speed.summary(times["this"][1], 1)["p50_ms"],
            "examples_per_second": speed.summary(times["this"][32], 32)["examples_per_second"],
            "speed_1": speed.ratio(times["base"][1], times["this"][1]),
            "speed_32": speed.ratio(times["base"][32], times["this"][32]),
        }

    def _kept_form(self, text: str, name: str) -> Form | None:
        version = self._version(text)
        content = version / "model.tflite"
        if not (self.folder / "trials" / f"{saved.key(text)}.json").is_file():
            return None
        if not content.is_file():
            return None
        from compression.quantization import FORMS

        info = FORMS.get(name)
        flags = info.server_flags if info else ("--prefer_tflite_model",)
        needs = info.needs if info else ()
        return Form(name, tflite=content.read_bytes(), needs=needs, server_flags=flags)


def told(row: dict[str, Any]) -> str:
    """A line for a finished trial."""
    if row["status"] != "done":
        return f"{row['stack']}: {row['reason']}"
    return (
        f"{row['stack']}: {row['metric']} {row['validation']:.4f}, "
        f"{row['gzip_bytes'] / 1000:,.1f} kB, {row['latency_ms']:.3f} ms"
    )


def seeded(subject: Subject, seed: int | None) -> Subject:
    """With another seed, if one is given."""
    return subject if seed is None else dataclasses.replace(subject, seed=seed)
