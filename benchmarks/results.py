"""Every recipe with several seeds, the longer ones with one: the README's results table.

    python -m benchmarks.results                       # everything: some hours on two cores
    python -m benchmarks.results --models cnn vit      # these alone
    python -m benchmarks.results --models transformer_translator --data-sets ui_strings_en_de
    python -m benchmarks.results --runs runs           # goes on with what lies there

With `--runs` the run folders are kept; a complete one of the same recipe and seed is taken as it
is, an unfinished one is resumed. Rows are kept in `benchmarks/results/models.json` one by one, so
that each can be run again alone; `python -m benchmarks.readme` puts them into the README.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import zoo
from benchmarks import record
from zoo import datasets, training
from zoo.cli.output import table
from zoo.recipe import Recipe
from zoo.training.runs import Run


@dataclasses.dataclass(frozen=True)
class Case:
    """A row: a recipe, and what the mean of its seeds has to reach.

    Attributes:
        model: name of the builder.
        metric: of `metrics.json`, after the last epoch.
        target: value to reach; None where only the baseline counts.
        data_set: instead of the recipe's.
        split: on which the metric is taken.
        also: further metrics that are kept.
        baseline: function of the data set, `module:function`, measured in the same run.
        beyond: how far above the baseline the mean must be.
        smaller: whether less is better.
        seeds: of the trainings.
    """

    model: str
    metric: str
    target: float | None = None
    data_set: str | None = None
    split: str = "test"
    also: tuple[str, ...] = ()
    baseline: str | None = None
    beyond: float = 0.0
    smaller: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.data_set or zoo.get(self.model).recipe.dataset


NEIGHBOUR = "benchmarks.baselines.nearest_neighbour:score"
CASES = (
    Case("softmax_regression", "accuracy", 0.94),
    Case("mlp_regressor", "r2", baseline="benchmarks.baselines.linear:r2", beyond=-0.02),
    Case("dense", "accuracy", 0.970),
    Case("lenet5", "accuracy", 0.989),
    Case("cnn_small", "accuracy", 0.983),
    Case("cnn", "accuracy", 0.991),
    Case("resnet", "accuracy", 0.993, seeds=(0,)),
    Case("vit", "accuracy", 0.98, seeds=(0,)),
    Case("simple_rnn", "accuracy", 0.93),
    Case("lstm", "accuracy", 0.95),
    Case("gru", "accuracy", 0.96),
    Case("bidirectional_lstm", "accuracy", 0.95),
    Case("transformer_classifier", "accuracy", 0.965),
    Case(
        "transformer_encoder",
        "accuracy",
        baseline="benchmarks.baselines.unigram:accuracy",
        seeds=(0,),
    ),
    Case(
        "causal_lm",
        "perplexity",
        split="validation",
        baseline="benchmarks.baselines.ngrams:perplexity",
        smaller=True,
        seeds=(0,),
    ),
    Case("transformer_translator", "bleu", 45, also=("chrf",), baseline=NEIGHBOUR, seeds=(0,)),
    Case(
        "transformer_translator",
        "bleu",
        data_set="ui_strings_en_de",
        also=("chrf",),
        baseline=NEIGHBOUR,
        seeds=(0,),
    ),
    Case(
        "transformer_translator",
        "bleu",
        data_set="ui_strings_en_zh_hans",
        also=("chrf",),
        baseline=NEIGHBOUR,
        seeds=(0,),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    models = list(dict.fromkeys(case.model for case in CASES))
    parser.add_argument("--models", nargs="+", default=models, choices=models)
    parser.add_argument("--data-sets", nargs="+", help="rows on these data sets alone")
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of the row's own")
    parser.add_argument("--runs", type=Path, help="folder of run folders; default: none kept")
    options = parser.parse_args()
    rows = {(row["model"], row["data_set"]): row for row in record.rows("models")}
    found = []
    for case in CASES:
        if case.model not in options.models:
            continue
        if options.data_sets and case.key[1] not in options.data_sets:
            continue
        with contextlib.ExitStack() as stack:
            runs = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            rows[case.key] = measure(case, options.seeds or case.seeds, runs)
        found.append(rows[case.key])
        record.write("models", [rows[case.key] for case in CASES if case.key in rows])
    columns = ("model", "data set", "metric", "mean", "target", "seeds", "parameters", "seconds")
    table(columns, [[row[c.replace(" ", "_")] for c in columns] for row in found])


def measure(case: Case, seeds: Sequence[int], runs: Path) -> dict[str, Any]:
    """Trains with each seed; the metric of the last epoch."""
    recipe = zoo.get(case.model).recipe.replace(dataset=case.data_set)
    metrics = [trained(case.model, recipe, seed, runs).metrics() for seed in seeds]
    found = [row[case.split] for row in metrics]
    values = [row[case.metric] for row in found]
    row = {
        "model": case.model,
        "data_set": recipe.dataset,
        "metric": case.metric if case.split == "test" else f"{case.split} {case.metric}",
        "mean": statistics.mean(values),
        "values": values,
        "target": case.target,
        "smaller": case.smaller,
        "seeds": " ".join(map(str, seeds)),
        "epochs": recipe.epochs,
        "parameters": metrics[0]["parameters"],
        "seconds": statistics.median(row["seconds"] for row in metrics),
        "cpu_seconds": statistics.median(row["cpu_seconds"] for row in metrics),
        **{name: statistics.mean(row[name] for row in found) for name in case.also},
        **{k: v for k, v in found[0].items() if k.endswith("_signature")},
    }
    if case.baseline:
        row |= _baseline(case, recipe.dataset)
    return row


def trained(model: str, recipe: Recipe, seed: int, runs: Path) -> Run:
    """The complete run of a recipe and a seed: found, resumed, or trained now."""
    console = Console(stderr=True)
    for path in sorted((runs / model).glob("*/run.json")):
        run = Run.open(path.parent)
        same = run.recipe == recipe and run.info["seed"] == seed
        if same and run.info["strategy"] == "auto" and run.info["state"] != "diverged":
            return run if run.complete else training.resume(run.folder, console=console)
    return training.train(model, recipe=recipe, seed=seed, runs=runs, console=console)


def _baseline(case: Case, data_set: str) -> dict[str, Any]:
    """The baseline's value, and the target that follows from it where the case has none."""
    module, function = case.baseline.split(":")
    measured: Callable[[datasets.Dataset], Any] = getattr(importlib.import_module(module), function)
    value = measured(datasets.load(data_set))
    scores = value if isinstance(value, dict) else {case.metric: value}
    kept = {name: scores[name] for name in (case.metric, *case.also) if name in scores}
    target = scores[case.metric] + case.beyond
    if case.target is not None:
        target = case.target
    return {"baseline": kept, "target": target}


if __name__ == "__main__":
    main()
