"""The warm-started arithmetic model, verl's command line as a function, and trainings that share a pipeline."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from scripts.experiments.pipeline import Run as Training
from scripts.experiments.pipeline import TrainingFailed, consecutive
from tests.conftest import REPOSITORY, read_metrics

RECIPE = REPOSITORY / "recipes" / "arithmetic"
TIMEOUT = 420.0


@pytest.fixture(scope="session")
def arithmetic_data():
    """Data and model as the quickstart makes them, in the same folder: made once, by one of the workers, then found."""
    folder = Path(os.environ.get("DATA_DIR", REPOSITORY / "outputs" / "arithmetic" / "data"))
    command = [sys.executable, "-m", "recipes.arithmetic.prepare", "--out", folder]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=TIMEOUT, cwd=REPOSITORY)
    return folder


@dataclass
class Run:
    """What a finished training left: ``{step: metrics}`` and the log's text."""

    metrics: dict[int, dict]
    log: str


def run_to_end(command, log, environment, folder, timeout=TIMEOUT):
    """The text of a command's log, after it has ended with status 0; whatever it has started ends with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder, start_new_session=True
        )
        try:
            status = process.wait(timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    text = log.read_text(errors="replace")
    assert status == 0, text[-6000:]
    return text


@pytest.fixture
def train(arithmetic_data, tmp_path):
    """Run ``python -m verl.trainer.main_ppo`` to its end: ``train(config_path, config_name, *overrides)``."""

    def run(name, config_path, config_name, *overrides):
        metrics, log = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.log"
        config = ["--config-path", str(config_path)] if config_path else []
        config += ["--config-name", config_name] if config_name else []
        command = [sys.executable, "-m", "verl.trainer.main_ppo", *config, *common(arithmetic_data), *overrides]
        environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(metrics)}
        text = run_to_end(command, log, environment, tmp_path)
        return Run(read_metrics(metrics), text)

    return run


@pytest.fixture(scope="session")
def trained(request, arithmetic_data, tmp_path_factory):
    """``{name: {step: metrics}}`` of short trainings, and their folder, with their rows in ``name/step.jsonl``.

    A pipeline takes a minute to start, so that all of them share one: the ``trainings(folder)`` of each selected test
    file that has them, as (name, config path and name, number of steps, overrides).
    """
    folder = tmp_path_factory.mktemp("trained")
    script = folder / "run.sh"
    script.write_text('exec "$PYTHON" $MAIN --config-path "$1" --config-name "$2" "${@:3}"\n')
    # In one pipeline models are alike, and the recipe's would not checkpoint its gradients.
    alike = "actor_rollout_ref.model.enable_gradient_checkpointing=true"
    selected = dict.fromkeys(item.module for item in request.session.items if hasattr(item.module, "trainings"))
    runs = []
    for name, where, steps, overrides in (one for module in selected for one in module.trainings(folder)):
        own = [f"trainer.total_training_steps={steps}", f"trainer.rollout_data_dir={folder}/{name}", *overrides]
        arguments = [*map(str, where), *common(arithmetic_data), alike, *own]
        runs.append(Training(name, str(script), arguments, {"VERL_FILE_LOGGER_PATH": str(folder / f"{name}.jsonl")}))
    log = folder / "log"
    for run, outcome in consecutive(runs, log):
        assert not isinstance(outcome, TrainingFailed), (run.name, log.read_text(errors="replace")[-6000:])
    assert log.read_text(errors="replace").count("Started a local Ray instance") == 1
    return {run.name: read_metrics(folder / f"{run.name}.jsonl") for run in runs}, folder


def rolled_out(folder, name, step):
    """The rows of a training step of one of ``trained``."""
    return [json.loads(line) for line in (folder / name / f"{step}.jsonl").read_text().splitlines()]


def common(data):
    """Overrides that make a run small, whichever configuration it starts from."""
    return [
        f"data.train_files={data}/train.parquet",
        f"data.val_files={data}/test.parquet",
        f"actor_rollout_ref.model.path={data}/model",
        f"reward.custom_reward_function.path={RECIPE}/reward.py",
        "data.train_batch_size=4",
        "data.max_prompt_length=128",
        "data.max_response_length=96",
        "data.val_max_samples=8",
        "actor_rollout_ref.actor.ppo_mini_batch_size=4",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
        "actor_rollout_ref.rollout.max_model_len=256",
        "trainer.n_gpus_per_node=1",
        "trainer.logger=[console,file]",
        "trainer.val_before_train=false",
    ]
