"""A cost model of a training step: fitted to the measured runs, and laid out for GPUs from written-down assumptions.

python scripts/scale_model.py            # writes the tables of docs/scale.md
python scripts/scale_model.py --check    # writes nothing; status 1 if the page is not what the results say
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from scripts.evidence import RESULTS  # noqa: E402
from scripts.evidence_format import table  # noqa: E402
from scripts.evidence_rows import Run, read_results  # noqa: E402
from scripts.pages import check, fill, write  # noqa: E402
from scripts.scale_fit import LEAST_CELLS, PHASES, HeldOut, fit, held_out, measured  # noqa: E402
from scripts.scale_gpu import ASSUMED, SCENARIOS, Assumptions, Scenario, StepSeconds, step_seconds  # noqa: E402
from verl_gpo.config import GPOConfig  # noqa: E402

PAGE = REPOSITORY / "docs" / "scale.md"
Settings = dict[str, object]
GRPO: Settings = {"enable": False}
PAPER: Settings = {"preset": "paper"}
FAST: Settings = {"preset": "fast"}
SETTINGS: dict[str, Settings] = {
    "GRPO": GRPO,
    "`paper`": PAPER,
    "`fast`": FAST,
    "`paper`, rows=matched": {**PAPER, "rows": "matched"},
    "`fast`, rows=matched": {**FAST, "rows": "matched"},
}
#: What is varied, one at a time: fields of the scenario, and ``n_mc``.
KNOBS: dict[str, tuple[int, ...]] = {
    "steps": (8, 16, 32, 64),
    "n_mc": (2, 4, 8, 12),
    "prompts": (32, 128, 512, 2048),
    "response_tokens": (512, 2048, 8192, 16384),
}
_WORDS = {"steps": "steps K", "n_mc": "n_mc", "prompts": "prompts", "response_tokens": "response tokens"}


def fitted(runs: Sequence[Run]) -> str:
    """Rates of the fit to the measured runs, and its errors on cells that it did not see."""
    known, notes = measured(runs)
    cells = len({run.cell for run in known})
    if cells < LEAST_CELLS:
        return f"Nothing to fit yet: {cells} cells of finished runs, of at least {LEAST_CELLS}."
    found, apart = fit(known), held_out(known)
    rows = []
    for phase, counts in PHASES.items():
        if phase not in found.rates:
            continue
        rates = ", ".join(f"{found.rates[phase][count]:.2e} per {count.removesuffix('s')}" for count in counts)
        rows.append((phase, rates, *_errors(apart, phase)))
    rows.append(("total", "", *_errors(apart, "total")))
    (machine,) = {run.machine for run in runs if (run.grid, run.regime, run.method) in {run.cell for run in known}}
    said = [f"{len(known)} runs in {cells} cells, on {machine[1]}, {machine[0]} cores.", *(f"{n}." for n in notes)]
    head = ("phase", "fitted rates, seconds", "held-out runs", "middle error", "largest error")
    return "\n\n".join((" ".join(said), table(head, rows, 2), multiples(apart)))


def _errors(cells: Sequence[HeldOut], phase: str) -> tuple[str, str, str]:
    errors = [abs(error) for cell in cells for error in cell.errors.get(phase, ())]
    if not errors:
        return "0", "none", "none"
    return str(len(errors)), f"{statistics.median(errors):.0%}", f"{max(errors):.0%}"


def multiples(cells: Sequence[HeldOut]) -> str:
    """Seconds of a step as a multiple of GRPO's in the same grid and regime: measured, and predicted unseen."""
    by_cell = {cell.cell: cell for cell in cells}
    rows = []
    for (grid, regime, method), cell in by_cell.items():
        plain = by_cell.get((grid, regime, "grpo"))
        if plain and method != "grpo":
            shares = (cell.measured_step / plain.measured_step, cell.step / plain.step)
            rows.append((grid, regime, method, len(cell.errors["total"]), *(f"{share:.2f}" for share in shares)))
    if not rows:
        return "No cell with a GRPO of its grid and regime."
    return table(("grid", "regime", "method", "seeds", "x GRPO, measured", "x GRPO, predicted unseen"), rows, 3)


def _seconds(scenario: Scenario, settings: Settings, assumed: Assumptions = ASSUMED) -> StepSeconds:
    return step_seconds(scenario, GPOConfig.from_mapping(settings), assumed)


def span(ours: StepSeconds, plain: StepSeconds) -> str:
    """A multiple with the sampling phases overlapped as far as they can, and apart."""
    return f"{ours.least / plain.least:.2f} to {ours.most / plain.most:.2f}"


def steps(_: Sequence[Run]) -> str:
    """A training step by phase in each scenario."""
    parts = []
    for scenario in SCENARIOS:
        plain = _seconds(scenario, GRPO)
        rows = []
        for name, settings in SETTINGS.items():
            found = _seconds(scenario, settings)
            phases = (found.roots, found.values, found.reentry, found.log_probs, found.update, found.weights)
            cells = (f"{seconds:,.0f}" for seconds in (*phases, found.rest))
            whole = f"{found.least:,.0f} to {found.most:,.0f}" if found.most > found.least else f"{found.most:,.0f}"
            ratios = (f"{found.rows / plain.rows:.2f}", f"{found.tokens / plain.tokens:.2f}", span(found, plain))
            rows.append((name, *cells, whole, *ratios))
        head = ("seconds", "roots", "values", "re-entry", "log-probs", "update", "weights", "rest", "step")
        made = table((*head, "rows x GRPO", "tokens x GRPO", "seconds x GRPO"), rows, 1)
        parts.append(f"**{scenario.name}**: {_described(scenario)}\n\n{made}")
    return "\n\n".join(parts)


def _described(scenario: Scenario) -> str:
    size = "1 GPU" if scenario.tensor_parallel == 1 else f"{scenario.tensor_parallel} GPUs"
    return (
        f"{scenario.model.parameters / 1e9:.1f} billion parameters, {scenario.engines:.0f} engines of {size}, "
        f"{scenario.prompts} prompts x {scenario.n} roots, {scenario.prompt_tokens} prompt tokens, "
        f"{scenario.response_tokens:,} response tokens, {scenario.steps} steps."
    )


def knobs(_: Sequence[Run]) -> str:
    """Multiples of GRPO's seconds, one thing varied at a time."""
    rows = []
    for knob, values in KNOBS.items():
        for value in values:
            cells: list[str] = []
            for scenario in SCENARIOS:
                changed = scenario if knob == "n_mc" else replace(scenario, **{knob: value})
                extra = {"n_mc": value} if knob == "n_mc" else {}
                plain = _seconds(changed, GRPO)
                cells.append(f"{plain.most:,.0f}")
                cells += [span(_seconds(changed, {**settings, **extra}), plain) for settings in (PAPER, FAST)]
            rows.append((f"{_WORDS[knob]} = {value:,}", *cells))
    head = [f"{scenario.name}: {what}" for scenario in SCENARIOS for what in ("GRPO, s", "`paper`, x", "`fast`, x")]
    return table(("", *head), rows, 1)


def moves(_: Sequence[Run]) -> str:
    """What half and twice of each assumption would change, in the first scenario; shares stay at most 1."""
    scenario, rows = SCENARIOS[0], []
    for option in fields(Assumptions):
        if not option.metadata["source"].startswith("assumed"):
            continue
        for factor in (0.5, 2.0):
            value = factor * option.default
            if option.metadata["unit"].startswith("share"):
                value = min(value, 1.0)
            assumed = replace(ASSUMED, **{option.name: value})
            plain = _seconds(scenario, GRPO, assumed)
            against = (span(_seconds(scenario, settings, assumed), plain) for settings in (PAPER, FAST))
            rows.append((f"{option.name} = {value:g}", f"{plain.most:,.0f}", *against))
    plain = _seconds(scenario, GRPO)
    against = (span(_seconds(scenario, settings), plain) for settings in (PAPER, FAST))
    rows.insert(0, ("as assumed", f"{plain.most:,.0f}", *against))
    return table((scenario.name, "GRPO, s", "`paper`, x", "`fast`, x"), rows, 1)


def assumptions(_: Sequence[Run]) -> str:
    """Every constant with its source."""
    rows = [
        (f"`{option.name}`", option.metadata["unit"], option.metadata["source"], f"{option.default:g}")
        for option in fields(Assumptions)
    ]
    models = [
        (f"{scenario.name}: model", "", scenario.model.source, f"{scenario.model.parameters:,}")
        for scenario in SCENARIOS
    ]
    return table(("constant", "unit", "source", "value"), [*rows, *models], 3)


SECTIONS = {"fit": fitted, "steps": steps, "knobs": knobs, "moves": moves, "assumptions": assumptions}


def page(runs: Sequence[Run], path: Path) -> dict[Path, str]:
    """The page as results and assumptions have it.

    Raises:
        OSError, ValueError: a page that cannot be read, or is without the markers.
    """
    text = path.read_text(encoding="utf-8")
    try:
        return {path: fill(text, "scale", {name: section(runs) for name, section in SECTIONS.items()})}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of runs.csv and evaluations.csv")
    parser.add_argument("--page", type=Path, default=PAGE, help="page of the tables")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not up to date")
    args = parser.parse_args(argv)
    try:
        made = page(read_results(args.results), args.page)
    except (OSError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    if args.check:
        return check(made, "python scripts/scale_model.py")
    print(f"pages changed: {', '.join(map(str, write(made))) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
