"""Settings that pay for a search and never learn from a re-entry: no group of theirs has rollouts enough."""

from __future__ import annotations

from dataclasses import replace

from ...config import BLOCK, ConfigError, GPOConfig
from ...core.cost import most_rows
from ...core.search import SEARCHES
from ..estimators import smallest_group

#: The settings that decide how large a group is, in the order in which they are tried, and how far.
_SIZES, _TRIED = ("n_reentry", "n_mc"), 8
#: More steps than a response has.
_MANY_STEPS = 2**16


def check_learns(gpo: GPOConfig, estimator: str) -> None:
    """Refuse settings under which a re-entry group never has the rollouts that the estimator needs.

    Args:
        gpo: GPO's settings.
        estimator: ``algorithm.adv_estimator``.

    Raises:
        ConfigError: the setting that makes groups too small, and the least value that does not. Say
            ``algorithm.gpo.n_mc=3: must be at least 4 with search=uniform, learn_from=split and ...``.
    """
    search = SEARCHES[gpo.search]()
    if search.reenters and not gpo.n_reentry and not search.expected_draws(gpo, _MANY_STEPS, 2).search:
        allowed = f"must be at least 1 with search={gpo.search}, which draws no other continuations than these"
        raise ConfigError(f"{BLOCK}.n_reentry", 0, allowed)
    smallest = smallest_group(estimator, gpo.base_estimator)
    if not gpo.n_reentry or not SEARCHES[gpo.search].reenters or most_rows(gpo, smallest):
        return
    name, least = _least(gpo, smallest)
    draws = f"search={gpo.search}" + (f", learn_from={gpo.learn_from}" if SEARCHES[gpo.search].looks else "")
    raise ConfigError(
        f"{BLOCK}.{name}",
        getattr(gpo, name),
        f"must be at least {least} with {draws} and adv_estimator={estimator}: a re-entry group would have "
        f"{most_rows(gpo, 1)} row, which has nothing to be compared with, so nothing would be learnt from re-entry",
    )


def _least(gpo: GPOConfig, smallest: int) -> tuple[str, int]:
    """A setting and the least value above its own that makes groups large enough, if need be together with others."""
    for others in ({}, {name: getattr(gpo, name) + _TRIED for name in _SIZES}):
        for name in _SIZES:
            own = getattr(gpo, name)
            for value in range(own + 1, own + _TRIED + 1):
                if most_rows(replace(gpo, **{**others, name: value}), smallest):
                    return name, value
    raise AssertionError(f"no group of {smallest} rollouts with {gpo}")
