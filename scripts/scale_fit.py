"""Seconds of a training step's phases as counts times rates, fitted to measured runs and checked on held-out ones.

A phase's seconds are linear in a few counts with rates that cannot be negative. A cell is one regime and method of a
grid; it is held out with all its seeds, so an error is that of a method in a regime that the fit never saw.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.evidence_rows import Run

#: Phase -> the counts that its seconds are made of. ``rest`` is what no phase accounts for.
PHASES: dict[str, tuple[str, ...]] = {
    "gen": ("training steps", "root tokens", "other tokens", "other requests"),
    "old_log_prob": ("training steps", "learnt tokens"),
    "update_actor": ("training steps", "optimizer steps", "learnt tokens"),
    "update_critic": ("training steps", "optimizer steps", "learnt tokens"),
    "update_weights": ("training steps",),
    "rest": ("training steps", "rows"),
}
#: Fewest cells that a fit is made of.
LEAST_CELLS = 4
Cell = tuple[str, str, str]


@dataclass(frozen=True)
class Measured:
    """A run as the fit sees it.

    Attributes:
        counts: of the whole run, by name.
        seconds: of the whole run, by phase; a phase that the run does not have is left out.
    """

    cell: Cell
    training_steps: int
    counts: dict[str, float]
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """All phases."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Fit:
    """Rates by phase and count, in seconds each; a phase that was never measured has none."""

    rates: dict[str, dict[str, float]]

    def seconds(self, run: Measured) -> dict[str, float] | None:
        """Predicted seconds of the phases that a run has; None where one of them was never measured."""
        if any(phase not in self.rates for phase in run.seconds):
            return None
        return {
            phase: sum(rate * run.counts[count] for count, rate in self.rates[phase].items()) for phase in run.seconds
        }


def measured(runs: Sequence[Run]) -> tuple[list[Measured], list[str]]:
    """What can be fitted, and why the rest cannot.

    Seconds of different machines are not of one fit: only runs of the commonest one are kept. The length of a response
    is that of the runs of its regime whose rows are all roots; without such a run what was learnt from is not known.
    """
    notes: list[str] = []
    if not runs:
        return [], notes
    machine, count = Counter(run.machine for run in runs).most_common(1)[0]
    if count < len(runs):
        notes.append(f"{len(runs) - count} runs on other machines are left out")
    runs = [run for run in runs if run.machine == machine]
    lengths: dict[str, list[float]] = {}
    for run in runs:
        if not run.requests_value and not run.requests_reenter:
            lengths.setdefault(run.regime, []).append(run.tokens_root / run.rows)
    lacking = sorted({run.regime for run in runs} - set(lengths))
    if lacking:
        notes.append(f"regimes without a run of roots alone are left out: {', '.join(lacking)}")
    found = [_measured(run, statistics.median(lengths[run.regime])) for run in runs if run.regime in lengths]
    return found, notes


def _measured(run: Run, length: float) -> Measured:
    seconds = {phase: getattr(run, f"seconds_{phase}") for phase in PHASES if phase != "rest"}
    seconds = {phase: spent for phase, spent in seconds.items() if spent}
    seconds["rest"] = max(run.seconds - sum(seconds.values()), 0.0)
    counts = {
        "training steps": float(run.training_steps),
        "root tokens": run.tokens_root,
        "other tokens": run.tokens_value + run.tokens_reenter,
        "other requests": run.requests_value + run.requests_reenter,
        "learnt tokens": run.rows * length,
        "rows": run.rows,
        "optimizer steps": run.optimizer_steps,
    }
    return Measured((run.grid, run.regime, run.method), run.training_steps, counts, seconds)


def fit(runs: Sequence[Measured]) -> Fit:
    """Rates that make the relative errors of each phase's seconds least."""
    rates = {}
    for phase, names in PHASES.items():
        mine = [run for run in runs if run.seconds.get(phase, 0.0) > 0]
        if mine:
            seconds_R = np.array([run.seconds[phase] for run in mine])
            counts_RF = np.array([[run.counts[name] for name in names] for run in mine])
            found_F = least_squares(counts_RF / seconds_R[:, None], np.ones(len(mine)))
            rates[phase] = dict(zip(names, found_F.tolist(), strict=True))
    return Fit(rates)


def least_squares(a_RF: np.ndarray, b_R: np.ndarray) -> np.ndarray:
    """``x >= 0`` with the least ``|a x - b|``; exact, by trying every subset of the few columns.

    The solution of non-negative least squares solves the unconstrained problem on its own support (Lawson & Hanson
    1974, chapter 23), so the best of the subsets whose solution has no negative number is it.

    Args:
        a_RF: ``(R, F)``, with few columns: the work doubles with each.
        b_R: ``(R,)``.

    Returns:
        ``(F,)``.
    """
    columns = a_RF.shape[1]
    # Counts differ by orders of magnitude; columns of one size keep the numbers well.
    scale_F = np.maximum(np.abs(a_RF).max(axis=0), 1e-300)
    scaled_RF = a_RF / scale_F
    best, least = np.zeros(columns), float(b_R @ b_R)
    for size in range(1, columns + 1):
        for subset in itertools.combinations(range(columns), size):
            x, *_ = np.linalg.lstsq(scaled_RF[:, subset], b_R, rcond=None)
            residual = scaled_RF[:, subset] @ x - b_R
            # A larger subset has to be better by more than rounding.
            if (x >= 0).all() and residual @ residual < least - 1e-12:
                best, least = np.zeros(columns), float(residual @ residual)
                best[list(subset)] = x
    return best / scale_F


@dataclass(frozen=True)
class HeldOut:
    """A cell, predicted by a fit to all others.

    Attributes:
        errors: predicted over measured seconds less 1, by phase and ``total``, of each run of the cell.
        step: predicted seconds of a training step, mean over its runs.
        measured_step: measured ones.
    """

    cell: Cell
    errors: dict[str, list[float]]
    step: float
    measured_step: float


def held_out(runs: Sequence[Measured]) -> list[HeldOut]:
    """Every cell predicted by a fit to the others; a cell with a phase that no other has is left out."""
    found = []
    for cell in dict.fromkeys(run.cell for run in runs):
        mine, others = ([run for run in runs if (run.cell == cell) == own] for own in (True, False))
        fitted = fit(others)
        predictions = [(run, fitted.seconds(run)) for run in mine]
        known = [(run, seconds) for run, seconds in predictions if seconds is not None]
        if not known:
            continue
        errors: dict[str, list[float]] = {}
        for run, seconds in known:
            for phase, spent in run.seconds.items():
                if spent:
                    errors.setdefault(phase, []).append(seconds[phase] / spent - 1)
            errors.setdefault("total", []).append(sum(seconds.values()) / run.total - 1)
        steps = [sum(seconds.values()) / run.training_steps for run, seconds in known]
        real = [run.total / run.training_steps for run, _ in known]
        found.append(HeldOut(cell, errors, statistics.fmean(steps), statistics.fmean(real)))
    return found
