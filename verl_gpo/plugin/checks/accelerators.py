"""Where a run computes is decided once, in the driver, and passed on to all workers as ``VERL_PLATFORM``.

A run that starts Ray itself has this host's accelerators. One that joins a cluster has the cluster's, whatever this
host has: the head of a GPU cluster, or the node that an agent loop worker runs on, may have CPUs only.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from ...config import ConfigError
from ...cpu.cluster import Joined, cluster_nodes, joined_cluster
from ...cpu.detect import PLATFORM, cpu_platform_wanted
from ...cpu.ranks import logical_cpus
from ..observe.metrics_file import PATH as METRICS_FILE

#: Passes the decision on: verl merges it with its own variables for ``ray.init``.
_VARIABLES = "ray_kwargs.ray_init.runtime_env.env_vars"
PASSED_ON = f"{_VARIABLES}.{PLATFORM}"
#: Where Ray keeps what belongs to a cluster.
_FOLDER = "ray_kwargs.ray_init._temp_dir"
#: verl's own platforms. Where another one is registered, only its owner knows when it is meant.
_VERLS_OWN = ("nvidia", "amd", "huawei", "cpu")


@dataclass(frozen=True)
class Decision:
    """Where a run computes.

    Attributes:
        joined: the cluster that it joins; None where Ray is started on this host.
        platform: verl's name, or None where verl is left to find it on each node.
        nodes: what each node of the cluster has, by Ray's names for it.
    """

    joined: Joined | None
    platform: str | None
    nodes: tuple[Mapping[str, float], ...] = ()

    @property
    def cpu(self) -> bool:
        """Whether it computes on CPUs."""
        return self.platform == "cpu"

    @property
    def resource(self) -> str | None:
        """Ray's name for the platform's accelerators; None where the platform is not known."""
        from verl.plugin.platform.platform_manager import PlatformRegistry

        known = PlatformRegistry.get(self.platform) if self.platform else None
        return known().ray_resource_name() if known else None


def joins(config: DictConfig) -> Joined | None:
    """The cluster that the run joins; it may have files and accelerators that cannot be seen from here."""
    return joined_cluster(OmegaConf.select(config, "ray_kwargs.ray_init.address"), OmegaConf.select(config, _FOLDER))


def decide(config: DictConfig) -> Decision:
    """Decide where the run computes. A cluster is asked for its resources, which takes some seconds.

    Raises:
        ConfigError: a cluster that does not answer, or has nothing that verl could place its workers on.
    """
    joined = joins(config)
    if joined is None:
        return Decision(None, "cpu" if cpu_platform_wanted() else None)
    named = OmegaConf.select(config, PASSED_ON) or os.environ.get(PLATFORM)
    try:
        nodes = tuple(cluster_nodes(joined, OmegaConf.select(config, _FOLDER)))
    except ConnectionError as error:
        raise ConfigError(
            joined.said_by, joined.address, f"must be a Ray cluster that runs; no answer from it ({error})"
        ) from error
    resources = sum(map(Counter, nodes), Counter())
    return Decision(joined, _platform(joined, str(named).strip().lower() if named else None, resources), nodes)


def _platform(joined: Joined, named: str | None, resources: Mapping[str, float]) -> str | None:
    """verl's name of what the cluster computes on."""
    import torch
    from verl.plugin.platform.platform_manager import PlatformRegistry

    by_resource = {"GPU": "amd" if torch.version.hip else "nvidia", "NPU": "huawei"}
    found = [name for resource, name in by_resource.items() if resources.get(resource)]
    foreign = [name for name in PlatformRegistry.registered_names() if name not in _VERLS_OWN]
    if named and (known := PlatformRegistry.get(named)):
        if resources.get(known().ray_resource_name()):
            return named
    elif named or foreign:
        return named  # verl says which names it knows; and a vendor's platform says itself where it is at home
    elif found:
        return found[0]
    has = ", ".join(f"{resources[name]:g} {name}" for name in ("CPU", "GPU", "NPU") if name in resources)
    raise ConfigError(
        joined.said_by,
        joined.address,
        f"must be a cluster with accelerators{f' of {PLATFORM}={named}' if named else ''}; this one has {has or 'none'}"
        f". To run on CPUs, start Ray with `ray start --head --num-gpus=1 --num-cpus={logical_cpus(1)}` and set "
        f"{PLATFORM}=cpu",
    )


def pass_on(config: DictConfig, decision: Decision) -> None:
    """Tell the workers of a joined cluster where they compute, and where the metrics go: their environment is its own.

    This process, which may have taken itself for one without accelerator, is told as well. Workers of a Ray that is
    started here have this host and this environment; the settings for the CPU name the platform too.
    """
    if decision.joined is None:
        return
    if os.environ.get(METRICS_FILE) and not OmegaConf.select(config, f"{_VARIABLES}.{METRICS_FILE}"):
        _pass_on(config, METRICS_FILE, os.path.abspath(os.environ[METRICS_FILE]))
    if decision.platform is None:
        return
    _pass_on(config, PLATFORM, decision.platform)
    from verl.plugin.platform.platform_manager import PlatformRegistry, get_platform, set_platform
    from verl.utils.device import auto_set_device

    platform = PlatformRegistry.get(decision.platform)
    if platform is not None and type(get_platform()) is not platform:
        set_platform(platform())
        auto_set_device(config)


def _pass_on(config: DictConfig, variable: str, value: str) -> None:
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR  # the plan does without Ray

    job = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}"))
    if variable not in ((job.get("runtime_env") or {}).get("env_vars") or {}):  # Ray refuses a variable given twice
        OmegaConf.update(config, f"{_VARIABLES}.{variable}", value, force_add=True)
