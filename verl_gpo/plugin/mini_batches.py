"""Mini-batches of equal size for training steps with a varying number of rows: ``rows=added`` and ``rows=widened``.

verl's trainer reads ``ppo_mini_batch_size`` again for each batch that it takes from the replay buffer: it pads the
batch to whole mini-batches and tells the workers how large they are. So the setting is changed in the trainer's own
configuration as soon as the number of rows is known. The configured value sets the number of optimizer steps: that of
the root rows (``widened``: as many as the baseline takes) or that of all rows (``added``).

Remove when: verl has a setting for the number of mini-batches of a batch.
"""

from __future__ import annotations

import math

from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.utils import need_critic

from ..config import GPOConfig
from .batch import even_mini_batches, rows_of_steps

_ACTOR = "actor_rollout_ref.actor"
#: Settings of micro-batches: whether they are split by length, and otherwise their number of rows.
_SPLITS = (
    (_ACTOR, "use_dynamic_bsz", "ppo_micro_batch_size_per_gpu"),
    ("critic", "use_dynamic_bsz", "ppo_micro_batch_size_per_gpu"),
    ("actor_rollout_ref.rollout", "log_prob_use_dynamic_bsz", "log_prob_micro_batch_size_per_gpu"),
    ("actor_rollout_ref.ref", "log_prob_use_dynamic_bsz", "log_prob_micro_batch_size_per_gpu"),
)


def rows_vary(config: DictConfig) -> bool:
    """Whether the rows of a training step depend on what the search finds."""
    gpo = GPOConfig.from_mapping(config.algorithm.get("gpo"))
    return gpo.rows_vary


class MiniBatches:
    """The mini-batches of the actor, and of the critic if there is one.

    Args:
        config: the trainer's own configuration, which is changed in place.
    """

    def __init__(self, config: DictConfig):
        self._config = config
        gpo = GPOConfig.from_mapping(config.algorithm.get("gpo"))
        self._kind, self._kept = gpo.rows, gpo.kept_rows
        self._n = config.actor_rollout_ref.rollout.n
        self._blocks = [_ACTOR, "critic"] if need_critic(config) else [_ACTOR]
        self._rows = [OmegaConf.select(config, f"{block}.ppo_mini_batch_size") * self._n for block in self._blocks]
        self._unit = math.lcm(self._n, ranks_and_micro_batches(config))

    def fit(self, rows: int, root_rows: int) -> int:
        """Set the size of the mini-batches for the rows of the step that begins.

        Args:
            rows: number of rows of the step, at least one.
            root_rows: how many of them are roots.

        Returns:
            Rows of a mini-batch of the actor.
        """
        sampled = root_rows * self._n // self._kept if self._kind == "downsampled" else root_rows
        fitting = even_mini_batches(rows, rows_of_steps(self._kind, rows, sampled), self._rows, self._unit)
        for block, mini_batch_rows in zip(self._blocks, fitting, strict=True):
            OmegaConf.update(self._config, f"{block}.ppo_mini_batch_size", mini_batch_rows // self._n)
        return fitting[0]


def ranks_and_micro_batches(config: DictConfig) -> int:
    """Number that has to divide a mini-batch: verl distributes its rows evenly over ranks and micro-batches."""
    micro = []
    for block, by_length, size in _SPLITS:
        if block == "critic" and not need_critic(config):
            continue
        settings = OmegaConf.select(config, block) or {}
        if not settings.get(by_length) and settings.get(size):
            micro.append(settings.get(size))
    return config.trainer.n_gpus_per_node * config.trainer.nnodes * math.lcm(*micro)
