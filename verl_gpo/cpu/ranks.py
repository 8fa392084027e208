"""How many ranks a run has on CPUs: each is a process that trains, with a rollout replica of its own.

A rank computes with an equal share of the cores of its host, with one core at least.
"""

from __future__ import annotations

from typing import Any

#: CPUs that verl's worker group asks of Ray for each rank (``ResourcePoolManager.max_colocate_count``).
OF_A_RANK = 3
#: CPUs beside those: one each for the task runner, TransferQueue's controller and its storage unit, the rest for
#: placing actors.
BESIDE = 5


def ranks_on(cores: int, asked: Any) -> int:
    """Number of ranks on a host whose Ray is started by the run.

    A number beyond the host's cores comes from a configuration for GPUs, whose eight devices this host does not have:
    then there is one rank.

    Args:
        cores: number of cores of the host.
        asked: ``trainer.n_gpus_per_node``.
    """
    return asked if isinstance(asked, int) and 1 <= asked <= cores else 1


def logical_cpus(ranks: int) -> int:
    """Number of CPUs that a Ray has to believe in, whatever the host has, for a number of ranks on one node.

    With fewer, TransferQueue waits forever (verl #7656); with more, Ray starts idle processes at once.
    """
    return OF_A_RANK * ranks + BESIDE


def share(cores: int, ranks: int) -> int:
    """Number of threads that a rank computes with."""
    return max(cores // ranks, 1)
