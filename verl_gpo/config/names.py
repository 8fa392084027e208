"""The names that settings may have, and what the presets set, as data.

The tables of ``core`` are keyed by these names, which a test compares.

To add a search, a rule, a splitter ...: its name here, its row or file in ``core``.
"""

from __future__ import annotations

from typing import Any

#: Where the fields stand in a verl configuration; every error names its key in full.
BLOCK = "algorithm.gpo"

#: Where a row's ``extra_info`` has the indices of its decisive steps, for ``search=given``.
GIVEN_STEPS = "hard_steps"

#: Which responses may be anchors (:mod:`verl_gpo.core.anchors`).
ANCHOR_OUTCOMES = ("any", "failed", "solved")
#: Which groups are left alone (:mod:`verl_gpo.core.anchors`).
SKIP_GROUPS = ("none", "solved", "failed", "unanimous", "mixed")
#: Where continuations are drawn before the choice (:mod:`verl_gpo.core.search`).
SEARCHES = ("uniform", "bisection", "adaptive", "propose", "informative", "given", "random", "none")
#: Of these, the ones that draw continuations to find the step (a test compares them with ``Search.looks``).
LOOKING = ("uniform", "bisection", "adaptive", "propose")
#: Of these, the ones that may reset (``Search.reenters``).
REENTERING = tuple(name for name in SEARCHES if name != "none")
#: How a search chooses that has means and a belief (:mod:`verl_gpo.core.search.view`).
VALUE_MODELS = ("means", "curve")
#: Which step is critical (:mod:`verl_gpo.core.critical`).
RULES = ("argmax", "abs", "argmin", "random")
#: Of these, the ones that look at values.
VALUE_RULES = ("argmax", "abs", "argmin")
#: The state that a critical step resets to.
RESETS = ("before", "after")
#: Which continuations become rows of the batch (:mod:`verl_gpo.core.learn`).
LEARN_FROM = ("fresh", "reuse", "split", "all")
#: What a prompt gives: its ``n`` roots and the re-entry rollouts ``added``, in more mini-batches, or in as many as
#: before that are ``widened`` by them; or ``matched`` to ``n`` rows in all.
ROWS = ("added", "widened", "matched")

#: What each preset changes against the defaults, which are the paper's.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {
        "search": "adaptive",
        "search_budget": 12,  # 8 to find the step, 4 to learn from
        "learn_from": "reuse",
        "rule": "abs",  # a failed response seldom has a step that gains; the one that loses is as good a place
        "min_advantage": 0.1,
        "min_confidence": 0.4,
    },
    "lean": {
        "search": "informative",
        "rows": "matched",
        "n_reentry": 6,  # of rollout.n=8: two roots are enough to see what they share
    },
}
