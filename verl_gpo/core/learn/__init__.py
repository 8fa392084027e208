"""What is learnt from: which continuations of which states become rows of the batch. One file a way.

- :mod:`~verl_gpo.core.learn.fresh`  new rollouts from the reset state: unbiased, and the paper's
- :mod:`~verl_gpo.core.learn.reuse`  the continuations that were drawn there anyway: free, and biased
- :mod:`~verl_gpo.core.learn.split`  of these, the ones that took no part in the choice: free and unbiased, but fewer
- :mod:`~verl_gpo.core.learn.all`    all states with continuations, a group each

:mod:`~verl_gpo.core.learn.base` says what a way decides. ``scripts/bench_search.py`` measures the bias of each.
"""

from __future__ import annotations

from .all import All
from .base import LearnFrom, ReentryGroup
from .fresh import Fresh
from .reuse import Reuse
from .split import Split

__all__ = ["LEARN_FROM", "LearnFrom", "ReentryGroup"]

#: name -> way; the names are those of the configuration.
LEARN_FROM: dict[str, LearnFrom] = {"fresh": Fresh(), "reuse": Reuse(), "split": Split(), "all": All()}
