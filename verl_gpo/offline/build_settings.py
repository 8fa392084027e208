"""The command line of a build, checked before an engine starts, and the settings that its records depend on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import BLOCK, ConfigError, GPOConfig
from ..inference.fingerprint import digest, engine_settings, identified_reward
from ..inference.model import identify
from ..inference.settings import add_template_option, read_settings, read_template
from ..inference.task import Prompt, check_reward, read_prompts
from ..inference.tools import Toolbox, read_tools
from .explore import METHODS
from .pairs import RULES, TRUNCATED, Selection

REPORT = "report.json"


@dataclass(frozen=True)
class BuildSettings:
    """A build that can start.

    Attributes:
        problems: hashes of the prompts.
        visits: highest number of visits of each prompt.
        token_budget: number of tokens that the used records may cost together; 0 for no limit.
        drawn_with: all settings that a record depends on besides its prompt, by name.
        template: arguments of the chat template.
        toolbox: tools that the policy may call; None if it has none.
        max_turns: most turns of the policy in a conversation with tools.
        engine: arguments of :class:`~verl_gpo.inference.engine.VLLMEngine`.
    """

    model: str
    out: Path
    prompts: list[Prompt]
    problems: list[str]
    reward: Callable[..., Any]
    method: str
    config: GPOConfig
    roots: int
    visits: int
    token_budget: int
    response_length: int
    selection: Selection
    drawn_with: dict[str, Any]
    template: dict[str, Any]
    toolbox: Toolbox | None
    max_turns: int
    engine: dict[str, Any]
    tensor_parallel: int
    engines: int | None
    concurrency: int

    @property
    def hash(self) -> str:
        return digest(self.drawn_with)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.offline.build",
        description="Build preference pairs from a model and a verl parquet file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="Hugging Face folder or name")
    parser.add_argument("--data", required=True, help="parquet file in verl's schema")
    parser.add_argument("--reward", help="FILE.py or FILE.py:FUNCTION instead of the shared grader")
    parser.add_argument("--out", type=Path, required=True, help="folder of the build; the same command continues it")
    parser.add_argument("--method", choices=list(METHODS), default="gpo", help="state from which the pairs are drawn")
    add_template_option(parser)
    parser.add_argument("--tools", metavar="YAML", help="verl's tool_config_path: environments that may be called")
    parser.add_argument("--function-tools", metavar="FILE.py", help="verl's function_tool_path")
    parser.add_argument("--max-turns", type=int, default=16, help="most turns of the policy, with tools")
    parser.add_argument("--roots", type=int, default=8, help="rollouts from each prompt")
    parser.add_argument("--prompts", type=int, help="only the first prompts of the file (default: all)")
    parser.add_argument("--visits", type=int, default=1, help="highest number of visits of each prompt")
    parser.add_argument(
        "--token-budget",
        metavar="TOKENS|DIR",
        help="stop at this number of generated tokens, or at the number that the build in DIR used (default: none)",
    )
    parser.add_argument("--response-length", type=int, default=1024, help="most tokens of a response, with its prefix")
    parser.add_argument("--max-model-len", type=int, help="prompt and response (default: the model's)")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--select", choices=list(RULES), default="balanced", help="which continuations are paired")
    parser.add_argument("--max-pairs", type=int, default=0, help="maximal number of pairs of a state; 0: no limit")
    parser.add_argument("--min-gap", type=float, default=0.0, help="the rewards of a pair must differ by more")
    parser.add_argument(
        "--truncated",
        choices=list(TRUNCATED),
        default="rejected",
        help="how a continuation that was cut off may be used",
    )
    parser.add_argument("--tensor-parallel-size", type=int, default=1, help="GPUs of one engine")
    parser.add_argument("--engines", type=int, help="number of engines (default: as many as the GPUs allow)")
    parser.add_argument("--concurrency", type=int, default=64, help="prompts that an engine works on at once")
    parser.add_argument("--engine", action="append", default=[], metavar="KEY=VALUE", help="setting of vLLM's engine")
    parser.add_argument("--shard", metavar="I/N", help="draw only share I of N, from 0; for several machines")
    parser.add_argument("--merge", action="store_true", help="draw nothing; merge all shares and write the pairs")
    parser.add_argument("gpo", nargs="*", metavar="KEY=VALUE", help=f"settings of {BLOCK}")
    return parser.parse_args(argv)


def make_settings(args: argparse.Namespace) -> BuildSettings:
    """Check everything that can be checked without an engine.

    Raises:
        ValueError: names the option or file, what is wrong and what is allowed.
    """
    _check(args)
    kept, engine = engine_settings(args)
    overrides, config = _config(args)
    template = read_template(args.template)
    try:
        toolbox = read_tools(args.tools, args.function_tools) if args.tools or args.function_tools else None
    except ValueError as error:
        raise ValueError(f"--{str(error).replace('function_tools=', 'function-tools=', 1)}") from error
    identity = identify(args.model)
    reward, reward_id = identified_reward(args.reward)
    try:
        prompts = read_prompts(args.data, args.prompts, answers_are_text=args.reward is None)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    if not prompts:
        raise ValueError(f"--data={args.data}: has no rows")
    try:
        check_reward(reward, prompts)
    except ValueError as error:
        shown = f"--reward={args.reward}:" if args.reward else "--reward is not given, and the shared grader"
        raise ValueError(f"{shown} {error}") from error
    drawn_with = {
        **identity,
        "method": args.method,
        "gpo": overrides,
        "roots": args.roots,
        "response_length": args.response_length,
        "max_model_len": args.max_model_len,
        "temperature": args.temperature,
        "top_p": args.top_p,
        "seed": args.seed,
        "reward": reward_id,
        "engine": kept,
    }
    if template:  # so a folder that was drawn without this setting stays valid
        drawn_with["apply_chat_template_kwargs"] = template
    if toolbox is not None:
        drawn_with |= {"tools": toolbox.schemas, "max_turns": args.max_turns}
    return BuildSettings(
        args.model,
        args.out,
        prompts,
        [digest(p.data_source, p.messages, p.ground_truth) for p in prompts],
        reward,
        args.method,
        config,
        args.roots,
        args.visits,
        _budget(args.token_budget),
        args.response_length,
        Selection(args.select, args.max_pairs, args.min_gap, args.truncated),
        drawn_with,
        template,
        toolbox,
        args.max_turns,
        engine,
        args.tensor_parallel_size,
        args.engines,
        args.concurrency,
    )


def _check(args: argparse.Namespace) -> None:
    least = {"roots": 2 if args.method == "plain" else 1, "response_length": 2, "max_pairs": 0, "seed": 0}
    least |= dict.fromkeys(("prompts", "visits", "max_model_len", "tensor_parallel_size"), 1)
    least |= dict.fromkeys(("engines", "concurrency", "max_turns"), 1)
    for key, bound in least.items():
        value = getattr(args, key)
        if value is not None and value < bound:
            raise ValueError(f"--{key.replace('_', '-')}={value}: must be at least {bound}")
    if not args.temperature > 0:
        raise ValueError(f"--temperature={args.temperature}: must be above 0: otherwise all continuations are the same")
    if not 0 < args.top_p <= 1:
        raise ValueError(f"--top-p={args.top_p}: must be above 0 and at most 1")
    if not args.min_gap >= 0:
        raise ValueError(f"--min-gap={args.min_gap}: must be 0 or more")
    if args.shard:
        shard, _, shards = args.shard.partition("/")
        if not (shard.isdigit() and shards.isdigit() and int(shard) < int(shards)):
            raise ValueError(f"--shard={args.shard}: must be I/N with I from 0 to N - 1")
        if args.merge:
            raise ValueError(f"--shard={args.shard}: cannot be given with --merge, which draws nothing")


def _config(args: argparse.Namespace) -> tuple[dict[str, Any], GPOConfig]:
    """GPO's settings from the command line that the method reads, and the configuration."""
    try:
        given = read_settings(args.gpo)
        if "seed" in given:
            raise ConfigError(f"{BLOCK}.seed", given["seed"], "give it as --seed")
        if given.get("enable") is False:
            raise ConfigError(f"{BLOCK}.enable", False, "whole responses are --method plain")
        search = given.get("search")
        if search is not None and (args.method != "gpo" or search in ("given", "random", "tool_entropy", "none")):
            if args.method != "gpo":
                said = "is set by --method"
            else:
                said = (
                    "must look for the step"
                    if search in ("given", "tool_entropy")
                    else "is --method random, or --method plain"
                )
            raise ConfigError(f"{BLOCK}.search", search, said)
        if args.method == "random":
            given["search"] = "random"
        if args.method == "authors":
            if "preset" in given:
                raise ConfigError(f"{BLOCK}.preset", given["preset"], "is set by --method authors")
            # A pair needs two rollouts of the state, where the online form takes the best one.
            given = {"preset": "authors", "learn_from": "reuse", "rows": "added", "n_reentry": 4, **given}
        config = GPOConfig.from_mapping({**given, "seed": args.seed})
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return ({} if args.method == "plain" else given), config


def _budget(given: str | None) -> int:
    if given is None:
        return 0
    if given.isdigit() and int(given):
        return int(given)
    try:
        return int(json.loads((Path(given) / REPORT).read_text(encoding="utf-8"))["tokens"]["total"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"--token-budget={given}: must be a number of at least 1, or the folder of a finished build ({error})"
        ) from error
