"""The advantage estimator ``gpo``: ``algorithm.adv_estimator=gpo`` in any verl configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, register_adv_est

from ..config import GPOConfig
from ..core.advantage import group_advantages, is_alone, is_reentry_uid, reentry_weights
from ..core.credit import credited_advantages, split_credits
from .estimators import UNGROUPED_BASES


@register_adv_est("gpo")
def compute_gpo_advantage(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: np.ndarray,
    config: Any = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """GRPO with groups by reset state (:func:`verl_gpo.core.advantage.group_advantages`), or another base estimator.

    Args:
        token_level_rewards: shape ``(rows, response length)``.
        response_mask: shape ``(rows, response length)``.
        index: ``(rows,)`` group ids, the batch's ``uid`` column. That of a searched response may carry step credit,
            which its tokens get instead of the outcome's advantage (:mod:`verl_gpo.core.credit`).
        config: the block ``algorithm``: settings of the base estimator, and ``gpo``.

    Returns:
        Advantages and returns, as the base estimator gives them. Without re-entry rows they are its own, bit for bit,
        rows of a group that are wholly masked included. There are two exceptions:

        - Under another base than ``grpo``, a group without a single token to learn from (padding) takes no part. verl's
          ``gpg`` counts padding in its scale, its ``opo`` may give such a group NaN, and where an estimator sums over
          the batch the rest may differ in rounding.
        - Where a session has several outputs, verl's own ``grpo`` compares the last of each and gives its advantage to
          the others; here each output is a row of its group, as verl has it with all other estimators. The names of
          sessions, which that takes, are not handed to an estimator.
    """
    config = config if config is not None else {}
    gpo = GPOConfig.from_mapping(config.get("gpo"))
    plain, credits = split_credits(index)
    if any(credits):
        index = np.array(plain, dtype=object)
    width = None
    if gpo.base_estimator == "grpo":
        normalize = config.get("norm_adv_by_std_in_grpo", True)
        advantages = group_advantages(
            token_level_rewards, response_mask, index, normalize, gpo.reentry_weight, exp_beta=gpo.exp_beta
        )
        returns = advantages
        width = gpo.reward_high - gpo.reward_low if normalize else None
    else:
        advantages, returns = _apart(
            gpo.base_estimator, gpo.reentry_weight, token_level_rewards, response_mask, index, config
        )
    if not any(credits):
        return advantages, returns
    outcomes, kl = token_level_rewards.sum(dim=-1), bool(config.get("use_kl_in_reward"))
    credited = credited_advantages(advantages, outcomes, response_mask, index, credits, width, kl)
    return credited, credited if returns is advantages else returns


def _apart(
    name: str, weight: float, rewards_BT: torch.Tensor, mask_BT: torch.Tensor, uids_B: Any, config: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply one of verl's estimators to roots and to re-entry rows separately: they share no batch statistics."""
    estimate = get_adv_estimator_fn(name)
    advantages, returns = torch.zeros_like(rewards_BT), torch.zeros_like(rewards_BT)
    alone = [False] * len(uids_B) if name in UNGROUPED_BASES else is_alone(uids_B)
    # opo divides by a group's tokens, and gpg counts rows: padding would give NaN, or change the scale.
    trained = {uid for uid, learnt in zip(uids_B, mask_BT.any(dim=-1).tolist(), strict=True) if learnt}
    for reentry in (False, True):
        rows = [
            row
            for row, uid in enumerate(uids_B)
            if is_reentry_uid(uid) == reentry and uid in trained and not alone[row]
        ]
        # A single token has no deviation, for which verl's whitening raises an error: nothing is learnt from it.
        if rows and not (reentry and mask_BT[rows].sum() < 2):
            advantages[rows], returns[rows] = estimate(
                token_level_rewards=rewards_BT[rows],
                response_mask=mask_BT[rows],
                index=np.asarray(uids_B)[rows],
                config=config,
            )
    weights_B = reentry_weights(uids_B, weight)
    if (weights_B != 1).any():
        advantages = advantages * weights_B.to(advantages).unsqueeze(-1)
    return advantages, returns
