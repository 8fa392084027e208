"""Requests that may be outstanding at a rollout server when it is to take new weights (``colocate_async``)."""

from __future__ import annotations

import math
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...config import ConfigError, GPOConfig

_ROLLOUT = "actor_rollout_ref.rollout"
#: verl 0.9.1 (``RolloutReplica.max_concurrency``): calls that a server takes at once, and those it adds for control.
_AT_LEAST, _CONTROL = 1000, 16


def replicas_of(config: Any) -> int:
    """Number of replicas of the rollout engine."""
    rollout = config.actor_rollout_ref.rollout
    devices = rollout.get("n_gpus_per_node") or config.trainer.n_gpus_per_node
    nodes = rollout.get("nnodes") or config.trainer.nnodes
    of_a_replica = (
        rollout.tensor_model_parallel_size
        * (rollout.get("data_parallel_size") or 1)
        * (rollout.get("pipeline_model_parallel_size") or 1)
    )
    return max(devices * nodes // of_a_replica, 1)


def check_outstanding(config: DictConfig, gpo: GPOConfig) -> None:
    """Refuse a run in which requests may keep a rollout server from being told to take new weights.

    In ``colocate_async`` weights are updated while requests are outstanding. Each holds one of the calls that verl's
    server takes at once, also while it waits for the update. Where they hold all of them, the update never begins
    (verl #7990). Other modes wait for all requests first.

    Raises:
        ConfigError: ``max_num_seqs``, which raises the number of calls, and the number that is needed.
    """
    if OmegaConf.select(config, "trainer.v1.trainer_mode") != "colocate_async":
        return
    sequences = OmegaConf.select(config, f"{_ROLLOUT}.max_num_seqs")
    if sequences is None:
        return
    warmup = OmegaConf.select(config, "trainer.v1.colocate_async.num_warmup_batches") or 0
    roots = config.data.train_batch_size * (1 + warmup) * config.actor_rollout_ref.rollout.n
    needed = math.ceil(roots / replicas_of(config)) + (gpo.max_in_flight if gpo.enable else 0)
    if needed > max(_AT_LEAST - _CONTROL, sequences):
        raise ConfigError(
            f"{_ROLLOUT}.max_num_seqs",
            sequences,
            f"must be at least {needed} with trainer.v1.trainer_mode=colocate_async: so many requests may be "
            "outstanding at one of verl's servers, and one that is full cannot be given new weights (verl #7990)",
        )
