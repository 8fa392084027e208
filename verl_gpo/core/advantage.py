"""Group-relative advantages for batches of root rollouts, re-entry rollouts and padding.

The group id of a row decides what the row is compared with: rows of the same reset state share a group id, and root
rows keep the group id of their prompt. So a re-entry rollout is compared with rollouts from the *same* state, its
baseline is ``V(s_m)`` and never ``V(x)``, and root rows are compared with root rows only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import torch

from .marks import marked, unmarked

#: The mark of a reset state's group id.
_RESET = "reset"


def reentry_uid(prompt_uid: str, anchor: int, state: int) -> str:
    """Group id of the rollouts from state ``s_state`` of response ``anchor`` to the prompt ``prompt_uid``."""
    return marked(prompt_uid, _RESET, f"{anchor}.{state}")


def is_reentry_uid(uid: Hashable) -> bool:
    """Whether a group id belongs to rollouts from a reset state. A prompt's may be a number, or any text."""
    return unmarked(uid, _RESET) is not None


def is_alone(uids_B: Sequence[Hashable]) -> list[bool]:
    """Whether each row is a re-entry row that is alone in its group, and so has no baseline. Shape ``(rows,)``."""
    counts = Counter(uids_B)
    return [is_reentry_uid(uid) and counts[uid] == 1 for uid in uids_B]


def reentry_weights(uids_B: Sequence[Hashable], reentry_weight: float) -> torch.Tensor:
    """Factor on each row's advantages: 1 on roots, the weight on re-entry rows. Shape ``(rows,)``."""
    return torch.tensor([reentry_weight if is_reentry_uid(uid) else 1.0 for uid in uids_B])


def exponential_advantages(advantages_G: torch.Tensor, beta: float) -> torch.Tensor:
    """Advantages whose policy gradient is advantage-weighted regression from one reset state.

    The policy that the offline methods aim at (theorem 5.3 of arXiv 2509.16456) is
    ``pi*(y|s) = pi(y|s) exp(A/beta) / Z(s)`` with ``Z(s) = E[exp(A/beta)]``. Regression on it has the gradient
    ``E[exp(A/beta)/Z grad log pi]``. The group's mean estimates ``Z``, and 1 is subtracted as a baseline, which leaves
    the expectation unchanged: ``exp(A/beta) / mean(exp(A/beta)) - 1``. For large ``beta`` this is close to ``A/beta``.

    Args:
        advantages_G: ``R - V(s_m)`` of the group's rows, shape ``(group,)``.
        beta: temperature, in units of reward; above 0.
    """
    weights_G = torch.softmax(advantages_G / beta, dim=0) * len(advantages_G)
    return weights_G - 1


def group_advantages(
    rewards_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    uids_B: Sequence[Hashable],
    normalize_by_std: bool = True,
    reentry_weight: float = 1.0,
    exp_beta: float = 0.0,
    epsilon: float = 1e-6,
) -> torch.Tensor:
    """Outcome advantages ``(R - mean) / (std + epsilon)`` within each group (GRPO, arXiv 2402.03300).

    Without re-entry rows the result equals verl's ``grpo`` bit for bit, degenerate cases included:

    - a root row alone in its group keeps its reward as advantage (mean 0, std 1), as in verl;
    - a re-entry row alone in its group has no baseline: its advantage is 0;
    - where all rewards of a group are equal, its advantages are 0;
    - padding rows carry a uid of their own and an empty mask: they touch no other group, and their advantage is 0.

    Args:
        rewards_BT: token-level rewards; their sum is the outcome. Shape ``(rows, response length)``.
        mask_BT: 1 on tokens that are learnt from, 0 on kept prefixes and padding. Same shape.
        uids_B: group id of each row (:func:`reentry_uid`).
        normalize_by_std: divide by the group's standard deviation (off: Dr.GRPO, arXiv 2503.20783).
        reentry_weight: factor on the advantages of re-entry rows: ``w * (R - V(s_m)) / std``.
        exp_beta: above 0, re-entry rows get :func:`exponential_advantages` of this temperature.
        epsilon: keeps the division finite.

    Returns:
        Advantages, the row's value on every token of the mask. Shape ``(rows, response length)``.
    """
    outcomes_B = rewards_BT.sum(dim=-1)
    advantages_B = torch.zeros_like(outcomes_B)
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, uid in enumerate(uids_B):
        groups[uid].append(row)
    for uid, rows in groups.items():
        outcomes = outcomes_B[rows]
        weight = reentry_weight if is_reentry_uid(uid) else 1.0
        if len(rows) > 1:
            mean, std = outcomes.mean(), outcomes.std()
        elif is_reentry_uid(uid):
            continue
        else:
            mean, std = torch.zeros_like(outcomes[0]), torch.ones_like(outcomes[0])
        advantages = outcomes - mean
        if is_reentry_uid(uid) and bool((outcomes == outcomes[0]).all()):
            continue  # rounding in the mean would give equal rewards a small gradient
        if exp_beta and is_reentry_uid(uid):
            advantages = exponential_advantages(advantages, exp_beta)
        elif normalize_by_std:
            advantages = advantages / (std + epsilon)
        # Roots are not multiplied by 1, so that their advantages stay equal to verl's bit for bit.
        advantages_B[rows] = advantages if weight == 1.0 else advantages * weight
    return advantages_B.unsqueeze(-1) * mask_BT
