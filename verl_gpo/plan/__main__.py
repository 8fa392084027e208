"""Print what a verl run with GPO will be, from its command line, and start nothing.

    python -m verl_gpo.plan --config-path recipes/math/config --config-name math setup=qwen2_5_0_5b_gsm8k

takes the arguments of ``python -m verl.trainer.main_ppo``: the configuration and any overrides.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from . import show
from .architecture import architecture
from .checks import absent, check_lengths, gpo_settings, verl_checks
from .configuration import Configuration, PlanError, folder_of, load
from .memory import estimate
from .numbers import expectation, training_steps, workload
from .origins import changed_settings
from .twin import MATCH, TWINS, method_settings, twin


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.plan",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--config-path", default="pkg://verl_gpo.trainer.config", help="folder of the configuration")
    parser.add_argument("--config-name", default="gpo_trainer", help="its name, without .yaml")
    parser.add_argument("--measured", type=Path, help="metrics of a GPO run, to reckon with")
    parser.add_argument("--twin", choices=TWINS, help="print nothing but the overrides of the twin at equal tokens")
    parser.add_argument("--match", choices=MATCH, default="n", help="what a twin has more of: rollouts or prompts")
    parser.add_argument("--quick", action="store_true", help="without verl's own checks, which have to import verl")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for verl")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_intermixed_args(argv)
    try:
        configuration = load(folder_of(args.config_path), args.config_name, args.overrides)
        gpo = gpo_settings(configuration)
        check_lengths(configuration)
        if args.twin:
            print("\n".join(twin(configuration, gpo, args.twin, args.match, args.measured).overrides))
            return 0
        if not args.quick:
            verl_checks(configuration)
        _plan(configuration, args)
    except PlanError as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(configuration: Configuration, args: argparse.Namespace) -> None:
    gpo = gpo_settings(configuration)
    expected = expectation(configuration, args.measured)
    own = workload(configuration, gpo, expected)
    searches = gpo.enable and gpo.search not in ("none", "given", "random")
    twins = [twin(configuration, gpo, method, args.match, args.measured) for method in TWINS] if searches else []
    columns = {"this run": own}
    if searches:
        columns["plain, same batch"] = workload(configuration, method_settings(gpo, "plain"), expected)
    columns |= {f"{item.method} twin": item.workload for item in twins}
    model = architecture(str(configuration.get("actor_rollout_ref.model.path")))
    gpu_gib = configuration.number("recipe.gpu_gb", 80)
    memory = estimate(configuration, model, gpu_gib) if model else None
    steps, known = training_steps(configuration)
    if args.json:
        numbers = {
            "steps": {name: asdict(step) | {"tokens": step.tokens} for name, step in columns.items()},
            "twins": {item.method: item.overrides for item in twins},
            "memory": asdict(memory) if memory else None,
            "training_steps": steps,
        }
        print(json.dumps(numbers, indent=1))
        return
    tables = [show.run_table(configuration, gpo, model), show.step_table(columns, expected)]
    if twins:
        tables.append(show.twins_table(twins))
    total = f"{steps:,} training steps ({known}), {steps * own.tokens:,.0f} tokens" if steps else known
    tables.append(show.pairs("Whole run", [("", total)]))
    if memory:
        tables.append(show.memory_table(configuration, memory, gpu_gib))
    said = show.notes(configuration, gpo, model, absent(configuration))
    # A log has no width of its own.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    show.print_plan(console, tables, changed_settings(configuration), said)


if __name__ == "__main__":
    sys.exit(main())
