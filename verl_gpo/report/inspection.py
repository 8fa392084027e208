"""Searches for critical steps in the responses of any model on any data set without training, and writes traces.

``python -m verl_gpo.report inspect`` samples some responses to each prompt through vLLM, searches them as a training
step would, and writes the same records, which the same page shows.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import GPOConfig
from ..core.draw import Draw, Usage
from ..core.reentry import ReentryProcedure
from ..core.segment.steps import configured_splitter
from ..core.types import Sampler, Scorer
from ..inference.task import FunctionScorer, Prompt, UnusablePrompt
from ..traces.record import trace_record
from ..traces.writer import TraceWriter


@dataclass(frozen=True)
class Inspection:
    """The model, data and settings of an inspection.

    Attributes:
        model: Hugging Face folder or name.
        prompts: rows of a data set.
        reward: verl's ``compute_score``.
        config: settings of the search and the re-entry.
        roots: responses to each prompt.
        response_length: maximal number of tokens of a response.
        engine: settings of :class:`~verl_gpo.inference.engine.VLLMEngine`.
        at_once: number of prompts that are processed at the same time.
        template: arguments of the chat template.
    """

    model: str
    prompts: Sequence[Prompt]
    reward: Callable[..., Any]
    config: GPOConfig
    roots: int
    response_length: int
    engine: dict[str, Any]
    at_once: int = 8
    template: Mapping[str, Any] = field(default_factory=dict)

    def run(self, folder: Path, started: Callable[[], None], tick: Callable[[], None]) -> int:
        """Write the traces.

        Args:
            folder: for the traces.
            started: called when the engine has started.
            tick: called after each prompt.

        Returns:
            Number of prompts without a result, because no response came back with a reward.
        """
        return asyncio.run(self._run(folder, started, tick))

    async def _run(self, folder: Path, started: Callable[[], None], tick: Callable[[], None]) -> int:
        from ..inference.engine import VLLMEngine, VLLMSampler, usable_ids

        vllm = VLLMEngine(self.model, seed=self.config.seed, **self.engine)
        writer = TraceWriter(folder, "inspect", self.config.trace_max_mb << 20, self.config.trace_every)
        splitter = configured_splitter(self.config, vllm.decode)
        search = ReentryProcedure(self.config, splitter, self.response_length)
        started()
        queue, lost = iter(self.prompts), 0

        async def work() -> None:
            nonlocal lost
            for prompt in queue:
                try:
                    ids = usable_ids(vllm, prompt, self.template)
                except UnusablePrompt as error:
                    print(f"warning: row {prompt.index} is left out: {error}", file=sys.stderr)
                    lost += 1
                    tick()
                    continue
                sampler = VLLMSampler(vllm, ids, self.config.stall_timeout)
                scorer = FunctionScorer(self.reward, vllm.tokenizer, prompt)
                record = await self._inspect(prompt, vllm.decode, ids, search, sampler, scorer)
                lost += record is None
                if record is not None:
                    writer.write(record)
                tick()

        try:
            await asyncio.gather(*(work() for _ in range(self.at_once)))
        finally:
            vllm.shutdown()
            writer.close(60.0)
        return lost + writer.dropped + writer.failed

    async def _inspect(
        self,
        prompt: Prompt,
        decode: Callable[[list[int]], str],
        prompt_ids: list[int],
        search: ReentryProcedure,
        sampler: Sampler,
        scorer: Scorer,
    ) -> dict[str, Any] | None:
        seed = f"{self.config.seed}/{prompt.index}/roots"
        draw = Draw(sampler, scorer, self.response_length, seed, search.scheduler)
        drawn = await draw.roots(self.roots, Usage())
        if not drawn:
            return None
        roots = [sample.trajectory() for sample in drawn]
        result = await search.run(roots, sampler, scorer, str(prompt.index), keep_tokens=True)
        return trace_record(
            roots,
            result,
            decode,
            decode(prompt_ids),
            uid=f"row-{prompt.index}",
            sample_index=prompt.index,
            data_source=prompt.data_source,
            ground_truth=prompt.ground_truth,
            rule=self.config.rule,
            search=self.config.search,
            solved_reward=self.config.solved_reward,
        )
