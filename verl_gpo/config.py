"""Every choice of GPO's own, in one frozen dataclass.

In a verl configuration the fields form the block ``algorithm.gpo``. A field that is absent or null takes the preset's
value, so ``algorithm.gpo.preset=fast algorithm.gpo.n_mc=8`` means what it says. This module imports no framework.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from .core.anchors import ANCHOR_OUTCOMES, SKIP_GROUPS
from .core.critical import RULES
from .core.learn import LEARN_FROM
from .core.search import SEARCHES
from .core.segment.steps import SPLITTERS, check_option
from .plugin.batch import ROWS, reserved_rows

#: Where the fields stand in a verl configuration; every error names its key in full.
BLOCK = "algorithm.gpo"

RESETS = ("before", "after")
VALUE_MODELS = ("means", "curve")

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


class ConfigError(ValueError):
    """A setting that cannot work. The message is one line: the key, the value, what is allowed."""

    def __init__(self, key: str, value: Any, allowed: str):
        super().__init__(f"{key}={value!r}: {allowed}")


@dataclass(frozen=True)
class _Allowed:
    """What a field may hold: the words for the error and the documentation, and the test."""

    text: str
    accepts: Callable[[Any], bool]


def _integer(least: int) -> _Allowed:
    return _Allowed(
        f"must be an integer of at least {least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
    )


def _number(least: float, exclusive: bool = False) -> _Allowed:
    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return (value > least if exclusive else value >= least) and abs(value) != float("inf")

    bound = "" if least == float("-inf") else f" {'above' if exclusive else 'of at least'} {least:g}"
    return _Allowed(f"must be a number{bound}", accepts)


def _share() -> _Allowed:
    return _Allowed(
        "must be a number from 0 to 1",
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1,
    )


def _one_of(names: Any) -> _Allowed:
    names = tuple(names)
    return _Allowed(f"must be one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


_BOOLEAN = _Allowed("must be true or false", lambda value: isinstance(value, bool))


def _option(default: Any, allowed: _Allowed, text: str) -> Any:
    return field(default=default, metadata={"allowed": allowed, "help": text})


@dataclass(frozen=True)
class GPOConfig:
    """Settings of GPO. The defaults are the preset ``paper``."""

    preset: str = _option(
        "paper",
        _one_of(PRESETS),
        "Where fields that are not set take their value: `paper`, `fast` for a cheaper search, `lean` for none.",
    )
    enable: bool = _option(
        True, _BOOLEAN, "Off: no search and no re-entry, the run is the base optimizer's own (the baseline twin)."
    )
    anchors: int = _option(
        1, _integer(0), "Responses of each group in which a critical step is looked for; 0: all that qualify."
    )
    anchor_outcome: str = _option(
        "any",
        _one_of(ANCHOR_OUTCOMES),
        "Which responses qualify: `any`, or those that `failed` or are `solved`; `surprising`: any, and first "
        "those whose reward is farthest from the group's mean, since their steps changed the value most.",
    )
    skip_groups: str = _option(
        "none",
        _one_of(SKIP_GROUPS),
        "Groups that are left alone, at no cost: all right (`solved`), all wrong (`failed`), either (`unanimous`), or "
        "those that teach already (`mixed`).",
    )
    solved_reward: float = _option(0.5, _number(float("-inf")), "Least reward of a response that counts as solved.")
    splitter: str = _option(
        "newline",
        _one_of(SPLITTERS),
        "How a response is cut into steps; every way is lossless on the policy's own token ids.",
    )
    splitter_option: str = _option(
        "",
        _Allowed("must be a text or a number", lambda value: isinstance(value, (str, int, float))),
        "What some splitters need: the count for `tokens`, the pattern for `regex`, the probability for `low_prob`.",
    )
    min_step_tokens: int = _option(4, _integer(1), "Shorter steps are merged with the steps after them.")
    max_steps: int = _option(0, _integer(0), "Upper bound on the steps of a response, by merging neighbours; 0: none.")
    search: str = _option(
        "uniform",
        _one_of(SEARCHES),
        "Where to draw continuations: at every state (`uniform`), by `bisection`, where they tell most (`adaptive`), "
        "at the state that the free evidence points to (`propose`), or nowhere: the reset is where a group is expected "
        "to teach most for its tokens (`informative`), or at a step that the data set calls decisive (`given`). "
        "Controls: `random` (any step), `none`.",
    )
    given_key: str = _option(
        "hard_steps",
        _Allowed("must be a key", lambda value: isinstance(value, str) and bool(value)),
        "Where a row's `extra_info` has the decisive steps' indices, for `search=given` and `gpo/critical/given`.",
    )
    n_mc: int = _option(
        4, _integer(1), "Monte Carlo continuations at each valued state; `adaptive`: in each round, 4 at least."
    )
    search_budget: int = _option(
        0,
        _integer(0),
        "Continuations that `adaptive` may draw for an anchor; 0: `2 n_mc log2 K` for `K` steps, and no more than "
        "`uniform` would.",
    )
    stop_confidence: float = _option(0.9, _share(), "`adaptive` stops as soon as a step, or none, is this probable.")
    max_proposals: int = _option(2, _integer(1), "Steps that `propose` checks for an anchor.")
    max_candidates: int = _option(
        0, _integer(0), "Only so many steps, those with the most uncertain tokens, may be critical; 0: all."
    )
    min_prefix_share: float = _option(
        0.0,
        _share(),
        "Least share of the response that the reset state keeps: a late reset is cheap to roll out from, an early one "
        "costs what a new root does.",
    )
    max_continuation_tokens: int = _option(
        0,
        _integer(0),
        "Longest Monte Carlo continuation, scored as far as it came and not learnt from; 0: up to the response length.",
    )
    value_model: str = _option(
        "means",
        _one_of(VALUE_MODELS),
        "How `uniform` and `bisection` choose: by the `means` of the continuations (the paper's), or by the belief "
        "about the whole value `curve`, as `adaptive` and `propose` always do.",
    )
    rule: str = _option(
        "argmax",
        _one_of(RULES),
        "Which step is critical: the one that gains most (`argmax`), changes most (`abs`), loses most (`argmin`), "
        "or any (`random`: the ablation at the cost of the search; `search=random` is the one without).",
    )
    min_advantage: float = _option(
        0.0, _number(0.0), "The critical step's importance has to exceed this, else the response has none."
    )
    min_confidence: float = _option(
        0.0, _share(), "Least probability of being the critical step; below it there is none, and no re-entry."
    )
    explore_share: float = _option(
        0.0,
        _share(),
        "Share of the prompts that reset to a random step, without a search: where all resets are to one place, what "
        "is learnt there may spread to where it does not belong.",
    )
    reset: str = _option(
        "before", _one_of(RESETS), "Reset to the state before the critical step (the paper's), or to the one after it."
    )
    learn_from: str = _option(
        "fresh",
        _one_of(LEARN_FROM),
        "What is learnt from: `fresh` rollouts from the reset state, `reuse` of the continuations drawn there, `split` "
        "(those that took no part in the choice), or `all` states with continuations, a group each.",
    )
    n_reentry: int = _option(4, _integer(1), "Rollouts wanted from each reset state.")
    rows: str = _option(
        "added",
        _one_of(ROWS),
        "Re-entry rollouts are `added` to the `rollout.n` roots of a prompt, in more mini-batches, all of one size; or "
        "`widened`: in larger mini-batches, so that optimizer steps are the baseline's; or `matched`: they take the "
        "place of `n_reentry` roots, and where there is no re-entry further roots do, so that rows are, too.",
    )
    max_prefix_tokens: int = _option(
        0, _integer(0), "Longest prefix that is kept, in tokens; 0: up to one token less than the response length."
    )
    base_estimator: str = _option(
        "grpo",
        _Allowed("must be the name of an estimator", lambda value: isinstance(value, str) and bool(value)),
        "What `adv_estimator=gpo` computes: `grpo`, or another estimator of verl's without a critic, on roots and "
        "re-entry rollouts apart.",
    )
    reentry_weight: float = _option(1.0, _number(0.0), "Factor on the advantages of re-entry rollouts.")
    critical_weight: float = _option(
        1.0, _number(0.0), "With `learn_from=all`: further factor on the group of the critical step's reset state."
    )
    exp_beta: float = _option(
        0.0,
        _number(0.0),
        "Above 0: advantages of re-entry rollouts are `exp(A/beta)` over its mean in the group, less 1 "
        "(advantage-weighted regression), and not standardized.",
    )
    prompt_token_budget: int = _option(
        0, _integer(0), "Tokens that search and re-entry of one prompt may cost; 0: no limit."
    )
    step_token_budget: int = _option(
        0,
        _integer(0),
        "The same for a training step: from 80 % on prompts re-enter without a search, from 100 % not at all. 0: no "
        "limit.",
    )
    max_in_flight: int = _option(256, _integer(1), "Continuations in flight at once, a rollout worker.")
    request_timeout: float = _option(
        600.0, _number(0.0, exclusive=True), "Seconds after which one continuation or one reward counts as failed."
    )
    seed: int = _option(0, _integer(0), "Seed of the random rule, and of requests under full determinism.")
    trace_dir: str = _option(
        "",
        _Allowed("must be a folder, or empty", lambda value: isinstance(value, str)),
        "Folder for traces of what each search saw and chose, which `verl_gpo.report` shows; empty: none.",
    )
    trace_max_mb: int = _option(
        1024, _integer(1), "Bound on the traces, all rollout workers together, in MiB; the oldest go first."
    )
    trace_every: int = _option(1, _integer(1), "One prompt in so many is traced.")

    def __post_init__(self) -> None:
        for option in fields(self):
            value, allowed = getattr(self, option.name), option.metadata["allowed"]
            if not allowed.accepts(value):
                raise ConfigError(f"{BLOCK}.{option.name}", value, allowed.text)
        if self.rows == "matched":
            if not self.anchors:
                raise ConfigError(f"{BLOCK}.anchors", 0, "must be a number of responses with rows=matched")
            if self.learn_from == "all":
                raise ConfigError(f"{BLOCK}.learn_from", "all", "must be another with rows=matched: its rows vary")
        # A number is as good as its text: YAML makes a number of 512.
        object.__setattr__(self, "splitter_option", str(self.splitter_option))
        reason = check_option(self.splitter, self.splitter_option or None)
        if reason:
            raise ConfigError(f"{BLOCK}.splitter_option", self.splitter_option, reason)

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any] | None) -> GPOConfig:
        """Build the configuration from the block ``algorithm.gpo``.

        Args:
            block: the fields that are set; None or {} for the defaults. Nulls count as not set.

        Raises:
            ConfigError: an unknown key, or a value that is not allowed.
        """
        given = {str(key): value for key, value in (block or {}).items() if value is not None}
        known = {option.name for option in fields(cls)}
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise ConfigError(
                    f"{BLOCK}.{key}", given[key], f"no such key; {hint}known are {', '.join(sorted(known))}"
                )
        preset = given.get("preset", _default(cls, "preset"))
        base = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        return cls(**{**base, **given})

    @property
    def reserved_rows(self) -> int:
        """Rows of each prompt, out of ``rollout.n``, that are kept for re-entry."""
        return reserved_rows(self.rows, self.anchors, self.n_reentry)

    def adaptive_budget(self, steps: int) -> int:
        """Continuations that the adaptive search may draw for an anchor of so many steps."""
        if self.search_budget:
            return self.search_budget
        return self.n_mc * min(2 * math.ceil(math.log2(max(steps, 2))), max(steps - 1, 1))

    def prefix_budget(self, response_length: int) -> int:
        """Longest prefix, in tokens, that may be kept in a response of at most ``response_length`` tokens."""
        longest = response_length - 1
        return min(self.max_prefix_tokens, longest) if self.max_prefix_tokens else longest


def _default(cls: type, name: str) -> Any:
    option: Field = next(f for f in fields(cls) if f.name == name)
    assert option.default is not MISSING
    return option.default
