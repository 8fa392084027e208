"""Two training steps of a tiny model with GPO on this machine, with verl, Ray, vLLM and FSDP as in any run.

After the first update verl sends the new weights to the rollout engine. In the second step the probabilities of the
engine are compared with those of the actor: if they differ, the weights did not arrive.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cpu.detect import cpu_platform_wanted
from .finding import OK, WRONG, Finding
from .process import ProgramFailed, ask

STEPS = 2
PROMPTS = 8  # for each GPU in a training step
LIMIT = 480.0  # seconds
#: Largest mean difference of a token's probability, and smallest correlation, between rollout engine and actor, for
#: float32 on the CPU and bfloat16 on a GPU. With the weights of the step before they are 0.14 and 0.7
#: (tests/doctor/test_tiny.py).
ALLOWED = {"cpu": (1e-4, 0.9999), "gpu": (0.03, 0.98)}
_TINY = """
from pathlib import Path
from verl_gpo.doctor import tiny
tiny.write(Path({folder!r}), {rows})
print(1)
"""
_DIFFERENCE, _CORRELATION = "training/rollout_probs_diff_mean", "training/rollout_actor_probs_pearson_corr"


def command(folder: Path, gpus: int) -> list[str]:
    """The command line of the training.

    Args:
        folder: holds model and data of :func:`verl_gpo.doctor.tiny.write`, and gets what the run writes.
        gpus: number of accelerators; 1 on the CPU.
    """
    prompts = PROMPTS * gpus
    settings = {
        "data.train_files": folder / "data.parquet",
        "data.val_files": folder / "data.parquet",
        "data.train_batch_size": prompts,
        "data.max_prompt_length": 16,
        "data.max_response_length": 48,
        "data.dataloader_num_workers": 0,
        "actor_rollout_ref.model.path": folder / "model",
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.actor.ppo_mini_batch_size": prompts,
        "actor_rollout_ref.actor.use_dynamic_bsz": True,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 4096,
        "actor_rollout_ref.actor.optim.lr": 3e-3,
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": 4,
        "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
        "actor_rollout_ref.rollout.max_model_len": 128,
        "actor_rollout_ref.rollout.max_num_seqs": 128,
        "actor_rollout_ref.rollout.gpu_memory_utilization": 0.3,
        "actor_rollout_ref.rollout.enforce_eager": True,
        "actor_rollout_ref.rollout.ignore_eos": True,
        "actor_rollout_ref.rollout.calculate_log_probs": True,
        "actor_rollout_ref.rollout.agent.num_workers": 1,
        "algorithm.gpo.min_step_tokens": 1,
        "reward.custom_reward_function.path": "pkg://verl_gpo.doctor.tiny",
        "reward.custom_reward_function.name": "compute_score",
        "reward.num_workers": 1,
        # On a machine with few CPUs verl would wait forever (verl #7656).
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        "trainer.logger": "[console,file]",
        "trainer.n_gpus_per_node": gpus,
        "trainer.total_training_steps": STEPS,
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.save_freq": -1,
        "trainer.resume_mode": "disable",
        "trainer.default_local_dir": folder / "checkpoints",
        "hydra.run.dir": folder,
    }
    config = ["--config-path", "pkg://verl_gpo.trainer.config", "--config-name", "gpo_trainer"]
    return [
        sys.executable,
        "-m",
        "verl.trainer.main_ppo",
        *config,
        *(f"{key}={value}" for key, value in settings.items()),
    ]


def compare(metrics: Mapping[str, Any], where: str) -> Finding:
    """Whether rollout engine and actor agree about probabilities.

    Args:
        metrics: of a training step after an update.
        where: ``cpu`` or ``gpu``, which decides what is allowed (`ALLOWED`).
    """
    name = "rollout and actor"
    most, least = ALLOWED[where]
    try:
        difference, correlation = float(metrics[_DIFFERENCE]), float(metrics[_CORRELATION])
    except KeyError as error:
        return Finding(name, WRONG, f"no metric {error.args[0]}", "this is not verl 0.9.1")
    found = f"probabilities differ by {difference:.2g} (mean), correlation {correlation:.6f}, after an update"
    if difference <= most and correlation >= least:
        return Finding(name, OK, found)
    return Finding(name, WRONG, found, f"must be at most {most:g} and at least {least:g}: weights do not arrive whole")


def trial() -> tuple[list[Finding], dict[str, Any]]:
    """Train for two steps, and compare rollout engine and actor.

    Returns:
        The lines of the table, and the metrics of the last step; {} if the training failed.
    """
    folder = Path(tempfile.mkdtemp(prefix="verl-gpo-doctor-"))
    log, records = folder / "log", folder / "metrics.jsonl"
    name, start = "two training steps", time.monotonic()
    where = "cpu" if cpu_platform_wanted() else "gpu"
    try:
        gpus = 1 if where == "cpu" else ask("import torch; print(torch.cuda.device_count())")
        # The model is made in a process of its own as well, since transformers may be broken.
        ask(_TINY.format(folder=str(folder), rows=PROMPTS * gpus * STEPS))
    except ProgramFailed as error:
        return [Finding(name, WRONG, f"no tiny model: {error}")], {}
    status = _train(command(folder, max(1, gpus)), log, {"VERL_FILE_LOGGER_PATH": str(records)})
    seconds = time.monotonic() - start
    steps = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    if status != 0 or not steps or steps[-1]["step"] != STEPS:
        said = f"no end within {LIMIT:.0f} s" if status is None else _reason(log)
        return [Finding(name, WRONG, f"after {seconds:.0f} s: {said}", f"the whole log: {log}")], {}
    metrics = steps[-1]["data"]
    pace = f"{seconds:.0f} s with start-up; the second took {metrics.get('timing_s/step', float('nan')):.1f} s"
    lines = [Finding(name, OK, pace, f"log: {log}"), compare(metrics, where)]
    failed = metrics.get("gpo/prompts/failed", 0)
    if failed:
        lines.append(Finding("re-entry", WRONG, f"failed for {failed:.0f} prompts", f"the whole log: {log}"))
    else:
        entered = metrics.get("gpo/prompts/reentered", 0)
        lines.append(Finding("re-entry", OK, f"{entered:.0f} of {PROMPTS * gpus} prompts re-entered"))
    return lines, metrics


def _train(arguments: list[str], log: Path, environment: Mapping[str, str]) -> int | None:
    """Run the training to its end. Returns the exit status, None if it took longer than `LIMIT`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=log.parent,
            start_new_session=True,
        )
        try:
            return process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:  # the group has Ray's processes too
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _reason(log: Path) -> str:
    """The last line of the log that names an error, else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or line.startswith("verl_gpo:")]
    return (errors or lines or ["no output"])[-1][:300]
