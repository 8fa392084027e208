"""Searches: at which states of a response continuations are drawn.

Each has a file of its own; all share one interface (:class:`~verl_gpo.core.search.view.Search`). To add a search,
write a class with ``next_states``, ``choose`` and ``expected_draws``, and add it to :data:`SEARCHES` here and to the
names of the configuration. The procedure, the cost model and the checks call the methods of the class.
"""

from __future__ import annotations

from .adaptive import AdaptiveSearch
from .bisection import BisectionSearch
from .controls import GivenStep, NoSearch, RandomStep
from .highest import HighestMean
from .informative import InformativeState
from .propose import ProposeSearch
from .tool_entropy import ToolEntropy
from .uniform import UniformSearch
from .view import AnchorView, Search

__all__ = ["SEARCHES", "AnchorView", "Search"]

#: name -> search.
SEARCHES: dict[str, type[Search]] = {
    "uniform": UniformSearch,
    "bisection": BisectionSearch,
    "adaptive": AdaptiveSearch,
    "propose": ProposeSearch,
    "highest": HighestMean,
    "informative": InformativeState,
    "given": GivenStep,
    "random": RandomStep,
    "tool_entropy": ToolEntropy,
    "none": NoSearch,
}
