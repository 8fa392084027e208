"""Measures how often each search finds the critical step, and how many tokens it needs.

    python -m scripts.bench_search --out scripts/results/bench_search.json      # all sections, an hour on two cores
    python -m scripts.bench_search --page             # the tables of docs/search.md, from the committed result

Sections: ``curves`` (simulated value curves), ``arithmetic`` (a trained model through vLLM, whose true values are
computed from its own probabilities), ``abstention``, ``confidence``, ``learn_from``, ``engine`` and ``costly_engine``
(prefix cache, throughput, CPU time of the search). All searches of a section are given the same responses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from functools import partial
from pathlib import Path

from rich.console import Console

from recipes.arithmetic.task import ArithmeticSpec, parse_problem
from scripts.bench_search_tables import RESULT, write_page
from verl_gpo.calibrate.curves import simulated_cases
from verl_gpo.calibrate.pool import PooledResponse, collect, pool_prompt
from verl_gpo.calibrate.replay import Case, pooled_case
from verl_gpo.calibrate.report import ladder, measure, name
from verl_gpo.config import PRESETS
from verl_gpo.core.learn import LEARN_FROM

REPOSITORY = Path(__file__).resolve().parents[1]
console = Console(highlight=False)
JUMPS = ("one jump", "one jump and rest", "several jumps", "opposing jumps")
#: Number of steps of a response, the answer line included -> the settings of the task, and the optimizer steps and the
#: accepted accuracies of its model.
TASKS = {
    9: (ArithmeticSpec(), None, (0.3, 0.6)),
    16: (ArithmeticSpec(15, 3, "random", 0.3), 1800, (0.2, 0.6)),
    32: (ArithmeticSpec(31, 8, "random", 0.12), 1800, (0.1, 0.7)),
}
RESPONSE_TOKENS = 256


def rows_of(settings: list[dict], cases: list[Case], repeats: int, **about) -> list[dict]:
    """Measure several settings on the same cases, and print each result.

    Args:
        settings: of ``algorithm.gpo``.
        cases: responses with their true values.
        repeats: number of searches of each.
        about: columns that all rows get.
    """
    rows = []
    for chosen in settings:
        rows.append({**about, **measure(chosen, cases, repeats)})
        shown = {key: rows[-1][key] for key in ("hit_rate", "tokens", "confidence", "reentered", "cpu_ms")}
        console.print(*about.values(), name(chosen), *(f"{key}={value:.3g}" for key, value in shown.items()))
    return rows


def curves(args) -> list[dict]:
    """Hit rate and tokens on simulated value curves of several kinds and lengths."""
    settings = ladder(("uniform", "bisection", "adaptive"), {})
    settings += [{"search": "uniform", "n_mc": n, "value_model": "curve"} for n in (4, 8)]
    return [
        row
        for steps in (4, 8, 16, 32, 64)
        for kind in JUMPS
        # Searches of long responses take longer, so there are fewer of them.
        for row in rows_of(settings, simulated_cases(kind, steps, args.cases * 32 // steps), 1, kind=kind, steps=steps)
    ]


def abstention(args) -> list[dict]:
    """How often a search chooses no critical step if no step matters, with the thresholds of the preset ``fast``."""
    base = {key: PRESETS["fast"][key] for key in ("min_advantage", "min_confidence")}
    settings = [{**base, "search": "uniform", "n_mc": 8}, {**base, "search": "adaptive", "n_mc": 8}]
    settings += [{"preset": "fast"}, {"search": "uniform", "n_mc": 8}]
    return [
        row
        for kind in ("flat", "drift", *JUMPS)
        for row in rows_of(settings, simulated_cases(kind, 16, 4 * args.cases, seed=1), 1, kind=kind, steps=16)
    ]


def confidence(args) -> list[dict]:
    """Stated confidence and actual hit rate, over all kinds of jumps and lengths together."""
    cases = [c for k in JUMPS for steps in (8, 16, 32) for c in simulated_cases(k, steps, args.cases, seed=2)]
    settings = [
        {"search": "uniform", "n_mc": 4},
        {"search": "uniform", "n_mc": 4, "value_model": "curve"},
        {"search": "bisection", "n_mc": 8, "value_model": "curve"},
        {"search": "adaptive", "n_mc": 4, "search_budget": 16},
        {"search": "adaptive", "n_mc": 4, "search_budget": 64},
        {"search": "propose"},
    ]
    return rows_of(settings, cases, 1, kind="all jumps", steps=0)


def learn_from(args) -> list[dict]:
    """The tokens that each ``learn_from`` needs in addition to the search, and the bias of its group."""
    cases = simulated_cases("one jump and rest", 16, 2 * args.cases, seed=3)
    searches = [{"search": "uniform", "n_mc": 8}, {"search": "adaptive", "n_mc": 8}, {"search": "propose"}]
    settings = [{**s, "learn_from": way} for s in searches for way in LEARN_FROM if way != "best"]
    return rows_of(settings, cases, 1, kind="one jump and rest", steps=16)


def task_folder(args, steps: int) -> Path:
    """The folder of the arithmetic task with a number of steps, which is made if it is not there."""
    from recipes.arithmetic.prepare import prepare

    spec, budget, target = TASKS[steps]
    folder = args.work / f"task-{steps}"
    card, cached = prepare(folder, spec, target=target, steps=budget)
    console.print(f"task of {steps} steps: {'found' if cached else 'made'}, accuracy {card['sampled']['accuracy']:.3f}")
    return folder


def vllm_prompts(folder: Path, engine):
    """A sampler and a scorer for each prompt of the test split."""
    from verl_gpo.inference.engine import VLLMSampler
    from verl_gpo.inference.task import FunctionScorer, load_reward, read_prompts

    reward = load_reward(str(REPOSITORY / "recipes" / "arithmetic" / "reward.py"))
    return [
        (VLLMSampler(engine, p.token_ids(engine.tokenizer)), FunctionScorer(reward, engine.tokenizer, p))
        for p in read_prompts(folder / "test.parquet")
    ]


def collect_pools(args, steps: int) -> dict[str, list[PooledResponse]]:
    """Responses of both outcomes with continuations at each state, sampled with vLLM and kept in the work folder."""
    from verl_gpo.core.segment.steps import build_splitter
    from verl_gpo.inference.engine import VLLMEngine

    folder = task_folder(args, steps)

    async def run() -> dict[str, list[PooledResponse]]:
        engine = VLLMEngine(str(folder / "model"), max_model_len=512)
        try:
            prompts = vllm_prompts(folder, engine)
            splitter = build_splitter("newline", None, engine.decode, min_step_tokens=4)
            pools = {}
            # Continuations of long responses take many tokens, so there are fewer of these responses.
            wanted = args.responses * 16 // max(16, steps)
            for outcome in ("solved", "failed"):

                async def one(index: int, outcome: str = outcome) -> PooledResponse | None:
                    pooled = await pool_prompt(
                        index, *prompts[index], splitter, RESPONSE_TOKENS, 8, args.draws, outcome
                    )
                    return pooled if pooled is not None and len(pooled.ends) == steps else None

                path = args.work / f"pool-{steps}-{outcome}.jsonl"
                pools[outcome] = await collect(path, range(len(prompts)), one, wanted)
            return pools
        finally:
            engine.shutdown()

    return asyncio.run(run())


def arithmetic(args) -> list[dict]:
    """Hit rate and tokens on sampled responses with sampled continuations.

    Solved responses are searched with the rule ``argmax``, for the step that gains most; failed ones with ``argmin``,
    for the first wrong line.
    """
    import pyarrow.parquet as pq
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.arithmetic.values import model_values

    rows = []
    for steps in TASKS:
        pools = collect_pools(args, steps)
        folder = task_folder(args, steps)
        questions = pq.read_table(folder / "test.parquet").column("extra_info").to_pylist()
        model = AutoModelForCausalLM.from_pretrained(folder / "model").float().eval()
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        for outcome, rule in (("solved", "argmax"), ("failed", "argmin")):
            cases, blind = [], []
            for response in pools[outcome]:
                problem = parse_problem(questions[response.prompt]["question"])
                text = tokenizer.decode(list(response.token_ids), skip_special_tokens=True)
                cases.append(pooled_case(response, model_values(model, tokenizer, problem, text)))
                blind.append(pooled_case(response.without_log_probs(), cases[-1].values))
            about = {"kind": f"arithmetic, {outcome}", "steps": steps}
            settings = ladder(("uniform", "bisection", "adaptive", "propose", "random"), {"rule": rule})
            settings += [{"rule": rule, "search": "uniform", "n_mc": n, "value_model": "curve"} for n in (4, 8)]
            rows += rows_of(settings, cases, args.repeats, **about, log_probs=True)
            rows += rows_of(ladder(("adaptive",), {"rule": rule}), blind, args.repeats, **about, log_probs=False)
    return rows


def engine(args) -> list[dict]:
    """Throughput of re-entry and of plain rollouts on vLLM, with the same number of requests in flight."""
    from scripts.bench_search_engine import compare

    folder = task_folder(args, 16)
    return asyncio.run(compare(folder / "model", partial(vllm_prompts, folder), RESPONSE_TOKENS, 128, 256))


def costly_engine(args) -> list[dict]:
    """The same with a model of 6 M parameters (the same model, widened by zeros): a token costs more than a request."""
    from scripts.bench_search_engine import compare, costly

    folder = task_folder(args, 16)
    model = costly(folder / "model", args.work / "costly-16", 16_384)
    return asyncio.run(compare(model, partial(vllm_prompts, folder), RESPONSE_TOKENS, 64, 256))


SECTIONS = {f.__name__: f for f in (curves, abstention, confidence, learn_from, arithmetic, engine, costly_engine)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file; sections that it holds are kept, unless they are named")
    parser.add_argument(
        "--page", action="store_true", help=f"only write the tables of {RESULT.name} into docs/search.md"
    )
    parser.add_argument("--sections", default="", help=f"of {', '.join(SECTIONS)}; default: those that are missing")
    parser.add_argument(
        "--cases",
        type=int,
        default=100,
        help="number of simulated responses of each kind and length; there are more of short ones",
    )
    parser.add_argument("--responses", type=int, default=40, help="arithmetic responses of each outcome and length")
    parser.add_argument("--draws", type=int, default=24, help="continuations at each of their states")
    parser.add_argument("--repeats", type=int, default=4, help="searches of each arithmetic response")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "outputs" / "bench_search", help="tasks and pools")
    args = parser.parse_args()
    if args.page:
        write_page()
        return 0
    if not args.out:
        parser.error("--out or --page is required")
    result = json.loads(args.out.read_text()) if args.out.exists() else {}
    wanted = args.sections.split(",") if args.sections else [s for s in SECTIONS if s not in result]
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"--sections={','.join(unknown)}: must be of {', '.join(SECTIONS)}")
    for section in wanted:
        started = time.perf_counter()
        rows = SECTIONS[section](args)
        host = {"python": platform.python_version(), "machine": platform.machine()}
        result[section] = {"rows": rows, "seconds": round(time.perf_counter() - started, 1), **host}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
