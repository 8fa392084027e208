"""Measures how often each search finds the critical turn of recipes/agents, and how many tokens it spends on that.

    python -m scripts.bench_turns --data DIR [--data DIR ...]     # writes scripts/results/bench_turns.json
    python -m scripts.bench_turns --page                          # the table of docs/agents.md, from that result

DIR is a folder of ``python -m recipes.agents.prepare``. The model is not trained further. It leads the conversations
itself, with transformers in this process. All searches get the same root rollouts and one anchor of each prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.experiments.cells import table
from scripts.experiments.markers import fill
from verl_gpo.config import GPOConfig
from verl_gpo.core.draw import Draw, Usage
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.scheduler import Scheduler
from verl_gpo.core.segment.steps import configured_splitter
from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation, SamplingError
from verl_gpo.inference.conversation import ConversationSampler
from verl_gpo.inference.task import FunctionScorer, load_reward, read_prompts
from verl_gpo.inference.tools import Toolbox, read_tools
from verl_gpo.statistics import wilson_interval

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPE = REPOSITORY / "recipes" / "agents"
RESULT, PAGE = REPOSITORY / "scripts" / "results" / "bench_turns.json", REPOSITORY / "docs" / "agents.md"
ROOTS, RESPONSE_TOKENS, TURN_TOKENS = 8, 192, 48
#: Name -> settings of ``algorithm.gpo``. ``rule=abs`` everywhere: the turn that loses counts as the one that gains.
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"preset": "fast", "search": "random"},
    "tool_entropy": {"preset": "fast", "search": "tool_entropy"},
    "lean": {"preset": "lean"},
    "fast": {"preset": "fast"},
    "uniform, n_mc=4": {"search": "uniform", "n_mc": 4, "rule": "abs", "anchor_outcome": "any"},
}


class Model:
    """The model of a folder as an engine: requests that wait together are one batch."""

    def __init__(self, folder: Path):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.clock = EngineClock()
        self._waiting: list[tuple[list[int], int, asyncio.Future]] = []
        self._running = False

    def decode(self, token_ids: list[int]) -> str:
        return self.tokenizer.decode(token_ids)

    async def generate(self, context: list[int], max_tokens: int, seed: int | None = None) -> Continuation:
        """Continue a context to the end of a turn. The seed is not used: requests of a batch share one generator."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((list(context), max_tokens, future))
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_later(0.002, self._batch)
        return await future

    def _batch(self) -> None:
        self._running = False
        batch, self._waiting = self._waiting[:256], self._waiting[256:]
        for (context, _, future), (ids, log_probs) in zip(batch, self._sample(batch), strict=True):
            ended = ids[-1] == self.tokenizer.eos_token_id
            if not future.done():
                finish = "stop" if ended else "length"
                future.set_result(Continuation(tuple(ids), tuple(log_probs), len(context), 0, finish))
        if self._waiting:
            self._running = True
            asyncio.get_running_loop().call_soon(self._batch)

    def _sample(self, batch: Sequence[tuple[list[int], int, Any]]) -> list[tuple[list[int], list[float]]]:
        import torch

        inputs = self.tokenizer.pad(
            {"input_ids": [context for context, *_ in batch]}, padding_side="left", return_tensors="pt"
        )
        with torch.no_grad():
            out = self._network.generate(
                **inputs,
                max_new_tokens=TURN_TOKENS,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                output_logits=True,
                return_dict_in_generate=True,
            )
        written = out.sequences[:, inputs["input_ids"].shape[1] :]
        log_probs = torch.stack(out.logits, 1).log_softmax(-1).gather(2, written[:, :, None])[:, :, 0]
        found = []
        for (_, limit, _), ids, logs in zip(batch, written.tolist(), log_probs.tolist(), strict=True):
            end = ids.index(self.tokenizer.eos_token_id) + 1 if self.tokenizer.eos_token_id in ids else len(ids)
            end = min(end, limit)
            found.append((ids[:end], logs[:end]))
        return found


async def measure(data: Path, prompts: int, seed: int) -> dict[str, Any]:
    """All searches on one folder."""
    import torch

    torch.manual_seed(seed)
    engine = Model(data / "model")
    toolbox = read_tools(str(RECIPE / "config" / "tools.yaml"), str(RECIPE / "calculator.py"))
    rows = read_prompts(data / "test.parquet", prompts)
    reward = load_reward(str(RECIPE / "reward.py"))
    started = time.process_time()

    def sides(prompt: Any) -> tuple[ConversationSampler, FunctionScorer]:
        return sampler_of(engine, toolbox, prompt), FunctionScorer(reward, engine.tokenizer, prompt)

    parts = [sides(prompt) for prompt in rows]
    roots = await asyncio.gather(
        *(
            draw_roots(sampler, scorer, f"{seed}/{row.index}")
            for row, (sampler, scorer) in zip(rows, parts, strict=True)
        )
    )
    found: dict[str, Any] = {}
    for name, settings in SEARCHES.items():
        config = GPOConfig.from_mapping({"splitter": "turn", "seed": seed, **settings})
        procedure = ReentryProcedure(config, configured_splitter(config, engine.decode), RESPONSE_TOKENS)
        results = await asyncio.gather(
            *(
                procedure.run(list(group), sampler, scorer, str(row.index))
                for row, group, (sampler, scorer) in zip(rows, roots, parts, strict=True)
                if group
            )
        )
        judged = [
            (reentry.critical.index in row.extra_info["hard_steps"], reentry.critical.index)
            for row, result in zip((row for row, group in zip(rows, roots, strict=True) if group), results, strict=True)
            for reentry in result.reentries
            if reentry.critical is not None
        ]
        hits = sum(hit for hit, _ in judged)
        value = sum(result.usage["value"].tokens for result in results)
        found[name] = {"settings": settings, "hits": hits, "chosen": len(judged), "prompts": len(results)}
        found[name] |= {"value_tokens": value, "rate": hits / len(judged) if judged else None}
        if judged:
            found[name]["interval"] = list(wilson_interval(hits / len(judged), len(judged)))
        print(data, name, found[name], flush=True)
    solved = [root.reward for group in roots for root in group]
    card = json.loads((data / "card.json").read_text())
    return {
        "spec": card["request"]["spec"],
        "prompts": len(rows),
        "roots": ROOTS,
        "root_success": sum(solved) / len(solved),
        "root_tokens": sum(root.written_tokens for group in roots for root in group),
        "searches": found,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def sampler_of(engine: Model, toolbox: Toolbox, prompt: Any) -> ConversationSampler:
    """The sampler of a row."""
    ids = prompt.token_ids(engine.tokenizer)
    return ConversationSampler(engine, ids, toolbox, prompt.extra_info["tools_kwargs"], max_turns=12)


async def draw_roots(sampler: ConversationSampler, scorer: FunctionScorer, seed: str) -> list[Any]:
    """The root rollouts of a prompt."""
    try:
        drawn = await Draw(sampler, scorer, RESPONSE_TOKENS, seed, Scheduler(256)).roots(ROOTS, Usage())
    except SamplingError as error:
        print(f"warning: {error}", file=sys.stderr)
        return []
    return [sample.trajectory() for sample in drawn]


def markdown(result: Mapping[str, Any]) -> str:
    """The table of a result: one line for each folder and search."""
    rows = []
    for folder in result["folders"]:
        spec = folder["spec"]
        turns = spec["n_moves"] + 2
        for name, found in folder["searches"].items():
            low, high = found["interval"] if found["chosen"] else (0.0, 0.0)
            share = f"{found['rate']:.2f} [{low:.2f}, {high:.2f}]" if found["chosen"] else "none"
            spent = f"{found['value_tokens'] / found['prompts']:,.0f}"
            rows.append((spec["n_free"], turns, f"`{name}`", f"{found['hits']} of {found['chosen']}", share, spent))
    head = ("free moves", "turns", "search", "right", "hit rate [95 %]", "tokens of the search a prompt")
    return table(head, rows, 3)


def page() -> str:
    """The page with the table of the committed result."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    return fill(PAGE.read_text(encoding="utf-8"), "turns", {"": markdown(result)})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, action="append", default=[], help="folder of recipes.agents.prepare")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--page", action="store_true", help="only write the table into docs/agents.md")
    args = parser.parse_args(argv)
    if args.page:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if not args.data:
        parser.error("--data is required without --page")
    for data in args.data:
        if not (data / "card.json").exists():
            print(f"bench_turns: --data={data}: must be a folder of recipes.agents.prepare", file=sys.stderr)
            return 1
    result = {"python": platform.python_version(), "seed": args.seed}
    result["folders"] = [asyncio.run(measure(data, args.prompts, args.seed)) for data in args.data]
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
