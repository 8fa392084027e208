"""Every setting of GPO's own: default, range, help, and the condition under which it is read. A field each."""

from __future__ import annotations

from dataclasses import dataclass

from . import names
from .names import PRESETS
from .option import (
    BOOLEAN,
    TEXT_OR_NUMBER,
    When,
    integer,
    number,
    one_of,
    option,
    probability,
    share,
    text,
    when,
    zero_or,
)
from .splitters import SPLITTERS

_LOOKING = when(search=names.LOOKING)
_RULED = when(search=names.RULED)
_RESETTING = When({"n_reentry": ()}, "n_reentry above 0")
_STEP_CREDIT = when(credit=("steps",))
_REENTERING = When({"search": names.REENTERING}, "a search other than none")
_ADAPTIVE = when(search=("adaptive",))
_VALUE_RULE = when(rule=names.VALUE_RULES)
#: The belief asks what exceeds ``min_advantage``, whatever the rule.
_BELIEF_OR_VALUE_RULE = when(search=("adaptive", "propose"), rule=names.VALUE_RULES)
#: A response's outcome is asked for, or shown.
_BY_OUTCOME = when(
    anchor_outcome=("failed", "solved"), skip_groups=names.SKIP_GROUPS[1:], search=("highest",), trace_dir=()
)
_WITH_OPTION = when(splitter=tuple(name for name, needed in SPLITTERS.items() if needed))
_TRACED = when(trace_dir=())


@dataclass(frozen=True)
class Settings:
    """The fields alone; :class:`~verl_gpo.config.gpo.GPOConfig` validates them."""

    preset: str = option(
        "paper",
        one_of(PRESETS),
        "The named set of values for all settings that are not set: `paper`, `fast` (a cheaper search), `lean` "
        "(no search), `vineppo` and `spo` (step credit without re-entry), `authors` (GPO as its authors' code "
        "does it) or `pods` (a control: more rollouts, some of them trained on).",
    )
    enable: bool = option(
        True,
        BOOLEAN,
        "`false`: no search and no re-entry. The run is the base optimizer's own, for example as the plain twin.",
    )
    anchors: int = option(
        1, integer(0), "Number of responses of each group that are searched for a critical step; 0: all that qualify."
    )
    anchor_outcome: str = option(
        "any",
        one_of(names.ANCHOR_OUTCOMES),
        "Which responses qualify as anchors: `any`, those that `failed`, or those that are `solved`.",
    )
    skip_groups: str = option(
        "none",
        one_of(names.SKIP_GROUPS),
        "Groups that are not searched: all right (`solved`), all wrong (`failed`), either of these "
        "(`unanimous`), or `mixed`, which give a gradient already.",
    )
    solved_reward: float = option(0.5, number(), "A response with at least this reward counts as solved.", _BY_OUTCOME)
    splitter: str = option(
        "newline",
        one_of(SPLITTERS),
        "Where a response, or each turn of an agent, is cut into steps: between the policy's own token ids.",
    )
    splitter_option: str = option(
        "",
        TEXT_OR_NUMBER,
        "What some splitters need: a number of tokens for `tokens`, a pattern for `regex`, a probability for "
        "`low_prob`, and then, if not one, the number of cut points in a step: `0.9/5`.",
        _WITH_OPTION,
    )
    min_step_tokens: int = option(4, integer(1), "A step with fewer tokens is merged with the step after it.")
    max_steps: int = option(
        0,
        integer(0),
        "Upper bound on the number of steps of a response; neighbours are merged (`line_tokens`: the rest is "
        "the last step). 0: no bound.",
    )
    search: str = option(
        "uniform",
        one_of(names.SEARCHES),
        "Where continuations are drawn: at every state (`uniform`), by `bisection`, where their outcome "
        "tells most (`adaptive`), at the state that the free evidence points to (`propose`), at the start of "
        "every step until the mean of one is that of a solved response (`highest`: the reset is to the state of "
        "highest mean), or nowhere: the reset is where a group is expected to teach most for its tokens "
        "(`informative`), or at a step that the data set names in `extra_info.hard_steps` (`given`). Controls: "
        "`random` (any step), `tool_entropy` (where the policy is least sure behind a tool call) and `none`.",
    )
    n_mc: int = option(
        4,
        integer(1),
        "Number of Monte Carlo continuations at each valued state; for `adaptive`, in each round, and then at least 4.",
        when(search=("uniform", "bisection", "adaptive", "highest")),
    )
    states_at_once: int = option(
        4, integer(1), "Number of states at which `highest` draws in one round.", when(search=("highest",))
    )
    search_seconds: float = option(
        0.0, number(0.0), "Seconds after which the search of a prompt begins no further round. 0: no limit.", _LOOKING
    )
    search_budget: int = option(
        0,
        integer(0),
        "Number of continuations that `adaptive` may draw for an anchor; 0: `2 n_mc log2 K` for `K` steps, "
        "and never more than `uniform` would draw.",
        _ADAPTIVE,
    )
    stop_confidence: float = option(
        0.9,
        share(),
        "`adaptive` stops when one step, or the answer that there is none, has this probability.",
        _ADAPTIVE,
    )
    max_continuation_tokens: int = option(
        0,
        integer(0),
        "Longest Monte Carlo continuation, in tokens. One that is cut is never trained on, and gives a value "
        "only with `partial_rewards`. 0: up to the response length.",
        _LOOKING,
    )
    value_model: str = option(
        "means",
        one_of(names.VALUE_MODELS),
        "What `uniform` and `bisection` choose by: the `means` of the continuations (the paper's), or the "
        "belief about the whole value `curve`, which `adaptive` and `propose` always use.",
        when(search=("uniform", "bisection")),
        _VALUE_RULE,
    )
    rule: str = option(
        "argmax",
        one_of(names.RULES),
        "Which step is critical: the one that gains most (`argmax`), changes most (`abs`) or loses most "
        "(`argmin`), or one at random after the search (`random`, an ablation; `search=random` is the one "
        "that does not pay for a search).",
        _RULED,
    )
    min_advantage: float = option(
        0.0,
        number(0.0),
        "The importance of the critical step has to exceed this; otherwise the response has no critical step.",
        _RULED,
        _BELIEF_OR_VALUE_RULE,
    )
    min_confidence: float = option(
        0.0,
        share(),
        "The confidence of the choice has to reach this; otherwise the response has no critical step, and "
        "there is no re-entry.",
        _RULED,
        _VALUE_RULE,
    )
    reset: str = option(
        "before",
        one_of(names.RESETS),
        "Reset to the state `before` the critical step (the paper's), or to the one `after` it.",
        _REENTERING,
        _RESETTING,
    )
    learn_from: str = option(
        "fresh",
        one_of(names.LEARN_FROM),
        "What is trained on: `fresh` rollouts from the reset state, `reuse` of the continuations that the "
        "search drew there, `split` (those of them that took no part in the choice), `all` states with "
        "continuations, each as a group, or the `best` of the continuations that the search drew there.",
        when(search=(*names.LOOKING, "given", "random")),
        _RESETTING,
    )
    n_reentry: int = option(
        4,
        integer(0),
        "Number of rollouts wanted from each reset state. 0, with `credit=steps` only: no re-entry.",
        _REENTERING,
    )
    rows: str = option(
        "added",
        one_of(names.ROWS),
        "`added`: re-entry rollouts are added to the `rollout.n` roots of a prompt and make more "
        "mini-batches. `widened`: they make larger mini-batches, so the number of optimizer steps is the "
        "base optimizer's. `matched`: they take the place of `n_reentry` roots for each anchor, and further "
        "roots take places that stay free, so the number of rows is the base optimizer's as well. `replaced`: one "
        "rollout from the reset state takes the place of the response that was searched, and the loss is on all "
        "of it. `downsampled`, with `search=none` only: `kept_rows` of the roots are trained on, those whose "
        "rewards vary most.",
        When({"search": names.REENTERING, "rows": ("downsampled",)}, "a search other than none"),
        When({"n_reentry": (), "rows": ("downsampled",)}, "n_reentry above 0"),
    )
    kept_rows: int = option(
        4,
        integer(2),
        "Number of the `rollout.n` rows of a prompt that are trained on.",
        when(rows=("downsampled",)),
    )
    credit: str = option(
        "outcome",
        one_of(names.CREDITS),
        "What the tokens of a searched response are credited with: its `outcome`, or, in each of its `steps`, "
        "the advantage of that step, by the search.",
        _REENTERING,
    )
    credit_below: float = option(
        1.0,
        probability(),
        "With step credit, only tokens of lower probability than this get any (the mask of SPO). 1: all tokens.",
        _STEP_CREDIT,
    )
    scored: str = option(
        "response",
        one_of(names.SCORED),
        "What the reward function is shown of a continuation: the whole `response`, kept prefix included, or the "
        "`continuation` alone (the authors' code).",
        _REENTERING,
    )
    base_estimator: str = option(
        "grpo",
        text("the name of an estimator"),
        "What `adv_estimator=gpo` computes, on roots and on re-entry rollouts apart: `grpo`, or another of "
        "verl's estimators without a critic.",
        owner="estimator",
    )
    reentry_weight: float = option(
        1.0, number(0.0), "Factor on the advantages of re-entry rollouts.", _REENTERING, _RESETTING, owner="estimator"
    )
    exp_beta: float = option(
        0.0,
        number(0.0),
        "Above 0: the advantage of a re-entry rollout is `exp(A/beta)` divided by its mean in the group, "
        "minus 1 (advantage-weighted regression), and is not standardized.",
        _REENTERING,
        _RESETTING,
        when(base_estimator=("grpo",)),
        owner="estimator",
    )
    reward_low: float = option(
        0.0,
        number(),
        "Lowest reward that the belief and the intervals expect. A lower reward counts as this one there.",
        _REENTERING,
    )
    reward_high: float = option(
        1.0,
        number(),
        "Highest reward that the belief and the intervals expect. A higher reward counts as this one there.",
        _REENTERING,
    )
    partial_rewards: bool = option(
        False,
        BOOLEAN,
        "The reward function scores partial text. Only then does a continuation that was cut by "
        "`max_continuation_tokens` give a value; otherwise its state has none.",
        when(max_continuation_tokens=()),
    )
    cost_ceiling: float = option(
        16.0,
        number(0.0),
        "Search and re-entry of one prompt may cost at most this number of times the tokens of its root "
        "rollouts. Where that binds, neighbouring steps are merged evenly (metric `gpo/prompts/thinned`). 0: "
        "no limit.",
        _REENTERING,
    )
    step_stretch: float = option(
        0.0,
        zero_or(1.0),
        "Search and re-entry of a prompt may take this multiple of what the longest root of the last steps took, so "
        "that the training step is not longer; a prompt that would take longer gets fewer rounds or no re-entry. Under "
        "`rows=matched`, what is above 1 bounds the wait for the first roots ([scale.md](scale.md)). 0: no limit.",
        _REENTERING,
    )
    prompt_token_budget: int = option(
        0,
        integer(0),
        "Number of tokens that search and re-entry of one prompt may cost. Tokens for the re-entry rollouts "
        "are reserved first. 0: no limit.",
        _REENTERING,
    )
    step_token_budget: int = option(
        0,
        integer(0),
        "The same for a training step: after 80 % of it prompts re-enter without a search, after 100 % not "
        "at all. 0: no limit.",
        _REENTERING,
    )
    max_in_flight: int = option(
        256,
        integer(1),
        "Number of requests that may be in flight at once for each replica of the engine, all rollout workers "
        "together. Roots count, too, but a quarter is for continuations alone.",
    )
    stall_timeout: float = option(
        600.0,
        number(0.0, exclusive=True),
        "A continuation is given up, and aborted in the engine, after this number of seconds and twice the "
        "time of the longest allowed answer. Only time in which the engine returns other requests counts.",
    )
    reward_timeout: float = option(
        600.0, number(0.0, exclusive=True), "Seconds after which the reward of one rollout counts as failed."
    )
    report_silence: float = option(
        300.0, number(0.0, exclusive=True), "Seconds without any progress after which a run prints what it waits for."
    )
    seed: int = option(0, integer(0), "Seed of random choices, and of requests under full determinism.")
    trace_dir: str = option(
        "", text("a folder, or empty", empty=True), "Folder for the traces that `verl_gpo.report` shows; empty: none."
    )
    trace_max_mb: int = option(
        1024, integer(1), "Bound on the size of all traces together, in MiB; the oldest are deleted first.", _TRACED
    )
    trace_every: int = option(1, integer(1), "One prompt out of every N is traced.", _TRACED)
