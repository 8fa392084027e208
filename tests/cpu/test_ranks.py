"""How many ranks a host carries, and what Ray is told."""

import pytest

from verl_gpo.cpu.ranks import logical_cpus, ranks_on, share


@pytest.mark.parametrize(
    ("cores", "asked", "ranks"), [(2, 1, 1), (2, 2, 2), (2, 3, 1), (64, 64, 64), (64, 65, 1), (4, None, 1), (4, 0, 1)]
)
def test_a_rank_has_a_core_at_least(cores, asked, ranks):
    assert ranks_on(cores, asked) == ranks


def test_what_ray_is_told_by_hand():
    # Three CPUs a rank, and five for task runner, controller, storage unit and placing.
    assert [logical_cpus(ranks) for ranks in (1, 2, 8)] == [8, 11, 29]


def test_verl_asks_ray_for_as_many_cpus_of_a_rank():
    from verl.single_controller.ray import ResourcePoolManager

    from verl_gpo.cpu.ranks import OF_A_RANK

    assert ResourcePoolManager({}, {}).max_colocate_count == OF_A_RANK


def test_ranks_share_the_cores():
    assert [share(64, ranks) for ranks in (1, 3, 64)] == [64, 21, 1] and share(2, 4) == 1
