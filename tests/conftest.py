"""Shared fixtures: a composed verl configuration, and a small untrained model with data, made on the spot."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A test on a loaded machine may take a second: that is no fault of what it tests.
hypothesis_settings.register_profile("loaded_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("loaded_machine")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Folder with ``model/`` (untrained), ``train.parquet`` and ``test.parquet`` of the arithmetic task."""
    import torch

    from recipes.arithmetic.model import build_model, build_tokenizer
    from recipes.arithmetic.prepare import write_parquet
    from recipes.arithmetic.task import ArithmeticSpec, generate_problems

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for split, name in (("train", "train"), ("eval", "test")):
        problems = generate_problems(ArithmeticSpec(), 16, seed=0, split=split)
        write_parquet(problems, split, folder / f"{name}.parquet")
    return folder


@pytest.fixture
def compose():
    """Compose a verl configuration as the command line would: ``compose(*overrides, config_name="gpo_trainer")``."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module

    def composed(*overrides, config_name="gpo_trainer"):
        module = "verl_gpo.trainer.config" if config_name == "gpo_trainer" else "verl.trainer.config"
        with initialize_config_module(config_module=module, version_base=None):
            return hydra_compose(config_name, overrides=[str(override) for override in overrides])

    return composed


@pytest.fixture
def run_overrides(tiny_run):
    """The overrides that every run on the tiny model needs."""
    return [
        f"data.train_files={tiny_run}/train.parquet",
        f"data.val_files={tiny_run}/test.parquet",
        "data.train_batch_size=4",
        "data.max_prompt_length=128",
        "data.max_response_length=96",
        f"actor_rollout_ref.model.path={tiny_run}/model",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.max_model_len=256",
        "actor_rollout_ref.actor.ppo_mini_batch_size=4",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
        f"reward.custom_reward_function.path={REPOSITORY}/recipes/arithmetic/reward.py",
    ]


def read_metrics(path):
    """verl's file logger to ``{step: metrics}``."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return {line["step"]: line["data"] for line in lines}


def flattened(config):
    """``{key: value}`` of all leaves. An empty block is a leaf."""

    from omegaconf import OmegaConf

    def walk(prefix, node):
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(f"{prefix}.{key}" if prefix else str(key), value)
        else:
            yield prefix, node

    return dict(walk("", OmegaConf.to_container(config, resolve=False)))
