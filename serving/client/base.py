"""What the two clients have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from serving.client.answers import Metadata, Signature, describe

if TYPE_CHECKING:
    from typing_extensions import Self


class Client(ABC):
    """A model server's address, with the signatures that it has told so far.

    Use it as a context manager, or `close` it.
    """

    def __init__(self) -> None:
        self._known: dict[tuple, Metadata] = {}

    @abstractmethod
    def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Metadata:
        """The signatures of a version, the newest by default."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def signatures(self, model: str, *, version: int | None = None) -> dict[str, dict[str, Any]]:
        """A version's signatures as plain data: name → inputs, outputs → name → dtype, shape."""
        return describe(self.metadata(model, version=version))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signature(
        self, model: str, version: int | None, label: str | None, name: str, timeout: float | None
    ) -> Signature | None:
        key = (model, version, label)
        if key not in self._known or name not in self._known[key].signatures:
            self._known[key] = self.metadata(model, version=version, label=label, timeout=timeout)
        return self._known[key].signatures.get(name)
