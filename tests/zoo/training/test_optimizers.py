"""Schedules give the rates that their formulas name."""

from __future__ import annotations

import math

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.errors import InvalidOption
from zoo.recipe import OPTIMIZERS, SCHEDULES
from zoo.training.optimizers import WarmupDecay, learning_rate, make_optimizer


@pytest.mark.parametrize(
    ("kind", "middle"),
    [("constant", 1.0), ("linear", 0.55), ("cosine", 0.55), ("exponential", math.sqrt(0.1))],
)
def test_decay_from_peak_to_final(kind: str, middle: float) -> None:
    schedule = WarmupDecay(kind, peak=2.0, steps=110, warmup_steps=10, final=0.1)
    assert float(schedule(0)) == pytest.approx(0.2)
    assert float(schedule(9)) == pytest.approx(2.0)
    assert float(schedule(10)) == pytest.approx(2.0)
    assert float(schedule(60)) == pytest.approx(2.0 * middle, rel=1e-5)
    end = 2.0 if kind == "constant" else 0.2
    assert float(schedule(110)) == pytest.approx(end, rel=1e-5)
    assert float(schedule(10_000)) == pytest.approx(end, rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(SCHEDULES),
    st.integers(1, 500),
    st.integers(0, 100),
    st.floats(0.01, 1),
    st.integers(0, 1000),
)
def test_rates_stay_between_zero_and_the_peak(
    kind: str, steps: int, warmup: int, final: float, step: int
) -> None:
    schedule = WarmupDecay(kind, 0.5, steps + warmup, warmup, final)
    rate = float(schedule(step))
    assert 0 < rate <= 0.5 * (1 + 1e-6)
    if step >= warmup:
        assert rate >= float(schedule(step + 1)) - 1e-7


def test_a_schedule_survives_its_config() -> None:
    schedule = WarmupDecay("cosine", 0.1, 50, 5, 0.2)
    copy = WarmupDecay.from_config(schedule.get_config())
    assert [float(copy(s)) for s in (0, 5, 30)] == [float(schedule(s)) for s in (0, 5, 30)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_the_recipes_rate(name: str) -> None:
    recipe = zoo.get("cnn").recipe.replace(optimizer=name, learning_rate=0.02, schedule="constant")
    optimizer = make_optimizer(recipe, steps_per_epoch=3)
    assert isinstance(optimizer, keras.optimizers.Optimizer)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


def test_warmup_is_counted_in_epochs() -> None:
    recipe = zoo.get("cnn").recipe.replace(epochs=4, warmup_epochs=0.5, schedule="linear")
    schedule = learning_rate(recipe, steps_per_epoch=10)
    assert (schedule.steps, schedule.warmup_steps) == (40, 5)


def test_inverse_square_root_is_the_papers_schedule() -> None:
    """lr = d^-0.5 · min(step^-0.5, step · warmup^-1.5), steps from 1 (Vaswani et al., 5.3)."""
    width, warmup = 512, 40
    peak = width**-0.5 * warmup**-0.5
    schedule = WarmupDecay("inverse_sqrt", peak, steps=1000, warmup_steps=warmup, final=0.01)
    for step in (1, 7, 39, 40, 41, 160, 5000):
        wanted = width**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert float(schedule(step - 1)) == pytest.approx(wanted, rel=1e-5)


def test_inverse_square_root_needs_a_warmup() -> None:
    with pytest.raises(InvalidOption, match="give warmup_epochs"):
        zoo.get("cnn").recipe.replace(schedule="inverse_sqrt")


def test_options_go_to_the_optimizer() -> None:
    recipe = zoo.get("cnn").recipe.replace(optimizer_options={"beta_2": 0.98, "epsilon": 1e-9})
    optimizer = make_optimizer(recipe, steps_per_epoch=3)
    assert (optimizer.beta_2, optimizer.epsilon) == (0.98, 1e-9)
    with pytest.raises(InvalidOption, match="adam does not take the options speed"):
        make_optimizer(recipe.replace(optimizer_options={"speed": 1}), 3)
