"""The rollout re-entry worker: GPO's engine inside verl's agent loop.

verl's worker runs the ``n`` root rollouts of a prompt as it always does. When the last of them has settled, and before
the prompt is reported as finished, the engine values states, picks the critical step and samples from the reset state,
through the same LLM client and the same reward loop. Each new rollout becomes a row of its own:

- key ``{uid}_{n + i}_0``: its own session of the same prompt, so that the trainer samples it with the roots;
- column ``uid``: its own group id, so that every estimator that groups by uid gives it the baseline of its reset state;
- the kept prefix stands in the response with mask 0 and its original log-probs: context, not loss.

Monte Carlo continuations are never stored: whatever is stored under a prompt is trained on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import ray
import transfer_queue as tq
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from ..config import GPOConfig
from ..core.advantage import reentry_uid
from ..core.reentry import GroupResult, ReentryEngine
from ..core.steps import NewlineSplitter
from ..core.types import Continuation, SamplingError, ScoredContinuation, ScoringError, Tokens, Trajectory
from .metrics import TAG, prompt_record

logger = logging.getLogger(__name__)

PARTITION = "train"


@dataclass
class _RootGroup:
    """The root rollouts of one prompt, as they come in."""

    expected: int
    started: float = field(default_factory=time.perf_counter)
    settled: int = 0
    failed: bool = False
    #: session id -> (output, the columns that verl stores beside it)
    rollouts: dict[int, tuple[AgentLoopOutput | list[AgentLoopOutput], dict[str, Any]]] = field(default_factory=dict)

    def not_reentered_because(self) -> str | None:
        """Why this group cannot be re-entered, if it cannot."""
        outputs = [output for output, _ in self.rollouts.values()]
        if self.failed or len(outputs) < self.expected:
            return "root_failed"
        if any(isinstance(output, list) for output in outputs):
            return "several_outputs"
        # A continuation is one generation. Behind a tool call the environment would have to be restored as well.
        if any(output.num_turns > 2 or 0 in output.response_mask for output in outputs):
            return "multi_turn"
        return None


class LLMClientSampler:
    """verl's LLM client as the engine's :class:`~verl_gpo.core.types.Sampler`, for one prompt.

    All requests of a prompt carry one sticky id, which keeps them on the replica where their prefixes are cached. Under
    verl's full determinism the id reaches the engine, which wants it unique, and every request would get the same seed:
    there each request has its own id and seed.
    """

    def __init__(self, client: Any, root: AgentLoopOutput, sampling_params: dict, timeout: float, deterministic: bool):
        self._client = client
        self._prompt_ids = list(root.prompt_ids)
        self._sampling_params = sampling_params
        self._timeout = timeout
        self._deterministic = deterministic
        self._request_id = uuid4().hex
        media = root.multi_modal_data or {}
        self._media = {
            "image_data": media.get("images"),
            "video_data": media.get("videos"),
            "audio_data": media.get("audios"),
            "mm_processor_kwargs": root.mm_processor_kwargs,
            "mm_processor_output": root.mm_processor_output,
        }

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int) -> Continuation:
        # Without max_tokens the server would let prefix and continuation together exceed the response length.
        params = {**self._sampling_params, "max_tokens": max_tokens}
        request_id = self._request_id
        if self._deterministic:
            params["seed"] = seed
            request_id = f"{request_id}-{seed}"
        context = self._prompt_ids + list(prefix)
        try:
            output = await asyncio.wait_for(
                self._client.generate(request_id=request_id, prompt_ids=context, sampling_params=params, **self._media),
                self._timeout,
            )
        except Exception as error:
            logger.warning("a continuation failed: %r", error)
            raise SamplingError(repr(error)) from error
        if output.stop_reason in ("aborted", "abort") or not output.token_ids:
            raise SamplingError(f"no continuation: stop reason {output.stop_reason}, {len(output.token_ids)} tokens")
        return Continuation(
            token_ids=tuple(output.token_ids[:max_tokens]),
            log_probs=tuple(output.log_probs[:max_tokens]) if output.log_probs else None,
            context_tokens=len(context),
            cached_tokens=output.extra_fields.get("num_cached_tokens"),
            source=output,
        )


class RewardLoopScorer:
    """verl's reward loop as the engine's :class:`~verl_gpo.core.types.Scorer`, for one prompt.

    A scored continuation carries the complete row as verl's ``AgentLoopOutput``.
    """

    def __init__(self, worker: Any, root: AgentLoopOutput, columns: dict[str, Any], timeout: float):
        self._worker = worker
        self._root = root
        self._columns = columns
        self._timeout = timeout

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        root = self._root
        # A copy of the root, because verl stores the fields that were set and all rows need the same columns.
        output = root.model_copy(
            update={
                "response_ids": [*prefix, *continuation.token_ids],
                "response_mask": [0] * len(prefix) + [1] * len(continuation.token_ids),
                "response_logprobs": None,  # known when it is known which anchor the prefix is of
                "reward_score": None,
                "metrics": AgentLoopMetrics(),
                "extra_fields": {**continuation.source.extra_fields, "turn_scores": [], "tool_rewards": []},
            }
        )
        try:
            await asyncio.wait_for(self._worker._compute_score([output], kwargs=self._columns), self._timeout)
        except Exception as error:
            logger.warning("a reward failed: %r", error)
            raise ScoringError(repr(error)) from error
        if output.reward_score is None:
            raise ScoringError("the reward loop returned no score")
        return ScoredContinuation(continuation, float(output.reward_score), source=output)


# A Ray actor class cannot be subclassed, and the class inside it is reachable by this private name only.
_AgentLoopWorker = AgentLoopWorkerTQ.__ray_actor_class__


class ReentryWorker(_AgentLoopWorker):
    """verl's agent loop worker, which re-enters each prompt of the training set. Validation is left alone."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._gpo = GPOConfig.from_mapping(self.config.algorithm.get("gpo"))
        splitter = NewlineSplitter(
            lambda token: self.tokenizer.decode([token]), self._gpo.min_step_tokens, self._gpo.max_steps
        )
        self._engine = ReentryEngine(self._gpo, splitter, self.rollout_config.response_length)
        self._groups: dict[str, _RootGroup] = {}

    async def _run_prompt(self, prompt: dict, sampling_params: dict, trajectory: dict, trace: bool = False) -> None:
        uid = prompt["uid"]
        # A greedy rollout (ReMax's baseline) is no member of a group.
        if not trajectory["validate"] and prompt.get("__do_sample__", True):
            self._groups[uid] = _RootGroup(int(prompt.get("__rollout_n__", self.rollout_config.n)))
        try:
            await super()._run_prompt(prompt, sampling_params, trajectory, trace)
        finally:
            self._groups.pop(uid, None)

    async def _run_agent_loop(self, sampling_params: dict, trajectory: dict, **kwargs: Any) -> Any:
        group = self._groups.get(kwargs["uid"])
        if group is None:
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        try:
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        except BaseException:
            group.failed = True
            raise
        finally:
            group.settled += 1
            if group.settled == group.expected:
                await self._reenter(kwargs["uid"], group, sampling_params, trajectory)

    async def _agent_loop_postprocess(self, output: Any, validate: bool, **kwargs: Any) -> None:
        await super()._agent_loop_postprocess(output, validate, **kwargs)
        group = self._groups.get(kwargs["uid"])
        if group is not None and output:
            group.rollouts[kwargs["session_id"]] = (output, kwargs)

    async def _reenter(self, uid: str, group: _RootGroup, sampling_params: dict, trajectory: dict) -> None:
        """Re-enter one prompt. Whatever happens here, its root rollouts stay as they are."""
        rollout_seconds = time.perf_counter() - group.started
        # Switched off, the roots are still counted: the baseline twin has the same metrics.
        skipped = group.not_reentered_because() if self._gpo.enable else "off"
        failed, result = False, None
        if skipped is None:
            try:
                result = await self._search_and_store(uid, group, sampling_params, trajectory)
            except Exception:
                failed = True
                logger.exception("re-entry failed for prompt %s; its root rollouts are kept", uid)
        if not group.rollouts:
            return
        session = min(group.rollouts)
        roots = [output for output, _ in group.rollouts.values() if not isinstance(output, list)]
        try:
            await tq.async_kv_put(
                key=f"{uid}_{session}_0",
                partition_id=PARTITION,
                tag={TAG: prompt_record(roots, result, rollout_seconds, skipped, failed)},
            )
        except Exception:
            logger.exception("no gpo metrics for prompt %s", uid)

    async def _search_and_store(
        self, uid: str, group: _RootGroup, sampling_params: dict, trajectory: dict
    ) -> GroupResult:
        pairs = [group.rollouts[session] for session in sorted(group.rollouts)]
        trajectories = [
            Trajectory(
                token_ids=tuple(output.response_ids),
                log_probs=tuple(output.response_logprobs) if output.response_logprobs is not None else None,
                reward=float(output.reward_score),
                source=output,
            )
            for output, _ in pairs
        ]
        root, columns = pairs[0]
        sampler = LLMClientSampler(
            self.llm_client, root, sampling_params, self._gpo.request_timeout, self.rollout_config.full_determinism
        )
        scorer = RewardLoopScorer(self, root, columns, self._gpo.request_timeout)
        seed = f"{trajectory['step']}/{trajectory['sample_index']}"
        result = await self._engine.run(trajectories, sampler, scorer, seed)
        await self._store(uid, group.expected, trajectories, result, columns)
        return result

    async def _store(
        self, uid: str, n: int, roots: list[Trajectory], result: GroupResult, columns: dict[str, Any]
    ) -> None:
        """Write each new rollout as a session of its own, then give all of them their group ids."""
        rows: list[tuple[AgentLoopOutput, str]] = []
        group_ids: dict[Tokens, str] = {}  # anchors that agree up to the reset state share its group
        for reentry in result.reentries:
            prefix_log_probs = roots[reentry.anchor].log_probs
            for rollout in reentry.rollouts:
                output = rollout.source
                if prefix_log_probs is not None and rollout.continuation.log_probs is not None:
                    kept = prefix_log_probs[: len(reentry.prefix)]
                    output.response_logprobs = [*kept, *rollout.continuation.log_probs]
                own_id = reentry_uid(uid, reentry.anchor, reentry.reset_index)
                rows.append((output, group_ids.setdefault(reentry.prefix, own_id)))
        if not rows:
            return
        sessions = range(n, n + len(rows))
        keys = [f"{uid}_{session}_0" for session in sessions]
        # verl's own method, not this class's: a branch is no root rollout.
        put = super()._agent_loop_postprocess
        written = await asyncio.gather(
            *(
                put(output, False, **{**columns, "session_id": session})
                for session, (output, _) in zip(sessions, rows, strict=True)
            ),
            return_exceptions=True,
        )
        try:
            for error in written:
                if isinstance(error, BaseException):
                    raise error
            # verl names the key by the prompt's uid and writes the same uid into the column, hence the second write.
            await tq.async_kv_batch_put(
                keys=keys,
                partition_id=PARTITION,
                fields=list_of_dict_to_tensordict([{"uid": group_id} for _, group_id in rows]),
            )
        except BaseException:
            # Rows that stayed in the prompt's own group must not be trained on.
            stored = [key for key, error in zip(keys, written, strict=True) if not isinstance(error, BaseException)]
            await tq.async_kv_clear(keys=stored, partition_id=PARTITION)
            raise


class ReentryManager(AgentLoopManagerTQ):
    """verl's agent loop manager with re-entry workers (``rollout.agent.agent_loop_manager_class``)."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # verl's constructor sets its own class, so this comes after.
        self.agent_loop_workers_class = ray.remote(ReentryWorker)
