"""verl's replay buffers, with ``gpo/*`` metrics beside each batch (``trainer.v1.sampler.custom_sampler``)."""

from __future__ import annotations

from typing import Any

from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from .metrics import TAG, step_metrics


class _GPOMetrics:
    """Adds the summary of the sampled prompts' records to what ``sample`` reports."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict]:
        batch, metrics = super().sample(global_steps, partition_id, batch_size)  # type: ignore[misc]
        # Popped: padding rows copy the tags of the first row, and the workers have no use for them.
        records = [tag.pop(TAG) for tag in batch.tags if TAG in tag]
        return batch, {**metrics, **step_metrics(records)}


class GPOReplayBuffer(_GPOMetrics, ReplayBuffer):
    """The buffer of trainer mode ``sync``."""


class GPOReplayBufferAsync(_GPOMetrics, ReplayBufferAsync):
    """The buffer of the asynchronous trainer modes."""


def build_replay_buffer(*, trainer_mode: str, sampler_kwargs: Any, **kwargs: Any) -> ReplayBuffer:
    """What verl calls in place of a buffer class.

    Args:
        trainer_mode: verl's trainer mode; all but "sync" are asynchronous.
        sampler_kwargs: the configuration block of that name; ``poll_interval`` is read.
        **kwargs: verl's other arguments, passed on.
    """
    buffer_class = GPOReplayBuffer if trainer_mode == "sync" else GPOReplayBufferAsync
    return buffer_class(
        trainer_mode=trainer_mode,
        sampler_kwargs=sampler_kwargs,
        poll_interval=float(sampler_kwargs.get("poll_interval", 2.0)),
        **kwargs,
    )
