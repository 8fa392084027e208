"""Calibrate the search on a model and a data set.

    python -m verl_gpo.calibrate --model M --data P.parquet --reward FILE.py --out DIR

values every state of ``--responses`` responses with ``--reference`` continuations through vLLM (every second one is the
reference, the others are dealt out to the searches), and reports each strategy's hit rate and cost. What was drawn is
kept in ``DIR/pool.jsonl``: called again, the command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..config import BLOCK, ConfigError, GPOConfig
from ..core.segment.steps import configured_splitter
from ..inference.settings import read_settings
from ..inference.task import FunctionScorer, Prompt, load_reward, read_prompts
from .pool import PooledResponse, collect, pool_prompt
from .replay import pooled_case
from .report import RUNGS, ladder, measure, write


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.calibrate",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="Hugging Face folder or name")
    parser.add_argument("--data", required=True, help="parquet file in verl's schema")
    parser.add_argument("--reward", required=True, help="FILE.py or FILE.py:FUNCTION, as verl's custom reward function")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pool and the results")
    parser.add_argument("--responses", type=int, default=32, help="responses to calibrate on")
    parser.add_argument("--roots", type=int, default=8, help="rollouts of each group")
    parser.add_argument("--reference", type=int, default=64, help="continuations at each state")
    parser.add_argument("--repeats", type=int, default=8, help="searches of each response by each setting")
    parser.add_argument("--strategies", default="uniform,bisection,adaptive,propose,random", help="comma-separated")
    parser.add_argument("--hit-rate", type=float, default=0.7, help="wanted; the cheapest setting is recommended")
    parser.add_argument("--tolerance", type=float, default=0.05, help="true importance within so much of the best hits")
    parser.add_argument("--response-length", type=int, default=1024, help="most tokens of a response")
    parser.add_argument("--max-model-len", type=int, default=None, help="prompt and response; default: the model's")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--engine", action="append", default=[], metavar="KEY=VALUE", help="setting of vLLM's engine")
    parser.add_argument("gpo", nargs="*", metavar="KEY=VALUE", help=f"settings of {BLOCK} that all strategies share")
    return parser.parse_args(argv)


def _check(args: argparse.Namespace) -> tuple[dict, list[str]]:
    for key, least in (("responses", 1), ("roots", 1), ("reference", 4), ("repeats", 1), ("response_length", 2)):
        if getattr(args, key) < least:
            raise ValueError(f"--{key.replace('_', '-')}={getattr(args, key)}: must be at least {least}")
    if not 0 <= args.hit_rate <= 1:
        raise ValueError(f"--hit-rate={args.hit_rate}: must be a number from 0 to 1")
    strategies = args.strategies.split(",")
    for strategy in strategies:
        if strategy not in RUNGS:
            raise ValueError(f"--strategies={strategy}: must be of {', '.join(RUNGS)}")
    shared = read_settings(args.gpo)
    if shared.get("rule") == "random":
        raise ConfigError(f"{BLOCK}.rule", "random", "must be another for a calibration: chance has no hit rate")
    unread = [
        GPOConfig.from_mapping(chosen, refuse_unread=False).unread(chosen) for chosen in ladder(strategies, shared)
    ]
    for key in shared:  # not every strategy reads what they share, but one of them should
        if all(key in found for found in unread):
            raise unread[0][key]
    return shared, strategies


async def _collect(args: argparse.Namespace, config: GPOConfig, prompts: list[Prompt], reward, console: Console):
    from ..inference.engine import VLLMEngine, VLLMSampler

    options = {"max_model_len": args.max_model_len, **read_settings(args.engine)}
    engine = VLLMEngine(args.model, temperature=args.temperature, top_p=args.top_p, seed=config.seed, **options)
    try:
        splitter = configured_splitter(config, engine.decode)

        async def pool_one(index: int) -> PooledResponse | None:
            prompt = prompts[index]
            return await pool_prompt(
                index,
                VLLMSampler(engine, prompt.token_ids(engine.tokenizer)),
                FunctionScorer(reward, engine.tokenizer, prompt),
                splitter,
                args.response_length,
                args.roots,
                args.reference,
                config.anchor_outcome,
                config.solved_reward,
            )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("responses", total=args.responses)
            return await collect(
                args.out / "pool.jsonl",
                range(len(prompts)),
                pool_one,
                args.responses,
                progress=lambda done: progress.update(task, completed=done),
            )
    finally:
        engine.shutdown()


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    console = Console(stderr=False)
    try:
        shared, strategies = _check(args)
        prompts, reward = read_prompts(args.data), load_reward(args.reward)
    except (ConfigError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    config = GPOConfig.from_mapping(shared, refuse_unread=False)
    pool = asyncio.run(_collect(args, config, prompts, reward, console))
    if not pool:
        print(f"verl_gpo: data={args.data!r}: no prompt gave a response of two steps or more", file=sys.stderr)
        return 1
    cases = [pooled_case(response) for response in pool]
    settings = ladder(strategies, shared)
    rows = [measure(chosen, cases, args.repeats, args.tolerance, by_confidence=True) for chosen in settings]
    about = {
        "model": Path(args.model).name,
        "data": Path(args.data).name,
        "responses": len(pool),
        "steps": sum(len(response.ends) for response in pool) / len(pool),
        "root_tokens": sum(sum(response.group_tokens) for response in pool) / len(pool),
        "reference": args.reference,
        "repeats": args.repeats,
        "tolerance": args.tolerance,
    }
    write(args.out, rows, about, args.hit_rate, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
