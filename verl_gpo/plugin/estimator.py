"""The advantage estimator ``gpo``: ``algorithm.adv_estimator=gpo`` in any verl configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import register_adv_est

from ..config import GPOConfig
from ..core.advantage import group_advantages


@register_adv_est("gpo")
def compute_gpo_advantage(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: np.ndarray,
    config: Any = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """verl's side of :func:`verl_gpo.core.advantage.group_advantages`.

    Args:
        token_level_rewards: shape ``(rows, response length)``.
        response_mask: shape ``(rows, response length)``.
        index: ``(rows,)`` group ids, the batch's ``uid`` column.
        config: the block ``algorithm``; ``norm_adv_by_std_in_grpo`` and ``gpo``'s weights are read.

    Returns:
        Advantages and returns, the same tensor, as in verl's ``grpo``.
    """
    config = config if config is not None else {}
    gpo = GPOConfig.from_mapping(config.get("gpo"))
    advantages = group_advantages(
        token_level_rewards,
        response_mask,
        index,
        normalize_by_std=config.get("norm_adv_by_std_in_grpo", True),
        reentry_weight=gpo.reentry_weight,
        critical_weight=gpo.critical_weight if gpo.learn_from == "all" else 1.0,
    )
    return advantages, advantages
