"""verl's own GRPO, its configuration with the estimator swapped, GPO with DAPO's filter, and GPO saved and resumed:
five trainings in turn in one pipeline. PPO and LoRA: test_recipes.py; KL and asynchronous GPO: test_training.py."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import verl.trainer
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from scripts.experiments.pipeline import Run, TrainingFailed, consecutive
from tests.conftest import read_metrics
from tests.e2e.conftest import common
from tests.e2e.test_training import (
    ARITHMETIC,
    assert_reentered,
    assert_rollout_and_actor_agree,
    assert_searched,
    assert_traces_agree,
)
from verl_gpo.core.advantage import group_advantages
from verl_gpo.traces.reader import trace_frame

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]
STOCK = (Path(verl.trainer.__file__).with_name("config"), "ppo_trainer")


@pytest.fixture(scope="module")
def trained(arithmetic_data, tmp_path_factory):
    """``{name: {step: metrics}}``, and the folder with what was rolled out, as ``name/step.jsonl``."""
    folder = tmp_path_factory.mktemp("trained")
    script = folder / "run.sh"
    script.write_text('exec "$PYTHON" $MAIN --config-path "$1" --config-name "$2" "${@:3}"\n')

    def run(name, where, steps, *overrides, resume="disable"):
        own = [f"trainer.total_training_steps={steps}", f"trainer.rollout_data_dir={folder}/{name}", *overrides]
        # In one pipeline models are alike; the recipe's would not checkpoint its gradients.
        always = [f"trainer.resume_mode={resume}", "actor_rollout_ref.model.enable_gradient_checkpointing=true"]
        arguments = [*map(str, where), *common(arithmetic_data), *always, *own]
        return Run(name, str(script), arguments, {"VERL_FILE_LOGGER_PATH": str(folder / f"{name}.jsonl")})

    kept = [f"trainer.default_local_dir={folder}/checkpoints", f"algorithm.gpo.trace_dir={folder}/traces"]
    runs = [
        run("grpo", STOCK, 1, "algorithm.adv_estimator=grpo"),
        run("swap", STOCK, 2, "algorithm.adv_estimator=gpo"),
        run(
            *("dapo", ARITHMETIC, 2, "algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=acc"),
            "actor_rollout_ref.actor.clip_ratio_high=0.28",
        ),
        run("saved", ARITHMETIC, 1, *kept, "trainer.save_freq=1"),
        run("resumed", ARITHMETIC, 2, *kept, resume="auto"),
    ]
    log = folder / "log"
    for run, outcome in consecutive(runs, log):
        assert not isinstance(outcome, TrainingFailed), (run.name, log.read_text(errors="replace")[-6000:])
    assert log.read_text(errors="replace").count("Started a local Ray instance") == 1
    return {run.name: read_metrics(folder / f"{run.name}.jsonl") for run in runs}, folder


def rolled_out(folder, name, step):
    return [json.loads(line) for line in (folder / name / f"{step}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "name, steps", [("grpo", [1]), ("swap", [1, 2]), ("dapo", [1, 2]), ("saved", [1]), ("resumed", [2])]
)
def test_each_training_samples_with_its_own_weights(trained, name, steps):
    """Not with those that the one before it left in the engine."""
    metrics = trained[0][name]
    assert sorted(metrics) == steps
    for step in metrics.values():
        assert_rollout_and_actor_agree(step)


def test_the_estimator_alone_equals_grpo_on_its_batches(trained):
    """One setting swapped in verl's own configuration, without re-entry."""
    runs, folder = trained
    for metrics in (*runs["grpo"].values(), *runs["swap"].values()):
        assert not any(name.startswith("gpo/") for name in metrics)
    assert any(metrics["actor/grad_norm"] > 0 for metrics in runs["swap"].values())

    rows = rolled_out(folder, "swap", 2)
    assert len(rows) == 16
    rewards = torch.zeros(len(rows), 5)
    rewards[:, -1] = torch.tensor([row["score"] for row in rows])
    mask = torch.ones_like(rewards)
    uids = np.array([row["uid"].rsplit("_", 2)[0] for row in rows], dtype=object)
    assert len(set(uids)) == 4
    stock, _ = compute_grpo_outcome_advantage(rewards, mask, uids)
    assert torch.equal(group_advantages(rewards, mask, uids), stock)


def test_dapo_filters_by_the_roots(trained):
    runs, folder = trained
    for step, metrics in runs["dapo"].items():
        assert_searched(metrics)
        outcomes = defaultdict(set)
        for row in rolled_out(folder, "dapo", step):
            uid, session, _ = row["uid"].rsplit("_", 2)
            if int(session) < 4 and not uid.startswith("pad"):
                outcomes[uid].add(row["score"])
        # The roots of each group differ, whatever its re-entry rollouts came to. Unfiltered, one group in six does not.
        assert sorted(map(sorted, outcomes.values())) == [[0.0, 1.0]] * 4
        assert metrics["actor/grad_norm"] > 0
    assert max(metrics["gpo/rollouts/reentry"] for metrics in runs["dapo"].values()) > 0


def test_a_resumed_training_goes_on_where_it_was_saved(trained):
    runs, folder = trained
    both = {**runs["saved"], **runs["resumed"]}
    for metrics in both.values():
        assert_reentered(metrics)
    # Its second step has other prompts than its first, and the traces of both lie in one folder.
    first, second = (
        {row["input"] for row in rolled_out(folder, name, step)} for step, name in ((1, "saved"), (2, "resumed"))
    )
    assert first and second and not first & second
    assert_traces_agree(trace_frame(folder / "traces"), both)
