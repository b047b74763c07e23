"""Shrinking trained models: ranks, counts, arguments, masks, options."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

import zoo
from compression.errors import NotApplicable
from compression.structured import Width, declare, groups_of, shrink
from compression.structured.refitting import refit_readers
from compression.structured.scores import score
from compression.structured.slicing import narrow
from compression.subject import Form, Subject
from tests.compression.shrinking import SMALL, random_model
from tests.zoo.training.tiny import images, texts
from zoo import registry
from zoo.datasets import Split
from zoo.errors import InvalidOption, ShapeError, UnknownName
from zoo.recipe import Recipe

CNN = {"filters": (6, 8), "dense_units": 24}


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A convolutional network of a few epochs."""
    data = images()
    arguments = {**CNN, **data.model_arguments}
    keras.utils.set_random_seed(0)
    model = zoo.build("cnn", **arguments)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.train.x, data.train.y, epochs=15, batch_size=16, verbose=0)
    recipe = Recipe(dataset="mnist", epochs=4, batch_size=16)
    return Subject.of(model, builder="cnn", arguments=arguments, dataset=data, recipe=recipe)


def accuracy(subject: Subject) -> float:
    chosen = subject.model.predict(subject.dataset.test.x, verbose=0).argmax(-1)
    return float((chosen == subject.dataset.test.y).mean())


def test_half_of_everything_is_a_plain_model_of_the_builder(subject: Subject) -> None:
    before = subject.model.get_weights()
    result = shrink(subject, keep=0.5, epochs=8)
    assert dict(result.arguments) == {
        **subject.arguments, "filters": (3, 4), "dense_units": 12,
    }  # fmt: skip
    assert result.rebuildable
    built = zoo.build("cnn", **result.arguments)
    assert [w.shape for w in built.weights] == [w.shape for w in result.model.weights]
    assert built.get_config() == result.model.get_config()
    step = result.steps[-1]
    assert step.technique == "shrink"
    assert step.facts["units"] == {"conv_1": [6, 3], "conv_2": [8, 4], "hidden": [24, 12]}
    assert step.facts["parameters"] == [subject.model.count_params(), built.count_params()]
    assert step.facts["fine_tuning"]["steps"] == 48
    assert step.facts["refitted"] == ["conv_2", "hidden", "probabilities"]
    assert accuracy(subject) > 0.95
    assert accuracy(result) > 0.95
    for one, other in zip(before, subject.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_seed_gives_the_same_model(subject: Subject) -> None:
    keep = {"hidden": 0.5}
    one, other = (shrink(subject, keep=keep, epochs=1).model.get_weights() for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("criterion", ["l1", "taylor"])
def test_dead_units_are_the_first_to_go(subject: Subject, criterion: str) -> None:
    model = keras.models.clone_model(subject.model)
    model.set_weights(subject.model.get_weights())
    dead = [1, 4, 5]
    for path, axis in (("conv_1/kernel", 3), ("conv_1/bias", 0), ("conv_2/kernel", 2)):
        variable = next(v for v in model.weights if v.path == path)
        value = variable.numpy().copy()
        np.moveaxis(value, axis, 0)[dead] = 0
        variable.assign(value)
    result = shrink(
        dataclasses.replace(subject, model=model), keep={"conv_1": 3}, criterion=criterion, epochs=0
    )
    x = subject.dataset.test.x
    np.testing.assert_allclose(result.model(x), model(x), rtol=1e-5, atol=1e-5)
    kept = result.model.get_layer("conv_1").kernel.numpy()
    np.testing.assert_array_equal(kept, model.get_layer("conv_1").kernel.numpy()[..., [0, 2, 3]])


def test_first_order_scores_are_those_of_the_formula(subject: Subject) -> None:
    """Σ |w · ∂L/∂w| over the weights that the third unit of `hidden` owns, by hand."""
    import tensorflow as tf

    train = subject.dataset.train
    few = dataclasses.replace(subject.dataset, train=Split(train.x[:32], train.y[:32]))
    small = dataclasses.replace(subject, dataset=few)
    group = next(g for g in groups_of(small) if g.name == "hidden")
    model, layers = subject.model, ("hidden", "probabilities")
    with tf.GradientTape() as tape:
        answer = model(few.train.x, training=False)
        loss = keras.losses.SparseCategoricalCrossentropy()(few.train.y, answer)
    weights = [w for name in layers for w in model.get_layer(name).weights]
    slopes = tape.gradient(loss, [w.value for w in weights])
    kernel, bias, after, _ = (
        abs(w.numpy() * g.numpy()) for w, g in zip(weights, slopes, strict=True)
    )
    expected = kernel[:, 2].sum() + bias[2] + after[2].sum()
    assert score(small, "taylor")[int(group.spaces[0][2])] == pytest.approx(expected, rel=1e-3)


def test_names_patterns_counts_and_rounding(subject: Subject) -> None:
    def sizes(**options: object) -> dict[str, int]:
        options = {"criterion": "l1", "refit": False, **options}
        found = shrink(subject, epochs=0, **options).steps[-1].facts["units"]
        return {name: after for name, (_, after) in found.items()}

    assert sizes(keep={"hidden": 5}) == {"hidden": 5}
    assert sizes(keep={"filters": 0.5}) == {"conv_1": 3, "conv_2": 4}
    assert sizes(keep={"conv_*": 0.5, "conv_1": 2}) == {"conv_1": 2, "conv_2": 4}
    assert sizes(keep=0.3, layers=["hidden"]) == {"hidden": 8}
    assert sizes(keep=0.3, layers=["hidden"], multiple=1) == {"hidden": 7}
    assert sizes(keep=0.01, multiple=1) == {"conv_1": 1, "conv_2": 1, "hidden": 1}
    assert sizes(keep=0.01, minimum=3, multiple=1) == {"conv_1": 3, "conv_2": 3, "hidden": 3}
    assert sizes(keep=0.01) == {"conv_1": 1, "conv_2": 4, "hidden": 4}
    assert sizes(keep=1.0) == {}
    assert sizes(keep=0.5, criterion="random") == {"conv_1": 3, "conv_2": 4, "hidden": 12}


def test_masks_are_cut_and_stay_in_force_and_clusters_end_with_training(subject: Subject) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(subject.model.get_layer("conv_2").kernel.shape) < 0.5
    masked = dataclasses.replace(
        subject, masks={"conv_2/kernel": mask}, clusters={"hidden/kernel": 16}
    )
    raw = shrink(masked, keep={"conv_1": 3, "conv_2": 4}, refit=False, epochs=0)
    assert raw.masks["conv_2/kernel"].shape == (3, 3, 3, 4)
    assert raw.clusters == {"hidden/kernel": 16}
    tuned = shrink(masked, keep={"conv_2": 4}, epochs=1)
    kernel = tuned.model.get_layer("conv_2").kernel.numpy()
    assert tuned.masks["conv_2/kernel"].shape == kernel.shape
    assert not kernel[~tuned.masks["conv_2/kernel"]].any()
    assert tuned.clusters == {}


def test_heads_and_the_shared_width_of_a_trained_transformer() -> None:
    data = texts()
    arguments = {
        **data.model_arguments, "width": 16, "num_heads": 4, "feed_forward": 16, "dropout": 0.0,
    }  # fmt: skip
    model = zoo.build("transformer_classifier", **arguments)
    subject = Subject.of(model, builder="transformer_classifier", arguments=arguments, dataset=data)
    plain = shrink(subject, keep=0.5, criterion="l1", refit=False, epochs=0)
    assert plain.arguments["num_heads"] == 2
    assert plain.arguments["feed_forward"] == 8
    assert plain.arguments["head_width"] == 4
    assert plain.arguments["width"] == 16
    assert "only when named" in plain.steps[-1].skipped["width"]
    uneven = shrink(subject, keep={"block_1_attention": 1, "width": 0.5}, epochs=0)
    assert uneven.arguments["num_heads"] == (1, 4)
    assert uneven.arguments["width"] == 8
    assert uneven.steps[-1].skipped["block_1_inner"] == "not asked for"
    again = shrink(uneven, keep={"block_2_attention": 1}, criterion="l1", refit=False, epochs=0)
    assert again.arguments["num_heads"] == 1
    assert again.arguments["head_width"] == 4
    assert [step.technique for step in again.steps] == ["shrink", "shrink"]


@pytest.mark.parametrize("builder", zoo.list_models())
def test_every_model_shrinks_or_says_what_to_use_instead(builder: str) -> None:
    model = random_model(builder, SMALL[builder])
    subject = Subject.of(model, builder=builder, arguments=SMALL[builder], dataset=images(2))
    if builder == "softmax_regression":
        with pytest.raises(NotApplicable, match="prune, cluster, factorize or quantize"):
            shrink(subject, criterion="l1", refit=False, epochs=0)
        return
    result = shrink(subject, criterion="l1", refit=False, epochs=0)
    facts = result.steps[-1].facts
    assert facts["parameters"][1] < facts["parameters"][0]
    for group in groups_of(result):
        was, left = facts["units"].get(group.name, (group.size, group.size))
        assert group.size == left
        assert group.residual or group.name not in facts["units"] or left <= max(4, was // 2 + 1)


def test_bad_options(subject: Subject) -> None:
    for keep in (0, -0.5, 1.5, 3, "half", True, {"hidden": 0}, {"hidden": 1.5}):
        with pytest.raises(InvalidOption, match="above 0 up to 1"):
            shrink(subject, keep=keep)
    for options, words in (
        ({"keep": {"hidden": 25}}, "hidden has 24 units"),
        ({"criterion": "l2"}, "taylor, l1, random"),
        ({"minimum": 0}, "minimum in whole numbers from 1"),
        ({"multiple": 0.5}, "multiple in whole numbers from 1"),
        ({"epochs": -1}, "0 or more epochs"),
        ({"learning_rate": -1.0}, "learning_rate above 0"),
    ):
        with pytest.raises(InvalidOption, match=words):
            shrink(subject, **options)
    with pytest.raises(UnknownName, match="did you mean hidden"):
        shrink(subject, keep={"hiden": 0.5})
    with pytest.raises(UnknownName, match="filters"):
        shrink(subject, layers=["filter"])
    with pytest.raises(ShapeError, match="cnn"):
        shrink(dataclasses.replace(subject, dataset=texts(4)))


def test_models_that_cannot_be_built_narrower(subject: Subject) -> None:
    with pytest.raises(NotApplicable, match="before quantize"):
        shrink(dataclasses.replace(subject, form=Form("float16")))
    with pytest.raises(NotApplicable, match="before factorize"):
        shrink(dataclasses.replace(subject, rebuildable=False))
    with pytest.raises(NotApplicable, match="not what cnn builds"):
        shrink(dataclasses.replace(subject, arguments={**subject.arguments, "filters": (6, 9)}))


def test_a_builder_of_ones_own_declares_its_widths(subject: Subject) -> None:
    def two_branches(units: int = 8, *, keras: object = keras) -> keras.Model:
        """Two layers of one width, added, and an operation that no rule knows."""
        image = keras.Input((12, 12, 1), name="image")
        x = keras.layers.Flatten(name="flatten")(image)
        x = keras.layers.Add(name="sum")(
            [keras.layers.Dense(units, "relu", name=name)(x) for name in ("left", "right")]
        )
        free = keras.layers.Dense(5, name="free")(x)
        x = keras.layers.Concatenate(name="both")([x, keras.ops.sort(free)])
        return keras.Model(image, keras.layers.Dense(3, "softmax", name="probabilities")(x))

    registry.register(recipe=subject.recipe)(two_branches)
    try:
        mine = Subject.of(two_branches(), builder="two_branches", dataset=subject.dataset)
        with pytest.raises(NotApplicable, match=r"compression\.structured\.declare"):
            shrink(mine)
        declare("two_branches", Width("units", "left|right"))
        with pytest.raises(InvalidOption, match="declared already"):
            declare("two_branches", Width("units", "left"))
        result = shrink(mine, criterion="l1", refit=False, epochs=0)
        assert result.arguments["units"] == 4
        assert result.model.get_layer("right").kernel.shape == (144, 4)
        assert result.model.get_layer("probabilities").kernel.shape == (9, 3)
    finally:
        registry._entries.pop("two_branches")


def test_what_reads_the_units_makes_up_for_those_that_are_gone(subject: Subject) -> None:
    x = subject.dataset.test.x  # not among the examples that were fitted
    before = subject.model.predict(x, verbose=0)

    def distance(**options: object) -> float:
        result = shrink(subject, keep=0.5, epochs=0, criterion="l1", **options)
        return float(np.abs(result.model.predict(x, verbose=0) - before).mean())

    assert distance() < 0.5 * distance(refit=False)


def test_a_unit_that_another_repeats_is_made_up_for_and_masked_layers_stay(
    subject: Subject,
) -> None:
    model = keras.models.clone_model(subject.model)
    model.set_weights(subject.model.get_weights())
    for variable in model.get_layer("hidden").weights:
        value = variable.numpy().copy()
        value[..., 1::2] = value[..., ::2]  # twelve units, each of them twice
        variable.assign(value)
    twice = dataclasses.replace(subject, model=model)
    groups = {group.name: group for group in groups_of(twice)}
    units = groups["hidden"].spaces[0][::2]
    narrowed = narrow(model, "cnn", subject.arguments, {"hidden": [units]})
    reader = narrowed.model.get_layer("probabilities").kernel.numpy().copy()
    masks = {"probabilities/kernel": reader != 0}
    assert refit_readers(twice, narrowed, masks) == []
    np.testing.assert_array_equal(narrowed.model.get_layer("probabilities").kernel, reader)
    assert refit_readers(twice, narrowed, {}) == ["probabilities"]
    x = subject.dataset.test.x
    np.testing.assert_allclose(narrowed.model(x), model(x), atol=0.02)
