"""Mini-batches of the trainer's configuration, made as large as the rows need; divisible by ranks and micro-batches."""

import pytest
from omegaconf import OmegaConf

from verl_gpo.plugin.mini_batches import MiniBatches, mini_batches_grow, ranks_and_micro_batches


def configuration(critic=False, gpus=1, dynamic=True, rows="widened"):
    return OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "gae" if critic else "gpo", "gpo": {"rows": rows}},
            "trainer": {"n_gpus_per_node": gpus, "nnodes": 2 if gpus > 1 else 1},
            "critic": {
                "enable": critic,
                "ppo_mini_batch_size": 2,
                "use_dynamic_bsz": dynamic,
                "ppo_micro_batch_size_per_gpu": 3,
            },
            "actor_rollout_ref": {
                "actor": {"ppo_mini_batch_size": 4, "use_dynamic_bsz": dynamic, "ppo_micro_batch_size_per_gpu": 2},
                "rollout": {"n": 8, "log_prob_use_dynamic_bsz": dynamic, "log_prob_micro_batch_size_per_gpu": 4},
                "ref": {"log_prob_use_dynamic_bsz": dynamic, "log_prob_micro_batch_size_per_gpu": None},
            },
        }
    )


def sizes(config):
    return config.actor_rollout_ref.actor.ppo_mini_batch_size, config.critic.ppo_mini_batch_size


def test_each_step_starts_from_what_was_configured():
    config = configuration()
    mini_batches = MiniBatches(config)
    # 8 prompts: 64 roots in two mini-batches of 32. With 16 rows more there are two of 40.
    assert mini_batches.widen(80, 64) == 40 and sizes(config) == (5, 2)
    assert mini_batches.widen(64, 64) == 32 and sizes(config) == (4, 2)


def test_a_critic_keeps_its_own_number_of_optimizer_steps():
    config = configuration(critic=True)
    # Two of the actor, four of the critic: 80 rows are padded to 96, which four eights divide.
    assert MiniBatches(config).widen(80, 64) == 48 and sizes(config) == (6, 3)


def test_ranks_and_fixed_micro_batches_divide_a_mini_batch():
    assert ranks_and_micro_batches(configuration(gpus=8)) == 16
    config = configuration(gpus=8, dynamic=False)
    assert ranks_and_micro_batches(config) == 16 * 4  # micro-batches of 2 and 4
    # A mini-batch grows from 128 rows to 192 and to no less.
    config.actor_rollout_ref.actor.ppo_mini_batch_size = 16
    mini_batches = MiniBatches(config)
    assert mini_batches.widen(384, 256) == 192 and sizes(config) == (24, 2)
    # 1032 rows are nine of 128 and six of 192; their 1024 roots are eight.
    assert mini_batches.widen(1032, 1024) == 128 and sizes(config) == (16, 2)
    assert ranks_and_micro_batches(configuration(critic=True, gpus=8, dynamic=False)) == 16 * 12  # and of 3


@pytest.mark.parametrize("rows", ["added", "matched", None])
def test_only_where_it_is_asked_for(rows):
    assert not mini_batches_grow(configuration(rows=rows)) and mini_batches_grow(configuration())
