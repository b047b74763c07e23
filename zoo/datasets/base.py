"""What a data set is: three splits of arrays, a task, and how raw examples become model input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from zoo.datasets.preprocessing import Preprocessing
from zoo.datasets.splits import stratified
from zoo.errors import DataError, InvalidOption

SPLITS = ("train", "validation", "test")
UNSPACED = ("ja", "th", "zh")
TOKEN_TASKS = ("language_model", "masked_language_model", "translation")


@dataclass(frozen=True, eq=False)
class Split:
    """Arrays of one split; the first axis of all of them counts the examples.

    `x` is one array, or a mapping from a model's input names to arrays where it has several.
    """

    x: np.ndarray | Mapping[str, np.ndarray]
    y: np.ndarray

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            if len(array) != len(self.y):
                raise DataError(f"A split has {len(array)} examples but {len(self.y)} targets.")

    def __len__(self) -> int:
        return len(self.y)

    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs by name; a single array goes by the empty name."""
        return dict(self.x) if isinstance(self.x, Mapping) else {"": self.x}

    def inputs(self, rows: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Some examples' inputs in the form of `x`; `rows` is whatever indexes an array."""
        if isinstance(self.x, Mapping):
            return {name: array[rows] for name, array in self.x.items()}
        return self.x[rows]


@dataclass(frozen=True)
class Task:
    """What is predicted, which fixes the form of `y`.

    - classification: int32 `(n,)`, an index into `class_names`
    - binary: float32 `(n, 1)`, 0.0 or 1.0, also an index into the two `class_names`
    - regression: float32 `(n, k)`, in the target's own unit

    The kinds of `TOKEN_TASKS` predict a token id at every step, 0 where there is none to predict:

    - language_model: int32 `(n, steps)`, the token after each of `x`
    - masked_language_model: int32 `(n, steps)`, the token that a mask hides
    - translation: int32 `(n, steps)`, the token after each of `x["target"]`
    """

    kind: Literal[
        "classification",
        "binary",
        "regression",
        "language_model",
        "masked_language_model",
        "translation",
    ]
    class_names: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()  # of a translation: from and to, as BCP 47 tags

    @property
    def predicts_classes(self) -> bool:
        """One class an example, of two or more."""
        return self.kind in ("classification", "binary")

    @property
    def spaced(self) -> bool:
        """Whether the language of the translations has spaces between sentences."""
        return not self.languages or self.languages[-1].split("-")[0] not in UNSPACED

    @property
    def predicts_tokens(self) -> bool:
        """A token at every step."""
        return self.kind in TOKEN_TASKS


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set, already preprocessed: `x` is exactly what a model takes.

    `preprocessing` is what made `x` out of raw examples, and is built into exported models.
    `model_arguments` is what a builder must be told to fit: input shape, number of classes, ….
    `originals` holds, by split, the raw examples that cannot be had back from `x`, and
    `references` the right answers where they are texts.
    """

    name: str
    task: Task
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing
    licence: str
    source: str
    model_arguments: Mapping[str, Any]
    originals: Mapping[str, Sequence[Any]] = field(default_factory=dict, repr=False)
    references: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def split(self, name: str) -> Split:
        """The split of that name: train, validation or test."""
        if name not in SPLITS:
            raise DataError(f"{self.name} has no split {name!r}: choose {', '.join(SPLITS)}.")
        return getattr(self, name)

    def raw(self, split: str, index: int) -> bytes | str | np.ndarray:
        """One example as a client would send it: PNG bytes, text, or unscaled float features.

        `preprocessing.graph` of it gives `self.split(split).x[index]`.
        """
        examples = self._checked(split, index)
        if split in self.originals:
            return self.originals[split][index]
        return self.preprocessing.raw_example(examples.inputs(index))

    def label(self, split: str, index: int) -> str | float | tuple[float, ...]:
        """One example's true class name, or its target value (a tuple if there are several)."""
        target = self._checked(split, index).y[index]
        if split in self.references:
            return self.references[split][index]
        if self.task.kind == "regression":
            values = tuple(float(value) for value in target)
            return values[0] if len(values) == 1 else values
        return self.task.class_names[int(target.item())]

    def limited(self, count: int, seed: int) -> Dataset:
        """The same with only `count` training examples, drawn class by class.

        Raises:
            InvalidOption: there are not so many, or none are asked for.
        """
        if not 1 <= count <= len(self.train):
            raise InvalidOption(
                f"{self.name} has {len(self.train)} training examples: a limit of {count} is "
                "not among them."
            )
        labels = self.train.y if self.task.predicts_classes else np.zeros(len(self.train))
        rows = stratified(labels.reshape(len(labels)), count, seed)
        originals = {
            name: [examples[row] for row in rows] if name == "train" else examples
            for name, examples in self.originals.items()
        }
        references = {
            name: [texts[row] for row in rows] if name == "train" else texts
            for name, texts in self.references.items()
        }
        train = Split(self.train.inputs(rows), self.train.y[rows])
        return replace(self, train=train, originals=originals, references=references)

    def _checked(self, split: str, index: int) -> Split:
        examples = self.split(split)
        if not 0 <= index < len(examples):
            raise DataError(
                f"{self.name} has no {split} example {index}: "
                f"choose one from 0 to {len(examples) - 1}."
            )
        return examples


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before any of it is fetched."""

    name: str
    task: str  # the kind of its Task
    summary: str
    licence: str
    source: str
    size: str  # what has to be fetched
    split: str  # train / validation / test examples
    offline: bool = True  # needs no more than the package index, and that only once
