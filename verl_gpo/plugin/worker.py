"""The rollout worker with re-entry: GPO's procedure inside verl's agent loop.

verl's worker runs the ``n`` root rollouts of a prompt as usual. When all of them have ended, and before the prompt is
reported as finished, GPO's procedure estimates state values, chooses the critical step and samples from the reset
state, through the same LLM client and the same reward loop. Each new rollout becomes a row:

- key ``{uid}_{n + i}_0``: its own session of the same prompt, so that the trainer samples it with the roots;
- column ``uid``: its own group id, so that every estimator that groups by uid gives it the baseline of its reset state;
- the kept prefix is in the response with mask 0 and its original log-probs, so it is context and not in the loss.

All rows that are stored under a prompt are trained on, so only those that ``learn_from`` selects are stored. With
``rows=matched`` the prompt starts with fewer roots, and gets the rest of its ``n`` rows here: re-entry rollouts, or
more roots if there are not enough of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from typing import Any

import ray
import transfer_queue as tq
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ

from ..config import GPOConfig
from ..core.advantage import reentry_uid
from ..core.budget import StepAccounts
from ..core.cost import rows_of_group
from ..core.reentry import ReentryProcedure
from ..core.result import GroupResult
from ..core.scheduler import Scheduler
from ..core.segment.steps import configured_splitter
from ..core.stall import EngineClock
from ..core.types import ScoredContinuation, Trajectory
from .agents import loop, restore  # noqa: F401  (importing the loop registers it with verl)
from .agents.output import KEEP_STATES
from .agents.sampler import sampler_of
from .client import RewardLoopScorer
from .estimators import smallest_group
from .lateness import Lateness
from .observe.metrics import TAG, prompt_record
from .observe.progress import Progress
from .observe.tracing import PromptTraces, this_worker
from .observe.trackers import sample_row, wanted
from .rewards import Rewards
from .roots import SINGLE_TURN, RootGroup, as_trajectory, given_steps, prompt_seed, slots_of_a_worker
from .rows import PARTITION, credit_rows, leave_out_rows, replace_rows, row_key, store_reentries
from .watch.probe import State, rollout_worker_state
from .watch.watchdog import learn_actors

logger = logging.getLogger(__name__)

# A Ray actor class cannot be subclassed, and the class inside it is reachable by this private name only.
_AgentLoopWorker = AgentLoopWorkerTQ.__ray_actor_class__


class ReentryWorker(_AgentLoopWorker):
    """verl's agent loop worker, extended to search and re-enter each training prompt. Validation is not changed."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._gpo = GPOConfig.from_mapping(self.config.algorithm.get("gpo"))
        splitter = configured_splitter(self._gpo, self._decode)
        self._scheduler = Scheduler(slots_of_a_worker(self.config, self._gpo))
        self._clock = EngineClock()
        self._lateness = Lateness(self._gpo, self._clock, by_time=not self.rollout_config.full_determinism)
        algorithm = self.config.algorithm
        self._smallest_group = smallest_group(algorithm.adv_estimator, self._gpo.base_estimator)
        self._procedure = ReentryProcedure(
            self._gpo, splitter, self.rollout_config.response_length, self._scheduler, self._smallest_group
        )
        self._groups: dict[str, RootGroup] = {}
        self._rewards = Rewards(self._gpo.reward_timeout)
        filter_groups = algorithm.get("filter_groups") or {}
        self._filter_metric = filter_groups.get("metric") if filter_groups.get("enable") else None
        # A share of each training step's budget: all workers get equally many prompts, so all are equal.
        self._accounts = StepAccounts(self._gpo.step_token_budget, self.rollout_config.agent.num_workers)
        name = this_worker()
        self._traces = PromptTraces(self._gpo, self.tokenizer, name, self.rollout_config.agent.num_workers)
        self._progress = Progress(name)
        if self._gpo.enable and name in ("worker-0", f"process-{os.getpid()}"):  # one worker says it for all
            restore.report(self.tools)
        self._samples_wanted, self._sampled_step = bool(wanted(self.config.trainer.get("logger"))), -1

    def _decode(self, token_ids: list[int]) -> str:
        # Text positions must fit the tokens, so no token is left out and white space is not changed.
        return self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _enter(self, step: int, uid: str, phase: str) -> None:
        self._groups[uid].phase = phase
        self._progress.enter(step, uid, phase)

    def gpo_state(self) -> State:
        """What this worker waits for; the watchdog asks, from another thread."""
        phases = [group.phase for group in list(self._groups.values())]
        return rollout_worker_state(phases, self._scheduler.held, self._rewards.waiting, self._rewards.done)

    async def _run_prompt(self, prompt: dict, sampling_params: dict, trajectory: dict, trace: bool = False) -> None:
        uid = prompt["uid"]
        # A greedy rollout (ReMax's baseline) is not a member of a group.
        if not trajectory["validate"] and prompt.get("__do_sample__", True):
            size = int(prompt.get("__rollout_n__", self.rollout_config.n))
            reserved = self._gpo.reserved_rows if self._gpo.enable else 0
            roots = size - reserved if size > reserved else size
            prompt["__rollout_n__"] = roots
            self._clock.sent(asyncio.get_running_loop().time())
            self._groups[uid] = RootGroup(roots, size, prompt.get("agent_name", SINGLE_TURN), began=self._now())
            self._enter(int(trajectory["step"]), uid, "rollout")
        try:
            await super()._run_prompt(prompt, sampling_params, trajectory, trace)
        finally:
            if self._groups.pop(uid, None) is not None:
                self._progress.enter(int(trajectory["step"]), uid, "done")

    async def _run_agent_loop(self, sampling_params: dict, trajectory: dict, **kwargs: Any) -> Any:
        group = self._groups.get(kwargs["uid"])
        if group is None:
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        self._fill_if_late(group, sampling_params, trajectory, kwargs)
        KEEP_STATES.set(self._gpo.enable)  # for this rollout alone: verl runs each one in a task of its own
        try:
            return await self._roll_out(sampling_params, trajectory, **kwargs)
        except BaseException:
            group.failed = True
            raise
        finally:
            group.settled += 1
            if group.settled == group.expected:
                await self._complete(group, sampling_params, trajectory, kwargs)

    async def _roll_out(self, sampling_params: dict, trajectory: dict, **kwargs: Any) -> Any:
        """verl's own method, for a root; it holds a slot of the scheduler until its tokens are back, or it fails."""
        root = kwargs["uid"], kwargs["session_id"]
        self._scheduler.root_sent(root)
        try:
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        finally:
            self._scheduler.root_back(root)

    async def _compute_score(self, outputs: list[AgentLoopOutput], kwargs: dict) -> None:
        await self._rewards.checked(super()._compute_score(outputs, kwargs=kwargs), outputs[-1])

    async def _agent_loop_postprocess(self, output: Any, validate: bool, **kwargs: Any) -> None:
        group, session = self._groups.get(kwargs["uid"]), kwargs["session_id"]
        self._scheduler.root_back((kwargs["uid"], session))
        if group is not None and output:
            seconds = self._now() - group.sent.get(session, group.began)
            written = 0 if isinstance(output, list) else len(output.response_ids)
            self._clock.came_back(asyncio.get_running_loop().time(), written, seconds)
            group.longest_seconds = max(group.longest_seconds, seconds)
        await super()._agent_loop_postprocess(output, validate, **kwargs)
        if group is not None and output:
            group.rollouts[session] = (output, kwargs)

    def _now(self) -> float:
        """Seconds in which the engine worked."""
        return self._clock.now(asyncio.get_running_loop().time())

    def _fill_if_late(self, group: RootGroup, sampling_params: dict, trajectory: dict, kwargs: dict) -> None:
        """Start the rows that are kept for re-entry as roots, if the prompt's first roots take too long."""
        limit = self._lateness.longest_wait(int(trajectory["step"]))
        if group.filling is not None or group.size == group.expected or limit == math.inf:
            return

        async def fill() -> bool:
            await self._lateness.wait(limit, group.began)
            group.late = True
            return await self._add_roots(group, group.size - group.expected, sampling_params, trajectory, kwargs)

        group.filling = asyncio.create_task(fill())

    async def _complete(self, group: RootGroup, sampling_params: dict, trajectory: dict, kwargs: dict) -> None:
        """Re-enter one prompt, and add roots if rows are missing. Its root rollouts are kept even if this fails."""
        uid, step = kwargs["uid"], int(trajectory["step"])
        rollout_seconds, waited = time.perf_counter() - group.started, self._now() - group.began
        # With enable=false the roots are still counted, so that the twin has the same metrics.
        skipped = group.not_reentered_because(self._filter_metric) if self._gpo.enable else "off"
        failed, result, reentered = False, None, []
        if group.late:
            skipped = "late"
            failed = await group.filling
        elif group.filling is not None:
            group.filling.cancel()
        if skipped is None:
            try:
                result, reentered = await self._search_and_store(uid, group, sampling_params, trajectory)
                skipped = result.skipped
            except Exception:
                failed = True
                logger.exception("re-entry failed for prompt %s; its root rollouts are kept", uid)
        missing = group.size - group.expected - len(reentered)
        if missing > 0 and not group.late:
            failed |= await self._add_roots(group, missing, sampling_params, trajectory, kwargs)
        self._lateness.note(step, group, result, waited)
        if not group.rollouts:
            return
        session, left_out = min(group.rollouts), 0
        if self._gpo.enable and self._gpo.rows == "downsampled" and not group.failed:
            try:
                kept = await leave_out_rows(uid, group.rollouts, self._gpo.kept_rows)
                session, left_out = min(kept), len(group.rollouts) - len(kept)
            except Exception:
                failed = True
                logger.exception("no rows were left out of prompt %s: all are trained on", uid)
        roots = [output for output, _ in group.rollouts.values() if not isinstance(output, list)]
        try:
            given = given_steps(kwargs)
            record = prompt_record(roots, reentered, result, rollout_seconds, skipped, failed, given)
            record["left_out"] = left_out
            record["replaced"] = len(reentered) if self._gpo.rows == "replaced" else 0
            record["sample"] = self._sample(group, result, step)
            await tq.async_kv_put(key=row_key(uid, session), partition_id=PARTITION, tag={TAG: record})
        except Exception:
            logger.exception("no gpo metrics for prompt %s", uid)
        await self._traces.kept(group.trace)

    async def _add_roots(
        self, group: RootGroup, count: int, sampling_params: dict, trajectory: dict, kwargs: dict
    ) -> bool:
        """Sample more root rollouts of a prompt, as sessions of their own; True if one of them failed."""
        sessions = range(group.expected, group.expected + count)
        group.sent.update(dict.fromkeys(sessions, self._now()))
        outcomes = await asyncio.gather(
            *(self._roll_out(sampling_params, trajectory, **{**kwargs, "session_id": session}) for session in sessions),
            return_exceptions=True,
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in errors:
            logger.error("a root rollout of prompt %s failed", kwargs["uid"], exc_info=error)
        return bool(errors)

    async def _search_and_store(
        self, uid: str, group: RootGroup, sampling_params: dict, trajectory: dict
    ) -> tuple[GroupResult, list[ScoredContinuation]]:
        """The result of GPO's procedure, and the re-entry rollouts that became rows."""
        sessions = sorted(group.rollouts)
        pairs = [group.rollouts[session] for session in sessions]
        trajectories = [as_trajectory(output) for output, _ in pairs]
        root, columns = pairs[0]
        gpo, step = self._gpo, int(trajectory["step"])
        sampler = sampler_of(
            self.llm_client,
            [output for output, _ in pairs],
            sampling_params,
            self._clock,
            gpo.stall_timeout,
            self.rollout_config.full_determinism,
        )
        scorer = RewardLoopScorer(self, root, columns)
        self._enter(step, uid, "value")
        result = await self._procedure.run(
            trajectories,
            sampler,
            scorer,
            prompt_seed(step, trajectory["sample_index"], root.prompt_ids),
            self._accounts.of(step),
            lambda: self._enter(step, uid, "reentry"),
            given_steps(columns),
            keep_tokens=bool(gpo.trace_dir),
            longest_chain=self._lateness.longest_chain(step),
            passed=self._lateness.passed(step, group),
        )
        if gpo.rows == "replaced":
            rows = await replace_rows(super()._agent_loop_postprocess, pairs, trajectories, result, scorer)
        else:
            rows = await self._store(uid, group.size, trajectories, result, columns, scorer)
        await credit_rows(uid, sessions, trajectories, result, self.config.algorithm.adv_estimator)
        group.trace = self._traces.write(trajectories, result, rows, trajectory, columns)
        return result, rows

    def _sample(self, group: RootGroup, result: GroupResult | None, step: int) -> dict[str, Any] | None:
        """One trajectory of each training step for the trackers' table; None if there is no such table."""
        if not self._samples_wanted or result is None or step == self._sampled_step:
            return None
        outputs = [group.rollouts[session][0] for session in sorted(group.rollouts)]
        row = sample_row(outputs, result, self._decode)
        self._sampled_step = self._sampled_step if row is None else step
        return row

    async def _store(
        self,
        uid: str,
        n: int,
        roots: list[Trajectory],
        result: GroupResult,
        columns: dict[str, Any],
        scorer: RewardLoopScorer,
    ) -> list[ScoredContinuation]:
        """Write re-entry rollouts as sessions of their own, from ``n`` on, then give all of them their group ids."""
        rows: list[tuple[ScoredContinuation, AgentLoopOutput, str]] = []
        for reentry in result.reentries:
            prefix_log_probs = roots[reentry.anchor].log_probs
            for group in reentry.groups:
                group_id = reentry_uid(uid, reentry.anchor, group.state)
                count = rows_of_group(self._gpo, len(group.rollouts), self._smallest_group)
                for rollout in group.rollouts[: int(count)]:
                    rows.append((rollout, scorer.row(group.prefix, prefix_log_probs, rollout), group_id))
        # verl's own method and not that of this class, which would count a re-entry rollout as a root.
        await store_reentries(super()._agent_loop_postprocess, uid, n, [row[1:] for row in rows], columns)
        return [rollout for rollout, *_ in rows]


class ReentryManager(AgentLoopManagerTQ):
    """verl's agent loop manager with re-entry workers (``rollout.agent.agent_loop_manager_class``)."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # verl's constructor sets its own class, so this comes after.
        self.agent_loop_workers_class = ray.remote(ReentryWorker)

    async def _init_agent_loop_workers(self) -> None:
        await super()._init_agent_loop_workers()
        learn_actors()
