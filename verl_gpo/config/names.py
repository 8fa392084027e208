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
SEARCHES = (
    *("uniform", "bisection", "adaptive", "propose", "highest"),
    *("informative", "given", "random", "tool_entropy", "none"),
)
#: Of these, the ones that draw continuations to find the step (a test compares them with ``Search.looks``).
LOOKING = ("uniform", "bisection", "adaptive", "propose", "highest")
#: Of these, the ones that choose a step, by a rule. The others choose a state.
RULED = ("uniform", "bisection", "adaptive", "propose")
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
LEARN_FROM = ("fresh", "reuse", "split", "all", "best")
#: What a prompt gives: its ``n`` roots and the re-entry rollouts ``added``, in more mini-batches, or in as many as
#: before that are ``widened`` by them; or ``matched`` to ``n`` rows in all; or a rollout that has ``replaced`` its
#: anchor's row; or, without re-entry, a part of the roots (``downsampled``).
ROWS = ("added", "widened", "matched", "replaced", "downsampled")
#: What the tokens of a searched response are credited with (:mod:`verl_gpo.core.credit`).
CREDITS = ("outcome", "steps")
#: What the reward function is shown of a continuation.
SCORED = ("response", "continuation")

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
        "step_stretch": 1.0,
    },
    "lean": {
        "search": "informative",
        "rows": "matched",
        "n_reentry": 6,  # of rollout.n=8: two roots are enough to see what they share
        "step_stretch": 1.05,
    },
    # VinePPO (arXiv 2410.01679): step advantages of all responses, no re-entry. Theirs: all states, nine continuations,
    # no limit on the cost. Ours: lines as steps for every task, and the group's scale instead of whitening.
    "vineppo": {
        "credit": "steps",
        "n_reentry": 0,
        "anchors": 0,
        "n_mc": 9,
        "min_step_tokens": 1,
        "cost_ceiling": 0.0,
    },
    # SPO-chain (arXiv 2505.23564). Theirs: cut points below 0.9, a state before the first and every fifth of them, nine
    # continuations, credit for the tokens below 0.9 only. Ours: the group's scale instead of whitening.
    "spo": {
        "credit": "steps",
        "credit_below": 0.9,
        "n_reentry": 0,
        "anchors": 0,
        "n_mc": 9,
        "splitter": "low_prob",
        "splitter_option": "0.9/5",
        "min_step_tokens": 1,
        "cost_ceiling": 0.0,
    },
    # GPO as its first author's public code does it (docs/authors.md). All of these values are that code's.
    "authors": {
        "search": "highest",
        "learn_from": "best",
        "rows": "replaced",
        "n_reentry": 1,
        "anchors": 0,
        "anchor_outcome": "failed",
        "solved_reward": 1.0,
        "splitter": "line_tokens",
        "min_step_tokens": 30,
        "max_steps": 30,
        "scored": "continuation",
        "search_seconds": 200.0,
        "cost_ceiling": 0.0,
    },
    # The control PODS (arXiv 2504.13818): more rollouts, trained on those of them whose rewards vary most.
    "pods": {
        "search": "none",
        "rows": "downsampled",
    },
}
