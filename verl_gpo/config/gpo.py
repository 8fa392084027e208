"""Every choice of GPO's own, in one frozen dataclass."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from . import names
from .names import PRESETS
from .option import BOOLEAN, TEXT_OR_NUMBER, ConfigError, When, integer, number, one_of, option, share, text, when
from .splitters import SPLITTERS, check_option

_LOOKING = when(search=names.LOOKING)
_REENTERING = When({"search": names.REENTERING}, "a search other than none")
_ADAPTIVE = when(search=("adaptive",))
_VALUE_RULE = when(rule=names.VALUE_RULES)
#: The belief asks what exceeds ``min_advantage``, whatever the rule.
_BELIEF_OR_VALUE_RULE = when(search=("adaptive", "propose"), rule=names.VALUE_RULES)
#: A response's outcome is asked for, or shown.
_BY_OUTCOME = when(anchor_outcome=("failed", "solved"), skip_groups=names.SKIP_GROUPS[1:], trace_dir=())
_WITH_OPTION = when(splitter=tuple(name for name, needed in SPLITTERS.items() if needed))
_TRACED = when(trace_dir=())


@dataclass(frozen=True)
class GPOConfig:
    """Settings of GPO. The defaults are the preset ``paper``."""

    preset: str = option(
        "paper",
        one_of(PRESETS),
        "Where fields that are not set take their value: `paper`, `fast` for a cheaper search, `lean` for none.",
    )
    enable: bool = option(
        True, BOOLEAN, "Off: no search and no re-entry, the run is the base optimizer's own (the baseline twin)."
    )
    anchors: int = option(
        1, integer(0), "Responses of each group in which a critical step is looked for; 0: all that qualify."
    )
    anchor_outcome: str = option(
        "any",
        one_of(names.ANCHOR_OUTCOMES),
        "Which responses qualify: `any`, or those that `failed` or are `solved`.",
    )
    skip_groups: str = option(
        "none",
        one_of(names.SKIP_GROUPS),
        "Groups that are left alone, at no cost: all right (`solved`), all wrong (`failed`), either (`unanimous`), or "
        "those that teach already (`mixed`).",
    )
    solved_reward: float = option(0.5, number(), "Least reward of a response that counts as solved.", _BY_OUTCOME)
    splitter: str = option(
        "newline",
        one_of(SPLITTERS),
        "How a response is cut into steps; every way is lossless on the policy's own token ids.",
    )
    splitter_option: str = option(
        "",
        TEXT_OR_NUMBER,
        "What some splitters need: the count for `tokens`, the pattern for `regex`, the probability for `low_prob`.",
        _WITH_OPTION,
    )
    min_step_tokens: int = option(4, integer(1), "Shorter steps are merged with the steps after them.")
    max_steps: int = option(0, integer(0), "Upper bound on the steps of a response, by merging neighbours; 0: none.")
    search: str = option(
        "uniform",
        one_of(names.SEARCHES),
        "Where to draw continuations: at every state (`uniform`), by `bisection`, where they tell most (`adaptive`), "
        "at the state that the free evidence points to (`propose`), or nowhere: the reset is where a group is expected "
        "to teach most for its tokens (`informative`), or at a step that a row's `extra_info.hard_steps` names "
        "(`given`). Controls: `random` (any step), `none`.",
    )
    n_mc: int = option(
        4,
        integer(1),
        "Monte Carlo continuations at each valued state; `adaptive`: in each round, 4 at least.",
        when(search=("uniform", "bisection", "adaptive")),
    )
    search_budget: int = option(
        0,
        integer(0),
        "Continuations that `adaptive` may draw for an anchor; 0: `2 n_mc log2 K` for `K` steps, and no more than "
        "`uniform` would.",
        _ADAPTIVE,
    )
    stop_confidence: float = option(
        0.9, share(), "`adaptive` stops as soon as a step, or none, is this probable.", _ADAPTIVE
    )
    max_continuation_tokens: int = option(
        0,
        integer(0),
        "Longest Monte Carlo continuation, scored as far as it came and not learnt from; 0: up to the response length.",
        _LOOKING,
    )
    value_model: str = option(
        "means",
        one_of(names.VALUE_MODELS),
        "How `uniform` and `bisection` choose: by the `means` of the continuations (the paper's), or by the belief "
        "about the whole value `curve`, as `adaptive` and `propose` always do.",
        when(search=("uniform", "bisection")),
        _VALUE_RULE,
    )
    rule: str = option(
        "argmax",
        one_of(names.RULES),
        "Which step is critical: the one that gains most (`argmax`), changes most (`abs`), loses most (`argmin`), "
        "or any (`random`: the ablation at the cost of the search; `search=random` is the one without).",
        _LOOKING,
    )
    min_advantage: float = option(
        0.0,
        number(0.0),
        "The critical step's importance has to exceed this, else the response has none.",
        _LOOKING,
        _BELIEF_OR_VALUE_RULE,
    )
    min_confidence: float = option(
        0.0,
        share(),
        "Least probability of being the critical step; below it there is none, and no re-entry.",
        _LOOKING,
        _VALUE_RULE,
    )
    reset: str = option(
        "before",
        one_of(names.RESETS),
        "Reset to the state before the critical step (the paper's), or to the one after it.",
        _REENTERING,
    )
    learn_from: str = option(
        "fresh",
        one_of(names.LEARN_FROM),
        "What is learnt from: `fresh` rollouts from the reset state, `reuse` of the continuations drawn there, `split` "
        "(those that took no part in the choice), or `all` states with continuations, a group each.",
        when(search=(*names.LOOKING, "given", "random")),
    )
    n_reentry: int = option(4, integer(1), "Rollouts wanted from each reset state.", _REENTERING)
    rows: str = option(
        "added",
        one_of(names.ROWS),
        "Re-entry rollouts are `added` to the `rollout.n` roots of a prompt, in more mini-batches, all of one size; or "
        "`widened`: in larger mini-batches, so that optimizer steps are the baseline's; or `matched`: they take the "
        "place of `n_reentry` roots, and where there is no re-entry further roots do, so that rows are, too.",
        _REENTERING,
    )
    base_estimator: str = option(
        "grpo",
        text("the name of an estimator"),
        "What `adv_estimator=gpo` computes: `grpo`, or another estimator of verl's without a critic, on roots and "
        "re-entry rollouts apart.",
        owner="estimator",
    )
    reentry_weight: float = option(
        1.0, number(0.0), "Factor on the advantages of re-entry rollouts.", _REENTERING, owner="estimator"
    )
    exp_beta: float = option(
        0.0,
        number(0.0),
        "Above 0: advantages of re-entry rollouts are `exp(A/beta)` over its mean in the group, less 1 "
        "(advantage-weighted regression), and not standardized.",
        _REENTERING,
        when(base_estimator=("grpo",)),
        owner="estimator",
    )
    prompt_token_budget: int = option(
        0, integer(0), "Tokens that search and re-entry of one prompt may cost; 0: no limit.", _REENTERING
    )
    step_token_budget: int = option(
        0,
        integer(0),
        "The same for a training step: from 80 % on prompts re-enter without a search, from 100 % not at all. 0: no "
        "limit.",
        _REENTERING,
    )
    max_in_flight: int = option(256, integer(1), "Continuations in flight at once, a rollout worker.")
    request_timeout: float = option(
        600.0, number(0.0, exclusive=True), "Seconds after which one continuation or one reward counts as failed."
    )
    seed: int = option(0, integer(0), "Seed of the random rule, and of requests under full determinism.")
    trace_dir: str = option(
        "",
        text("a folder, or empty", empty=True),
        "Folder for traces of what each search saw and chose, which `verl_gpo.report` shows; empty: none.",
    )
    trace_max_mb: int = option(
        1024, integer(1), "Bound on the traces, all rollout workers together, in MiB; the oldest go first.", _TRACED
    )
    trace_every: int = option(1, integer(1), "One prompt out of every `trace_every` is traced.", _TRACED)

    def __post_init__(self) -> None:
        for known in fields(self):
            value, allowed = getattr(self, known.name), known.metadata["allowed"]
            if not allowed.accepts(value):
                raise ConfigError(_key(known.name), value, allowed.text)
        if self.rows == "matched":
            if not self.anchors:
                raise ConfigError(_key("anchors"), 0, "must be a number of responses with rows=matched")
            if self.learn_from == "all":
                raise ConfigError(_key("learn_from"), "all", "must be another with rows=matched: its rows vary")
        # A number is as good as its text: YAML makes a number of 512.
        object.__setattr__(self, "splitter_option", str(self.splitter_option))
        reason = check_option(self.splitter, self.splitter_option or None)
        if reason:
            raise ConfigError(_key("splitter_option"), self.splitter_option, reason)

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any] | None, refuse_unread: bool = True) -> GPOConfig:
        """Build the configuration from the block ``algorithm.gpo``.

        Args:
            block: the fields that are set; None or {} for the defaults. Nulls count as not set.
            refuse_unread: off for those who compare searches by settings that not all of them read.

        Raises:
            ConfigError: an unknown key, a value that is not allowed, or a field that is set and not read.

        So ``{"search": "uniform", "stop_confidence": 0.5}`` ends in one line:
        ``algorithm.gpo.stop_confidence=0.5: is read with search=adaptive only, and search is uniform``.
        """
        given = _given(block)
        known = {field.name for field in fields(cls)}
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise ConfigError(_key(key), given[key], f"no such key; {hint}known are {', '.join(sorted(known))}")
        preset = given.get("preset", _default(cls, "preset"))
        base = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        config = cls(**{**base, **given})
        if refuse_unread:
            for error in config.unread(given).values():
                raise error
        return config

    def unread(self, block: Mapping[str, Any]) -> dict[str, ConfigError]:
        """The fields that a block sets and that nothing reads, with what to say of each.

        None where ``enable`` is off: a baseline twin shares the command line of its run. What a preset sets is not set
        by the block.
        """
        given, found = _given(block), {}
        for known in fields(self) if self.enable else ():
            for condition in known.metadata["read"] if known.name in given else ():
                if known.name not in found and not condition.holds(self):
                    said = ", ".join(self._said(name, given) for name in condition.settings)
                    allowed = f"is read with {condition} only, and {said}"
                    found[known.name] = ConfigError(_key(known.name), given[known.name], allowed)
        return found

    def _said(self, name: str, given: Mapping[str, Any]) -> str:
        by_preset = name not in given and name in PRESETS[self.preset]
        return f"{name} is {getattr(self, name) or 'empty'}{f' (preset {self.preset})' if by_preset else ''}"

    @property
    def reserved_rows(self) -> int:
        """Rows of each prompt, out of ``rollout.n``, that are kept for re-entry rollouts.

        What is not used of them goes to further roots of the same prompt, drawn after the search.
        """
        return self.anchors * self.n_reentry if self.rows == "matched" else 0


def _given(block: Mapping[str, Any] | None) -> dict[str, Any]:
    return {str(key): value for key, value in (block or {}).items() if value is not None}


def _key(name: str) -> str:
    return f"{names.BLOCK}.{name}"


def _default(cls: type, name: str) -> Any:
    found: Field = next(field for field in fields(cls) if field.name == name)
    assert found.default is not MISSING
    return found.default


def owned_by(owner: str) -> tuple[str, ...]:
    """The fields that are read by the ``rollout`` worker, or by the ``estimator``."""
    return tuple(known.name for known in fields(GPOConfig) if known.metadata["owner"] == owner)
