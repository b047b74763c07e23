"""What each kind of task is trained for and judged by: loss, metric, fit, final evaluation."""

from __future__ import annotations

import importlib.util
import math
from abc import ABC, abstractmethod
from typing import Any

import keras

from zoo.datasets import Dataset, Split, Task
from zoo.errors import MissingExtra, ShapeError
from zoo.layers.positions import longest_sequence
from zoo.recipe import Recipe
from zoo.training import evaluation
from zoo.training.losses import (
    ClassAccuracy,
    ClassCrossEntropy,
    TokenAccuracy,
    TokenCrossEntropy,
    TokenLoss,
)
from zoo.training.masking import masking
from zoo.training.pipeline import Transform, evaluation_batches

TOKEN_BATCH = 32  # examples a batch in evaluation, whose logits are vocabulary times as large


class Objective(ABC):
    """Base: one output with a column for each class or value."""

    metric: str  # the one that curves show, and the first of the final ones
    output: str  # name of the model's output
    bucketed = False  # see `training_batches`

    def __init__(self, task: Task):
        self.task = task

    def tokens(self, train: Split) -> float | None:
        """Targets of an example on average; None where all batches have as many."""
        return None

    @abstractmethod
    def loss(self, recipe: Recipe, tokens: float | None = None) -> Any:
        """What `compile` takes as loss; `tokens` is what the method of that name gives."""

    def metrics(self) -> list[Any]:
        """What `compile` takes as metrics."""
        return [self.metric]

    @abstractmethod
    def width(self, dataset: Dataset) -> int:
        """Size of the output's last axis that the data set needs."""

    def check(self, model: keras.Model, name: str, dataset: Dataset) -> None:
        """Raises ShapeError unless the model's output is what the task needs."""
        width, needed = model.outputs[0].shape[-1], self.width(dataset)
        output = model.output_names[0]
        if width != needed or output != self.output:
            raise ShapeError(
                f"{name} gives {output} of width {width}, but {dataset.name} is a "
                f"{self.task.kind} task of width {needed}."
            )

    def transform(self, dataset: Dataset) -> Transform | None:
        """What the task itself does to every training batch, if anything."""
        return None

    def validation(self, split: Split, replicas: int) -> Any:
        """Batches for validation during training."""
        return evaluation_batches(split, replicas=replicas)

    def warnings(self) -> list[str]:
        """What the final metrics will lack, in a sentence each."""
        return []

    def evaluate(
        self, model: keras.Model, dataset: Dataset, split: str
    ) -> tuple[dict[str, Any], Any]:
        """Final metrics of a split, and the outputs that they were computed from, if kept."""
        examples = dataset.split(split)
        outputs = model.predict(examples.x, batch_size=512, verbose=0)
        return evaluation.metrics(self.task, examples.y, outputs), outputs


class Classification(Objective):
    metric, output = "accuracy", "probabilities"

    def loss(self, recipe: Recipe, tokens: float | None = None) -> Any:
        return ClassCrossEntropy(recipe.label_smoothing)

    def metrics(self) -> list[Any]:
        return [ClassAccuracy()]

    def width(self, dataset: Dataset) -> int:
        return len(self.task.class_names)


class Binary(Objective):
    metric, output = "accuracy", "probability"

    def loss(self, recipe: Recipe, tokens: float | None = None) -> Any:
        return keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)

    def width(self, dataset: Dataset) -> int:
        return 1


class Regression(Objective):
    metric, output = "r2", "values"

    def loss(self, recipe: Recipe, tokens: float | None = None) -> Any:
        return "mean_squared_error"

    def metrics(self) -> list[Any]:
        return [keras.metrics.R2Score(name="r2")]

    def width(self, dataset: Dataset) -> int:
        return dataset.train.y.shape[-1]


class Tokens(Objective):
    """Logits over the vocabulary at every step."""

    metric, output, bucketed = "accuracy", "logits", True

    def loss(self, recipe: Recipe, tokens: float | None = None) -> Any:
        return TokenCrossEntropy(recipe.label_smoothing, tokens)

    def metrics(self) -> list[Any]:
        return [TokenAccuracy()]

    def width(self, dataset: Dataset) -> int:
        return dataset.model_arguments["vocabulary_size"]

    def validation(self, split: Split, replicas: int) -> Any:
        return evaluation_batches(split, TOKEN_BATCH, replicas, bucketed=True)

    def evaluate(
        self, model: keras.Model, dataset: Dataset, split: str
    ) -> tuple[dict[str, Any], Any]:
        """Accuracy, mean loss in nats a token, and perplexity; batch by batch, without outputs."""
        examples = dataset.split(split)
        judged = keras.Model(model.inputs, model.outputs)
        judged.compile(
            loss=TokenCrossEntropy(), metrics=[TokenAccuracy(), TokenLoss()], jit_compile=False
        )
        found = judged.evaluate(self.validation(examples, 1), verbose=0, return_dict=True)
        return {
            "accuracy": float(found["accuracy"]),
            "loss": float(found["token_loss"]),
            "perplexity": math.exp(found["token_loss"]),
            "tokens": int((examples.y != 0).sum()),
        }, None


class Translation(Tokens):
    """Judged by what greedy decoding makes of the source alone."""

    def tokens(self, train: Split) -> float | None:
        return float((train.y != 0).sum() / len(train))

    def warnings(self) -> list[str]:
        backend = keras.backend.backend()
        if backend != "tensorflow":
            return [f"BLEU and chrF are left out: decoding runs on TensorFlow, not on {backend}."]
        if not importlib.util.find_spec("sacrebleu"):
            return [f"BLEU and chrF are left out. {MissingExtra('sacrebleu', 'translation')}"]
        return []

    def evaluate(
        self, model: keras.Model, dataset: Dataset, split: str
    ) -> tuple[dict[str, Any], Any]:
        """As `Tokens`, and `bleu` and `chrf` where sacrebleu is installed."""
        found, _ = super().evaluate(model, dataset, split)
        if self.warnings():
            return found, None
        from zoo.decoding import translate
        from zoo.training import translation

        texts = translate(model, dataset, dataset.originals[split])
        scores = translation.score(dataset, texts, split)
        return {"bleu": scores.pop("bleu"), "chrf": scores.pop("chrf"), **found, **scores}, None


class MaskedTokens(Tokens):
    """Logits of the tokens that masks hide, which are others in every training batch."""

    def transform(self, dataset: Dataset) -> Transform:
        return masking(dataset)


KINDS = {
    "classification": Classification,
    "binary": Binary,
    "regression": Regression,
    "language_model": Tokens,
    "masked_language_model": MaskedTokens,
    "translation": Translation,
}


def objective_for(task: Task) -> Objective:
    """The objective of a task's kind."""
    return KINDS[task.kind](task)


def check_fit(model: keras.Model, name: str, dataset: Dataset) -> None:
    """Raises ShapeError where a model cannot take a data set's examples or give its targets."""
    given = dataset.train.arrays()
    wanted = {tensor.name: tensor for tensor in model.inputs}
    if len(wanted) == 1 and "" in given:
        given = {next(iter(wanted)): given[""]}
    if wanted.keys() != given.keys():
        raise ShapeError(
            f"{name} takes {', '.join(wanted)}, but {dataset.name} holds "
            f"{', '.join(key or 'one array' for key in given)}."
        )
    for key, tensor in wanted.items():
        array = given[key]
        same_kind = ("int" in tensor.dtype) == (array.dtype.kind in "iu")
        if not (same_kind and _fits(tensor.shape[1:], array.shape[1:])):
            raise ShapeError(
                f"{name} takes {tensor.dtype} {tuple(tensor.shape[1:])} an example, but "
                f"{dataset.name} holds {array.dtype} {array.shape[1:]}."
            )
        longest, steps = longest_sequence(model), array.shape[1:2]
        if longest and tensor.shape[1:2] == (None,) and steps[0] > longest:
            raise ShapeError(
                f"{name} has positions for {longest} steps, but {dataset.name} holds {key} of "
                f"{steps[0]}: choose a larger max_length."
            )
    objective_for(dataset.task).check(model, name, dataset)


def _fits(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    """Equal but for sizes that the model leaves free."""
    return len(wanted) == len(given) and all(
        size in (None, other) for size, other in zip(wanted, given, strict=True)
    )
