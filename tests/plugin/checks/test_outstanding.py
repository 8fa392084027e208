"""Many outstanding requests at a rollout server in the asynchronous mode; the number is worked out by hand."""

import pytest

from verl_gpo.config import ConfigError, GPOConfig
from verl_gpo.plugin.checks.outstanding import check_outstanding

ASYNC = "trainer.v1.trainer_mode=colocate_async"
KEY = "actor_rollout_ref.rollout"


def config(merged, *overrides):
    # 128 prompts of 8 roots, and as many of the warm-up, on 4 replicas of 2 GPUs: 2048 / 4 = 512 roots each, and 256
    # continuations.
    mine = [
        "data.train_batch_size=128",
        f"{KEY}.n=8",
        "trainer.n_gpus_per_node=8",
        f"{KEY}.tensor_model_parallel_size=2",
    ]
    return merged(*mine, *overrides)


def test_what_fits_passes(merged):
    check_outstanding(config(merged, ASYNC), GPOConfig())  # 768 of 1024
    check_outstanding(
        config(merged, ASYNC, f"{KEY}.max_num_seqs=64"), GPOConfig()
    )  # a server takes 1000 calls at least
    check_outstanding(config(merged, ASYNC, f"{KEY}.max_num_seqs=null"), GPOConfig(max_in_flight=9999))


@pytest.mark.parametrize(
    ("overrides", "gpo", "needed"),
    [
        ((f"{KEY}.n=16",), GPOConfig(), 1280),
        ((f"{KEY}.n=16",), GPOConfig(enable=False), 1024),
        (("trainer.v1.colocate_async.num_warmup_batches=2.5",), GPOConfig(), 896 + 256),
        ((), GPOConfig(max_in_flight=1000), 1512),
    ],
)
def test_what_does_not_is_refused_with_the_number_that_is_needed(merged, overrides, gpo, needed):
    with pytest.raises(ConfigError) as error:
        check_outstanding(config(merged, ASYNC, f"{KEY}.max_num_seqs=512", *overrides), gpo)
    assert str(error.value).startswith(
        f"{KEY}.max_num_seqs=512: must be at least {needed} with trainer.v1.trainer_mode="
    )
    check_outstanding(config(merged, ASYNC, f"{KEY}.max_num_seqs={needed}", *overrides), gpo)


def test_the_synchronous_mode_waits_for_all_requests(merged):
    check_outstanding(config(merged, "data.train_batch_size=4096", f"{KEY}.max_num_seqs=64"), GPOConfig())


def test_the_number_of_calls_is_verls():
    from verl.workers.rollout import replica

    class Small(replica.RolloutReplica):
        launch_servers = None

        def __init__(self, sequences):
            self.config = type("Config", (), {"max_num_seqs": sequences})

    Small.__abstractmethods__ = frozenset()
    assert [Small(count).max_concurrency for count in (64, 1024)] == [1000, 1040]
