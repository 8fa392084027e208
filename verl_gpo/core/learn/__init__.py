"""The ways of ``learn_from``: which continuations of which states become rows of the batch. One file for each way.

- :mod:`~verl_gpo.core.learn.fresh`  new rollouts from the reset state, as in the paper: unbiased
- :mod:`~verl_gpo.core.learn.reuse`  the continuations that the search drew there: no extra cost, but biased
- :mod:`~verl_gpo.core.learn.split`  those of them that were not used for the choice: no extra cost, unbiased, but fewer
- :mod:`~verl_gpo.core.learn.all`    all states with continuations, one group for each state
- :mod:`~verl_gpo.core.learn.best`   the best continuation from the reset state: biased; it replaces its anchor's row

:mod:`~verl_gpo.core.learn.base` says what a way decides. ``scripts/bench_search.py`` measures the bias of each.
"""

from __future__ import annotations

from .all import All
from .base import LearnFrom, ReentryGroup
from .best import Best
from .fresh import Fresh
from .reuse import Reuse
from .split import Split

__all__ = ["LEARN_FROM", "LearnFrom", "ReentryGroup"]

#: name -> way; the names are the values of the setting ``learn_from``.
LEARN_FROM: dict[str, LearnFrom] = {"fresh": Fresh(), "reuse": Reuse(), "split": Split(), "all": All(), "best": Best()}
