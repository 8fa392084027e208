"""Which rollouts of a group are trained on, if not all are: those whose rewards vary most (PODS, arXiv 2504.13818).

A search generates tokens that nobody trains on. The fair control spends as many tokens on further rollouts of the
prompt and trains on as many rows as before. The best of such controls chooses the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def most_varied(rewards_N: Sequence[float], count: int) -> list[int]:
    """Indices of the ``count`` rollouts whose rewards have the largest variance, in increasing order.

    Such a subset has the lowest rewards and the highest ones, and none between (theorem of the paper), so that only
    ``count + 1`` subsets have to be compared. Of equal rewards the first are taken. A reward that is not a finite
    number comes last.

    >>> most_varied([0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 4)
    [0, 1, 2, 5]

    Args:
        rewards_N: of the group.
        count: number of rollouts to keep; all are kept if there are not more.
    """
    known = [index for index, reward in enumerate(rewards_N) if math.isfinite(reward)]
    if len(known) < count:
        unknown = [index for index in range(len(rewards_N)) if index not in known]
        return sorted([*known, *unknown[: count - len(known)]])
    rising = sorted(known, key=lambda index: (rewards_N[index], index))
    falling = sorted(known, key=lambda index: (-rewards_N[index], index))
    best, most = rising[:count], -1.0
    for low in range(count, -1, -1):
        chosen = [*rising[:low], *falling[: count - low]]
        mean = math.fsum(rewards_N[index] for index in chosen) / count
        variance = math.fsum((rewards_N[index] - mean) ** 2 for index in chosen)
        if len(set(chosen)) == count and variance > most + 1e-12:
            best, most = chosen, variance
    return sorted(best)
