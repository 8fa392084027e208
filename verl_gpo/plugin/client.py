"""verl's LLM client and reward loop as the engine's ``Sampler`` and ``Scorer``, for one prompt."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from ..core.types import Continuation, SamplingError, ScoredContinuation, ScoringError, Tokens

logger = logging.getLogger(__name__)


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
        started = time.perf_counter()
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
            seconds=time.perf_counter() - started,
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
