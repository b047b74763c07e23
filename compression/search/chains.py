"""Candidates from the strongest to the weakest, and how the first one that passes is found.

A chain begins with everything compressed most; each next candidate gives a little back to the
layer that the scan found most sensitive. So the strongest one within the budget is found in a few
trials, if later ones pass where an earlier one does; where they do not, it is still one that
passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

LEVELS = (0.125, 0.25, 0.5, 0.75, 1.0)  # fractions of units to keep
SPARSITIES = (0.8, 0.6, 0.4)


def strongest(count: int, passes: Callable[[int], bool]) -> int | None:
    """The first of `count` candidates that passes, as far as it is told apart; None for none.

    Steps from the first one on grow until one passes; then the gap before it is halved down to a
    sixteenth of the chain.
    """
    if not count:
        return None
    if passes(0):
        return 0
    low, high, step = 0, 0, max(1, count // 8)
    while True:
        if low == count - 1:
            return None
        high = min(low + step, count - 1)
        if passes(high):
            break
        low, step = high, step * 2
    while high - low > max(1, count // 16):
        middle = (low + high) // 2
        if passes(middle):
            high = middle
        else:
            low = middle
    return high


def shrinking(sensitivities: Mapping[str, Sequence[float]]) -> list[str]:
    """Strengths of `shrink`, the strongest first.

    All groups begin at the first of `LEVELS`; with each step the one whose level is the most
    sensitive then keeps the next larger fraction, until all but one are whole.

    Args:
        sensitivities: of each group, at each of the levels but the last.
    """
    level = dict.fromkeys(sensitivities, 0)
    found = []
    while True:
        narrow = [name for name in level if level[name] < len(LEVELS) - 1]
        if not narrow:
            return found
        found.append(",".join(f"{name}={LEVELS[level[name]]:g}" for name in narrow))
        raised = max(narrow, key=lambda name: (sensitivities[name][level[name]], -level[name]))
        level[raised] += 1


def pruning(sensitivities: Mapping[str, float]) -> list[str]:
    """Strengths of `prune` for layers with these sensitivities, the strongest first.

    At each sparsity the most sensitive layers are left out one after another, up to half of them.
    """
    names = list(sensitivities)
    order = sorted(names, key=lambda name: -sensitivities[name])
    found = []
    for sparsity in SPARSITIES:
        for left in range(len(names) // 2 + 1):
            kept = [name for name in names if name not in order[:left]]
            found.append(f"{sparsity:g}" + (f",{','.join(kept)}" if left else ""))
    return found


def front(points: Sequence[Mapping[str, float]], small: Sequence[str], large: str) -> list[int]:
    """Numbers of the points that no other is better than in all respects (Pareto's front).

    Args:
        points: rows.
        small: names of what is better the smaller it is.
        large: name of what is better the larger it is.
    """
    values = [[*(float(row[name]) for name in small), -float(row[large])] for row in points]

    def beaten(mine: Sequence[float]) -> bool:
        return any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in values
        )

    return [number for number, mine in enumerate(values) if not beaten(mine)]
