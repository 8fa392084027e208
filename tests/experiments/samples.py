"""Rows of experiments made by hand, for tests of what reads them."""

import itertools
from dataclasses import fields, replace

from scripts.experiments.results import append
from scripts.experiments.rows import Point, Run
from scripts.experiments.settings import Settings, is_plain

_NUMBERS = itertools.count(1)


def a_run(method="grpo", seed=0, accuracy=0.5, curve=((0, 0.2), (1000, 0.5)), base=None, **changed):
    """A run of 10 training steps evaluated at (tokens, accuracy): a token takes 1 s and moves the weights by 0.001.

    Settings among ``changed`` differ from those that the method has in its grid.
    """
    number = changed.pop("run", None) or next(_NUMBERS)
    base = base or Settings(optimizer=method if is_plain(method) else "grpo")
    names = {field.name for field in fields(Settings)}
    own = {name: changed.pop(name) for name in names & set(changed)}
    columns = {field.name: 1.0 for field in fields(Run) if field.name not in ("points", "base", "settings")}
    run = Run(
        **{
            **columns,
            "run": number,
            "grid": "protocol",
            "regime": "late12",
            "method": method,
            "seed": seed,
            "settings": replace(base, **own),
            "base": base,
            "training_steps": 10,
            "commit": "abcdef0123",
            "cores": 2,
            "device": "cpu",
            "tokens": float(curve[-1][0]) if curve else 1000.0,
            "tokens_root": float(curve[-1][0]) if curve else 1000.0,
            "tokens_value": 0.0,
            "tokens_reentry": 0.0,
            "rows": 1280.0,
            "optimizer_steps": 10.0,
            "pairs": None,
            "pair_prompts": None,
            "seconds": 100.0,
            "seconds_update_critic": None,
            "root_mixed": 0.5,
            "reentry_mixed": None,
            "hits": None,
            "chosen": None,
            "accuracy": accuracy,
            "low": max(accuracy - 0.1, 0),
            "high": min(accuracy + 0.1, 1),
            **changed,
        }
    )
    points = tuple(
        Point(
            number, step, float(tokens), 128.0 * step, float(step), float(tokens), right, right, right, easy_step=1.0,
            hard_step=right, problems=256, samples=2, distance=tokens / 1000,
        )
        for step, (tokens, right) in enumerate(curve)
    )  # fmt: skip
    return replace(run, points=points)


def write(folder, runs):
    """The files as the runner writes them."""
    for run in runs:
        append(folder, run, [run.accuracy])
    return folder


def body(table):
    """Cells of the lines under the head."""
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:]]


def fast(seed):
    final = 0.51 + seed / 100
    return a_run("gpo_fast", seed, final, curve=((0, 0.2), (1000, 0.6), (2000, final)), seconds=50.0)


#: GRPO ends at .5, .5, .5; gpo_fast at .51, .52, .53 with twice the tokens, half the seconds of a machine alike.
PAIR = [*(a_run(seed=seed) for seed in range(3)), *map(fast, range(3))]
