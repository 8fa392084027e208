"""Whether there is room for the ranks, and whether they can share a batch: verl finds out minutes later, or never."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...config import ConfigError
from ...cpu.detect import cores
from ...cpu.ranks import OF_A_RANK, ranks_on
from .accelerators import Decision

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
_OF_A_NODE, _NODES = "trainer.n_gpus_per_node", "trainer.nnodes"
_UNITS = "transfer_queue.backend.SimpleStorage.num_data_storage_units"
#: CPUs for TransferQueue's controller, and for placing actors.
_BESIDE = 2


def check_host(config: DictConfig) -> None:
    """Refuse more ranks than a host without accelerator has cores, if the command line asks for them.

    A number that a configuration file has, verl's own 8 among them, is meant for GPUs. It is changed and printed with
    the other settings (:mod:`verl_gpo.cpu.settings`).

    Raises:
        ConfigError: the number, and how many the host can have.
    """
    asked = OmegaConf.select(config, _OF_A_NODE)
    if ranks_on(cores(), asked) != asked and _on_the_command_line(_OF_A_NODE):
        raise ConfigError(
            _OF_A_NODE, asked, f"must be at most {cores()} on this host, its cores: a rank computes on one at least"
        )


def _on_the_command_line(key: str) -> bool:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return False
    return any(item.lstrip("+").partition("=")[0] == key for item in HydraConfig.get().overrides.task)


def check_nodes(config: DictConfig, decision: Decision) -> None:
    """Refuse a cluster that has no room for the ranks: verl would wait for it forever.

    verl puts the ranks of a node together, and asks Ray for one accelerator and three CPUs for each. To be placed,
    their replicas need one more CPU on that node. Somewhere run TransferQueue's controller and its storage units, on a
    CPU each, and actors that need one to be placed (verl #7656).

    Raises:
        ConfigError: what is needed, and what the nodes have.
    """
    ranks, wanted = OmegaConf.select(config, _OF_A_NODE), OmegaConf.select(config, _NODES)
    counts = all(isinstance(number, int) and number >= 1 for number in (ranks, wanted))  # others are verl's to refuse
    if decision.joined is None or decision.resource is None or not counts:
        return
    need = {decision.resource: ranks, "CPU": OF_A_RANK * ranks + 1}
    places = sum(
        min(int(node.get(decision.resource, 0)) // ranks, max(int(node.get("CPU", 0)) - 1, 0) // (OF_A_RANK * ranks))
        for node in decision.nodes
    )
    has = "; ".join(_in_words(node, (decision.resource, "CPU")) for node in decision.nodes)
    has = f"the cluster of {decision.joined.said_by}={decision.joined.address} has {has}"
    if places < wanted:
        raise ConfigError(
            _NODES,
            wanted,
            f"must be at most {places} with {_OF_A_NODE}={ranks}, which needs {_in_words(need, need)} on each node; "
            f"{has}",
        )
    units = 1 if decision.cpu else OmegaConf.select(config, _UNITS) or 1
    cpus = OF_A_RANK * ranks * wanted + units + _BESIDE
    if sum(node.get("CPU", 0) for node in decision.nodes) < cpus:
        raise ConfigError(_NODES, wanted, f"needs {cpus} CPUs with {_OF_A_NODE}={ranks} and {_UNITS}={units}; {has}")


def _in_words(resources: Mapping[str, Any], names: Any) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in names)


def check_mini_batches(config: DictConfig) -> None:
    """Refuse mini-batches whose rows cannot be divided evenly among the ranks: verl ends in the first update then.

    Raises:
        ConfigError: the mini-batch, and what has to divide it.
    """
    from verl.trainer.ppo.utils import need_critic

    ranks, rows_of_a_prompt = _data_parallel(config), OmegaConf.select(config, f"{_ROLLOUT}.n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # verl warns of it once more, when it asks by itself
        blocks = (_ACTOR, "critic") if need_critic(config) else (_ACTOR,)
    for block in blocks:
        key = f"{block}.ppo_mini_batch_size"
        prompts = OmegaConf.select(config, key)
        if prompts * rows_of_a_prompt % ranks:
            raise ConfigError(
                key,
                prompts,
                f"must be another number: its {prompts} x {rows_of_a_prompt} rows (x {_ROLLOUT}.n) cannot be divided "
                f"evenly among {ranks} ranks",
            )


def _data_parallel(config: DictConfig) -> int:
    """Number of ranks to which rows are distributed; 1 where another training engine divides them in its own way."""
    strategy = OmegaConf.select(config, f"{_ACTOR}.strategy")
    if strategy in ("fsdp", "fsdp2"):
        blocks = (_ACTOR, f"{_ACTOR}.fsdp_config")  # verl's old place comes before the new one
        sizes = [OmegaConf.select(config, f"{block}.ulysses_sequence_parallel_size") or 1 for block in blocks]
        shared = sizes[0] if sizes[0] > 1 else sizes[1]
    elif strategy == "megatron":
        kinds = ("tensor_model", "pipeline_model", "context")
        shared = math.prod(OmegaConf.select(config, f"{_ACTOR}.megatron.{kind}_parallel_size") or 1 for kind in kinds)
    else:
        return 1
    return max(OmegaConf.select(config, _OF_A_NODE) * OmegaConf.select(config, _NODES) // shared, 1)
