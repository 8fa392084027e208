"""Mini-batches of the trainer's configuration, made as large as the rows need; divisible by ranks and micro-batches."""

from omegaconf import OmegaConf

from verl_gpo.plugin.mini_batches import MiniBatches, ranks_and_micro_batches, rows_vary


def configuration(critic=False, gpus=1, dynamic=True, rows="widened", **gpo):
    return OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "gae" if critic else "gpo", "gpo": {"rows": rows, **gpo}},
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
    assert mini_batches.fit(80, 64) == 40 and sizes(config) == (5, 2)
    assert mini_batches.fit(64, 64) == 32 and sizes(config) == (4, 2)


def test_a_critic_keeps_its_own_number_of_optimizer_steps():
    config = configuration(critic=True)
    # Two of the actor, four of the critic: 80 rows are padded to 96, which four eights divide.
    assert MiniBatches(config).fit(80, 64) == 48 and sizes(config) == (6, 3)


def test_ranks_and_fixed_micro_batches_divide_a_mini_batch():
    assert ranks_and_micro_batches(configuration(gpus=8)) == 16
    config = configuration(gpus=8, dynamic=False)
    assert ranks_and_micro_batches(config) == 16 * 4  # micro-batches of 2 and 4
    # A mini-batch grows from 128 rows to 192 and to no less.
    config.actor_rollout_ref.actor.ppo_mini_batch_size = 16
    mini_batches = MiniBatches(config)
    assert mini_batches.fit(384, 256) == 192 and sizes(config) == (24, 2)
    # 1032 rows are nine of 128 and six of 192; their 1024 roots are eight.
    assert mini_batches.fit(1032, 1024) == 128 and sizes(config) == (16, 2)
    assert ranks_and_micro_batches(configuration(critic=True, gpus=8, dynamic=False)) == 16 * 12  # and of 3


def test_added_rows_take_their_own_optimizer_steps_evenly():
    config = configuration(rows="added")
    # Two mini-batches of 32 roots and one of 16 re-entry rollouts: three of 32 as it was; 72 rows are three of 24.
    mini_batches = MiniBatches(config)
    assert mini_batches.fit(80, 64) == 32 and sizes(config) == (4, 2)
    assert mini_batches.fit(72, 64) == 24 and sizes(config) == (3, 2)


def test_rows_that_are_left_out_take_the_optimizer_steps_of_all():
    # 8 prompts of 8 roots, two mini-batches of 32; of each prompt 4 rows are trained on: two of 16.
    config = configuration(rows="downsampled", search="none", kept_rows=4)
    assert rows_vary(config) and MiniBatches(config).fit(32, 32) == 16 and sizes(config) == (2, 2)


def test_only_where_rows_vary():
    assert rows_vary(configuration()) and rows_vary(configuration(rows="added")) and rows_vary(configuration(rows=None))
    assert not rows_vary(configuration(rows="matched"))
    assert not rows_vary(configuration(rows="replaced", n_reentry=1))
    plain = configuration()
    plain.algorithm.gpo.enable = False
    assert not rows_vary(plain)
