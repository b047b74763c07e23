"""What is compressed: a trained Keras 3 model, how it was built, and what was done to it so far.

Every technique takes a `Subject` (or a run of the zoo) and returns another one; models are never
changed in place. So techniques can be stacked, and the last subject tells the whole chain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import InvalidOption
from zoo.recipe import Recipe

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.datasets import Dataset
    from zoo.training import Run


@dataclasses.dataclass(frozen=True)
class Step:
    """One technique as it was applied. All values are JSON's own.

    Attributes:
        technique: its name in a stack, such as `prune`.
        options: what it was asked for.
        facts: what came out, such as the sparsity reached.
        skipped: layer → why the technique left it alone.
    """

    technique: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a model card."""
        return {
            "technique": self.technique,
            "options": dict(self.options),
            "facts": dict(self.facts),
            "skipped": dict(self.skipped),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
    """How a model is stored and run, where that is not float32 in a SavedModel.

    Attributes:
        name: one of `compression.quantization.FORMS`.
        tflite: content of `model.tflite`; None for a form that stays in a SavedModel.
        model: what the SavedModel holds instead of the subject's own model.
        jit_compile: the SavedModel's signatures are compiled by XLA.
        needs: instruction sets without which it cannot run, or only slowly (`amx_bf16`).
        server_flags: what a server must be started with.
    """

    name: str
    tflite: bytes | None = dataclasses.field(default=None, repr=False)
    model: keras.Model | None = dataclasses.field(default=None, repr=False)
    jit_compile: bool = False
    needs: tuple[str, ...] = ()
    server_flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A model on its way through a chain of techniques.

    Attributes:
        model: Keras 3, float32; of a quantized subject the one that was quantized.
        builder: registered name of its builder.
        arguments: the builder's arguments.
        dataset: what it is fine-tuned, calibrated and judged with.
        recipe: what it was trained with.
        seed: of everything random in the techniques.
        steps: what was done, oldest first.
        masks: path of a variable → bool array of its shape, True where a weight may differ from
            zero; later fine-tuning keeps the others at zero.
        clusters: path of a variable → how many different values it has; later steps keep them.
        rebuildable: `registry.build(builder, **arguments)` has the architecture of `model`.
        form: None for a float32 SavedModel.
        parent: version folder that this came from, for the model card; None if never published.
    """

    model: keras.Model
    builder: str
    arguments: Mapping[str, Any]
    dataset: Dataset
    recipe: Recipe
    seed: int = 0
    steps: tuple[Step, ...] = ()
    masks: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    clusters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    rebuildable: bool = True
    form: Form | None = None
    parent: Path | None = None

    def __post_init__(self) -> None:
        for name in ("arguments", "masks", "clusters"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @classmethod
    def from_run(cls, run: Run) -> Subject:
        """A complete run's model with its data set and recipe.

        Raises:
            RunError: the run is not complete or damaged.
        """
        from zoo import datasets

        return cls(
            model=run.load_model(),
            builder=run.model,
            arguments=listed(run.info["arguments"]),
            dataset=datasets.load(run.info["dataset"]),
            recipe=run.recipe,
            seed=run.info["seed"],
        )

    @classmethod
    def of(cls, thing: Any, **rest: Any) -> Subject:
        """A subject as it is, a run's, or that of a model with `builder`, `dataset` and so on.

        Raises:
            InvalidOption: a model without what else is needed, or something else altogether.
        """
        if isinstance(thing, cls):
            return dataclasses.replace(thing, **rest)
        if hasattr(thing, "load_model"):
            return dataclasses.replace(cls.from_run(thing), **rest)
        if not hasattr(thing, "get_layer"):
            raise InvalidOption(
                f"Cannot compress a {type(thing).__name__}: give a run, a Subject, or a Keras "
                "model with builder=, arguments= and dataset=."
            )
        missing = {"builder", "dataset"} - rest.keys()
        if missing:
            raise InvalidOption(
                f"A model alone cannot be compressed: give {' and '.join(sorted(missing))} too."
            )
        rest.setdefault("arguments", {})
        rest.setdefault("recipe", registry.get(rest["builder"]).recipe)
        return cls(model=thing, **rest)

    def then(self, step: Step, **changes: Any) -> Subject:
        """The next subject: this one with `changes`, and `step` at the end of its chain."""
        return dataclasses.replace(self, steps=(*self.steps, step), **changes)

    def with_masks_of(self, model: keras.Model) -> Mapping[str, np.ndarray]:
        """Those of the masks whose variable `model` has, in the same shape."""
        shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
        return {path: mask for path, mask in self.masks.items() if shapes.get(path) == mask.shape}


def listed(value: Any) -> Any:
    """JSON's lists as tuples, which is what builders take shapes as."""
    if isinstance(value, Mapping):
        return {name: listed(item) for name, item in value.items()}
    return tuple(listed(item) for item in value) if isinstance(value, list) else value
