"""Rows of experiments made by hand, for tests of what reads them."""

import csv
from dataclasses import fields, replace

from scripts.evidence_rows import EVALUATIONS, RUNS, Point, Run


def a_run(method="grpo", seed=0, accuracy=0.5, curve=((0, 0.2), (1000, 0.5)), **changed):
    """A run of 10 training steps evaluated at (tokens, accuracy): a token takes 1 s and moves the weights by 0.001."""
    given = {"grid": "protocol", "regime": "late12", **changed}
    columns = {field.name: 1.0 for field in fields(Run) if field.name != "points"}
    run = Run(
        **{
            **columns,
            "method": method,
            "seed": seed,
            "training_steps": 10,
            "prompts": 16,
            "commit": "abcdef0123",
            "cores": 2,
            "device": "cpu",
            "tokens_root": float(curve[-1][0]) if curve else 1000.0,
            "tokens_value": 0.0,
            "tokens_reenter": 0.0,
            "rows": 1280.0,
            "optimizer_steps": 10.0,
            "seconds": 100.0,
            "seconds_update_critic": None,
            "root_mixed": 0.5,
            "branch_mixed": None,
            "hits": None,
            "chosen": None,
            "accuracy": accuracy,
            "low": max(accuracy - 0.1, 0),
            "high": min(accuracy + 0.1, 1),
            **given,
        }
    )
    points = tuple(
        Point(
            *run.key, step, float(tokens), 128.0 * step, float(step), float(tokens), right, right, right, easy_step=1.0,
            hard_step=right, problems=256, samples=2, distance=tokens / 1000,
        )
        for step, (tokens, right) in enumerate(curve)
    )  # fmt: skip
    return replace(run, points=points)


def write(folder, runs):
    """The two files as the runner writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, kind, rows in (
        (RUNS, Run, runs),
        (EVALUATIONS, Point, [point for run in runs for point in run.points]),
    ):
        names = [field.name for field in fields(kind) if field.name != "points"]
        with (folder / file).open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(names)
            writer.writerows(["" if (value := getattr(row, name)) is None else value for name in names] for row in rows)
    return folder
