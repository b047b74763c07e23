"""Does pre-training help with 200 labelled images? lenet5 on the digits 5 to 9.

Three ways to the same 200 images, drawn anew for each seed: from scratch; from a lenet5 that was
trained on the digits 0 to 4, with its convolutions frozen; the same with all layers trained on.
The recipe (optimizer, rate, schedule, epochs, batch size) is one for all three. Test accuracy of
the last epoch on all test images of 5 to 9. (cnn learns so much from 200 images alone that it does
not gain.)

    python -m benchmarks.transfer               # 3 seeds: 3 minutes
    python -m benchmarks.transfer --limit 50    # other numbers of images are not kept
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from typing import Any

from rich.console import Console

import zoo
from benchmarks import record
from zoo import training
from zoo.cli.output import table
from zoo.recipe import Recipe

MODEL = "lenet5"
SOURCE, TARGET, LIMIT = "mnist_0_4", "mnist_5_9", 200
WAYS = {
    "from scratch": (False, ()),
    "pre-trained, convolutions frozen": (True, ("conv*",)),
    "pre-trained, all layers trained": (True, ()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=LIMIT)
    options = parser.parse_args()
    rows = measure(options.seeds, options.limit)
    columns = ("way", "images", "mean", "lowest", "highest")
    table(columns, [[row[column] for column in columns] for row in rows])
    if options.limit == LIMIT:
        print(record.write("transfer", rows, source=SOURCE, target=TARGET, metric="accuracy"))


def measure(seeds: list[int], limit: int) -> list[dict[str, Any]]:
    """Test accuracy of each way, for each seed; the source is trained with the same seed."""
    recipe = zoo.get(MODEL).recipe
    before = recipe.replace(dataset=SOURCE, epochs=3)
    after = recipe.replace(
        dataset=TARGET, epochs=40, batch_size=20, learning_rate=1e-3, augment="none"
    )
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as runs:
        for seed in seeds:
            source = training.train(
                MODEL, recipe=before, seed=seed, runs=runs, console=Console(stderr=True)
            )
            for way, (pretrained, frozen) in WAYS.items():
                place = source.folder if pretrained else None
                found[way].append(accuracy(after, seed, runs, limit, place, frozen))
    return [
        {
            "way": way,
            "images": limit,
            "mean": statistics.mean(values),
            "lowest": min(values),
            "highest": max(values),
            "values": values,
            "seeds": " ".join(map(str, seeds)),
            "epochs": after.epochs,
        }
        for way, values in found.items()
    ]


def accuracy(
    recipe: Recipe, seed: int, runs: str, limit: int, source: Any, frozen: tuple[str, ...]
) -> float:
    run = training.train(
        MODEL,
        recipe=recipe,
        seed=seed,
        runs=runs,
        limit=limit,
        source=source,
        frozen=frozen,
        console=Console(quiet=True),
    )
    return run.metrics()["test"]["accuracy"]


if __name__ == "__main__":
    main()
