"""The root rollouts of one prompt, collected by a rollout worker, and whether the prompt is re-entered."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from hydra.utils import get_class
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, _agent_loop_registry

from ..config import GIVEN_STEPS, GPOConfig
from ..core.types import Trajectory, as_number
from .agents.output import reentry_of
from .checks.outstanding import replicas_of

#: verl's single-turn agent loop, for which a continuation is one call of generate.
SINGLE_TURN = "single_turn_agent"


@dataclass
class RootGroup:
    """The root rollouts of one prompt, as they come in.

    Attributes:
        expected: number of root rollouts.
        size: number of rows of the prompt, re-entry rollouts included.
        agent_name: the agent loop that produces them, as verl's registry names it.
        began: time of its start on the engine's clock.
        sent: session -> time at which it was started on the engine's clock, for those that are started later.
        longest_seconds: seconds of work that its longest root took.
        filling: starts the missing rows as roots once the prompt is late.
        late: whether it did.
        trace: done once the prompt's trace is in its file.
    """

    expected: int
    size: int
    agent_name: str
    started: float = field(default_factory=time.perf_counter)
    settled: int = 0
    failed: bool = False
    began: float = 0.0
    sent: dict[int, float] = field(default_factory=dict)
    longest_seconds: float = 0.0
    filling: asyncio.Task[bool] | None = None
    late: bool = False
    trace: Future[None] | None = None
    phase: str = "rollout"
    #: session id -> (output, the columns that verl stores beside it)
    rollouts: dict[int, tuple[AgentLoopOutput | list[AgentLoopOutput], dict[str, Any]]] = field(default_factory=dict)

    def not_reentered_because(self, filter_metric: str | None) -> str | None:
        """Why this group is not re-entered, if it is not.

        Args:
            filter_metric: the metric by which ``algorithm.filter_groups`` drops groups, if it is on.
        """
        outputs = [output for output, _ in self.rollouts.values()]
        if not reenterable(self.agent_name):
            return "agent_loop"
        if self.failed or len(outputs) < self.expected:
            return "root_failed"
        if any(isinstance(output, list) for output in outputs):
            return "several_outputs"
        reentries = [reentry_of(output) for output in outputs]
        for output, reentry in zip(outputs, reentries, strict=True):
            # A continuation is one call of generate, unless the loop can bring itself and its tools back to a turn.
            if reentry is None and (output.num_turns > 2 or 0 in output.response_mask or any(reentries)):
                return "multi_turn"
            if reentry is not None and reentry.reason is not None:
                return reentry.reason
        if filter_metric is not None and len({_filtered_by(output, filter_metric) for output in outputs}) == 1:
            return "filter_groups"  # verl will drop the group, together with its re-entry rollouts
        return None


def _filtered_by(output: AgentLoopOutput, metric: str) -> float | None:
    """The quantity that ``algorithm.filter_groups`` compares, as verl reads it."""
    if metric == "reward":
        return None if output.reward_score is None else as_number(output.reward_score)
    return (output.extra_fields.get("reward_extra_info") or {}).get(metric)


def as_trajectory(output: AgentLoopOutput) -> Trajectory:
    """A root rollout as the procedure sees it."""
    return Trajectory(
        token_ids=tuple(output.response_ids),
        log_probs=tuple(output.response_logprobs) if output.response_logprobs is not None else None,
        reward=output.reward_score,
        source=output,
        written=tuple(output.response_mask) if reentry_of(output) else None,
    )


def slots_of_a_worker(config: Any, gpo: GPOConfig) -> int:
    """Number of continuations that one rollout worker may have in flight: its share of the limit of all replicas."""
    workers = config.actor_rollout_ref.rollout.agent.num_workers
    return max(gpo.max_in_flight * replicas_of(config) // workers, 1)


def prompt_seed(step: int, sample_index: Any, prompt_ids: Iterable[int]) -> str:
    """A name for a prompt in a training step that is the same in every run.

    The prompt's tokens are part of it, because verl's ``sample_index`` is 0 for all rows of a data set without
    ``extra_info.index``.
    """
    digest = hashlib.blake2b(repr(list(prompt_ids)).encode(), digest_size=8).hexdigest()
    return f"{step}/{sample_index}/{digest}"


def given_steps(columns: Mapping[str, Any]) -> tuple[int, ...]:
    """Steps that the data set says are decisive for a prompt; () if it has none.

    They are read only for ``search=given``: in other data sets a field of that name may mean something else.
    """
    steps = (columns.get("extra_info") or {}).get(GIVEN_STEPS)
    steps = tuple(steps) if isinstance(steps, Iterable) else ()
    return steps if all(isinstance(step, Integral) for step in steps) else ()


@functools.lru_cache(maxsize=64)
def reenterable(agent_name: str) -> bool:
    """Whether sampling a continuation of a state is the same as what this agent loop would have done there.

    It is for verl's single-turn loop, and for loops whose class declares it by ``gpo_reenterable = True``. Either they
    give each rollout the means to continue it, as ``gpo_tool_agent`` does (:mod:`verl_gpo.plugin.agents`), or a
    continuation is one call of generate: they change neither the prompt nor the sampling of a rollout, and set neither
    rewards nor extra fields themselves. It is not inferred from the roots: a tool agent of verl's whose roots called no
    tool may call one in a continuation. The call would not be executed there, and training would teach the policy not
    to call tools.
    """
    if agent_name == SINGLE_TURN:
        return True
    # verl 0.9.1 has no public way to look up a loop by its name.
    loop = _agent_loop_registry.get(agent_name)
    return bool(loop) and bool(getattr(get_class(loop["_target_"]), "gpo_reenterable", False))
