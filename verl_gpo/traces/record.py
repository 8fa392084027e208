"""The trace record of one prompt: the schema of traces, and the function that builds a record for JSON.

Steps and continuations are given in tokens. They are decoded so that the texts of a response's steps concatenate to
the response.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..core.credit import StepCredit
from ..core.result import GroupResult, Reentry
from ..core.segment.token_text import REPLACEMENT, Decode
from ..core.turns import step_starts, turns
from ..core.types import Continuation, ScoredContinuation, Tokens, Trajectory
from ..core.values import StateValue, step_advantages

#: Increased by a change after which old readers would misread a record; a new field is not such a change.
SCHEMA_VERSION = 2

#: path -> (type, meaning). ``[]`` is an item of the list before it; a type that ends in ``?`` may be null or missing.
FIELDS: dict[str, tuple[str, str]] = {
    "schema": ("int", "version of this table"),
    "uid": ("str?", "the prompt in this training step, as verl names it"),
    "global_step": ("int?", "training step, from 1"),
    "started": ("float?", "when the training was started, in seconds since 1970; later in one that is resumed"),
    "model_version": ("int?", "training step after which the weights that sampled were made"),
    "sample_index": ("int?", "the prompt's index in the data"),
    "data_source": ("str?", "the data's own name"),
    "ground_truth": ("any?", "what the reward compares with"),
    "rule": ("str?", "which step is critical (`gpo.rule`)"),
    "search": ("str?", "where continuations are drawn (`gpo.search`)"),
    "reward_range": ("[float, float]", "lowest and highest reward that intervals assume"),
    "solved_reward": ("float?", "lowest reward that counts as solved; 0.5 if it is missing"),
    "prompt": ("str", "text of the prompt"),
    "root_rewards": ("[float]", "rewards of the root rollouts"),
    "root_tokens": ("int", "tokens of the root rollouts"),
    "skipped": ("str?", "why the prompt was not searched"),
    "effort": ("str", "what the token budget allowed: `search`, `propose`, `none`"),
    "cpu_seconds": ("float", "CPU seconds of GPO's own computation"),
    "usage": ("object", "phase (`value`, `reentry`) -> its cost"),
    "usage.*.requests": ("int", "continuations asked for"),
    "usage.*.tokens": ("int", "tokens generated"),
    "usage.*.context_tokens": ("int", "tokens of prompts and prefixes that requests carried"),
    "usage.*.cached_tokens": ("int", "those found in the prefix cache"),
    "usage.*.cut": ("int", "continuations that came to `max_continuation_tokens`"),
    "usage.*.censored": ("int", "continuations that were given up because they did not come back"),
    "usage.*.sampling_failures": ("int", "continuations that failed"),
    "usage.*.scoring_failures": ("int", "rewards that failed"),
    "usage.*.seconds": ("float", "seconds of the phase"),
    "anchors": ("[object]", "the responses that were searched; empty for a skipped prompt"),
    "anchors[].anchor": ("int", "index of the response among the roots"),
    "anchors[].reward": ("float", "its reward"),
    "anchors[].tokens": ("int", "its tokens"),
    "anchors[].steps": ("[object]", "its `K` steps; their texts concatenate to the response"),
    "anchors[].steps[].text": ("str", "text"),
    "anchors[].steps[].start": ("int", "first token"),
    "anchors[].steps[].turn": ("int?", "index of the policy's turn that it belongs to; missing without an environment"),
    "anchors[].steps[].before": (
        "str?",
        "text between the step before and this one: answers of tools, and what the chat template puts around them; "
        "empty within a turn; missing without an environment",
    ),
    "anchors[].steps[].end": ("int", "token after the last"),
    "anchors[].steps[].advantage": ("float?", "`V(s_{k+1}) - V(s_k)`, null if either is unknown"),
    "anchors[].states": ("[object]", "its `K + 1` states; state `k` comes before step `k`"),
    "anchors[].states[].value": ("float?", "estimate of `V(s_k)` as the choice saw it, null if unknown"),
    "anchors[].states[].low": ("float?", "lower end of its 95 % interval"),
    "anchors[].states[].high": ("float?", "upper end"),
    "anchors[].states[].count": ("int", "number of rewards that it averages; 0: observed, or unknown"),
    "anchors[].states[].continuations": ("[object]", "what was drawn there and came back"),
    "anchors[].states[].continuations[].text": ("str", "text after the state"),
    "anchors[].states[].continuations[].parts": (
        "[object]?",
        "the same text by `speaker`, `policy` or `environment`: `{speaker, text}`; missing without an environment",
    ),
    "anchors[].states[].continuations[].reward": ("float", "reward of the whole response"),
    "anchors[].states[].continuations[].tokens": ("int", "new tokens"),
    "anchors[].states[].continuations[].cached_tokens": ("int?", "tokens of its context found in the prefix cache"),
    "anchors[].states[].continuations[].seconds": ("float?", "from request to answer"),
    "anchors[].states[].continuations[].valued": ("bool", "whether the state's value averages it"),
    "anchors[].states[].continuations[].learnt": ("bool", "whether it is a row of the batch"),
    "anchors[].calls": (
        "[object]?",
        "its calls of tools: `{turn, tool, arguments, answer, reward}`; missing without an environment",
    ),
    "anchors[].critical": ("object?", "the critical step; null: there is none"),
    "anchors[].critical.step": ("int", "its index `m`"),
    "anchors[].critical.advantage": ("float?", "estimate of `A_m`"),
    "anchors[].critical.confidence": ("float?", "probability that it is the critical one"),
    "anchors[].credit": ("object?", "what its tokens carry (`credit=steps`); null or missing: the outcome's advantage"),
    "anchors[].credit.ends": ("[int]", "tokens after the last of each segment"),
    "anchors[].credit.advantages": ("[float]", "advantage of each segment, in units of reward"),
    "anchors[].credit.weights": ("[float]", "its weight against the advantage of the group"),
    "anchors[].reset_state": ("int?", "state that the critical step resets to, if it is trained on"),
    "anchors[].true_critical": (
        "int?",
        "the true critical step, if it is known; null if there is none. May be beside `anchors`, for all",
    ),
    "anchors[].true_values": ("[float]?", "the `K + 1` true values, if they are known; likewise"),
}

#: Number of tokens decoded before a text, so that it begins as in its response.
_CONTEXT = 8


def trace_record(
    roots_N: Sequence[Trajectory],
    result: GroupResult,
    decode: Decode,
    prompt_text: str,
    rows: Sequence[ScoredContinuation] | None = None,
    calls_N: Sequence[list[dict[str, Any]]] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """The record of one prompt.

    Args:
        roots_N: the root rollouts that the procedure got.
        result: the result of GPO's procedure.
        decode: text of a list of ids, special tokens kept, without clean-up of spaces.
        prompt_text: the prompt as the model saw it.
        rows: the continuations that became rows of the batch; None for all in the result's groups.
        calls_N: calls of tools of each root, for responses with an environment.
        about: further fields: ``uid``, ``global_step``, ``rule``... (:data:`FIELDS`), or any that JSON can hold. A
            ``reward_range`` that is missing is set: from 0 to 1, or wider if the rewards are outside of it.

    Returns:
        Fields as in :data:`FIELDS`. NaN becomes null when the record is written.
    """
    if rows is None:
        rows = [rollout for reentry in result.reentries for rollout in reentry.rollouts]
    learnt = {id(row) for row in rows}
    rewards = [root.reward for root in roots_N]
    drawn = [sample.reward for reentry in result.reentries for sample in _samples(reentry)]
    low, high = about.pop("reward_range", None) or (min(0.0, *rewards, *drawn), max(1.0, *rewards, *drawn))
    return {
        "schema": SCHEMA_VERSION,
        **about,
        "reward_range": [low, high],
        "prompt": prompt_text,
        "root_rewards": rewards,
        "root_tokens": sum(root.written_tokens for root in roots_N),
        "skipped": result.skipped,
        "effort": result.effort,
        "cpu_seconds": result.cpu_seconds,
        "usage": {phase: dict(vars(usage)) for phase, usage in result.usage.items()},
        "anchors": [
            _anchor(roots_N[reentry.anchor], reentry, decode, low, high, learnt)
            | ({} if calls_N is None else {"calls": calls_N[reentry.anchor]})
            for reentry in result.reentries
        ],
    }


def _samples(reentry: Reentry) -> list[ScoredContinuation]:
    return [*(sample for value in reentry.values for sample in value.samples), *reentry.rollouts]


def _anchor(
    root: Trajectory,
    reentry: Reentry,
    decode: Decode,
    low: float,
    high: float,
    ids_learnt: set[int],
) -> dict[str, Any]:
    ends = reentry.ends
    starts = step_starts(ends, root.written)
    texts = step_texts(root.token_ids, ends, decode, starts)
    about_turns = _about_turns(root, starts, ends, decode)
    advantages = step_advantages(reentry.values) if ends else []
    drawn_to_learn = {group.state: group.rollouts for group in reentry.groups}

    def state(k: int, value: StateValue) -> dict[str, Any]:
        prefix = root.token_ids[: starts[k]] if k < len(ends) else root.token_ids
        rollouts = drawn_to_learn.get(k, ())
        ids_valued = {id(sample) for sample in value.samples}
        bounds = value.interval(low, high) if value.known else (None, None)
        return {
            "value": value.mean if value.known else None,
            "low": bounds[0],
            "high": bounds[1],
            "count": value.count,
            "continuations": [
                {
                    "text": text_behind(prefix, sample.continuation.token_ids, decode),
                    **_parts(prefix, sample.continuation, decode),
                    "reward": sample.reward,
                    "tokens": sample.continuation.written_tokens,
                    "cached_tokens": sample.continuation.cached_tokens,
                    "seconds": sample.continuation.seconds,
                    "valued": id(sample) in ids_valued,
                    "learnt": id(sample) in ids_learnt,
                }
                for sample in {id(sample): sample for sample in (*value.samples, *rollouts)}.values()
            ],
        }

    critical = reentry.critical
    return {
        "anchor": reentry.anchor,
        "reward": root.reward,
        "tokens": len(root.token_ids),
        "steps": [
            {
                "text": text,
                "start": start,
                "end": end,
                "advantage": None if math.isnan(advantage) else advantage,
                **about_turn,
            }
            for text, start, end, advantage, about_turn in zip(
                texts, starts, ends, advantages, about_turns, strict=True
            )
        ],
        "states": [state(k, value) for k, value in enumerate(reentry.values)],
        "critical": None
        if critical is None
        else {"step": critical.index, "advantage": critical.advantage, "confidence": critical.confidence},
        "credit": None if reentry.credit is None else _credit(reentry.credit),
        "reset_state": next((group.state for group in reentry.groups if group.critical), None),
    }


def _credit(credit: StepCredit) -> dict[str, list]:
    return {"ends": list(credit.ends), "advantages": list(credit.advantages), "weights": list(credit.weights)}


def _about_turns(
    root: Trajectory, starts_K: Sequence[int], ends_K: Sequence[int], decode: Decode
) -> list[dict[str, Any]]:
    """What the record of a step says besides, if there is an environment."""
    if root.written is None:
        return [{} for _ in ends_K]
    begins = [begin for begin, _ in turns(root.written)]
    return [
        {
            "turn": bisect_right(begins, start) - 1,
            "before": text_behind(root.token_ids[:before], root.token_ids[before:start], decode),
        }
        for before, start in zip((0, *ends_K), starts_K, strict=False)
    ]


def _parts(prefix: Tokens, continuation: Continuation, decode: Decode) -> dict[str, Any]:
    """The text of a continuation by speaker, if there is an environment."""
    if not continuation.written:
        return {}
    parts, position, tokens = [], 0, list(continuation.token_ids)
    for written, run in groupby(continuation.written):
        end = position + sum(1 for _ in run)
        text = text_behind([*prefix, *tokens[:position]], tokens[position:end], decode)
        parts.append({"speaker": "policy" if written else "environment", "text": text})
        position = end
    return {"parts": parts}


def step_texts(
    token_ids: Sequence[int], ends_K: Sequence[int], decode: Decode, starts_K: Sequence[int] | None = None
) -> list[str]:
    """``(K,)`` texts of a response's steps, which concatenate to the response wherever decoding is local.

    With an environment (``starts_K``) its answers are missing between them.

    A character over several tokens belongs to the step that completes it. One short window is decoded with each step,
    which takes a few percent of the time of decoding token by token.
    """
    texts = []
    for start, end in zip((0, *ends_K)[: len(ends_K)] if starts_K is None else starts_K, ends_K, strict=True):
        text, cut = _behind(token_ids[:start], token_ids[start:end], decode)
        texts.append(text if end == len(token_ids) else text[: len(text) - cut])
    return texts


def text_behind(prefix: Sequence[int], token_ids: Sequence[int], decode: Decode) -> str:
    """The text that ``token_ids`` add to the text of ``prefix``."""
    return _behind(prefix, token_ids, decode)[0]


def _behind(prefix: Sequence[int], token_ids: Sequence[int], decode: Decode) -> tuple[str, int]:
    """The text, and the number of incomplete characters at its end."""
    window = list(prefix[-_CONTEXT:])
    before = decode(window).rstrip(REPLACEMENT) if window else ""
    after = decode([*window, *token_ids])
    # If a decoder changes earlier text (clean-up of spaces), the text is decoded without its prefix.
    text = after[len(before) :] if after.startswith(before) else decode(list(token_ids))
    return text, len(text) - len(text.rstrip(REPLACEMENT))


def schema_table() -> str:
    """:data:`FIELDS` as a Markdown table, for the documentation."""
    lines = ["| field | type | meaning |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{path}` | `{kind}` | {meaning} |" for path, (kind, meaning) in FIELDS.items()])
