"""``gpo/*`` metrics: a small record of each prompt, and a summary of each training step.

The rollout worker writes the record as a tag on the prompt's first row. The replay buffer reads the records and passes
their summary to the trainer's own logger. verl reduces a metric by words in its name (``min``, ``max``, ``sum``,
``mean``, ``total``, ``avg``, anywhere in it), so none of the names below contains one of these words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.result import GroupResult
from ...core.turns import turns
from ...core.types import ScoredContinuation, as_number
from ..agents.output import reentry_of

#: The tag that holds a prompt's record.
TAG = "gpo"
#: The tag of a row that is a re-entry rollout.
REENTRY_TAG = "gpo_reentry"


def prompt_record(
    roots: Sequence[Any],
    reentered: Sequence[ScoredContinuation],
    result: GroupResult | None,
    rollout_seconds: float,
    skipped: str | None = None,
    failed: bool = False,
    given: Sequence[int] = (),
) -> dict[str, Any]:
    """A summary of GPO's work on one prompt, small enough for a tag.

    Args:
        roots: verl's ``AgentLoopOutput`` of each root rollout.
        reentered: the re-entry rollouts that became rows.
        result: the result of GPO's procedure; None if it did not run or failed.
        rollout_seconds: from the prompt's start to its last root rollout.
        skipped: why the procedure was not run, if it was not.
        failed: the procedure raised an exception; the roots are kept.
        given: steps that the data set says are decisive.
    """
    scored = [root for root in roots if root.reward_score is not None and math.isfinite(as_number(root.reward_score))]
    record: dict[str, Any] = {
        "root_tokens": sum(sum(root.response_mask) for root in roots),
        "root_rewards": [float(root.reward_score) for root in scored],
        "root_accuracies": [accuracy(root.extra_fields, root.reward_score) for root in scored],
        # A reward is None if a reward model without its own resource pool scores the row later.
        "unscored": sum(root.reward_score is not None for root in roots) - len(scored),
        "rollout_seconds": rollout_seconds,
        "skipped": skipped,
        "failed": failed,
        "late": skipped == "late" or (result is not None and result.late),
    }
    reentries = [reentry for reentry in map(reentry_of, roots) if reentry is not None]
    if reentries:
        record["turns"] = [len(turns(root.response_mask)) for root in roots]
        record["snapshot_seconds"] = sum(reentry.seconds for reentry in reentries)
    if result is not None:
        record["reentry_rewards"] = [rollout.reward for rollout in reentered]
        record["reentry_accuracies"] = [accuracy(row.source.extra_fields, row.reward) for row in reentered]
        record["reentry_tokens"] = sum(rollout.continuation.written_tokens for rollout in reentered)
        groups = [group.rollouts for reentry in result.reentries for group in reentry.groups]
        record["reentry_mixed"] = [len({rollout.reward for rollout in group}) > 1 for group in groups if len(group) > 1]
        record["steps"] = [len(reentry.ends) for reentry in result.reentries]
        # For each anchor, the number of states between two steps at which a continuation was drawn.
        record["states"] = [sum(value.count > 0 for value in reentry.values[1:-1]) for reentry in result.reentries]
        record["critical"] = [
            # A random choice needs no values and so has no advantage and no confidence (NaN).
            (reentry.critical.index, len(reentry.ends), reentry.critical.advantage, reentry.critical.confidence)
            for reentry in result.reentries
            if reentry.critical is not None
        ]
        credits = [reentry.credit for reentry in result.reentries if reentry.credit is not None]
        # For each credited response: segments, mean weight, and the largest advantage as a share of all of them.
        record["credits"] = [
            (
                len(credit.ends),
                sum(credit.weights) / len(credit.weights),
                max(map(abs, credit.advantages)) / (sum(map(abs, credit.advantages)) or math.nan),
            )
            for credit in credits
        ]
        if given:
            record["given"] = [index in given for index, *_ in record["critical"]]
        record["effort"], record["thinned"] = result.effort, result.thinned
        record["shortened"] = result.shortened
        record["cpu_seconds"] = result.cpu_seconds
        record["usage"] = {phase: vars(usage).copy() for phase, usage in result.usage.items()}
    return record


def accuracy(extra_fields: Mapping[str, Any], reward: float) -> float:
    """``acc`` if the reward function reports a number by that name, otherwise the reward."""
    found = (extra_fields.get("reward_extra_info") or {}).get("acc", reward)
    try:
        value = float(found)
    except (TypeError, ValueError):
        return float(reward)
    return value if math.isfinite(value) else float(reward)


def critical_positions(records: Iterable[Mapping[str, Any]]) -> list[float]:
    """The position of each critical step in its response: 0 is the first step, 1 the last."""
    return [index / max(count - 1, 1) for record in records for index, count, *_ in record.get("critical", ())]


def step_metrics(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Summarize the records of one training step; {} without any.

    Shares and averages are over prompts, anchors or rollouts, as their name says. A quantity without observations is
    left out and not reported as zero.
    """
    records = list(records)
    if not records:
        return {}
    metrics: dict[str, float] = {}

    def average(name: str, values: Iterable[float]) -> None:
        known = [value for value in values if value == value]
        if known:
            metrics[name] = sum(known) / len(known)

    def flat(key: str) -> list[Any]:
        return [item for record in records for item in record.get(key, ())]

    searched = [record for record in records if "usage" in record and record["skipped"] is None]
    average("gpo/prompts/reentered", (bool(record.get("reentry_rewards")) for record in records))
    average("gpo/prompts/without_critical_step", (not record["critical"] for record in searched))
    average("gpo/prompts/skipped", (record["skipped"] is not None for record in records))
    for reason in sorted({record["skipped"] for record in records} - {None}):
        average(f"gpo/skipped/{reason}", (record["skipped"] == reason for record in records))
    average("gpo/prompts/failed", (record["failed"] for record in records))
    average("gpo/prompts/degraded", (record["effort"] != "search" for record in searched))
    average("gpo/prompts/shortened", (record["shortened"] for record in searched if "shortened" in record))
    average("gpo/prompts/late", (record["late"] for record in records if "late" in record))
    held_back = [record for record in records if record.get("late") or record.get("shortened")]
    if held_back:
        # What is traded for the step's time: prompts with long roots are searched less.
        average("gpo/late/accuracy", (rewarded for record in held_back for rewarded in record["root_accuracies"]))
        length = sum(record["root_tokens"] for record in records) / len(records)
        of_them = sum(record["root_tokens"] for record in held_back) / len(held_back)
        metrics["gpo/late/root_tokens_ratio"] = of_them / max(length, 1.0)
    average("gpo/prompts/thinned", (record["thinned"] for record in searched))

    critical = flat("critical")
    metrics["gpo/critical/found"] = float(len(critical))
    positions = critical_positions(records)
    average("gpo/critical/position", positions)
    for fifth in range(5 if positions else 0):
        average(f"gpo/critical/fifth_{fifth + 1}", (min(int(position * 5), 4) == fifth for position in positions))
    average("gpo/critical/advantage", (advantage for _, _, advantage, _ in critical))
    average("gpo/critical/confidence", (confidence for *_, confidence in critical))
    average("gpo/critical/given", flat("given"))
    average("gpo/steps", flat("steps"))
    average("gpo/turns", flat("turns"))
    average("gpo/seconds/snapshot", (r["snapshot_seconds"] for r in records if "snapshot_seconds" in r))
    average("gpo/states_sampled", flat("states"))

    credits = flat("credits")
    if credits:
        metrics["gpo/credit/responses"] = float(len(credits))
        average("gpo/credit/segments", (segments for segments, *_ in credits))
        average("gpo/credit/weight", (weight for _, weight, _ in credits))
        average("gpo/credit/largest_share", (share for *_, share in credits))
    for kind in ("replaced", "left_out"):
        if count := sum(record.get(kind, 0) for record in records):
            metrics[f"gpo/rollouts/{kind}"] = float(count)

    for kind in ("root", "reentry"):
        average(f"gpo/reward/{kind}", flat(f"{kind}_rewards"))
        average(f"gpo/accuracy/{kind}", flat(f"{kind}_accuracies"))
        metrics[f"gpo/rollouts/{kind}"] = float(len(flat(f"{kind}_rewards")))

    # Only groups whose rewards differ give a gradient.
    average("gpo/mixed/root", (len(set(r["root_rewards"])) > 1 for r in records if len(r["root_rewards"]) > 1))
    average("gpo/mixed/reentry", flat("reentry_mixed"))

    root_tokens = sum(record["root_tokens"] for record in records)
    metrics["gpo/tokens/root"] = float(root_tokens)
    average("gpo/seconds/rollout", (record["rollout_seconds"] for record in records))
    average("gpo/seconds/search_cpu", (record["cpu_seconds"] for record in searched))
    context = cached = drawn = 0
    failures = {"sampling": 0, "scoring": sum(record["unscored"] for record in records)}
    incomplete = {"cut": 0, "censored": 0}
    for phase in ("value", "reentry"):
        usages = [record["usage"][phase] for record in searched]
        tokens = sum(usage["tokens"] for usage in usages)
        metrics[f"gpo/tokens/{phase}"] = float(tokens)
        metrics[f"gpo/tokens/{phase}_over_root"] = tokens / max(root_tokens, 1)
        metrics[f"gpo/requests/{phase}"] = float(sum(usage["requests"] for usage in usages))
        average(f"gpo/seconds/{phase}", (usage["seconds"] for usage in usages))
        drawn += tokens
        context += sum(usage["context_tokens"] for usage in usages)
        cached += sum(usage["cached_tokens"] for usage in usages)
        for kind in failures:
            failures[kind] += sum(usage[f"{kind}_failures"] for usage in usages)
        for kind in incomplete:
            incomplete[kind] += sum(usage[kind] for usage in usages)
    if drawn:
        # The other tokens were drawn to find the critical step and are not trained on.
        metrics["gpo/tokens/learnt_share"] = sum(record["reentry_tokens"] for record in searched) / drawn
    if context:
        metrics["gpo/prefix_cache_hit_share"] = cached / context
    for kind, count in failures.items():
        metrics[f"gpo/failures/{kind}"] = float(count)
    for kind, count in incomplete.items():
        metrics[f"gpo/continuations/{kind}"] = float(count)
    return metrics
