"""The advantage estimator ``gpo``: ``algorithm.adv_estimator=gpo`` in any verl configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, register_adv_est

from ..config import GPOConfig
from ..core.advantage import group_advantages, is_alone, is_reentry_uid, reentry_weights
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
        index: ``(rows,)`` group ids, the batch's ``uid`` column.
        config: the block ``algorithm``: settings of the base estimator, and ``gpo``.

    Returns:
        Advantages and returns, as the base estimator gives them. Without re-entry rows they are equal to its own bit
        for bit; with another base than ``grpo``, padding rows (with an empty mask) are left out.
    """
    config = config if config is not None else {}
    gpo = GPOConfig.from_mapping(config.get("gpo"))
    if gpo.base_estimator == "grpo":
        normalize = config.get("norm_adv_by_std_in_grpo", True)
        advantages = group_advantages(
            token_level_rewards, response_mask, index, normalize, gpo.reentry_weight, exp_beta=gpo.exp_beta
        )
        return advantages, advantages
    return _apart(gpo.base_estimator, gpo.reentry_weight, token_level_rewards, response_mask, index, config)


def _apart(
    name: str, weight: float, rewards_BT: torch.Tensor, mask_BT: torch.Tensor, uids_B: Any, config: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply one of verl's estimators to roots and to re-entry rows separately: they share no batch statistics."""
    estimate = get_adv_estimator_fn(name)
    advantages, returns = torch.zeros_like(rewards_BT), torch.zeros_like(rewards_BT)
    alone = [False] * len(uids_B) if name in UNGROUPED_BASES else is_alone(uids_B)
    # opo divides by a row's tokens, and gpg counts rows: padding would give NaN, or change the scale.
    learnt = mask_BT.any(dim=-1).tolist()
    for reentry in (False, True):
        rows = [
            row for row, uid in enumerate(uids_B) if is_reentry_uid(uid) == reentry and learnt[row] and not alone[row]
        ]
        if rows:
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
