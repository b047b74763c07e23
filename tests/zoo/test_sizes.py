"""Named sizes: published counts, nearest names, and a listing that builds nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

import zoo
from zoo import registry
from zoo.cli import main
from zoo.errors import InvalidOption, UnknownName
from zoo.recipe import Recipe
from zoo.sizes import Size

EVERY_SIZE = [(name, size) for name in zoo.list_models() for size in zoo.get(name).sizes]


@pytest.fixture
def ladder() -> Iterator[str]:
    """A registered builder with two published sizes."""

    def ladder(
        input_shape: tuple[int] = (3,), num_classes: int = 3, rungs: int = 1, *, keras=keras
    ) -> keras.Model:
        """Rungs."""
        x = inputs = keras.Input(input_shape, name="features")
        for _ in range(rungs - 1):
            x = keras.layers.Dense(3)(x)
        x = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
        return keras.Model(inputs, x)

    sizes = {
        "ladder_short": Size({"rungs": 2}, parameters=24, source="Jacob, 1700 BC"),
        "ladder_long": Size(
            {"rungs": 7, "num_classes": 3}, parameters=80, source="Jacob, 1700 BC", rounding=10
        ),
    }
    recipe = Recipe(dataset="digits", epochs=1, batch_size=256, arguments={"rungs": 5})
    registry.register(recipe, sizes=sizes)(ladder)
    yield "ladder"
    del registry._entries["ladder"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), EVERY_SIZE)
def test_the_built_model_has_the_published_count(name: str, size: str) -> None:
    published = zoo.get(name).sizes[size]
    # Keras gives variables of such a scope their shapes and no values: no gigabytes.
    with keras.StatelessScope(initialize_variables=False):
        model = zoo.build(name, size=size)
        weights = model.trainable_weights if published.trainable else model.weights
        count = sum(math.prod(weight.shape) for weight in weights)
    assert round(count / published.rounding) * published.rounding == published.parameters


def test_a_size_is_arguments_that_others_change(ladder: str) -> None:
    assert zoo.build(ladder, size="ladder_short").count_params() == 24
    assert zoo.build(ladder, size="ladder_long").count_params() == 84
    assert zoo.build(ladder, size="ladder_long", rungs=1).count_params() == 12


def test_an_unknown_size_comes_with_the_nearest(ladder: str) -> None:
    with pytest.raises(UnknownName, match="ladder_short") as error:
        zoo.build(ladder, size="ladder_shrt")
    assert "\n" not in str(error.value)
    with pytest.raises(InvalidOption, match="no named sizes"):
        zoo.build("lenet5", size="ladder_short")


def test_a_size_with_an_argument_the_builder_lacks_is_refused() -> None:
    def stool(legs: int = 3, *, keras=keras) -> None:
        """A stool."""

    sizes = {"tall": Size({"height": 3}, parameters=1, source="none")}
    with pytest.raises(UnknownName, match="height"):
        registry.register(Recipe(dataset="digits", epochs=1, batch_size=2), sizes=sizes)(stool)


def test_sizes_are_listed_with_their_counts(ladder: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "--sizes"]) == 0
    text = capsys.readouterr().out
    assert all(size in text for _, size in EVERY_SIZE)
    line = next(line for line in text.splitlines() if "ladder_long" in line)
    assert line.split()[:3] == ["ladder", "ladder_long", "80"]
    assert "to 10" in line
    assert "Jacob" in line
    assert main(["list", "ladder", "--sizes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(size["model"], size["size"], size["parameters"]) for size in listed] == [
        ("ladder", "ladder_short", 24),
        ("ladder", "ladder_long", 80),
    ]
    assert listed[0]["arguments"] == {"rungs": 2}


def test_a_model_shows_its_sizes(ladder: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", ladder]) == 0
    assert "ladder_short" in capsys.readouterr().out
    assert main(["show", ladder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"]["ladder_long"]["rounding"] == 10


def test_listing_sizes_loads_no_tensorflow() -> None:
    script = (
        "import sys; from zoo.cli import main; main(['list', '--sizes']); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"size": "ladder_long"}, {"rungs": 7, "num_classes": 10}),
        ({"size": "ladder_long", "rungs": 2}, {"rungs": 2, "num_classes": 10}),
    ],
    ids=["size", "given"],
)
def test_training_takes_a_size_and_keeps_to_the_data(
    ladder: str, given: dict, wanted: dict, tmp_path: Path
) -> None:
    """The size over the recipe, the data set's classes over the size, the user over all."""
    from zoo.training import train

    run = train(ladder, arguments=given, runs=tmp_path)
    assert run.info["arguments"] == {"input_shape": (64,), **wanted}


@pytest.mark.parametrize(
    ("model", "words"),
    [("transformer_encoder", "did you mean bert_base"), ("lenet5", "lenet5 has no named sizes")],
)
def test_a_wrong_size_is_told_before_anything_is_fetched(
    model: str, words: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", model, "--set", "size=bert_bas"]) != 0
    assert words in capsys.readouterr().err
