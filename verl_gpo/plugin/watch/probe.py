"""What a process of the run says of itself, when the watchdog asks. Runs in that process.

verl has no health check of its rollout servers. vLLM's engine is a process of its own behind verl's server: when it
dies the server lives on, and raises an error for every request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple


class State(NamedTuple):
    """The state of one process.

    Attributes:
        dead: what has died in it, in words; "" as long as nothing has.
        waits: what it works on or waits for, in words; "" for nothing.
        done: a number that grows whenever the process has completed something.
    """

    dead: str = ""
    waits: str = ""
    done: int = 0


def probe(actor: Any) -> State:
    """The state of a Ray actor: a rollout worker of ours, a rollout server of verl's, or another."""
    if hasattr(actor, "gpo_state"):
        return actor.gpo_state()
    engine = getattr(actor, "engine", None)
    if engine is None or not hasattr(engine, "errored"):
        return State()
    return State(dead=_dead_engine(engine) if engine.errored else "", waits=_server_waits(actor, engine))


def _dead_engine(engine: Any) -> str:
    """Which engine process has ended, and by what."""
    manager = getattr(getattr(getattr(engine, "engine_core", None), "resources", None), "engine_manager", None)
    ended = [process for process in getattr(manager, "processes", ()) if process.exitcode is not None]
    said = [f"{process.name}, process {process.pid}, exit code {process.exitcode}" for process in ended]
    return f"the rollout engine ({'; '.join(said) or 'it stopped after an error'})"


def _server_waits(server: Any, engine: Any) -> str:
    requests = getattr(getattr(engine, "output_processor", None), "request_states", ())
    parts = [f"{len(requests)} requests in the engine"] if requests else []
    if getattr(server, "_submission_paused", False):
        parts.append("new requests wait until generation is resumed")
    return ", ".join(parts)


def rollout_worker_state(phases: Iterable[str], at_engine: int, rewards: int, done: int) -> State:
    """The state of a rollout worker of ours.

    Args:
        phases: the phase of each of its prompts.
        at_engine: number of continuations that the engine has of it.
        rewards: number of rewards that it waits for.
        done: number of rewards that it has got.

    >>> rollout_worker_state(["value", "rollout", "value"], 7, 0, 3).waits
    '2 prompts in value, 1 prompts in rollout, 7 continuations at the engine'
    """
    waits = [f"{count} prompts in {phase}" for phase, count in Counter(phases).items()]
    waits += [f"{at_engine} continuations at the engine"] if at_engine else []
    waits += [f"{rewards} rewards"] if rewards else []
    return State(waits=", ".join(waits), done=done)
