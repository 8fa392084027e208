"""verl's replay buffers, which also report ``gpo/*`` metrics for each batch (``trainer.v1.sampler.custom_sampler``)."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import ray
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from ..config import BLOCK, GPOConfig
from ..traces.step_line import step_line
from .batch import step_arithmetic
from .mini_batches import MiniBatches, rows_vary
from .observe.metrics import REENTRY_TAG, TAG, critical_positions, step_metrics
from .observe.metrics_file import note_step
from .observe.trackers import Trackers
from .watch.watchdog import Watchdog

#: OmegaConf's relative key from ``trainer.v1.sampler.sampler_kwargs`` to the root: one dot for each level up, and one.
_ROOT = "....."


class _GPOMetrics:
    """Adds the summary of the sampled prompts' records to the metrics of ``sample``; filters groups by their roots."""

    sampler_kwargs: Any
    partitions: dict[str, dict[str, dict]]
    #: Set if the number of rows of a step varies.
    mini_batches: MiniBatches | None = None
    #: Set in a run; not where a buffer is tested alone.
    watchdog: Watchdog | None = None

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict]:
        try:
            batch, metrics = super().sample(global_steps, partition_id, batch_size)  # type: ignore[misc]
        except RuntimeError:
            if self.watchdog is not None:
                self.watchdog.explain()  # verl says that there are no rollouts; an engine that died is why
            raise
        # Popped, because padding rows copy the tags of the first row, and the workers do not need them.
        records = [tag.pop(TAG) for tag in batch.tags if TAG in tag]
        summary = step_metrics(records) if records else {}
        failed = any(summary.get(name) for name in ("gpo/failures/sampling", "gpo/prompts/failed"))
        if self.watchdog is not None and (failed or len(records) < batch_size):
            self.watchdog.explain()  # not to be trained on, if a process that died is why
        if not records:
            return batch, metrics
        print(f"verl_gpo: {step_line(global_steps, summary)}", flush=True)
        samples = [record["sample"] for record in records if record.get("sample")]
        self._trackers.log(global_steps, critical_positions(records), samples)
        rows = len(batch.keys)
        actor_rows = None
        if self.mini_batches:
            actor_rows = self.mini_batches.fit(rows, rows - sum(bool(tag.get(REENTRY_TAG)) for tag in batch.tags))
        summary |= self._arithmetic(rows, actor_rows)
        if partition_id == "train":
            note_step(global_steps, summary)
        return batch, {**metrics, **summary}

    def prompts(self) -> dict[str, int]:
        """Number of prompts by verl's status, as of the last poll."""
        keys = {"pending": self.pending_keys, "running": self.running_keys, "finished": self.finished_keys}
        keys["failed"] = self.failure_keys
        return {status: sum(map(len, list(by_partition.values()))) for status, by_partition in keys.items()}

    def _wait_for_next_poll(self, *args: Any) -> float:
        if self.watchdog is not None:
            self.watchdog.raise_if_broken()
        return super()._wait_for_next_poll(*args)  # type: ignore[misc]

    @functools.cached_property
    def _trackers(self) -> Trackers:
        settings = self.sampler_kwargs
        return Trackers(settings.get("loggers"), settings.get("project_name"), settings.get("experiment_name"))

    def _arithmetic(self, rows: int, mini_batch_rows: int | None) -> dict[str, float]:
        """``gpo/rows`` and ``gpo/optimizer_steps``, if the settings give the size of a mini-batch."""
        settings = self.sampler_kwargs
        if not mini_batch_rows:
            if not (settings.get("mini_batch_size") and settings.get("rollout_n")):
                return {}
            mini_batch_rows = settings.mini_batch_size * settings.rollout_n
        step = step_arithmetic(rows, mini_batch_rows, settings.get("ppo_epochs") or 1)
        return {"gpo/rows": float(step.rows), "gpo/optimizer_steps": float(step.optimizer_steps)}

    def _dapo_filtered_keys(self, partition_id: str) -> tuple[set[str], Counter]:
        """verl's own rule for ``filter_groups``, shown the root rows only.

        Reason: verl treats every row of a prompt as one of its group, but re-entry rollouts have another baseline.
        Remove when: verl groups by the ``uid`` column here, as its estimators do.
        """
        rows = self.partitions[partition_id]
        self.partitions[partition_id] = {key: tag for key, tag in rows.items() if not tag.get(REENTRY_TAG)}
        try:
            return super()._dapo_filtered_keys(partition_id)  # type: ignore[misc]
        finally:
            self.partitions[partition_id] = rows


class GPOReplayBuffer(_GPOMetrics, ReplayBuffer):
    """The buffer of trainer mode ``sync``."""


class GPOReplayBufferAsync(_GPOMetrics, ReplayBufferAsync):
    """The buffer of the asynchronous trainer modes."""


def build_replay_buffer(*, trainer_mode: str, sampler_kwargs: Any, **kwargs: Any) -> ReplayBuffer:
    """The function that verl calls instead of a buffer class.

    Args:
        trainer_mode: verl's trainer mode; all but "sync" are asynchronous.
        sampler_kwargs: the configuration block of that name: ``poll_interval``, the settings of ``filter_groups`` that
            verl passes to its own buffer, and the size of a mini-batch.
        **kwargs: verl's other arguments, passed on.
    """
    buffer_class = GPOReplayBuffer if trainer_mode == "sync" else GPOReplayBufferAsync
    filter_groups = sampler_kwargs.get("filter_groups") or {}
    refills = bool(sampler_kwargs.get("sync_refill_failed_groups"))
    if filter_groups.get("enable"):
        kwargs["filter_groups_metric"] = filter_groups.get("metric")
        kwargs["max_inflight_gen_batches"] = filter_groups.get("max_inflight_gen_batches") or 1
    if filter_groups.get("enable") or refills:
        kwargs["train_batch_size"] = sampler_kwargs.get("train_batch_size")
        kwargs["gen_batch_size"] = 1  # verl's dataloader has the same value in this case
    buffer = buffer_class(
        trainer_mode=trainer_mode,
        sampler_kwargs=sampler_kwargs,
        poll_interval=float(sampler_kwargs.get("poll_interval", 2.0)),
        sync_refill_failed_groups=refills,
        **kwargs,
    )
    config = trainer_config(sampler_kwargs)
    if config is not None and rows_vary(config):
        buffer.mini_batches = MiniBatches(config)
    if config is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        gpo = GPOConfig.from_mapping(OmegaConf.select(config, BLOCK))
        buffer.watchdog = Watchdog(gpo.report_silence, config.trainer.get("default_local_dir"), buffer.prompts)
        buffer.watchdog.start()
    return buffer


def trainer_config(sampler_kwargs: Any) -> DictConfig | None:
    """The trainer's own configuration, with ``trainer.v1.sampler.sampler_kwargs`` as a block; None if it is not one.

    Reason: verl 0.9.1 passes only this block to a buffer. Its registry of trainers (``register_trainer``) gives classes
    and not the running instance. A registered trainer class of ours would need another name than ``sync``, and verl
    treats every other name as asynchronous; its registration would also import verl's trainers, which takes seconds, in
    every process that loads this plugin. OmegaConf's relative keys give access to the root without both problems.
    Remove when: verl passes a buffer the trainer's configuration, or has a setting for the number of mini-batches.
    """
    if not isinstance(sampler_kwargs, DictConfig):
        return None
    try:
        root = OmegaConf.select(sampler_kwargs, _ROOT)
    except ConfigKeyError:  # the block is not nested so deeply
        return None
    return root if isinstance(root, DictConfig) and root.get("actor_rollout_ref") else None
