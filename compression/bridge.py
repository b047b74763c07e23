"""The bridge from Keras 3 to tf_keras and back, which tfmot's tools need.

The same builder makes the twin with `keras=tf_keras`, and `set_weights` carries the weights, whose
order is the same on both sides. Nothing else works: neither side reads the other's files. After
each hop both give the same outputs for examples of the data set, or an error says how far off
they are.

Importing tfmot changes the whole process (`tf.keras` becomes tf_keras), so the twin lives in a
child process. What goes to the child and comes back are arrays and JSON in one folder:

    in:  job.json, weights.npz, masks.npz, train.npz, probe.npz
    out: answer.json, trained.npz, trained_probe.npz
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compression import isolated
from compression.errors import BridgeMismatch, ConverterCrashed, NotApplicable
from compression.subject import Subject
from zoo.errors import InvalidOption, TrainingDiverged, ZooError

if TYPE_CHECKING:
    import keras
    from rich.console import Console

TOLERANCE = 1e-5  # of outputs, for each unit of their size above one
PROBES = 16  # examples whose outputs are compared
RAISED = (BridgeMismatch, InvalidOption, NotApplicable, TrainingDiverged)


def check(subject: Subject, technique: str) -> None:
    """Raises NotApplicable where no builder call makes the model, so that it has no twin."""
    if not subject.rebuildable:
        done = subject.steps[-1].technique if subject.steps else "change"
        raise NotApplicable(
            f"{technique} needs a model that {subject.builder} can build, and the {done} before "
            f"it made another one: put {technique} before that, or use quantize instead."
        )


def check_model(subject: Subject) -> None:
    """Raises NotApplicable unless the model is Keras 3's, and the builder's where it says so."""
    import keras

    from zoo import registry

    model = subject.model
    if not isinstance(model, keras.Model):
        raise NotApplicable(
            f"A {type(model).__module__}.{type(model).__name__} is not a model of Keras 3: build "
            "it with zoo.build."
        )
    if not subject.rebuildable:
        return
    expected = registry.build(subject.builder, **subject.arguments)
    wanted, found = ([tuple(v.shape) for v in m.weights] for m in (expected, model))
    if wanted != found:
        raise NotApplicable(
            f"{subject.builder} with the given arguments has other weights than this model: give "
            "the arguments that it was built with."
        )


def copied(model: keras.Model) -> keras.Model:
    """An equal model with weights of its own."""
    import keras

    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def rekeyed(values: Mapping[str, Any], old: keras.Model, new: keras.Model) -> dict[str, Any]:
    """What is kept by paths of `old`'s variables, by those of `new`, an equal architecture.

    Keras gives the parts of a Bidirectional layer other paths when it makes them from a
    configuration.
    """
    paths = {a.path: b.path for a, b in zip(old.weights, new.weights, strict=True)}
    return {paths[path]: value for path, value in values.items() if path in paths}


def outputs_of(model: Any, inputs: Any) -> list[np.ndarray]:
    """All outputs, in inference, in the order of their names where they have any.

    Works for models of both Kerases: TensorFlow flattens dictionaries by their sorted keys.
    """
    import tensorflow as tf

    structure = getattr(model, "_inputs_struct", None)  # of Keras 3, which warns of another one
    if isinstance(structure, list | tuple) and not isinstance(inputs, Mapping):
        inputs = [inputs]
    return [np.asarray(value) for value in tf.nest.flatten(model(inputs, training=False))]


def compare(found: list[np.ndarray], wanted: list[np.ndarray], hop: str) -> float:
    """The largest difference; BridgeMismatch where it is more than rounding."""
    far = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
        difference = float(np.abs(ours - theirs).max(initial=0.0))
        # Written so that a NaN is a mismatch too.
        if not difference <= TOLERANCE * scale:
            raise BridgeMismatch(
                f"The outputs differ by {difference:.2g} after the hop {hop}, more than "
                f"{TOLERANCE * scale:.2g}: the two models are not twins."
            )
        far = max(far, difference)
    return far


class Crossing:
    """A subject's files for a child, and what the child left.

    Attributes:
        folder: of the files.
        subject: what crosses.
    """

    def __init__(self, folder: Path, subject: Subject):
        self.folder, self.subject = folder, subject

    def write(self, options: Mapping[str, Any]) -> None:
        """Everything the child reads; `options` are JSON's own values."""
        subject, dataset = self.subject, self.subject.dataset
        model = subject.model
        position = {variable.path: index for index, variable in enumerate(model.weights)}
        isolated.write_json(
            self.folder / "job.json",
            {
                "builder": subject.builder,
                "arguments": dict(subject.arguments),
                "task": dataset.task.kind,
                "vocabulary_size": dataset.model_arguments.get("vocabulary_size"),
                "recipe": subject.recipe.to_json(),
                "seed": subject.seed,
                "options": dict(options),
            },
        )
        np.savez(self.folder / "weights.npz", **numbered(model.get_weights()))
        masks = {f"{position[p]}": m for p, m in subject.masks.items() if p in position}
        np.savez(self.folder / "masks.npz", **masks)
        arrays = {f"x/{name}": array for name, array in dataset.train.arrays().items()}
        np.savez(self.folder / "train.npz", y=dataset.train.y, **arrays)
        self.probe = dataset.validation.inputs(slice(PROBES))
        probe = self.probe if isinstance(self.probe, Mapping) else {"": self.probe}
        outputs = outputs_of(model, self.probe)
        np.savez(
            self.folder / "probe.npz",
            **{f"x/{name}": array for name, array in probe.items()},
            **numbered(outputs),
        )

    def run(
        self, function: str, what: str, console: Console | None = None, timeout: float = 7200.0
    ) -> Any:
        """Runs the child; its answer.

        Raises:
            ConverterCrashed: it ended with an error of its own or a signal.
            BridgeMismatch, InvalidOption, NotApplicable, TrainingDiverged: it says so.
        """

        def show(line: str) -> None:
            console.print(line, highlight=False, soft_wrap=True)

        try:
            isolated.run(
                function,
                self.folder,
                what,
                timeout=timeout,
                show=None if console is None else show,
            )
        except ConverterCrashed:
            self.raise_reported()
            raise
        return isolated.read_json(self.folder / "answer.json")

    def raise_reported(self) -> None:
        """Raises the error that the child left, if it left one; see `report`."""
        said = self.folder / "error.json"
        if said.exists():
            error = isolated.read_json(said)
            kind = {kind.__name__: kind for kind in RAISED}[error["kind"]]
            raise kind(error["text"]) from None

    def trained(self) -> keras.Model:
        """A Keras 3 model with the child's weights, whose outputs equal the child's.

        Raises:
            BridgeMismatch: they do not.
        """
        model = copied(self.subject.model)
        model.set_weights(listed_arrays(self.folder / "trained.npz"))
        wanted = listed_arrays(self.folder / "trained_probe.npz")
        compare(outputs_of(model, self.probe), wanted, "from tf_keras to Keras 3")
        return model


@contextmanager
def crossing(subject: Subject, options: Mapping[str, Any]) -> Iterator[Crossing]:
    """A crossing in a folder that is deleted afterwards, its files written."""
    with tempfile.TemporaryDirectory(prefix="compression-") as folder:
        made = Crossing(Path(folder), subject)
        made.write(options)
        yield made


def report(folder: Path, error: ZooError) -> None:
    """From inside a child: an error that the parent raises again under its own type."""
    if type(error) in RAISED:
        text = {"kind": type(error).__name__, "text": str(error)}
        isolated.write_json(folder / "error.json", text)


def numbered(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {str(index): array for index, array in enumerate(arrays)}


def listed_arrays(path: Path) -> list[np.ndarray]:
    """The arrays of a file that have numbers for names, in their order."""
    with np.load(path) as file:
        return [file[name] for name in sorted((n for n in file if n.isdigit()), key=int)]
