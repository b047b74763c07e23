"""Whether distillation pays: the same student with and without the teacher, over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compression.distillation.technique import distill
from compression.subject import Subject
from zoo.errors import InvalidOption

if TYPE_CHECKING:
    from rich.console import Console


def compare(
    thing: Any,
    *,
    student: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    seeds: int = 3,
    split: str = "test",
    console: Console | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Trains a student with the teacher and from scratch, with the same epochs and seeds.

    Args:
        thing: the teacher, as in `distill`.
        student, arguments: as in `distill`; one of them is needed.
        seeds: how many; they count up from the subject's.
        split: on which both are judged.
        console: where progress goes.
        **options: the other ones of `distill`.

    Returns:
        JSON: `metric`, `teacher`, `parameters`, `distilled` and `scratch` with `values`, `mean`
        and `spread` (the largest less the smallest), `gain` (difference of the means) and `wins`
        (seeds in which the distilled student is at least as good).

    Raises:
        InvalidOption: fewer than one seed, or as `distill` says.
    """
    import numpy as np

    from zoo.training.objectives import objective_for

    if seeds < 1:
        raise InvalidOption(f"seeds is {seeds}: it must be at least 1.")
    if student is None and arguments is None:
        raise InvalidOption("A comparison needs a student of its own: give student= or arguments=.")
    subject = Subject.of(thing)
    objective = objective_for(subject.dataset.task)

    def judged(model: Any) -> float:
        return objective.evaluate(model, subject.dataset, split)[0][objective.metric]

    found: dict[str, list[float]] = {"distilled": [], "scratch": []}
    for seed in range(subject.seed, subject.seed + seeds):
        seeded = dataclasses.replace(subject, seed=seed)
        for way, values in found.items():
            if console is not None:
                console.print(f"seed {seed}, {way}")
            taught = distill(
                seeded,
                student=student,
                arguments=arguments,
                scratch=way == "scratch",
                console=console,
                **options,
            )
            values.append(judged(taught.model))
            if way == "distilled":
                asked = taught.steps[-1].options
    summary = {
        way: {
            "values": values,
            "mean": float(np.mean(values)),
            "spread": float(np.ptp(values)),
        }
        for way, values in found.items()
    }
    return {
        "metric": objective.metric,
        "split": split,
        "teacher": judged(subject.model),
        "options": dict(asked),
        "parameters": {
            "teacher": subject.model.count_params(),
            "student": taught.model.count_params(),
        },
        **summary,
        "gain": summary["distilled"]["mean"] - summary["scratch"]["mean"],
        "wins": sum(a >= b for a, b in zip(found["distilled"], found["scratch"], strict=True)),
    }
