"""Which Ray cluster a run joins, and what that cluster has. Light: Ray is imported by the process that asks it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

#: The setting and the variable that name a cluster.
_SETTINGS = ("ray_kwargs.ray_init.address", "RAY_ADDRESS")


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
    setting, variable = _SETTINGS
    said = Joined(setting, configured or "")
    if said.address in ("", "auto") and os.environ.get(variable):
        said = Joined(variable, os.environ[variable])
    if said.address in ("", "auto"):
        folder = temp_dir or Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray")
        file = Path(folder, "ray_current_cluster")
        said = Joined(str(file), file.read_text().strip()) if file.is_file() else said
    return None if said.address in ("", "local") else said


#: Seconds for a connection to a cluster's address, and for the cluster's answer, which takes a second or two.
_CONNECTS, _ANSWERS = 5.0, 30.0
#: Asks a cluster. Its last line is for the process that waits; what Ray writes comes before it.
_ASK = """
import json, sys
import ray
try:
    ray.init(address=sys.argv[1], _temp_dir=sys.argv[2] or None, log_to_driver=False, logging_level="ERROR")
    answer = [node["Resources"] for node in ray.nodes() if node["Alive"]]
except Exception as error:
    answer = str(error)
print(json.dumps(answer))
"""


def cluster_nodes(joined: Joined, temp_dir: str | None = None) -> list[dict[str, float]]:
    """What each node of a cluster has, by Ray's names for it: ``[{"CPU": 64.0, "GPU": 8.0, ...}, ...]``.

    It is asked in a process of its own: Ray's client waits for more than two minutes for a cluster that is gone, and
    may then end its process.

    Args:
        joined: the cluster.
        temp_dir: Ray's folder; None for its default.

    Raises:
        ConnectionError: no Ray answers at the address, or it refuses.
    """
    # Ray looks for a token by itself only where it also finds the cluster by itself.
    address = joined.address if joined.said_by in _SETTINGS else "auto"
    _connect(joined.address)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _ASK, address, temp_dir or ""], capture_output=True, text=True, timeout=_ANSWERS
        )
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"it accepts connections, and within {_ANSWERS:.0f} s nothing answered as Ray") from error
    lines = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines() or ["Ray ended"]
    answer = json.loads(lines[-1]) if ended.returncode == 0 else lines[-1]
    if isinstance(answer, str):
        known = os.environ.get("RAY_AUTH_MODE", "").strip().lower() == "token"
        hint = "" if known else "; a cluster whose nodes share a token answers with RAY_AUTH_MODE=token only"
        raise ConnectionError(" ".join(answer.split()) + hint)
    return answer


def _connect(address: str) -> None:
    """Refuse an address at which nothing listens. ``auto`` and others without a port are left to Ray.

    Raises:
        ConnectionError: what the system says.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        if parts.hostname and parts.port:
            socket.create_connection((parts.hostname, parts.port), timeout=_CONNECTS).close()
    except (OSError, ValueError) as error:  # a port that is no number, a name that nobody knows, a host without a route
        raise ConnectionError(str(error)) from error
