"""Every recipe with several seeds: the README's results table.

    python -m benchmarks.results                       # all models, seeds 0 1 2: about 40 minutes
    python -m benchmarks.results --models cnn --seeds 0

Rows are kept in `benchmarks/results/models.json` model by model, so that one can be run again
alone; `python -m benchmarks.readme` puts them into the README.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from typing import Any

from rich.console import Console

import zoo
from benchmarks import record
from zoo import datasets, training
from zoo.cli.output import table

# What each recipe was built to reach: metric and value, mean of three seeds, last epoch.
TARGETS = {
    "softmax_regression": ("accuracy", 0.94),
    "mlp_regressor": ("r2", None),  # 0.02 below scikit-learn's LinearRegression, measured beside it
    "dense": ("accuracy", 0.970),
    "cnn_small": ("accuracy", 0.983),
    "cnn": ("accuracy", 0.991),
    "simple_rnn": ("accuracy", 0.93),
    "lstm": ("accuracy", 0.95),
    "gru": ("accuracy", 0.96),
    "transformer_classifier": ("accuracy", 0.965),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    rows = {row["model"]: row for row in record.rows("models")}
    for name in options.models:
        rows[name] = measure(name, options.seeds)
        record.write("models", [rows[key] for key in TARGETS if key in rows])
    found = [rows[name] for name in options.models]
    columns = ("model", "data set", "metric", "mean", "target", "seeds", "parameters", "seconds")
    table(columns, [[row[c.replace(" ", "_")] for c in columns] for row in found])


def measure(name: str, seeds: list[int]) -> dict[str, Any]:
    """Trains with each seed; the test metric of the last epoch."""
    entry = zoo.get(name)
    metric, target = TARGETS[name]
    if target is None:
        target = linear_regression(entry.recipe.dataset) - 0.02
    values, seconds = [], []
    with tempfile.TemporaryDirectory() as runs:
        for seed in seeds:
            run = training.train(name, seed=seed, runs=runs, console=Console(stderr=True))
            found = run.metrics()
            values.append(found["test"][metric])
            seconds.append(found["seconds"])
    return {
        "model": name,
        "data_set": entry.recipe.dataset,
        "metric": metric,
        "mean": statistics.mean(values),
        "values": values,
        "target": target,
        "seeds": " ".join(map(str, seeds)),
        "epochs": entry.recipe.epochs,
        "parameters": found["parameters"],
        "seconds": statistics.median(seconds),
    }


def linear_regression(dataset: str) -> float:
    """Test R² of scikit-learn's LinearRegression on the same split."""
    from sklearn.linear_model import LinearRegression

    data = datasets.load(dataset)
    model = LinearRegression().fit(data.train.x, data.train.y)
    return float(model.score(data.test.x, data.test.y))


if __name__ == "__main__":
    main()
