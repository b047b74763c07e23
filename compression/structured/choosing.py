"""Which groups of units shrink, and to how many."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from compression.structured.groups import Group
from zoo.errors import InvalidOption, UnknownName

SHARED = "all blocks share it: it shrinks only when named itself"
NOT_ASKED = "not asked for"


def chosen_groups(
    groups: Sequence[Group],
    keep: float | Mapping[str, float | int],
    layers: Sequence[str],
) -> tuple[list[tuple[Group, float | int]], dict[str, str]]:
    """Groups with what to keep of each, and the others with the reason.

    Raises:
        InvalidOption: an amount out of range.
        UnknownName: a name or pattern that fits no group, with the nearest that do.
    """
    amounts = keep if isinstance(keep, Mapping) else {}
    if not isinstance(keep, Mapping):
        _check(keep, "")
        if isinstance(keep, int) and not isinstance(keep, bool) and keep != 1:
            raise _bad(keep, "")
    for name, amount in amounts.items():
        _check(amount, name)
    patterns = [*amounts, *([layers] if isinstance(layers, str) else layers)]
    for pattern in patterns:
        if not any(_fits(group, pattern) for group in groups):
            raise UnknownName("layer", pattern, {n for g in groups for n in (g.name, g.argument)})
    asked, skipped = [], {}
    for group in groups:
        wanted = [pattern for pattern in amounts or layers if _fits(group, pattern)]
        allowed = [pattern for pattern in layers if _fits(group, pattern)]
        if group.obstacle is not None:
            skipped[group.name] = group.obstacle
        elif not wanted or not allowed:
            skipped[group.name] = NOT_ASKED
        elif group.residual and group.argument not in wanted:
            skipped[group.name] = SHARED
        else:
            # The most exact of several patterns counts: a name before a pattern.
            asked.append((group, amounts[_most_exact(group, wanted)] if amounts else float(keep)))
    return asked, skipped


def how_many(group: Group, amount: float | int, minimum: int, multiple: int) -> int:
    """Units that stay, at least one.

    Raises:
        InvalidOption: more than there are.
    """
    there = len(group.spaces[0])
    if isinstance(amount, int):
        if amount > group.size or amount % group.step:
            raise InvalidOption(
                f"{group.name} has {group.size} units: keep at most as many, in steps of "
                f"{group.step}, not {amount}."
            )
        return amount // group.step
    rounding = 1 if group.heads or group.size < 2 * multiple else multiple
    number = max(round(amount * group.size / rounding) * rounding, rounding, minimum)
    return min(-(-number // group.step), there)


def _fits(group: Group, pattern: str) -> bool:
    names = (group.name, group.argument, *group.layers)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _most_exact(group: Group, patterns: Sequence[str]) -> str:
    names = [group.name, *group.layers, group.argument]
    return min(patterns, key=lambda p: (names.index(p) if p in names else len(names), -len(p)))


def _check(amount: float | int, name: str) -> None:
    number = isinstance(amount, int | float) and not isinstance(amount, bool)
    if not number or not amount > 0 or (isinstance(amount, float) and amount > 1):
        raise _bad(amount, name)


def _bad(amount: object, name: str) -> InvalidOption:
    what = f"of {name} " if name else ""
    count = ", or a whole number of units" if name else ""
    return InvalidOption(f"shrink keeps a fraction {what}above 0 up to 1{count}, not {amount!r}.")
