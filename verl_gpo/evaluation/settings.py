"""The command line of an evaluation, checked before an engine starts, and the settings that its samples depend on."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.types import ScoringError
from ..data.registry import DATASETS, REASONING_GYM
from ..data.write import read_manifest
from ..graders.gym import installed
from ..graders.pool import GraderError, shared
from ..graders.score import UnknownDataSource, grader_of
from ..inference.fingerprint import digest, engine_settings, identified_reward
from ..inference.model import identify
from ..inference.settings import add_template_option, read_template
from ..inference.task import Prompt, read_prompts
from . import protocol
from .grading import grade


@dataclass(frozen=True)
class Benchmark:
    """Prompts of one benchmark, and how often each is sampled."""

    name: str
    path: Path
    prompts: list[Prompt]
    k: int
    problems: list[str]  # hashes, in the order of the prompts


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation that can start.

    Attributes:
        drawn_with: all settings that a sample depends on besides its problem, by name.
        template: arguments of the chat template.
        engine: arguments of :class:`~verl_gpo.inference.engine.VLLMEngine`.
        warnings: warnings to print before the start.
    """

    model: str
    out: Path
    benchmarks: dict[str, Benchmark]
    reward: Callable[..., Any]
    drawn_with: dict[str, Any]
    template: dict[str, Any]
    engine: dict[str, Any]
    max_tokens: int
    seed: int
    tensor_parallel: int
    engines: int | None
    concurrency: int
    warnings: list[str]

    @property
    def hash(self) -> str:
        return digest(self.drawn_with)

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Name to (problems, samples of each)."""
        return {name: (len(benchmark.prompts), benchmark.k) for name, benchmark in self.benchmarks.items()}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.evaluation",
        description="Evaluate a model on benchmarks. `compare RUN_A RUN_B` compares two runs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="Hugging Face folder or name")
    parser.add_argument("--benchmarks", required=True, help="comma-separated: names of data sets, or NAME=FILE.parquet")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the same command continues it")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="benchmarks are DIR/NAME/test.parquet")
    parser.add_argument("--reward", help="FILE.py or FILE.py:FUNCTION instead of the shared grader")
    add_template_option(parser)
    parser.add_argument("--k", type=int, help="samples of each problem (default: the protocol's)")
    parser.add_argument("--limit", type=int, help="only the first problems of each benchmark")
    parser.add_argument("--temperature", type=float, default=protocol.TEMPERATURE, help="0 is greedy")
    parser.add_argument("--top-p", type=float, default=protocol.TOP_P)
    parser.add_argument("--max-tokens", type=int, default=protocol.MAX_TOKENS, help="most tokens of a response")
    parser.add_argument("--max-model-len", type=int, help="prompt and response (default: the model's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tensor-parallel-size", type=int, default=1, help="GPUs of one engine")
    parser.add_argument("--engines", type=int, help="number of engines (default: as many as the GPUs allow)")
    parser.add_argument("--concurrency", type=int, default=512, help="requests that an engine is given at once")
    parser.add_argument("--engine", action="append", default=[], metavar="KEY=VALUE", help="setting of vLLM's engine")
    parser.add_argument("--shard", help=argparse.SUPPRESS)  # I/N: this process is one of the engines
    return parser.parse_args(argv)


def make_settings(args: argparse.Namespace) -> EvaluationSettings:
    """Check everything that can be checked without an engine.

    Raises:
        ValueError: names the option or file, what is wrong and what is allowed.
    """
    _check(args)
    kept, engine = engine_settings(args)
    template = read_template(args.template)
    identity = identify(args.model)
    reward, reward_id = identified_reward(args.reward)
    warnings: list[str] = []
    benchmarks = _benchmarks(args, warnings)
    for benchmark in benchmarks.values():
        _check_reward(benchmark, reward, args.reward is None, warnings)
    drawn_with = {
        **identity,
        "temperature": args.temperature,
        "top_p": args.top_p,
        "max_tokens": args.max_tokens,
        "max_model_len": args.max_model_len,
        "seed": args.seed,
        "reward": reward_id,
        "engine": kept,
    }
    if template:  # so a folder that was drawn without this setting stays valid
        drawn_with["apply_chat_template_kwargs"] = template
    return EvaluationSettings(
        args.model,
        args.out,
        benchmarks,
        reward,
        drawn_with,
        template,
        engine,
        args.max_tokens,
        args.seed,
        args.tensor_parallel_size,
        args.engines,
        args.concurrency,
        warnings,
    )


def _check(args: argparse.Namespace) -> None:
    for key in ("k", "limit", "max_tokens", "max_model_len", "tensor_parallel_size", "engines", "concurrency"):
        value = getattr(args, key)
        if value is not None and value < 1:
            raise ValueError(f"--{key.replace('_', '-')}={value}: must be at least 1")
    if not args.temperature >= 0:
        raise ValueError(f"--temperature={args.temperature}: must be 0, which is greedy, or more")
    if not 0 < args.top_p <= 1:
        raise ValueError(f"--top-p={args.top_p}: must be above 0 and at most 1")
    if args.temperature == 0 and (args.k or 1) > 1:
        raise ValueError(f"--k={args.k}: must be 1 at --temperature=0, where all samples of a problem are the same")


def _benchmarks(args: argparse.Namespace, warnings: list[str]) -> dict[str, Benchmark]:
    benchmarks: dict[str, Benchmark] = {}
    for item in args.benchmarks.split(","):
        name, given, file = item.strip().partition("=")
        if given and not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"--benchmarks={item}: the name before = must be of letters, digits, _ and -")
        path = Path(file).expanduser() if given else _prepared(name, args.data_dir.expanduser(), warnings)
        if any(name.replace(":", "_") == other.replace(":", "_") for other in benchmarks):
            raise ValueError(f"--benchmarks={args.benchmarks}: {name} is named twice")
        try:
            prompts = read_prompts(path, args.limit, answers_are_text=args.reward is None)
        except ValueError as error:
            raise ValueError(f"--benchmarks={item}: {error}") from error
        if not prompts:
            raise ValueError(f"--benchmarks={item}: {path} has no rows")
        k = args.k or (1 if args.temperature == 0 else protocol.samples_of(name))
        problems = [digest(p.data_source, p.messages, p.ground_truth) for p in prompts]
        benchmarks[name] = Benchmark(name, path, prompts, k, problems)
    return benchmarks


def _prepared(name: str, data: Path, warnings: list[str]) -> Path:
    """Where ``prepare`` has written a benchmark of the registry."""
    kind, _, task = name.partition(":")
    if not (kind == REASONING_GYM and task) and (name not in DATASETS or "test" not in DATASETS[name].splits):
        known = ", ".join(n for n, entry in DATASETS.items() if "test" in entry.splits)
        raise ValueError(
            f"--benchmarks={name}: no such benchmark; known are {known}, {REASONING_GYM}:TASK, or NAME=FILE.parquet"
        )
    folder = data / name.replace(":", "_")
    path = folder / "test.parquet"
    command = f"python -m verl_gpo.data.prepare --dataset {name} --out {folder}"
    if not path.is_file():
        raise ValueError(f"--benchmarks={name}: no {path}; write it with: {command}")
    manifest = read_manifest(folder)
    if manifest and manifest["dataset"] != name:
        raise ValueError(f"--benchmarks={name}: {folder} holds {manifest['dataset']}; write it with: {command} --force")
    warnings += [f"{name} is incomplete: {said}" for said in (manifest or {}).get("partial", [])]
    return path


def _check_reward(benchmark: Benchmark, reward: Callable[..., Any], shared_grader: bool, warnings: list[str]) -> None:
    """Grade an empty response to the first row of each data source, to find errors before anything is drawn."""
    for prompt in {prompt.data_source: prompt for prompt in reversed(benchmark.prompts)}.values():
        try:
            if shared_grader:
                kind = grader_of(prompt.data_source)
                if kind == "math":
                    shared()  # fails if math-verify is not installed
                elif kind == REASONING_GYM and not installed():
                    warnings.append(f"{benchmark.name}: graded by exact match, because reasoning-gym is not installed")
            asyncio.run(grade(reward, prompt, ""))
        except UnknownDataSource as error:
            raise ValueError(f"--benchmarks={benchmark.name}: {error}; or give --reward FILE.py") from error
        except (ScoringError, GraderError, ValueError) as error:
            raise ValueError(f"--benchmarks={benchmark.name}, row {prompt.index}: {error}") from error
