"""Runs several short trainings one after the other in one pipeline, whose processes are started only once.

    python -m verl_gpo.plugin.consecutive RUNS.json ENDED.jsonl

The start of a training spends 80 s on imports on two cores, and the trainings of an experiment are about as short. Here
the second training finds Ray, worker, engine and TransferQueue running. Everything that holds a training's state is
built again with its own configuration: trainer, data loader, model, optimizer, critic, reference, rollout workers and
reward workers. The engine gets the new weights as after any training step. This is for experiments and tests; you do
not need it for your own training.

RUNS.json is a list of ``{"name", "arguments", "environment"}``, where ``arguments`` are those of
``verl.trainer.main_ppo``, ``--config-path`` and ``--config-name`` first. The first run is trained, and then all others
that fit into its pipeline (:func:`pipeline_of`). When a run has ended, a line ``{"name", "seconds"}`` is added to
ENDED.jsonl. The next run begins when the reader of this line has added an empty one, so that what the reader does with
a run, an evaluation for instance, takes no time of the next one. If the reader, the process that called, has ended,
nobody is waited for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Settings that the engine's process sees and that may still differ between trainings of one pipeline.
OWN_ROLLOUT_SETTINGS = ("n", "seed", "val_kwargs", "agent", "trace", "temperature", "top_p", "top_k")


def compose(arguments: Sequence[str]) -> Any:
    """The configuration that ``python -m verl.trainer.main_ppo ARGUMENTS`` would train with."""
    import verl.trainer.main_ppo as main_ppo
    from hydra import compose, initialize_config_dir

    options = dict(zip(arguments[0:4:2], arguments[1:4:2], strict=True))
    with initialize_config_dir(config_dir=os.path.abspath(options["--config-path"]), version_base=None):
        config = compose(options["--config-name"], overrides=list(arguments[4:]))
    main_ppo.auto_set_device(config)
    main_ppo.validate_config(
        config=config,
        use_reference_policy=main_ppo.need_reference_policy(config),
        use_critic=main_ppo.need_critic(config),
    )
    return config


def pipeline_of(config: Any) -> str:
    """A string that is equal for trainings that can follow each other in one pipeline."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    rollout = OmegaConf.to_container(config.actor_rollout_ref.rollout, resolve=True)
    common = {
        "model": OmegaConf.to_container(config.actor_rollout_ref.model, resolve=True),
        "rollout": {key: value for key, value in rollout.items() if key not in OWN_ROLLOUT_SETTINGS},
        "roles": [need_critic(config), need_reference_policy(config)],
        "trainer": [config.trainer.v1.trainer_mode, config.trainer.nnodes, config.trainer.n_gpus_per_node],
    }
    return json.dumps(common, sort_keys=True)


def train(file: str, ended: str) -> None:
    """Train the first run, and all others that fit into its pipeline."""
    import ray
    import verl.trainer.main_ppo as main_ppo

    runs = json.loads(Path(file).read_text())
    for run in runs:
        run["config"] = compose(run["arguments"])
    first = runs[0]["config"]
    runs = [run for run in runs if pipeline_of(run["config"]) == pipeline_of(first)]
    from verl_gpo.plugin.consecutive import pipeline_runner  # Ray's workers look it up by this module name

    runner = pipeline_runner()

    class WithRuns:
        """Replaces verl's remote task runner, which takes no arguments."""

        @staticmethod
        def remote() -> Any:
            return ray.remote(runner).options(num_cpus=1).remote(runs, ended, os.getppid())

    main_ppo.run_ppo(first, task_runner_class=WithRuns)


def pipeline_runner() -> type:
    """verl's task runner, extended to train one run after the other."""
    import ray
    import transfer_queue as tq
    import verl.trainer.ppo.v1.trainer_base as trainer_base
    from omegaconf import OmegaConf
    from verl.trainer.main_ppo import TaskRunnerV1
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.utils.logging_utils import configure_verl_logging

    from verl_gpo.plugin.watch import watchdog

    class Runner(TaskRunnerV1.__ray_actor_class__):
        def __init__(self, runs: list[dict[str, Any]], ended: str, reader: int):
            super().__init__()
            self._runs, self._ended, self._reader = runs, Path(ended), reader

        def run(self, config: Any) -> None:
            configure_verl_logging()
            config.transfer_queue.enable = True
            tq.init(config.transfer_queue)
            try:
                trainer_class = keeping(get_trainer_cls(config.trainer.v1.trainer_mode))
                for run in self._runs:
                    began = time.perf_counter()
                    self._train(run, trainer_class)
                    record = {"name": run["name"], "seconds": time.perf_counter() - began}
                    wait_for_reader(self._ended, json.dumps(record), self._reader)
            finally:
                tq.close()

        def _train(self, run: dict[str, Any], trainer_class: type) -> None:
            os.environ.update(run["environment"])
            self.config = run["config"]
            self.config.transfer_queue.enable = True
            OmegaConf.resolve(self.config)
            self.trainer = trainer_class(config=self.config)
            self.trainer.init()
            self.init_agent_loop_manager()
            self.trainer.fit(self.agent_loop_manager)
            self.trainer.logger.finish(exit_code=0)
            watchdog.stop()  # the next run may have none, and this one's would take the end of its workers for a fault
            for worker in (*self.agent_loop_manager.agent_loop_workers, *self.trainer.get_reward_handles()):
                ray.kill(worker)
            for partition, keys in tq.kv_list().items():
                if keys:
                    tq.kv_clear(keys=list(keys), partition_id=partition)

    def keeping(trainer_class: type) -> type:
        """The trainer class, extended to keep its worker processes and its engine for the next training.

        Two names of verl are patched in ``_setup``, only in the task runner's process:
        ``trainer_base.RayWorkerGroup`` and ``trainer_base.LLMServerManager.create``.

        Reason: verl's trainer starts its worker processes and its engine in the middle of ``_setup``, and has no
        argument to pass existing ones. We know of no upstream issue.
        Remove when: a verl trainer accepts existing worker groups and an existing engine, or starts so fast that short
        trainings need no common pipeline.
        """
        kept: dict[str, Any] = {}

        class KeptWorkers:
            """Replaces verl's worker group: the processes of the first one, with new workers in them."""

            def __init__(self, resource_pool: Any, **_: Any):
                self._pool = resource_pool

            def spawn(self, prefix_set: Any) -> dict[str, Any]:
                groups = kept["groups"]
                for role, made in kept["trainer"].resource_pool_to_cls[self._pool].items():
                    workers = groups[role].workers
                    ray.get([worker.__ray_call__.remote(renew, role, made.args, made.kwargs) for worker in workers])
                return groups

        class Keeping(trainer_class):
            def _init_resource_pool_mgr(self) -> None:
                super()._init_resource_pool_mgr()
                if "pools" in kept:
                    self.resource_pool_manager = kept["pools"]
                    self.resource_pool_manager.create_resource_pool = lambda: None
                kept["pools"], kept["trainer"] = self.resource_pool_manager, self

            def _setup(self) -> None:
                if "engine" not in kept:
                    group_class = trainer_base.RayWorkerGroup

                    class Kept(group_class):
                        def spawn(self, prefix_set: Any) -> dict[str, Any]:
                            kept["groups"] = super().spawn(prefix_set)
                            return kept["groups"]

                    trainer_base.RayWorkerGroup = Kept
                    super()._setup()
                    kept["engine"] = self.llm_server_manager
                    trainer_base.RayWorkerGroup = KeptWorkers
                    trainer_base.LLMServerManager.create = lambda **_: kept["engine"]
                else:
                    super()._setup()

        return Keeping

    return Runner


def wait_for_reader(file: Path, line: str, reader: int) -> None:
    """Add a line to the file, and return when its reader has added an empty one, or is no more.

    Args:
        file: ENDED.jsonl.
        line: about a run that has ended.
        reader: process id, on this machine.
    """
    import psutil

    with file.open("a") as ended:
        ended.write(f"{line}\n")
    while file.read_text().splitlines()[-1] and psutil.pid_exists(reader):
        time.sleep(0.1)


def renew(process: Any, role: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Runs in a worker's process: replaces the worker of a role by a new one."""
    import gc

    from verl.utils.py_functional import temp_env_var

    with temp_env_var("DISABLE_WORKER_INIT", "1"):
        process.worker_dict[role] = type(process.worker_dict[role])(*args, **kwargs)
    gc.collect()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m verl_gpo.plugin.consecutive RUNS.json ENDED.jsonl")
    train(*sys.argv[1:])
