"""How the versions stand in all workers together: what a client is told of "the server"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

START, AVAILABLE, UNLOADING, END = 10, 30, 40, 50  # of ModelVersionStatus.State

Key = tuple[str, int]  # model and version


class Standing(NamedTuple):
    """A version's state, and its error: code 0 for none."""

    state: int
    code: int
    message: str


@dataclass
class Report:
    """What one worker knows of its versions, or what all do together.

    `waiting` are the models that lack an available version.
    """

    versions: dict[Key, Standing] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        """As a part of a message."""
        rows = [[*key, *standing] for key, standing in self.versions.items()]
        return {"versions": rows, "waiting": sorted(self.waiting)}

    @classmethod
    def from_json(cls, message: dict[str, Any]) -> Report:
        """What `to_json` gave."""
        rows = message["versions"]
        versions = {(row[0], row[1]): Standing(*row[2:]) for row in rows}
        return cls(versions, set(message["waiting"]))

    def available(self) -> set[Key]:
        """The versions that answer."""
        return {key for key, standing in self.versions.items() if standing.state == AVAILABLE}


def merge(reports: Sequence[Report]) -> Report:
    """What is true of every worker: a version is available where each of them answers for it."""
    keys = dict.fromkeys(key for report in reports for key in report.versions)
    versions = {key: _merged([report.versions.get(key) for report in reports]) for key in keys}
    return Report(versions, set().union(*(report.waiting for report in reports)))


def _merged(found: Iterable[Standing | None]) -> Standing:
    """One version's standing from those that the workers report; None: it does not know it."""
    standings = list(found)
    known = [standing for standing in standings if standing is not None]
    lagging = [standing for standing in known if standing.state != AVAILABLE]
    failed = [standing for standing in lagging if standing.code]
    if failed:
        return min(failed)
    if not lagging:
        return known[0] if len(known) == len(standings) else Standing(START, 0, "")
    least = min(lagging)
    if least.state == END and len(lagging) < len(known):
        return Standing(UNLOADING, 0, "")  # somewhere it still answers
    return least
