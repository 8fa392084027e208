"""Print the expected size and cost of a verl run with GPO, without starting anything.

    python -m verl_gpo.plan --config-path recipes/math/config --config-name math setup=qwen2_5_0_5b_gsm8k

takes the arguments of ``python -m verl.trainer.main_ppo``: the configuration and any overrides.

    python -m verl_gpo.plan --steps 16 --response-tokens 800 --n 8 --prompts 128 search=adaptive n_mc=8

takes settings of ``algorithm.gpo`` alone, and compares their tokens with the presets' and with plain GRPO's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from ..config import PRESETS, ConfigError, GPOConfig
from ..core.cost import Cost, expected_cost
from ..inference.settings import read_settings
from ..plugin.checks.files import files_missing
from ..plugin.checks.validate import check
from ..plugin.checks.values import check_gpus, check_values
from ..plugin.checks.verls_own import verl_refuses
from ..plugin.checks.without_effect import reentry_selected, without_effect
from . import show
from .architecture import architecture
from .configuration import Configuration, PlanError, folder_of, load
from .memory import estimate
from .numbers import expectation, training_steps, workload
from .twin import CONTROLS, MATCH, TWINS, method_settings, twin


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.plan",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--config-path", default="pkg://verl_gpo.trainer.config", help="folder of the configuration")
    parser.add_argument("--config-name", default="gpo_trainer", help="its name, without .yaml")
    parser.add_argument("--measured", type=Path, help="metrics of a GPO run, to use instead of estimates")
    parser.add_argument("--twin", choices=CONTROLS, help="print nothing but the overrides of the twin at equal tokens")
    parser.add_argument("--match", choices=MATCH, default="n", help="what a twin has more of: rollouts or prompts")
    parser.add_argument("--quick", action="store_true", help="without verl's own checks, which have to import verl")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    tokens = parser.add_argument_group("tokens alone, without a model and a configuration")
    tokens.add_argument("--steps", type=int, help="steps of a response")
    tokens.add_argument("--response-tokens", type=float, help="mean length of a response")
    tokens.add_argument("--n", type=int, default=8, help="root rollouts of a prompt")
    tokens.add_argument("--prompts", type=int, default=1, help="prompts of a training step")
    tokens.add_argument("--examined", type=float, default=1.0, help="share of prompts that are re-entered")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for verl, or settings of algorithm.gpo")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_intermixed_args(argv)
    if (args.steps is None) != (args.response_tokens is None):
        parser.error("--steps and --response-tokens: give both, or neither")
    # A log file has no terminal width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        if args.steps is not None:
            console.print(show.cost_table(_costs(args)))
            console.print("Of one training step. What adaptive and propose spend on the search is an upper bound.")
            return 0
        configuration = load(folder_of(args.config_path), args.config_name, args.overrides)
        gpo = gpo_settings(configuration)
        if args.twin:
            print("\n".join(twin(configuration, gpo, args.twin, args.match, args.measured).overrides))
            return 0
        refused = None if args.quick else verl_refuses(configuration.config)
        if refused:
            raise PlanError(refused)
        _plan(console, configuration, gpo, args)
    except (ConfigError, PlanError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    return 0


def gpo_settings(configuration: Configuration) -> GPOConfig:
    """The run's settings of GPO, checked as at the start of a run, but without its files; off without GPO's worker.

    Raises:
        ConfigError: a setting that cannot work.
    """
    gpo = check(configuration.config)
    check_values(configuration.config)
    check_gpus(configuration.config)
    return gpo if reentry_selected(configuration.config) else replace(gpo, enable=False)


def _costs(args: argparse.Namespace) -> dict[str, Cost]:
    named = {"plain GRPO": {"enable": False}} | {f"preset={preset}": {"preset": preset} for preset in PRESETS}
    if args.overrides:
        named[" ".join(args.overrides)] = read_settings(args.overrides)
    return {
        name: expected_cost(
            GPOConfig.from_mapping(block), args.steps, args.response_tokens, args.n, args.prompts, args.examined
        )
        for name, block in named.items()
    }


def _plan(console: Console, configuration: Configuration, gpo: GPOConfig, args: argparse.Namespace) -> None:
    expected = expectation(configuration, args.measured)
    own = workload(configuration, gpo, expected)
    searches = gpo.enable and gpo.search not in ("none", "given", "random", "tool_entropy")
    methods = [method for method in TWINS if gpo.n_reentry or method != "random"] if searches else []
    twins = [twin(configuration, gpo, method, args.match, args.measured) for method in methods]
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
    missing = [(key, path) for key, path, _ in files_missing(configuration.config)]
    said = show.notes(configuration, gpo, model, without_effect(configuration.config, gpo), missing)
    show.print_plan(console, tables, said)


if __name__ == "__main__":
    sys.exit(main())
