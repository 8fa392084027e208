"""Which Ray cluster a run joins, and what that cluster has. Light: Ray is imported only to ask a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Joined(NamedTuple):
    """A cluster that is there already.

    Attributes:
        said_by: the setting, variable or file that names it.
        address: what it names.
    """

    said_by: str
    address: str


def joined_cluster(configured: str | None = None, temp_dir: str | None = None) -> Joined | None:
    """The cluster that ``ray.init`` would connect to; None where it would start Ray on this host.

    Ray decides in this order, and has no public function that says how: the address that it is given, ``RAY_ADDRESS``,
    and the file ``ray_current_cluster`` that ``ray start`` leaves on each node of a cluster. ``local`` means none.

    Args:
        configured: ``ray_kwargs.ray_init.address``.
        temp_dir: ``ray_kwargs.ray_init._temp_dir``, Ray's folder; None for its default.
    """
    said = Joined("ray_kwargs.ray_init.address", configured or "")
    if said.address in ("", "auto"):
        said = Joined("RAY_ADDRESS", os.environ.get("RAY_ADDRESS", "")) if os.environ.get("RAY_ADDRESS") else said
    if said.address in ("", "auto"):
        folder = temp_dir or Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray")
        file = Path(folder, "ray_current_cluster")
        said = Joined(str(file), file.read_text().strip()) if file.is_file() else said
    return None if said.address in ("", "local") else said


def cluster_resources(address: str) -> Mapping[str, float]:
    """What a cluster has in all, by Ray's name for it: ``{"CPU": 64.0, "GPU": 8.0, ...}``.

    Raises:
        ConnectionError: no Ray answers at the address.
    """
    import ray

    if ray.is_initialized():
        return ray.cluster_resources()
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConnectionError(" ".join(str(error).split())) from error
    try:
        return ray.cluster_resources()
    finally:
        ray.shutdown()  # verl connects by itself, with the environment that the workers are to have
