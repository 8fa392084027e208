"""Configurations to plan: the packaged one, with the few settings that have no default."""

import pytest
from omegaconf import OmegaConf

from verl_gpo.plan.configuration import Configuration, load, package_folder

FOLDER = package_folder("verl_gpo") / "trainer" / "config"
BASE = (
    "data.train_batch_size=16",
    "actor_rollout_ref.rollout.n=8",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.actor.ppo_mini_batch_size=16",
    "actor_rollout_ref.actor.use_dynamic_bsz=true",
    "trainer.n_gpus_per_node=1",
    "data.train_files=train.parquet",
    "data.val_files=test.parquet",
    "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B-Instruct",
)


@pytest.fixture(scope="session")
def base():
    return load(FOLDER, "gpo_trainer", BASE)


@pytest.fixture
def configured(base):
    """``configured(*overrides)``: 16 prompts of 8 rollouts, one mini-batch, one GPU."""

    def compose(*overrides):
        if any(item.startswith(("+", "model_engine")) for item in overrides):
            return load(FOLDER, "gpo_trainer", [*BASE, *overrides])
        # Merged, not composed anew: a hundredth of the time.
        return Configuration(OmegaConf.merge(base.config, OmegaConf.from_dotlist(list(overrides))))

    return compose
