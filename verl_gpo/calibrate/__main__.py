"""Calibrate the search on a model and a data set.

    python -m verl_gpo.calibrate --model M --data P.parquet --reward FILE.py --out DIR

draws ``--reference`` continuations through vLLM at every state of ``--responses`` responses. Every second one is used
for the reference values, the others for the searches. For each rule it reports how often each search finds the step
of a decisive response, how often it chooses a step where none is decisive, and what it costs. All draws are kept in
``DIR/pool.jsonl``. Called again, the command continues where it stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..config import BLOCK, ConfigError, GPOConfig
from ..config.names import VALUE_RULES
from ..core.segment.steps import configured_splitter
from ..core.values import Bounds
from ..inference.fingerprint import identified_reward
from ..inference.launch import print_failures
from ..inference.model import identify
from ..inference.settings import add_template_option, read_settings, read_template
from ..inference.task import FunctionScorer, Prompt, UnusablePrompt, check_reward, read_prompts
from .pool import PooledResponse, check_pool, collect, pool_prompt
from .replay import pooled_case
from .report import MEASURED_PRESETS, RUNGS, ladder, measure, write


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
    add_template_option(parser)
    parser.add_argument("--responses", type=int, default=32, help="responses to calibrate on")
    parser.add_argument("--roots", type=int, default=8, help="rollouts of each group")
    parser.add_argument("--reference", type=int, default=64, help="continuations at each state")
    parser.add_argument("--repeats", type=int, default=8, help="searches of each response by each setting")
    parser.add_argument("--searches", default="uniform,bisection,adaptive,propose,random", help="comma-separated")
    parser.add_argument("--rules", default="argmax,abs", help="comma-separated; a rule=... among the settings instead")
    parser.add_argument("--decisive", type=float, default=0.2, help="importance from which a step is decisive")
    parser.add_argument("--hit-rate", type=float, default=0.7, help="recommend the cheapest setting with as many hits")
    parser.add_argument("--false-alarms", type=float, default=0.3, help="and at most as many false alarms")
    parser.add_argument("--tolerance", type=float, default=0.05, help="a hit is at most this much below the best step")
    parser.add_argument("--without-log-probs", action="store_true", help="measure as if the engine reported none")
    parser.add_argument("--response-length", type=int, default=1024, help="most tokens of a response")
    parser.add_argument("--max-model-len", type=int, default=None, help="prompt and response; default: the model's")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--engine", action="append", default=[], metavar="KEY=VALUE", help="setting of vLLM's engine")
    parser.add_argument("gpo", nargs="*", metavar="KEY=VALUE", help=f"settings of {BLOCK} that all searches share")
    return parser.parse_args(argv)


def _check(args: argparse.Namespace) -> tuple[dict, list[dict]]:
    """The shared settings and the settings to measure."""
    for key, least in (("responses", 1), ("roots", 1), ("reference", 4), ("repeats", 1), ("response_length", 2)):
        if getattr(args, key) < least:
            raise ValueError(f"--{key.replace('_', '-')}={getattr(args, key)}: must be at least {least}")
    if not args.temperature > 0:
        raise ValueError(f"--temperature={args.temperature}: must be above 0: otherwise all continuations are the same")
    if not 0 < args.top_p <= 1:
        raise ValueError(f"--top-p={args.top_p}: must be above 0 and at most 1")
    if args.max_model_len is not None and args.max_model_len < 1:
        raise ValueError(f"--max-model-len={args.max_model_len}: must be at least 1")
    for key in ("hit_rate", "false_alarms"):
        if not 0 <= getattr(args, key) <= 1:
            raise ValueError(f"--{key.replace('_', '-')}={getattr(args, key)}: must be a number from 0 to 1")
    for key in ("decisive", "tolerance"):
        if not 0 <= getattr(args, key) < math.inf:
            raise ValueError(f"--{key}={getattr(args, key)}: must be a number of at least 0")
    searches = args.searches.split(",")
    for search in searches:
        if search not in RUNGS:
            raise ValueError(f"--searches={search}: must be of {', '.join(RUNGS)}")
    read_settings(args.engine)  # finds errors before the engine starts
    shared = read_settings(args.gpo)
    if shared.get("rule") == "random":
        raise ConfigError(f"{BLOCK}.rule", "random", "must be another rule: a random choice has no hit rate")
    rules = [shared["rule"]] if "rule" in shared else args.rules.split(",")
    for rule in rules:
        if rule not in VALUE_RULES:
            raise ValueError(f"--rules={rule}: must be of {', '.join(VALUE_RULES)}")
    unread = [GPOConfig.from_mapping(chosen, refuse_unread=False).unread(chosen) for chosen in ladder(searches, shared)]
    for key in shared:  # not every search reads a shared setting, but at least one should
        if all(key in found for found in unread):
            raise unread[0][key]
    measured = [setting for rule in rules for setting in ladder(searches, {**shared, "rule": rule})]
    presets = [{**shared, "preset": preset} for preset in MEASURED_PRESETS] if "preset" not in shared else []
    own = {preset["preset"]: GPOConfig.from_mapping(preset, refuse_unread=False).rule for preset in presets}
    return shared, measured + [preset for preset in presets if own[preset["preset"]] in rules]


def build_engine(args: argparse.Namespace, seed: int) -> Any:
    """The engine, a :class:`~verl_gpo.inference.engine.VLLMEngine`."""
    from ..inference.engine import VLLMEngine

    options = {"max_model_len": args.max_model_len, **read_settings(args.engine)}
    return VLLMEngine(args.model, temperature=args.temperature, top_p=args.top_p, seed=seed, **options)


async def _collect(
    args: argparse.Namespace,
    config: GPOConfig,
    template: dict[str, Any],
    prompts: list[Prompt],
    reward: Callable[..., Any],
    console: Console,
) -> tuple[list[PooledResponse], list[str]]:
    """The pool, and a line for each prompt that the engine cannot process."""
    from ..inference.engine import VLLMSampler, usable_ids

    left_out: list[str] = []
    engine = build_engine(args, config.seed)
    try:
        splitter = configured_splitter(config, engine.decode)

        async def pool_one(index: int) -> PooledResponse | None:
            prompt = prompts[index]
            try:
                prompt_ids = usable_ids(engine, prompt, template)
            except UnusablePrompt as error:
                left_out.append(f"warning: row {index} is left out: {error}")
                return None
            return await pool_prompt(
                index,
                VLLMSampler(engine, prompt_ids),
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
            pool = await collect(
                args.out / "pool.jsonl",
                range(len(prompts)),
                pool_one,
                args.responses,
                progress=lambda done: progress.update(task, completed=done),
            )
        return pool, left_out
    finally:
        engine.shutdown()


def _prompts(args: argparse.Namespace) -> list[Prompt]:
    try:
        prompts = read_prompts(args.data)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    if not prompts:
        raise ValueError(f"--data={args.data}: has no rows")
    return prompts


def _drawn_with(
    args: argparse.Namespace, config: GPOConfig, identity: dict[str, str], template: dict[str, Any]
) -> dict[str, Any]:
    """The settings that a pooled response depends on besides its prompt, by name."""
    options = ("roots", "reference", "response_length", "max_model_len", "temperature", "top_p")
    keys = ("splitter", "splitter_option", "min_step_tokens", "max_steps", "anchor_outcome", "solved_reward", "seed")
    return {
        **identity,
        **{key: getattr(args, key) for key in options},
        **{key: getattr(config, key) for key in keys},
        "apply_chat_template_kwargs": template,
    }


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    console = Console(stderr=False)
    if not console.is_terminal:  # a file or a pipe has no width, and 80 is taken for it
        console = Console(stderr=False, width=100)
    try:
        shared, settings = _check(args)
        template, identity = read_template(args.template), identify(args.model)
        config = GPOConfig.from_mapping(shared)
        reward, reward_id = identified_reward(args.reward)
        prompts = _prompts(args)
        try:
            check_reward(reward, prompts)
        except ValueError as error:
            raise ValueError(f"--reward={args.reward}: {error}") from error
        check_pool(args.out, _drawn_with(args, config, {**identity, "reward": reward_id}, template))
    except (ConfigError, ValueError) as error:
        print(f"verl_gpo: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    config = GPOConfig.from_mapping(shared, refuse_unread=False)
    pool, left_out = asyncio.run(_collect(args, config, template, prompts, reward, console))
    print_failures(left_out, "rows left out")
    if not pool:
        print(f"verl_gpo: data={args.data!r}: no prompt gave a response of two steps or more", file=sys.stderr)
        return 1
    if args.without_log_probs:
        pool = [response.without_log_probs() for response in pool]
    bounds = Bounds(config.reward_low, config.reward_high)
    cases = [pooled_case(response, bounds=bounds, seed=config.seed) for response in pool]
    measured = [
        measure(chosen, cases, args.repeats, args.tolerance, by_confidence=True, decisive=args.decisive)
        for chosen in settings
    ]
    rows = sorted(measured, key=lambda row: [rule == row["rule"] for rule in VALUE_RULES], reverse=True)
    about = {
        "model": Path(args.model).name,
        "data": Path(args.data).name,
        "responses": len(pool),
        "steps": sum(len(response.ends) for response in pool) / len(pool),
        "root_tokens": sum(sum(response.group_tokens) for response in pool) / len(pool),
        "reference": args.reference,
        "repeats": args.repeats,
        "tolerance": args.tolerance,
        "decisive": args.decisive,
        "log_probs": not args.without_log_probs,
    }
    write(args.out, rows, about, args.hit_rate, args.false_alarms, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
