"""vLLM as the ``Sampler`` of GPO's procedure, without a trainer and Ray. It runs on the CPU if there is no GPU."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from typing import Any

from ..core.stall import EngineClock, watched
from ..core.types import Continuation, SamplingError, Tokens
from .task import Prompt, UnusablePrompt

#: Defaults of vLLM's settings on a CPU: most CPUs only emulate bfloat16, and the default block of 128 tokens is longer
#: than the prefixes of a small task, which are only cached in whole blocks.
_CPU_ENGINE = {"dtype": "float32", "block_size": 16, "enforce_eager": True, "distributed_executor_backend": "uni"}


class VLLMEngine:
    """An asynchronous vLLM engine and its tokenizer.

    Args:
        model: Hugging Face folder or name.
        max_model_len: maximal number of tokens of a request, prompt and response together.
        temperature, top_p: settings of all sampling.
        seed: the engine's seed. Requests have their own seeds only on an accelerator: vLLM's CPU backend ignores them.
        **engine: further ``AsyncEngineArgs`` of vLLM, for example ``tensor_parallel_size``.
    """

    def __init__(
        self,
        model: str,
        max_model_len: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        **engine: Any,
    ):
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        # GiB. By default vLLM would take half of the memory, which a small model does not need.
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        from vllm import AsyncEngineArgs, SamplingParams
        from vllm.platforms import current_platform
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM

        on_cpu = current_platform.is_cpu()
        if on_cpu:
            # vLLM's process would compile its sampler at every start, in spite of enforce_eager.
            os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
        settings = {**(_CPU_ENGINE if on_cpu else {}), **engine}
        self._seeded = not on_cpu
        self._params = lambda **own: SamplingParams(
            temperature=temperature,
            top_p=top_p,
            logprobs=0,  # of the sampled token only
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            **own,
        )
        self._numbers = itertools.count()
        self._llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=model,
                max_model_len=max_model_len,
                seed=seed,
                logprobs_mode="processed_logprobs",  # of the distribution that was sampled from
                enable_log_requests=False,
                disable_log_stats=True,
                **settings,
            )
        )
        self.clock = EngineClock()
        self.max_model_len: int = self._llm.model_config.max_model_len
        self.block_size: int = self._llm.vllm_config.cache_config.block_size
        self.tokenizer = self._llm.get_tokenizer()

    def decode(self, token_ids: list[int]) -> str:
        """Text of token ids, with special tokens and unchanged white space, as splitters need it."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    async def generate(self, context: list[int], max_tokens: int, seed: int | None = None) -> Continuation:
        """Continue a list of token ids.

        Returns:
            ``source`` is vLLM's finish reason: ``stop``, or ``length`` for a response that was cut off.

        Raises:
            SamplingError: the engine refused the request, aborted it, or returned nothing.
        """
        own = {"seed": seed} if self._seeded and seed is not None else {}
        started = time.perf_counter()
        output = None
        try:
            async for finished in self._llm.generate(
                {"prompt_token_ids": context},
                self._params(max_tokens=max_tokens, **own),
                request_id=str(next(self._numbers)),
            ):
                output = finished
        except Exception as error:
            raise SamplingError(repr(error)) from error
        if output is None or not output.outputs[0].token_ids:
            raise SamplingError("the engine returned no tokens")
        best = output.outputs[0]
        if best.finish_reason not in ("stop", "length"):  # an aborted response has no outcome
            raise SamplingError(f"the engine aborted the request: finish reason {best.finish_reason}")
        token_ids = tuple(best.token_ids)
        log_probs = tuple(entry[token].logprob for entry, token in zip(best.logprobs, token_ids, strict=True))
        seconds = time.perf_counter() - started
        return Continuation(token_ids, log_probs, len(context), output.num_cached_tokens, best.finish_reason, seconds)

    async def load_weights(self, folder: str) -> None:
        """Go on with the weights of another folder, of the same architecture. The prefix cache is emptied.

        ``AsyncLLM`` has no method of its own for it; ``reload_weights`` is its worker's (vLLM 0.24).
        """
        await self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        await self._llm.reset_prefix_cache()

    def shutdown(self) -> None:
        """Stop the engine's process."""
        self._llm.shutdown()


def usable_ids(engine: Any, prompt: Prompt, template: Mapping[str, Any] | None = None) -> list[int]:
    """The token ids of a prompt that the engine can continue.

    Args:
        engine: has ``tokenizer`` and, if its requests are limited, ``max_model_len``: the maximal number of tokens of
            prompt and response.
        template: arguments of the chat template.

    Raises:
        UnusablePrompt: the template refuses the prompt, or it leaves no token for a response.
    """
    ids = prompt.token_ids(engine.tokenizer, template)
    most = getattr(engine, "max_model_len", None)
    if most is not None and len(ids) >= most:
        raise UnusablePrompt(f"the prompt has {len(ids):,} tokens; the engine takes {most:,}, the response included")
    if not ids:
        raise UnusablePrompt("the prompt has no tokens")
    return ids


class VLLMSampler:
    """One prompt's :class:`~verl_gpo.core.types.Sampler`.

    Args:
        stall_timeout: see :func:`~verl_gpo.core.stall.watched`. Cancelling a request aborts it in vLLM.
    """

    def __init__(self, engine: VLLMEngine, prompt_ids: list[int], stall_timeout: float = 600.0):
        self._engine, self._prompt_ids, self._stall_timeout = engine, prompt_ids, stall_timeout

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        request = self._engine.generate([*self._prompt_ids, *prefix], max_tokens, seed)
        return await watched(
            request, self._engine.clock, self._stall_timeout, max_tokens, lambda answer: len(answer.token_ids)
        )
