"""Different problems of one split, from a source that repeats itself.

One problem out of eight belongs to the eval split. The problem itself decides, so no seed mixes the splits. The file
needs the standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

SPLITS = ("train", "eval")
EVAL_SHARE = 8
#: Number of draws without a new problem after which there are assumed to be no more.
PATIENCE = 20_000
T = TypeVar("T")


def split_of(text: str) -> str:
    """The split that a prompt belongs to, ``train`` or ``eval``. Its text alone decides.

    >>> {split_of(str(number)) for number in range(40)} == set(SPLITS)
    True
    """
    return "eval" if hashlib.sha256(text.encode()).digest()[0] % EVAL_SHARE == 0 else "train"


def distinct(
    draws: Iterable[T | None],
    n: int,
    split: str,
    key: Callable[[T], Hashable],
    what: str = "problems",
    split_of: Callable[..., str] = split_of,
) -> list[T]:
    """``n`` different problems of one split, in the order of the draws. A longer list starts with a shorter one.

    Args:
        draws: problems of any split; None for a draw that gave none.
        n: number of problems.
        split: ``train`` or ``eval``.
        key: what tells a problem from another one.
        what: their name in the message.
        split_of: the split of a key.

    Raises:
        ValueError: an unknown split; the draws end, or :data:`PATIENCE` of them in a row give no new problem.

    >>> distinct(iter("abab"), 2, "train", str, split_of=lambda key: "train")
    ['a', 'b']
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is not allowed: it must be one of {', '.join(SPLITS)}")
    found: dict[Hashable, T] = {}
    in_vain = 0
    for drawn in draws:
        if len(found) >= n or in_vain == PATIENCE:
            break
        if drawn is None or key(drawn) in found or split_of(key(drawn)) != split:
            in_vain += 1
            continue
        found[key(drawn)] = drawn
        in_vain = 0
    if len(found) < n:
        raise ValueError(f"n={n} is not allowed: only {len(found)} distinct {split} {what} found")
    return list(found.values())
