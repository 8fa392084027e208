"""verl's LLM client and reward loop as the procedure's ``Sampler`` and ``Scorer``, for one prompt."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from ..core.stall import EngineClock, watched
from ..core.types import Continuation, SamplingError, ScoredContinuation, ScoringError, StalledError, Tokens, as_number

logger = logging.getLogger(__name__)


class LLMClientSampler:
    """verl's LLM client as the procedure's :class:`~verl_gpo.core.types.Sampler`, for one prompt.

    The requests of a lane carry one sticky id, which keeps them on the replica where their prefixes are cached. A
    prompt with many requests has several lanes, and so uses several replicas. Under verl's full determinism the id
    reaches the engine, which needs unique ids, and all requests would have the same seed. So each request then has its
    own id and seed.

    Args:
        client: verl's LLM client.
        root: a root rollout of the prompt, for its prompt ids and media.
        sampling_params: those with which verl samples the roots.
        clock: the clock of the engine, shared by all prompts of the worker.
        stall_timeout: see :func:`~verl_gpo.core.stall.watched`.
        deterministic: ``rollout.full_determinism``.
    """

    def __init__(
        self,
        client: Any,
        root: AgentLoopOutput,
        sampling_params: dict,
        clock: EngineClock,
        stall_timeout: float,
        deterministic: bool,
    ):
        self._client = client
        self._prompt_ids = list(root.prompt_ids)
        self._sampling_params = sampling_params
        self._clock, self._stall_timeout = clock, stall_timeout
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

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        # Without max_tokens the server would let prefix and continuation together exceed the response length.
        params = {**self._sampling_params, "max_tokens": max_tokens}
        request_id = f"{self._request_id}-{lane}" if lane else self._request_id
        if self._deterministic:
            params["seed"] = seed
            request_id = f"{request_id}-{seed}"
        context = self._prompt_ids + list(prefix)
        started = time.perf_counter()
        output = await ask(
            self._client,
            self._clock,
            self._stall_timeout,
            request_id=request_id,
            prompt_ids=context,
            sampling_params=params,
            **self._media,
        )
        return Continuation(
            token_ids=tuple(output.token_ids[:max_tokens]),
            log_probs=tuple(output.log_probs[:max_tokens]) if output.log_probs else None,
            context_tokens=len(context),
            cached_tokens=output.extra_fields.get("num_cached_tokens"),
            source=output,
            seconds=time.perf_counter() - started,
        )


async def ask(client: Any, clock: EngineClock, stall_timeout: float, **request: Any) -> Any:
    """One request to the engine, as ``client.generate(**request)``; ``sampling_params`` has ``max_tokens``.

    Args:
        client: verl's LLM client.
        clock: the engine's clock.
        stall_timeout: see :func:`~verl_gpo.core.stall.watched`.

    Raises:
        StalledError: the request was given up.
        SamplingError: it failed, or came back without a token.
    """
    max_tokens = request["sampling_params"]["max_tokens"]
    try:
        output = await watched(
            generate_or_abort(client, **request),
            clock,
            stall_timeout,
            max_tokens,
            lambda output: len(output.token_ids),
        )
    except StalledError as error:
        logger.warning("a continuation was given up: %s", error)
        raise
    except Exception as error:
        logger.warning("a continuation failed: %r", error)
        raise SamplingError(repr(error)) from error
    if output.stop_reason in ("aborted", "abort") or not output.token_ids:
        raise SamplingError(f"no continuation: stop reason {output.stop_reason}, {len(output.token_ids)} tokens")
    return output


async def generate_or_abort(client: Any, **request: Any) -> Any:
    """``client.generate(**request)``; when it is cancelled, the engine is told to stop generating, too.

    Cancelling the coroutine that waits for a Ray call does not stop the call. verl 0.9.1's client cannot abort a
    request: it chooses the request's id for the engine, and does not tell which server has it. Both pass through two
    private methods, which a copy of the client overrides here to record them. We know of no upstream issue. Remove when
    the client aborts a request that is cancelled.
    """
    if not hasattr(client, "_vllm_request_id"):  # another client than verl's
        return await client.generate(**request)
    noting = copy.copy(client)
    sent: dict[str, Any] = {}

    def name(request_id: str) -> str:
        sent["name"] = client._vllm_request_id(request_id)
        return sent["name"]

    async def acquire(request_id: str, **fields: Any) -> tuple[str, Any]:
        server_id, sent["server"] = await type(client)._acquire_server(noting, request_id, **fields)
        return server_id, sent["server"]

    noting._vllm_request_id, noting._acquire_server = name, acquire
    try:
        return await noting.generate(**request)
    except asyncio.CancelledError:
        if "name" in sent:  # nobody waits for the answer
            if client.config.actor_rollout_ref.rollout.name == "vllm":
                sent["server"].__ray_call__.remote(abort_in_engine, sent["name"])
            else:
                sent["server"].abort_request.remote(sent["name"], reset_prefix_cache=False)
        raise


def abort_in_engine(server: Any, name: str) -> None:
    """Runs in verl's rollout server, in another thread than its event loop: have vLLM's engine stop a request.

    The prefix cache is kept, because other continuations use it, too.

    Reason: ``abort_request`` of verl 0.9.1 looks for the request under the name that it was given. Since vLLM 0.13 the
    engine adds a random ending to it (vllm #27987), so verl finds no request. We know of no issue of verl's.
    Remove when: verl's ``abort_request`` aborts a request of vLLM 0.24.
    """
    asyncio.run_coroutine_threadsafe(server.engine.abort(name), server.engine.output_handler.get_loop()).result(10.0)


#: Fields of verl's output, besides tokens and extra fields, that differ between rollouts of several turns.
_OF_TURNS = (
    *("num_turns", "reward_score", "routed_experts"),
    *("multi_modal_data", "mm_processor_kwargs", "mm_processor_output"),
)


@dataclass(frozen=True)
class RowParts:
    """The parts of a re-entry row besides its tokens: what the reward loop and the engine returned for it.

    ``of_turns`` has the fields :data:`_OF_TURNS` of a rollout of several turns. For others it has ``routed_experts`` if
    the engine returned them (router replay of a mixture of experts): those of prompt, prefix and continuation, since
    all three passed through the model.
    """

    extra_fields: dict[str, Any]
    of_turns: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Any) -> RowParts:
        """The parts of what a sampler returned: the engine's output, or an agent loop's."""
        if not isinstance(source, AgentLoopOutput):
            experts = getattr(source, "routed_experts", None)
            return cls(source.extra_fields, {} if experts is None else {"routed_experts": experts})
        given = (name for name in _OF_TURNS if name in source.model_fields_set)
        return cls(source.extra_fields, {name: getattr(source, name) for name in given})


class RewardLoopScorer:
    """verl's reward loop as the procedure's :class:`~verl_gpo.core.types.Scorer`, for one prompt.

    ``source`` of a scored continuation is a :class:`RowParts`. :meth:`row` turns it into verl's ``AgentLoopOutput``
    when the row is stored, because whole rows of all continuations would take too much memory.

    Args:
        worker: the agent loop worker, which has the reward loop.
        root: a root rollout of the prompt.
        columns: the prompt's columns in the data.
    """

    def __init__(self, worker: Any, root: AgentLoopOutput, columns: dict[str, Any]):
        self._worker = worker
        self._root = root
        self._columns = columns

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        parts = RowParts.of(continuation.source)
        output = self._output(prefix, continuation, parts)
        try:
            await self._worker._compute_score([output], kwargs=self._columns)
        except Exception as error:
            logger.warning("a reward failed: %r", error)
            raise ScoringError(repr(error)) from error
        if output.reward_score is None:
            raise ScoringError("the reward loop returned no score")
        reward = as_number(output.reward_score)
        if math.isnan(reward):
            raise ScoringError(f"the reward is {output.reward_score!r}, which is not a number")
        answer = replace(continuation, source=None)  # the engine's own output repeats all tokens
        return ScoredContinuation(answer, reward, source=replace(parts, extra_fields=output.extra_fields))

    def row(
        self, prefix: Tokens, prefix_log_probs: tuple[float, ...] | None, rollout: ScoredContinuation
    ) -> AgentLoopOutput:
        """The row of a re-entry rollout, its prefix masked and with the log-probs that it was sampled with."""
        continuation = rollout.continuation
        output = self._output(prefix, continuation, rollout.source)
        output.reward_score = rollout.reward
        if prefix_log_probs is not None and continuation.log_probs is not None:
            output.response_logprobs = [*prefix_log_probs[: len(prefix)], *continuation.log_probs]
        return output

    def _output(self, prefix: Tokens, continuation: Continuation, parts: RowParts) -> AgentLoopOutput:
        written = [1] * len(continuation.token_ids) if continuation.written is None else continuation.written
        # A copy of the root, because verl stores the fields that were set and all rows need the same columns.
        return self._root.model_copy(
            update={
                "response_ids": [*prefix, *continuation.token_ids],
                "response_mask": [*[0] * len(prefix), *written],
                "response_logprobs": None,  # set later, by the anchor that the prefix belongs to
                "reward_score": None,
                "routed_experts": None,  # the root's are of other tokens
                "metrics": AgentLoopMetrics(),
                "extra_fields": {"turn_scores": [], "tool_rewards": [], **parts.extra_fields},
                **parts.of_turns,
            }
        )
