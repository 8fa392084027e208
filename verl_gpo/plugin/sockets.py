"""Two runs on one machine do not send each other their weights.

Reason: verl 0.9.1 sends the weights to the rollout engine over a socket file in ``/tmp`` whose name holds the number of
the Ray job (verl #6233). Each Ray that a run starts for itself counts its jobs from 1, so two such runs use the same
file: the sender removes it and makes it anew, and an engine may be given the weights of the other run. Here the name
gets the time at which the run's driver was started (:data:`~verl_gpo.plugin.observe.STARTED`) as well.
Remove when: the name that verl chooses differs between two local Rays.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .observe import STARTED

#: verl's module of both ends of the socket. The plugin is loaded long before it, and must not import it.
MODULE = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"
_PREFIX = "/tmp/rl-colocate-zmq-"


def own(handle: str, started: str | None) -> str:
    """The socket of the run that was started then.

    >>> own("ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock", "1795814602.945")
    'ipc:///tmp/rl-colocate-zmq-1795814602.945-01000000-replica-0-rank-0.sock'
    """
    return handle.replace(_PREFIX, f"{_PREFIX}{started}-", 1) if started else handle


def activate() -> None:
    """Change both ends when verl's module is imported."""
    if MODULE in sys.modules:
        _change(sys.modules[MODULE])
    elif not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())


class _WhenImported(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _then_change(spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


def _then_change(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def execute_and_change(module: ModuleType) -> None:
        execute(module)
        _change(module)

    return execute_and_change


def _change(module: ModuleType) -> None:
    for end in (module.BucketedWeightSender, module.BucketedWeightReceiver):
        if not hasattr(end, "_gpo_own_socket"):
            end._gpo_own_socket, end.__init__ = True, _with_own_socket(end.__init__)


def _with_own_socket(init: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, zmq_handle: str, *args: Any, **kwargs: Any) -> None:
        init(self, own(zmq_handle, os.environ.get(STARTED)), *args, **kwargs)

    return __init__
