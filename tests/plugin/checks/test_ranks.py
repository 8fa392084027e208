"""More ranks than there is room for, and mini-batches that they cannot share, end a run before Ray starts."""

import pytest

from verl_gpo.config import ConfigError
from verl_gpo.cpu.cluster import Joined
from verl_gpo.plugin.checks import ranks
from verl_gpo.plugin.checks.accelerators import Decision
from verl_gpo.plugin.checks.ranks import check_host, check_mini_batches, check_nodes

JOINED = Joined("RAY_ADDRESS", "1.2.3.4:6379")


@pytest.fixture
def on_the_command_line(monkeypatch):
    """``on_the_command_line(*overrides)``: Hydra's record of it."""
    from types import SimpleNamespace

    from hydra.core.hydra_config import HydraConfig

    def given(*overrides):
        monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
        record = SimpleNamespace(overrides=SimpleNamespace(task=list(overrides)))
        monkeypatch.setattr(HydraConfig, "get", lambda: record)

    return given


@pytest.mark.parametrize("override", ["trainer.n_gpus_per_node=3", "++trainer.n_gpus_per_node=3"])
def test_more_ranks_than_cores_are_refused_if_somebody_asks_for_them(
    merged, monkeypatch, on_the_command_line, override
):
    monkeypatch.setattr(ranks, "cores", lambda: 2)
    config = merged("trainer.n_gpus_per_node=3")
    check_host(config)  # a configuration file's: it is changed, and said
    on_the_command_line("data.seed=1", "trainer.n_gpus_per_node_of_another=3")
    check_host(config)
    on_the_command_line("data.seed=1", override)
    with pytest.raises(ConfigError) as refused:
        check_host(config)
    assert str(refused.value) == (
        "trainer.n_gpus_per_node=3: must be at most 2 on this host, its cores: a rank computes on one at least"
    )
    check_host(merged("trainer.n_gpus_per_node=2"))


@pytest.mark.parametrize(
    ("nodes", "shape", "refused"),
    [
        ([(8, 1), (8, 1)], (1, 2), None),
        ([(16, 2)], (1, 2), None),  # two places on one node
        ([(3, 1), (9, 1)], (1, 2), "trainer.nnodes=2: must be at most 1"),  # the three are the ranks', none is left
        ([(8, 0), (8, 1), (8, 1)], (1, 2), None),  # a head without accelerators
        (
            [(8, 1)],
            (1, 2),
            "trainer.nnodes=2: must be at most 1 with trainer.n_gpus_per_node=1, which needs 1 GPU, 4 CPU",
        ),
        (
            [(8, 1), (8, 1)],
            (2, 1),
            "trainer.nnodes=1: must be at most 0 with trainer.n_gpus_per_node=2, which needs 2 GPU",
        ),
        # Enough accelerators, and CPUs for one rank only.
        (
            [(5, 2)],
            (2, 1),
            "trainer.nnodes=1: must be at most 0 with trainer.n_gpus_per_node=2, which needs 2 GPU, 7 CPU",
        ),
        # Places for all, and then none for what runs beside them.
        ([(4, 1), (4, 1)], (1, 2), "trainer.nnodes=2: needs 9 CPUs with trainer.n_gpus_per_node=1 and transfer_queue"),
    ],
)
def test_a_cluster_without_room_is_refused(merged, nodes, shape, refused):
    config = merged(f"trainer.n_gpus_per_node={shape[0]}", f"trainer.nnodes={shape[1]}")
    decision = Decision(JOINED, "cpu", tuple({"CPU": cpus, "GPU": gpus} for cpus, gpus in nodes))
    if refused is None:
        return check_nodes(config, decision)
    with pytest.raises(ConfigError) as error:
        check_nodes(config, decision)
    assert str(error.value).startswith(refused)
    has = "; ".join(f"{gpus} GPU, {cpus} CPU" for cpus, gpus in nodes)
    assert str(error.value).endswith(f"; the cluster of RAY_ADDRESS=1.2.3.4:6379 has {has}")


def test_the_storage_units_of_gpus_are_counted(merged):
    config = merged("trainer.n_gpus_per_node=2")
    check_nodes(config, Decision(JOINED, "nvidia", ({"CPU": 16.0, "GPU": 2.0},)))  # 6 + 8 + 2
    with pytest.raises(
        ConfigError, match="num_data_storage_units=8; the cluster of RAY_ADDRESS=1.2.3.4:6379 has 2 GPU"
    ):
        check_nodes(config, Decision(JOINED, "nvidia", ({"CPU": 15.0, "GPU": 2.0},)))


def test_who_joins_no_cluster_or_has_a_platform_of_its_own_is_not_asked(merged):
    check_nodes(merged(), Decision(None, "cpu"))
    check_nodes(merged(), Decision(JOINED, None, ({"CPU": 1.0},)))
    check_nodes(merged("trainer.nnodes=0"), Decision(JOINED, "cpu", ({"CPU": 1.0},)))  # verl's to refuse


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (("trainer.n_gpus_per_node=2", "trainer.nnodes=2", "actor_rollout_ref.rollout.n=4"), None),
        (
            ("trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.n=3"),
            "its 1 x 3 rows (x actor_rollout_ref.rollout.n)",
        ),
        # Two of four compute a row together.
        (
            (
                "trainer.n_gpus_per_node=4",
                "actor_rollout_ref.rollout.n=2",
                "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2",
            ),
            None,
        ),
        (
            (
                "trainer.n_gpus_per_node=4",
                "actor_rollout_ref.rollout.n=2",
                "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2",
            ),
            None,
        ),
        (
            (
                "trainer.n_gpus_per_node=8",
                "actor_rollout_ref.rollout.n=2",
                "actor_rollout_ref.actor.strategy=megatron",
                "actor_rollout_ref.actor.megatron.tensor_model_parallel_size=4",
                "actor_rollout_ref.actor.megatron.pipeline_model_parallel_size=1",
                "actor_rollout_ref.actor.megatron.context_parallel_size=1",
            ),
            None,
        ),
    ],
)
def test_ranks_share_a_mini_batch_evenly(merged, overrides, refused):
    config = merged("actor_rollout_ref.actor.ppo_mini_batch_size=1", *overrides)
    if refused is None:
        return check_mini_batches(config)
    with pytest.raises(ConfigError) as error:
        check_mini_batches(config)
    said = f"actor_rollout_ref.actor.ppo_mini_batch_size=1: must be another number: {refused}"
    assert str(error.value).startswith(said) and str(error.value).endswith("evenly among 2 ranks")


def test_so_do_the_critics(merged):
    overrides = ("actor_rollout_ref.actor.ppo_mini_batch_size=2", "critic.ppo_mini_batch_size=1")
    shape = ("trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.n=3")
    check_mini_batches(merged(*overrides, *shape))
    with pytest.raises(ConfigError, match="^critic.ppo_mini_batch_size=1: must be another number"):
        check_mini_batches(merged(*overrides, *shape, "critic.enable=true"))
