"""The names under which builders are found, each with its recipe."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import InvalidOption, UnknownName
from zoo.recipe import Recipe
from zoo.sizes import Size

if TYPE_CHECKING:
    import keras

Builder = TypeVar("Builder", bound=Callable[..., Any])

_entries: dict[str, Entry] = {}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered builder: its name, the function, the recipe that trains it, named sizes."""

    name: str
    builder: Callable[..., keras.Model]
    recipe: Recipe
    sizes: Mapping[str, Size] = dataclasses.field(default_factory=dict)

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
        known = [*self.parameters, *(["size"] if self.sizes else [])]
        for argument in arguments:
            if argument != "keras" and argument not in known:
                raise UnknownName(f"argument of {self.name}", argument, known)

    def sized(self, size: str | None) -> dict[str, Any]:
        """The arguments that a named size stands for; none for None.

        Raises:
            InvalidOption: this builder has no named sizes.
            UnknownName: none of that name, with the nearest names.
        """
        if size is None:
            return {}
        if not self.sizes:
            raise InvalidOption(f"{self.name} has no named sizes: leave out size={size!r}.")
        if size not in self.sizes:
            raise UnknownName(f"size of {self.name}", str(size), self.sizes)
        return dict(self.sizes[size].arguments)

    def accepted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Those of `arguments` that this builder takes."""
        return {name: value for name, value in arguments.items() if name in self.parameters}


def register(
    recipe: Recipe, sizes: Mapping[str, Size] | None = None
) -> Callable[[Builder], Builder]:
    """Decorator that makes a builder known under its function's name."""

    def add(builder: Builder) -> Builder:
        name = builder.__name__
        if name in _entries:
            raise ValueError(f"two builders are called {name}")
        entry = Entry(name, builder, recipe, MappingProxyType(dict(sizes or {})))
        for size in entry.sizes:
            entry.check(entry.sized(size))
        _entries[name] = entry
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


def build(name: str, *, size: str | None = None, **arguments: Any) -> keras.Model:
    """Builds a registered model: `build("cnn", num_classes=5)`.

    Args:
        name: a name of `list_models()`.
        size: a published size by its name, as `zoo list --sizes` shows; arguments change it.
        **arguments: the builder's own arguments, and `keras=` for another Keras namespace.

    Raises:
        UnknownName: no such model, size or argument.
        InvalidOption: a needed argument is missing, or the model has no named sizes.
        ShapeError: the arguments do not make a model.
    """
    entry = get(name)
    entry.check(arguments)
    arguments = {**entry.sized(size), **arguments}
    for argument, parameter in entry.parameters.items():
        if parameter.default is parameter.empty and argument not in arguments:
            raise InvalidOption(f"{name} needs the argument {argument}.")
    return entry.builder(**arguments)
