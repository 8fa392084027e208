"""Say what GPO will cost in a run, before it: tokens, and multiples of plain GRPO.

    python -m verl_gpo.calibrate.estimate --steps 16 --response-tokens 800 --n 8 --prompts 128 search=adaptive n_mc=8

compares the settings given with both presets and with plain GRPO.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ..config import PRESETS, ConfigError, GPOConfig
from ..core.cost import Cost, expected_cost
from ..inference.settings import read_settings


def estimate_table(costs: dict[str, Cost]) -> Table:
    """One row a setting."""
    table = Table()
    table.add_column("setting", overflow="fold", min_width=24)
    for column in ("roots", "search", "re-entry", "x GRPO", "requests", "rows", "+ rows"):
        table.add_column(column, justify="right")
    for setting, cost in costs.items():
        tokens = (cost.root_tokens, cost.value_tokens, cost.reentry_tokens)
        rest = (cost.requests, cost.root_rows, cost.reentry_rows)
        table.add_row(setting, *map(_short, tokens), f"{cost.multiple:.2f}", *map(_short, rest))
    return table


def _short(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "K")):
        if count >= size:
            return f"{count / (1e3 if unit == 'K' else size):.3g}{unit}"
    return f"{count:,.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.calibrate.estimate",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--steps", type=int, required=True, help="steps of a response")
    parser.add_argument("--response-tokens", type=float, required=True, help="mean length of a response")
    parser.add_argument("--n", type=int, default=8, help="root rollouts of a prompt")
    parser.add_argument("--prompts", type=int, default=1, help="prompts of a training step")
    parser.add_argument("--examined", type=float, default=1.0, help="share of prompts that are re-entered")
    parser.add_argument("gpo", nargs="*", metavar="KEY=VALUE", help="settings of algorithm.gpo")
    args = parser.parse_args(argv)
    try:
        named = {"plain GRPO": {"enable": False}} | {f"preset={preset}": {"preset": preset} for preset in PRESETS}
        if args.gpo:
            named[" ".join(args.gpo)] = read_settings(args.gpo)
        costs = {
            name: expected_cost(
                GPOConfig.from_mapping(block), args.steps, args.response_tokens, args.n, args.prompts, args.examined
            )
            for name, block in named.items()
        }
    except (ConfigError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    console = Console(highlight=False)
    console.print(estimate_table(costs))
    console.print("Of one training step. What adaptive and propose spend on the search is an upper bound.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
