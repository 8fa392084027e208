"""Sections ``engine`` and ``costly_engine`` of ``bench_search.py``: throughput of re-entry and of plain rollouts on
vLLM.

Both have the same number of requests in flight.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from verl_gpo.config import GPOConfig
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.segment.steps import build_splitter
from verl_gpo.core.types import Continuation, Tokens, Trajectory

GROUP = 8
IN_FLIGHT = 64
#: Settings that are compared with plain rollouts: the first sends all requests of a prompt at once, the others send
#: them in rounds.
SETTINGS = (
    {"search": "uniform", "n_mc": 4},
    {"search": "adaptive", "n_mc": 8, "learn_from": "reuse"},
    {"search": "propose", "learn_from": "all"},
)


@dataclass
class Counted:
    """A sampler that counts requests, tokens, seconds, and the tokens that its engine could find in its prefix cache.

    The engine caches whole blocks, and always computes the last token of a context. The context of a re-entry rollout
    was computed together with its root, so all whole blocks could be found.
    """

    sampler: object
    block_size: int
    tokens: int = 0
    requests: int = 0
    seconds: float = 0.0
    cached: int = 0
    cacheable: int = 0

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        sent = time.perf_counter()
        continuation = await self.sampler.sample(prefix, max_tokens, seed)
        self.seconds += time.perf_counter() - sent
        self.requests += 1
        self.tokens += len(continuation.token_ids)
        self.cached += continuation.cached_tokens or 0
        self.cacheable += (continuation.context_tokens - 1) // self.block_size * self.block_size
        return continuation


def costly(model: Path, out: Path, width: int) -> Path:
    """The same model at the cost of a larger one: its MLPs are widened to ``width``, and the added weights are zero.

    It samples the same text, so the search finds the same steps, but a token costs as much as in a model of that size.
    A small model spends most of its time on what vLLM does for each request, whatever the length of the response.

    Args:
        model: folder of the small model.
        out: folder for the large one.
        width: of its MLPs.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    small = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    small.config.intermediate_size = width
    large = type(small)(small.config)
    weights = large.state_dict()
    for name, weight in small.state_dict().items():
        weights[name].zero_()
        weights[name][tuple(map(slice, weight.shape))] = weight
    large.save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    return out


async def compare(model: Path, read_prompts, response_tokens: int, count: int, proposed: int) -> list[dict]:
    """Measure plain rollouts, and then each setting on the groups that they gave. All of this three times.

    Args:
        model: folder of the model.
        read_prompts: gets the engine, and returns a sampler and a scorer for each prompt.
        response_tokens: longest response.
        count: number of prompts that are searched.
        proposed: number of prompts for ``propose``. It draws one or two continuations for a prompt on average, so it
            needs more prompts to keep the engine busy.
    """
    from verl_gpo.inference.engine import VLLMEngine

    console = Console(highlight=False)
    engine = VLLMEngine(str(model), max_model_len=512)
    try:
        prompts = read_prompts(engine)[: max(count, proposed)]
        splitter = build_splitter("newline", None, engine.decode, min_step_tokens=4)
        await _roots(prompts, response_tokens)  # the first requests are slower, so they are not measured
        rows = []
        for repeat in range(3):
            groups, plain = await _roots(prompts, response_tokens)
            rows.append({"kind": "plain rollouts", "repeat": repeat, "settings": {}, "prompts": len(prompts), **plain})
            for settings in SETTINGS:
                config = GPOConfig.from_mapping({**settings, "max_in_flight": IN_FLIGHT})
                used = proposed if config.search == "propose" else count
                row = await _reenter(
                    ReentryProcedure(config, splitter, response_tokens),
                    prompts[:used],
                    groups[:used],
                    engine.block_size,
                )
                row["prompts"] = used
                row["throughput_ratio"] = row["tokens_per_second"] / plain["tokens_per_second"]
                rows.append({"kind": "re-entry", "repeat": repeat, "settings": settings, **row})
                console.print(settings, {key: round(value, 3) for key, value in row.items()})
        return rows
    finally:
        engine.shutdown()


async def _roots(prompts, response_tokens: int) -> tuple[list[list[Trajectory]], dict]:
    slots = asyncio.Semaphore(IN_FLIGHT)
    counted = [Counted(sampler, 1) for sampler, _ in prompts]

    async def one(sampler, scorer) -> Trajectory:
        async with slots:
            continuation = await sampler.sample((), response_tokens, 0)
        scored = await scorer.score((), continuation)
        return Trajectory(continuation.token_ids, continuation.log_probs, scored.reward)

    started = time.perf_counter()
    groups = await asyncio.gather(
        *(
            asyncio.gather(*(one(sampler, scorer) for _ in range(GROUP)))
            for sampler, (_, scorer) in zip(counted, prompts, strict=True)
        )
    )
    return [list(group) for group in groups], _rates(counted, time.perf_counter() - started)


async def _reenter(procedure: ReentryProcedure, prompts, groups, block_size: int) -> dict:
    counted = [Counted(sampler, block_size) for sampler, _ in prompts]
    started = time.perf_counter()
    results = await asyncio.gather(
        *(
            procedure.run(group, sampler, scorer, str(number))
            for number, (group, sampler, (_, scorer)) in enumerate(zip(groups, counted, prompts, strict=True))
        )
    )
    seconds = time.perf_counter() - started
    row = _rates(counted, seconds)
    row["cache_hits"] = sum(c.cached for c in counted) / max(sum(c.cacheable for c in counted), 1)
    row["cpu_share"] = sum(result.cpu_seconds for result in results) / seconds
    row["cpu_ms_a_prompt"] = 1000 * sum(result.cpu_seconds for result in results) / len(results)
    return row


def _rates(counted: list[Counted], seconds: float) -> dict:
    tokens, requests = sum(c.tokens for c in counted), sum(c.requests for c in counted)
    return {
        "tokens": tokens,
        "requests": requests,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "requests_per_second": requests / seconds,
        "in_flight": sum(c.seconds for c in counted) / seconds,
    }
