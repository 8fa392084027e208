"""Configurations to check: GPO's and verl's own, with values replaced, without Hydra's second or more of composing."""

import functools

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

NEEDED = (
    "data.train_files=a.parquet",
    "data.val_files=b.parquet",
    "data.train_batch_size=4",
    "data.max_prompt_length=128",
    "data.max_response_length=96",
    "actor_rollout_ref.model.path=m/m",
    "actor_rollout_ref.rollout.name=vllm",
    "trainer.logger=console",
)


@functools.cache
def composed(name, module):
    with initialize_config_module(config_module=module, version_base=None):
        return compose(name, overrides=list(NEEDED))


@pytest.fixture(scope="session")
def merged():
    """``merged(*overrides, stock=False)``: what needs a ``+`` on the command line needs none here."""

    def replaced(*overrides, stock=False):
        names = ("ppo_trainer", "verl.trainer.config") if stock else ("gpo_trainer", "verl_gpo.trainer.config")
        config = composed(*names).copy()
        OmegaConf.set_struct(config, False)
        return OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))

    return replaced
