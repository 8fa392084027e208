"""Where can a reset or step credit pay? Signal and noise of each method's gradient, where both are known exactly.

    python -m scripts.bench_gradient --out scripts/results/bench_gradient.json    # all sections
    python -m scripts.bench_gradient --page                                      # the tables of docs/signal.md

Sections: ``signal``, in seconds: the tokens that each method needs for a gradient as precise as GRPO's, over root
success, number and place of pivotal steps (:mod:`scripts.bench_gradient_chain`). ``searches``, in minutes: the same for
the product's own search. ``training``, in seconds: tokens until chains of skills are learnt, with the best rate and
batch of a ladder for each method.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from scripts.bench_gradient_chain import (
    Estimator,
    at_first_error,
    at_least_probable,
    at_pivotal,
    at_random,
    chain,
    grpo,
    known_credit,
    most_informative,
    most_mixed_tokens,
    pods,
    policy_gradient,
    reset,
    sampled_credit,
)
from scripts.bench_gradient_core import at_believed_loss, searched
from scripts.bench_gradient_train import CHAINS, tokens_to_learn

#: Groups that are drawn of methods without, and with, the product's own search.
GROUPS, SEARCHED = 6_000, 400
STEPS = 24
#: Root success, number and place of pivotal steps.
_STEPS = ((1, "early"), (1, "late"), (3, "early"), (3, "spread"), (3, "late"), (6, "late"), (24, "all"))
REGIMES = [(success, pivotal, place) for success in (0.05, 0.3, 0.7) for pivotal, place in _STEPS]

METHODS: dict[str, Estimator] = {
    "grpo n=2": grpo(2),
    "grpo n=4": grpo(4),
    "grpo n=8": grpo(8),
    "grpo n=16": grpo(16),
    "Dr.GRPO n=8": grpo(8, by_std=False),
    "PODS 8 of 16": pods(16, 8),
    "random": reset(4, 4, at_random),
    "lean": reset(2, 6, most_informative),
    "lean, sure tokens count": reset(2, 6, most_mixed_tokens),
    "oracle": reset(4, 4, at_pivotal),
    "first error": reset(4, 4, at_first_error),
    "first error 2+6": reset(2, 6, at_first_error),
    "least probable": reset(4, 4, at_least_probable),
    "steps, known": known_credit(8),
    "steps, one anchor": sampled_credit(8, 1, 4),
    "VinePPO": sampled_credit(8, 8, 9),
}
SEARCHES: dict[str, Estimator] = {
    "lean, by belief": searched("lean"),
    "first loss, by belief": reset(4, 4, at_believed_loss),
    "first loss 2+6, by belief": reset(2, 6, at_believed_loss),
    "propose": searched("propose"),
    "fast": searched("fast"),
    "fast, steps": searched("fast_steps"),
    "paper": searched("paper"),
    "paper, steps": searched("steps"),
}
BASE = "grpo n=8"


def needed(gradient_GK: np.ndarray, tokens_G: np.ndarray, true_K: np.ndarray, same_prompt: bool = False) -> float:
    """Tokens for a mean gradient whose noise is as large as its part along the policy gradient.

    A mean over ``B`` groups has the noise ``tr(Var g) / B`` and the signal ``<E g, u>``, with ``u`` the direction of
    the true gradient, so ``B = tr(Var g) / <E g, u>^2`` groups are needed. A bias off that direction counts as noise.

    Args:
        same_prompt: every group has the same prompt. Otherwise each has skills of its own out of very many, so what
            its prompt has of the mean gradient is noise as well.
    """
    direction_K = true_K / np.linalg.norm(true_K)
    signal = float((gradient_GK @ direction_K).mean())
    noise = float((gradient_GK**2).sum(1).mean())
    if same_prompt:
        groups = len(gradient_GK)
        noise = (noise - float((gradient_GK.mean(0) @ direction_K) ** 2)) * groups / (groups - 1)
    return float(tokens_G.mean()) * noise / signal**2 if signal > 0 else float("inf")


def jackknife(gradient_GK: np.ndarray, tokens_G: np.ndarray, true_K: np.ndarray, blocks: int = 20) -> float:
    """Standard error of the logarithm of :func:`needed`."""
    block_G = np.arange(len(tokens_G)) % blocks
    logs = [np.log(needed(gradient_GK[block_G != b], tokens_G[block_G != b], true_K)) for b in range(blocks)]
    return float(np.sqrt((blocks - 1) * np.var(logs)))


def measure(method: str, estimator: Estimator, q_K: np.ndarray, groups: int, seed: int) -> dict:
    """Signal and noise of one method on one chain."""
    found = estimator(np.tile(q_K, (groups, 1)), np.random.default_rng(seed))
    true_K = policy_gradient(q_K)
    mean_K = found.gradient_GK.mean(0)
    # The length of a mean of noisy vectors is too large by their noise.
    bias = float((found.gradient_GK.var(0, ddof=1)).sum()) / groups
    length = np.sqrt(max(float(mean_K @ mean_K) - bias, 1e-30))
    return {
        "method": method,
        "tokens": float(found.tokens_G.mean()),
        "rows": found.rows,
        "no_gradient": float((np.abs(found.gradient_GK).sum(1) < 1e-9).mean()),
        "cosine": min(float(mean_K @ true_K) / (length * float(np.linalg.norm(true_K))), 1.0),
        "needed": needed(found.gradient_GK, found.tokens_G, true_K),
        "needed_log_error": jackknife(found.gradient_GK, found.tokens_G, true_K),
        "needed_same_prompt": needed(found.gradient_GK, found.tokens_G, true_K, same_prompt=True),
    }


def signal(args: argparse.Namespace) -> Iterator[dict]:
    """Methods that are computed for all groups at once, on every chain."""
    return _on_every_chain(METHODS, args.groups)


def searches(args: argparse.Namespace) -> Iterator[dict]:
    """Methods with the product's own search or belief, which go prompt by prompt."""
    return _on_every_chain(SEARCHES, args.searched)


def _on_every_chain(methods: Mapping[str, Estimator], groups: int) -> Iterator[dict]:
    for number, (success, pivotal, place) in enumerate(REGIMES):
        q_K = chain(STEPS, pivotal, place, success)
        for method, estimator in methods.items():
            regime = {"success": success, "pivotal": pivotal, "place": place}
            yield regime | measure(method, estimator, q_K, groups, seed=number)


def training(args: argparse.Namespace) -> Iterator[dict]:
    """Methods on chains of skills, trained."""
    for name in CHAINS:
        for method in TRAINED:
            yield {"chain": name, "method": method, **tokens_to_learn(METHODS[method], name, args.seeds)}


TRAINED = (
    *("grpo n=8", "grpo n=4", "grpo n=16", "PODS 8 of 16", "random", "lean", "lean, sure tokens count", "oracle"),
    *("first error", "first error 2+6", "least probable", "steps, known"),
)
SECTIONS = {"signal": signal, "searches": searches, "training": training}


def _rounded(row: dict) -> dict:
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in row.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file; the sections that are not named are kept")
    parser.add_argument("--page", action="store_true", help="write the committed tables into docs/signal.md")
    parser.add_argument("--sections", default="signal,searches,training", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--groups", type=int, default=GROUPS, help="of each method and chain")
    parser.add_argument("--searched", type=int, default=SEARCHED, help="of a method with the product's own search")
    parser.add_argument("--seeds", type=int, default=4, help="of a training")
    args = parser.parse_args(argv)
    from scripts.bench_gradient_tables import markdown, write_page

    if args.page:
        write_page()
        return 0
    sections = args.sections.split(",")
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"--sections={','.join(unknown)}: must be of {', '.join(SECTIONS)}")
    result = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    for section in sections:
        started = time.process_time()
        rows = [_rounded(row) for row in SECTIONS[section](args)]
        host = {"python": platform.python_version(), "machine": platform.machine()}
        result[section] = {"rows": rows, "cpu_seconds": round(time.process_time() - started, 1), **host}
    print(markdown(result))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
