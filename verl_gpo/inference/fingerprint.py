"""The settings that drawn samples depend on. They are stored with the samples, so that a folder has only one set."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import graders
from ..graders.score import compute_score
from .settings import read_settings
from .task import load_reward

#: Settings of vLLM that change its speed, and not the distribution that it samples from.
SPEED = frozenset(
    ["gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "enforce_eager", "enable_prefix_caching"]
    + ["block_size", "swap_space", "cpu_offload_gb", "distributed_executor_backend", "disable_custom_all_reduce"]
)


def digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits of anything that JSON can write."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that are not the same, with both values."""
    return {
        key: (there.get(key), here.get(key))
        for key in dict.fromkeys([*there, *here])
        if json.dumps(there.get(key), sort_keys=True) != json.dumps(here.get(key), sort_keys=True)
    }


def refuse(out: Path, there: Mapping[str, Any], here: Mapping[str, Any], things: str) -> None:
    """Refuse to mix samples of different settings in one folder.

    Raises:
        ValueError: names the settings that differ, with both values.
    """
    differing = difference(there, here)
    if differing:
        said = ", ".join(f"{key} ({was!r} there, {now!r} here)" for key, (was, now) in differing.items())
        raise ValueError(f"--out={out}: holds {things} of other settings: {said}; choose another folder")


def engine_settings(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The engine's settings on a command line: ``--engine`` and the options with a name of their own.

    Returns:
        The settings of ``--engine`` that samples depend on, and all settings, as the engine takes them.

    Raises:
        ValueError: a setting that is not KEY=VALUE, or that has an option of its own.
    """
    engine = read_settings(args.engine)
    for key, option in (("tensor_parallel_size", "--tensor-parallel-size"), ("max_model_len", "--max-model-len")):
        if key in engine:
            raise ValueError(f"--engine {key}: give it as {option}")
    kept = {key: value for key, value in sorted(engine.items()) if key not in SPEED}
    if args.tensor_parallel_size > 1:
        engine["tensor_parallel_size"] = args.tensor_parallel_size
    engine |= {"max_model_len": args.max_model_len, "temperature": args.temperature, "top_p": args.top_p}
    return kept, engine


def identified_reward(where: str | None) -> tuple[Callable[..., Any], str]:
    """The reward function of a command line, and a name that changes with its code.

    Args:
        where: ``FILE.py`` or ``FILE.py:FUNCTION``; None for the shared grader.

    Raises:
        ValueError: no such file or function, or the file fails to load.
    """
    if where is None:
        files = sorted(Path(graders.__file__).parent.glob("*.py"))
        return compute_score, f"verl_gpo.graders@{_hash(files)}"
    try:
        function = load_reward(where)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    except Exception as error:  # the user's file may raise anything
        raise ValueError(f"--reward={where!r}: cannot be loaded ({error!r})") from error
    path, _, name = where.partition(":")
    return function, f"{Path(path).name}:{name or 'compute_score'}@{_hash([Path(path)])}"


def _hash(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
