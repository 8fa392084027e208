"""An agent loop as the procedure's ``Sampler``: a continuation is what the loop does from a state on, to its end."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from ...core.stall import EngineClock
from ...core.types import Continuation, SamplingError, Tokens
from ..client import LLMClientSampler, ask
from .output import reentry_of

logger = logging.getLogger(__name__)


def sampler_of(client: Any, roots: Sequence[Any], *settings: Any) -> TurnSampler | LLMClientSampler:
    """The sampler for a prompt: through the agent loop if it gave its rollouts what continues them.

    Args:
        client: verl's LLM client.
        roots: the root rollouts.
        settings: the further arguments of both samplers.
    """
    if reentry_of(roots[0]) is None:
        return LLMClientSampler(client, roots[0], *settings)
    return TurnSampler(client, roots, *settings)


class TurnSampler:
    """Continues rollouts of several turns through the loop that made them.

    Args:
        client: verl's LLM client.
        roots: the root rollouts of the prompt, each with its re-entry.
        sampling_params: those with which verl samples the roots.
        clock: the clock of the engine, shared by all prompts of the worker.
        stall_timeout: see :func:`~verl_gpo.core.stall.watched`; the time that tools take does not count.
        deterministic: ``rollout.full_determinism``.
    """

    def __init__(
        self,
        client: Any,
        roots: Sequence[Any],
        sampling_params: dict,
        clock: EngineClock,
        stall_timeout: float,
        deterministic: bool,
    ):
        self._client, self._roots, self._sampling_params = client, roots, sampling_params
        self._clock, self._stall_timeout, self._deterministic = clock, stall_timeout, deterministic
        self._name = uuid4().hex
        self._made = 0

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        root = self._root_of(prefix)
        sticky = f"{self._name}-{lane}" if lane else self._name
        # Tools may tell trajectories apart by their name, so that each continuation has a name of its own.
        self._made += 1
        name = f"{sticky}-{self._made}"
        kept = len(prefix)
        client = BranchClient(
            self._client,
            len(root.prompt_ids) + kept + max_tokens,
            name if self._deterministic else sticky,
            seed if self._deterministic else None,
            self._clock,
            self._stall_timeout,
        )
        started = time.perf_counter()
        try:
            output = await reentry_of(root).branch(kept, max_tokens, client, name, self._sampling_params)
        except SamplingError:
            raise
        except Exception as error:
            logger.warning("a continuation of an agent failed: %r", error)
            raise SamplingError(repr(error)) from error
        if tuple(output.response_ids[:kept]) != tuple(prefix) or len(output.response_ids) <= kept:
            raise SamplingError("the loop did not continue the state that it was given")
        log_probs = output.response_logprobs
        return Continuation(
            token_ids=tuple(output.response_ids[kept:]),
            log_probs=None if log_probs is None else tuple(log_probs[kept:]),
            context_tokens=client.context_tokens,
            cached_tokens=client.cached_tokens,
            source=output,
            seconds=time.perf_counter() - started,
            written=tuple(output.response_mask[kept:]),
            bounded=output.answer_did_not_fit,
        )

    def _root_of(self, prefix: Tokens) -> Any:
        """A rollout that begins with these tokens, and goes on with one of the policy's."""
        kept = len(prefix)
        for root in self._roots:
            if tuple(root.response_ids[:kept]) == tuple(prefix) and any(root.response_mask[kept : kept + 1]):
                return root
        raise SamplingError("no root rollout has this state")


class BranchClient:
    """verl's LLM client for one continuation. Its first answer begins with the kept tokens of the turn.

    Args:
        client: verl's client.
        end: position of the last token that the continuation may have, prompt included.
        request_id: id of its requests; requests with the same id go to the same replica.
        seed: seed of its requests, each of which gets its own; None for none.
        clock, stall_timeout: see :func:`~verl_gpo.plugin.client.ask`.

    Attributes:
        context_tokens: tokens of the contexts of all requests.
        cached_tokens: those of them in the prefix cache, or None if the engine does not report this.
    """

    def __init__(
        self, client: Any, end: int, request_id: str, seed: int | None, clock: EngineClock, stall_timeout: float
    ):
        self._client, self._end, self._request_id = client, end, request_id
        self._seeds = None if seed is None else random.Random(seed)
        self._clock, self._stall_timeout = clock, stall_timeout
        self._kept: tuple[list[int], list[float] | None] = [], None
        self._requests = 0
        self.context_tokens, self.cached_tokens = 0, None

    def keep(self, token_ids: list[int], log_probs: list[float] | None) -> None:
        """Begin the first turn with these tokens, which are not sampled again."""
        self._kept = token_ids, log_probs

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **others: Any
    ) -> Any:
        (kept, kept_log_probs), self._kept = self._kept, ([], None)
        context = [*prompt_ids, *kept]
        # Without it the server would allow the turn alone a whole response's length.
        params = {**sampling_params, "max_tokens": max(self._end - len(context), 1)}
        name = self._request_id
        if self._seeds is not None:
            params["seed"] = self._seeds.getrandbits(31)
            name = f"{name}-{self._requests}"
        self._requests += 1
        output = await ask(
            self._client,
            self._clock,
            self._stall_timeout,
            request_id=name,
            prompt_ids=context,
            sampling_params=params,
            **others,
        )
        self.context_tokens += len(context)
        cached = output.extra_fields.get("num_cached_tokens")
        if cached is not None:
            self.cached_tokens = (self.cached_tokens or 0) + cached
        if not kept:
            return output
        log_probs = None if output.log_probs is None else [*(kept_log_probs or [0.0] * len(kept)), *output.log_probs]
        return output.model_copy(update={"token_ids": [*kept, *output.token_ids], "log_probs": log_probs})
