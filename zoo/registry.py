"""The names under which builders are found, each with its recipe."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import InvalidOption, UnknownName
from zoo.recipe import Recipe

if TYPE_CHECKING:
    import keras

Builder = TypeVar("Builder", bound=Callable[..., Any])

_entries: dict[str, Entry] = {}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered builder: its name, the function, and the recipe that trains it."""

    name: str
    builder: Callable[..., keras.Model]
    recipe: Recipe

    @property
    def summary(self) -> str:
        """First line of the builder's docstring."""
        return inspect.getdoc(self.builder).splitlines()[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The builder's arguments without the Keras namespace."""
        parameters = dict(inspect.signature(self.builder).parameters)
        parameters.pop("keras")
        return parameters

    def check(self, arguments: Iterable[str]) -> None:
        """Raises UnknownName for an argument that this builder does not take."""
        for argument in arguments:
            if argument != "keras" and argument not in self.parameters:
                raise UnknownName(f"argument of {self.name}", argument, self.parameters)

    def accepted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Those of `arguments` that this builder takes."""
        return {name: value for name, value in arguments.items() if name in self.parameters}


def register(recipe: Recipe) -> Callable[[Builder], Builder]:
    """Decorator that makes a builder known under its function's name."""

    def add(builder: Builder) -> Builder:
        name = builder.__name__
        if name in _entries:
            raise ValueError(f"two builders are called {name}")
        _entries[name] = Entry(name, builder, recipe)
        return builder

    return add


def list_models(pattern: str = "*") -> list[str]:
    """Sorted names that match a shell pattern, as in `list_models("*rnn*")`."""
    importlib.import_module("zoo.models")
    return sorted(fnmatch.filter(_entries, pattern))


def get(name: str) -> Entry:
    """The entry of a model.

    Raises:
        UnknownName: with the nearest names.
    """
    names = list_models()
    if name not in _entries:
        raise UnknownName("model", name, names)
    return _entries[name]


def build(name: str, **arguments: Any) -> keras.Model:
    """Builds a registered model: `build("cnn", num_classes=5)`.

    Args:
        name: a name of `list_models()`.
        **arguments: the builder's own arguments, and `keras=` for another Keras namespace.

    Raises:
        UnknownName: no such model, or no such argument.
        ShapeError: the arguments do not make a model.
    """
    entry = get(name)
    entry.check(arguments)
    for argument, parameter in entry.parameters.items():
        if parameter.default is parameter.empty and argument not in arguments:
            raise InvalidOption(f"{name} needs the argument {argument}.")
    return entry.builder(**arguments)
