"""Step credit: the tokens of a searched response's step ``k`` carry the advantage ``A_k`` of that step.

An optimizer that looks at outcomes gives every token of a response the same advantage, ``R(y) - V(s_0)``. A search
knows more: it has estimated the values of the states between the steps. Because ``A_k`` is the expected advantage of
the tokens of step ``k``, putting it on these tokens leaves the expected gradient unchanged and takes away the noise of
what the policy wrote before and after the step (VinePPO, arXiv 2410.01679). The advantages telescope:
``sum_k A_k = R(y) - V(s_0)``, so a response as a whole gets as much as before. A step whose value does not change gets
nothing, and a single jump gets all.

A worked response with three steps of two tokens, reward 1, in a group with ``V(s_0) = 0.5`` and ``std = 0.5``::

    values               V(s_0) = 0.5    V(s_1) = 0.5    V(s_2) = 1    V(s_3) = R = 1
    step advantages      A = 0, 0.5, 0
    token advantages     outcome: 1 1 | 1 1 | 1 1      steps: 0 0 | 1 1 | 0 0

Between two states with a known value lies a **segment**: one step, or several steps if the states between them have not
been valued. If nothing is known, the whole response is one segment with the advantage ``R - V(s_0)``.

By the belief (:mod:`verl_gpo.core.curve`) all steps have an advantage, its posterior expectation. How much the belief
knows about a step is the share of the variance of ``A_k`` that the continuations have removed. This share is the weight
of the step's advantage; the rest of the weight stays with the group's advantage. So where no continuation says anything
about a step, its tokens keep what the group gives them.

The credit of a response travels in the group id of its row (:func:`credited_uid`), because an estimator of verl sees
rewards, masks and group ids only. The rewards stay those of the outcome, and so do the metrics that are computed from
them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .advantage import is_reentry_uid
from .marks import marked, unmarked
from .values import StateValue

#: The mark of the group id of a row with step credit.
_CREDIT = "credit"

#: A variance of ``A_k``, as a share of the reward's squared range, below which the step cannot change the value.
_CERTAIN = 1e-9


@dataclass(frozen=True)
class StepCredit:
    """What the tokens of one response are credited with.

    Attributes:
        total: ``R(y) - V(s_0)``: what the response as a whole has gained.
        ends: ``(S,)`` exclusive token positions of the segments' ends, increasing.
        advantages: ``(S,)`` advantage of each segment, in units of the reward.
        weights: ``(S,)`` weight of the segment's advantage against the group's, from 0 to 1.

    Example:
        The worked response above is ``StepCredit(0.5, (2, 4, 6), (0.0, 0.5, 0.0), (1.0, 1.0, 1.0))``.
    """

    total: float
    ends: tuple[int, ...]
    advantages: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.ends) == len(self.advantages) == len(self.weights):
            raise ValueError(f"{len(self.ends)} ends, {len(self.advantages)} advantages, {len(self.weights)} weights")

    def by_token(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Advantage and weight of each token of the response. Two tensors of shape ``(T,)``."""
        lengths = torch.tensor(np.diff((0, *self.ends)))
        return (
            torch.repeat_interleave(torch.tensor(self.advantages, dtype=torch.float32), lengths),
            torch.repeat_interleave(torch.tensor(self.weights, dtype=torch.float32), lengths),
        )


def credit_by_means(ends_K: Sequence[int], values_K1: Sequence[StateValue]) -> StepCredit | None:
    """Credit from estimated values: each segment between two states that have one gets the difference, in full.

    Args:
        ends_K: exclusive token positions of the steps' ends.
        values_K1: values of the ``K + 1`` states, of which the last is the outcome.

    Returns:
        The credit; None if no state between two steps has a value, or the group's is not known.
    """
    known = [k for k, value in enumerate(values_K1) if value.known]
    if len(known) < 3 or known[0] != 0 or known[-1] != len(ends_K):
        return None
    means = [values_K1[k].mean for k in known]
    advantages = tuple(after - before for before, after in zip(means, means[1:], strict=False))
    ends = tuple(ends_K[k - 1] for k in known[1:])
    return StepCredit(means[-1] - means[0], ends, advantages, (1.0,) * len(ends))


def credit_by_belief(
    ends_K: Sequence[int], total: float, curves_SK1: np.ndarray, prior_SK1: np.ndarray, reward_range: float = 1.0
) -> StepCredit:
    """Credit from the belief: the expectation of each ``A_k``, weighted by how much the continuations say about it.

    Args:
        ends_K: exclusive token positions of the steps' ends.
        total: ``R(y) - V(s_0)``.
        curves_SK1: state values drawn from the belief with all continuations. Shape ``(S, K + 1)``.
        prior_SK1: the same without the continuations: by the outcome, the root group and the log-probs.
        reward_range: highest reward minus lowest reward.

    Returns:
        The credit. A step that the belief is certain of, before any continuation, has weight 1.
    """
    advantages_SK = np.diff(curves_SK1, axis=1)
    before_K, after_K = np.diff(prior_SK1, axis=1).var(axis=0), advantages_SK.var(axis=0)
    certain_K = before_K <= _CERTAIN * reward_range**2
    weights_K = np.where(certain_K, 1.0, np.clip(1.0 - after_K / np.where(certain_K, 1.0, before_K), 0.0, 1.0))
    return StepCredit(
        total, tuple(ends_K), tuple(advantages_SK.mean(axis=0).tolist()), tuple(weights_K.astype(float).tolist())
    )


def on_unsure_tokens(credit: StepCredit, log_probs_T: Sequence[float] | None, probability: float) -> StepCredit:
    """The same credit on the tokens of lower probability only; the others get none (the mask of SPO, arXiv 2505.23564).

    A token that the policy was sure of has almost no gradient of its own, so that its credit is mostly noise.

    Args:
        credit: of the response.
        log_probs_T: of its tokens, or None: then all tokens keep their credit.
        probability: tokens with at least this probability get no credit; 1 for all tokens.
    """
    if log_probs_T is None or probability >= 1:
        return credit
    unsure_T = np.asarray(log_probs_T) < np.log(probability)
    ends, advantages, weights = [], [], []
    start = 0
    for end, advantage, weight in zip(credit.ends, credit.advantages, credit.weights, strict=True):
        changes = [start + 1 + int(at) for at in np.flatnonzero(np.diff(unsure_T[start:end]))]
        for first, last in zip([start, *changes], [*changes, end], strict=True):
            ends.append(last)
            advantages.append(advantage if unsure_T[first] else 0.0)
            weights.append(weight)
        start = end
    return StepCredit(credit.total, tuple(ends), tuple(advantages), tuple(weights))


def step_rewards(credit: StepCredit, reward: float, written_T: Sequence[int] | None = None) -> torch.Tensor:
    """The outcome reward, distributed over the ends of the segments: for an optimizer with a critic.

    The last token of a segment gets the segment's weighted advantage, and the last token of the response what is left.
    So the rewards of the row sum to the outcome reward. This is reward shaping by a potential (Ng, Harada and Russell,
    1999), the value of the state, so it does not change which policy is best.

    A reward on a token that an environment wrote would be lost, because verl's GAE skips these tokens. It goes to the
    policy's last token before it.

    Args:
        credit: of the response.
        reward: ``R(y)``.
        written_T: 1 where the policy wrote the token and 0 where its environment did; None: the policy wrote them all.

    Returns:
        Token-level rewards of the response. Shape ``(T,)``.
    """
    length = credit.ends[-1]
    own_T = np.arange(length)
    if written_T is not None:  # position of the policy's last token so far, -1 before its first one
        own_T = np.maximum.accumulate(np.where(np.asarray(written_T[:length], dtype=bool), own_T, -1))
    rewards_T = torch.zeros(length, dtype=torch.float32)
    for end, advantage, weight in zip(credit.ends[:-1], credit.advantages, credit.weights, strict=False):
        if own_T[end - 1] >= 0:
            rewards_T[own_T[end - 1]] += weight * advantage
    rewards_T[own_T[-1]] += reward - rewards_T.sum()
    return rewards_T


def credited_uid(uid: str, credit: StepCredit) -> str:
    """Group id of a row with step credit; :func:`split_credits` reads it.

    >>> credited_uid("p", StepCredit(0.5, (2, 4), (0.0, 0.5), (1.0, 0.25)))
    'p@gpo.credit.0.5;2:0.0;4:0.5:0.25.a332f1e2'
    """
    runs = (
        f"{end}:{advantage!r}" + ("" if weight == 1.0 else f":{weight!r}")
        for end, advantage, weight in zip(credit.ends, credit.advantages, credit.weights, strict=True)
    )
    return marked(uid, _CREDIT, ";".join((repr(credit.total), *runs)))


def split_credits(uids_B: Sequence[Hashable]) -> tuple[list[Hashable], list[StepCredit | None]]:
    """Group ids without the credit that they carry, and the credit of each row. Both have the shape ``(rows,)``."""
    plain: list[Hashable] = []
    credits: list[StepCredit | None] = []
    for uid in uids_B:
        found = unmarked(uid, _CREDIT)
        plain.append(found[0] if found else uid)
        credits.append(_read(found[1]) if found else None)
    return plain, credits


def _read(content: str) -> StepCredit:
    total, *runs = content.split(";")
    parts = [run.split(":") for run in runs]
    return StepCredit(
        float(total),
        tuple(int(part[0]) for part in parts),
        tuple(float(part[1]) for part in parts),
        tuple(float(part[2]) if len(part) > 2 else 1.0 for part in parts),
    )


def credited_advantages(
    advantages_BT: torch.Tensor,
    outcomes_B: torch.Tensor,
    mask_BT: torch.Tensor,
    uids_B: Sequence[Hashable],
    credits_B: Sequence[StepCredit | None],
    reward_range: float | None = None,
    kl_in_reward: bool = False,
) -> torch.Tensor:
    """Advantages in which the rows with step credit carry the advantages of their steps.

    A token of a segment with advantage ``A_k`` and weight ``w_k`` gets ``(1 - w_k) A + w_k a A_k``. ``A`` is what the
    estimator gave to the token, and ``a`` is the estimator's own scale in the row's group: how much advantage it gives
    for a unit of reward, ``1 / std`` in GRPO. It is the slope of the group's advantages over its outcomes. Rows without
    credit are not touched.

    Args:
        advantages_BT: what the estimator gave. Shape ``(rows, response length)``.
        outcomes_B: the sum of each row's token-level rewards, as the estimator saw them.
        mask_BT: 1 on tokens that are learnt from. Shape ``(rows, response length)``.
        uids_B: group id of each row, without credits.
        credits_B: of each row.
        reward_range: highest reward minus lowest reward, for an estimator that divides by the group's standard
            deviation. The scale of a group of ``n`` rows is then at most ``sqrt(n) / reward_range``, that of a group in
            which one outcome is different from all others, and a group whose outcomes are all equal has this scale.
            None for other estimators: such a group then has the scale of the whole batch, or 1 if there is none.
        kl_in_reward: the rewards include a penalty of KL. Then only the outcome's part of ``A`` is replaced, and the
            penalty's part is kept: ``A + w_k a (A_k - (R - V(s_0)))``.

    Returns:
        Shape ``(rows, response length)``.
    """
    credited = [row for row, credit in enumerate(credits_B) if credit is not None]
    if not credited:
        return advantages_BT
    scales = _scales(advantages_BT, outcomes_B, mask_BT, uids_B, {uids_B[row] for row in credited}, reward_range)
    result_BT = advantages_BT.clone()
    for row in credited:
        credit, scale = credits_B[row], scales[uids_B[row]]
        step_T, weight_T = credit.by_token()
        length = min(len(step_T), advantages_BT.shape[1])
        step_T, weight_T = step_T[:length].to(advantages_BT), weight_T[:length].to(advantages_BT)
        given_T = advantages_BT[row, :length]
        if kl_in_reward:
            new_T = given_T + weight_T * scale * (step_T - credit.total)
        else:
            new_T = (1 - weight_T) * given_T + weight_T * scale * step_T
        result_BT[row, :length] = new_T * mask_BT[row, :length]
    return result_BT


def _scales(
    advantages_BT: torch.Tensor,
    outcomes_B: torch.Tensor,
    mask_BT: torch.Tensor,
    uids_B: Sequence[Hashable],
    wanted: set[Hashable],
    reward_range: float | None,
) -> dict[Hashable, float]:
    """Advantage for a unit of reward in each wanted group: the slope over the outcomes of its rows."""
    learnt_B = mask_BT.sum(dim=-1)
    row_B = ((advantages_BT * mask_BT).sum(dim=-1) / learnt_B.clamp(min=1)).double()
    groups: dict[Hashable, list[int]] = {uid: [] for uid in wanted}
    for row, uid in enumerate(uids_B):
        if learnt_B[row] and not is_reentry_uid(uid):
            groups.setdefault(uid, []).append(row)
    products: dict[Hashable, tuple[float, float]] = {}
    for uid, rows in groups.items():
        outcomes = outcomes_B[rows].double()
        if len(rows) > 1 and not bool((outcomes == outcomes[0]).all()):
            off = outcomes - outcomes.mean()
            products[uid] = float((off * row_B[rows]).sum()), float((off * off).sum())
    slopes = {uid: over / under for uid, (over, under) in products.items()}
    if reward_range is not None:
        most = {uid: math.sqrt(max(len(groups[uid]), 1)) / reward_range for uid in wanted}
        return {uid: min(slopes.get(uid, bound), bound) for uid, bound in most.items()}
    over, under = (sum(pair[side] for pair in products.values()) for side in (0, 1))
    return {uid: slopes.get(uid, over / under if under else 1.0) for uid in wanted}
