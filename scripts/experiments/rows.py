"""A run and its evaluations, as they are in the files of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scripts.experiments.settings import LEARNING, METHODS, Settings, is_plain, label

#: The device of a run for which none was recorded. Its seconds are not compared with those of other runs.
UNKNOWN = "unknown"
#: Columns that hold a share, from 0 to 1.
SHARES = ("accuracy", "low", "high", "root_mixed", "reentry_mixed", "easy_step", "hard_step")


@dataclass(frozen=True)
class Point:
    """One evaluation of a run. Tokens, rows, optimizer steps and seconds are those of the training up to then.

    Attributes:
        run: number of the run.
        accuracy: mean over held-out problems.
        low, high: 95 % interval of the accuracy over problems.
        easy_step, hard_step: of the lines before which all lines are right, the share that is right too, by kind of
            step; None if there was no such line.
        problems, samples: number of held-out problems, and of samples of each.
        distance: Euclidean distance of the weights from those at the start of the training; None if not measured.
    """

    run: int
    training_step: int
    tokens: float
    rows: float
    optimizer_steps: float
    seconds: float
    accuracy: float
    low: float
    high: float
    easy_step: float | None
    hard_step: float | None
    problems: int
    samples: int
    distance: float | None


@dataclass(frozen=True)
class Run:
    """One finished run. Tokens, requests, rows and seconds are totals over the run.

    Attributes:
        run: number of the run.
        settings: what differs between methods; each is a column.
        training_steps: None for an offline optimizer.
        commit: that was trained with; ``+`` at its end for a changed working tree.
        cores, device: number of CPU cores, and model of the GPU or the processor.
        tokens: all generated tokens; ``tokens_root``, ``tokens_value`` and ``tokens_reentry`` are parts of them.
        pairs, pair_prompts: of an offline optimizer, the number of pairs, and of the prompts that they come from.
        seconds: of the training steps without validation; of an offline optimizer, of building pairs and training.
        root_mixed, reentry_mixed: share of groups whose outcomes differ; None if there were no such groups.
        chosen, hits: number of critical steps, and of those that are hard; None if the method chooses none.
        accuracy, low, high: the last evaluation, with its 95 % interval over problems.
        base: the settings of the method in its grid. Settings that differ from them are part of the name.
        points: the evaluations, in order.
    """

    run: int
    grid: str
    regime: str
    method: str
    seed: int
    settings: Settings
    training_steps: int | None
    commit: str
    cores: int | None
    device: str
    tokens: float
    tokens_root: float | None
    tokens_value: float | None
    tokens_reentry: float | None
    requests_value: float | None
    requests_reentry: float | None
    rows: float
    optimizer_steps: float
    pairs: int | None
    pair_prompts: int | None
    seconds: float
    seconds_gen: float | None
    seconds_old_log_prob: float | None
    seconds_update_actor: float | None
    seconds_update_critic: float | None
    seconds_update_weights: float | None
    root_mixed: float | None
    reentry_mixed: float | None
    hits: float | None
    chosen: float | None
    accuracy: float
    low: float
    high: float
    base: Settings = Settings()
    points: tuple[Point, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, Settings, int]:
        """Identifies the run; no two runs have the same key."""
        return self.grid, self.regime, self.method, self.settings, self.seed

    @property
    def name(self) -> str:
        """The method, followed by the settings that differ from those of the method in its grid."""
        return label(self.method, self.settings, self.base)

    @property
    def name_at_any_rate(self) -> str:
        """The name without learning rate, schedule and gradient clipping."""
        ours = {name: getattr(self.base, name) for name in LEARNING}
        return label(self.method, replace(self.settings, **ours), self.base)

    @property
    def varied(self) -> bool:
        """Whether any setting differs from those of the method in its grid."""
        return self.settings != self.base

    @property
    def plain(self) -> bool:
        """Whether the method is an optimizer alone."""
        return is_plain(self.method)

    def same_machine(self, other: Run) -> bool:
        """Whether two runs were made on the same kind of machine, so that their seconds can be compared."""
        return self.device != UNKNOWN and (self.cores, self.device) == (other.cores, other.device)


#: The runs of one method in one regime, by seed.
Seeds = Mapping[int, Run]


def by_cell(runs: list[Run]) -> dict[tuple[str, str], dict[int, Run]]:
    """The runs by regime and name, and then by seed.

    The order is that of tables: methods in the order of `METHODS`, then unknown ones; variants follow their method.
    """
    regimes = {name: place for place, name in enumerate(dict.fromkeys(run.regime for run in runs))}
    rank = {name: place for place, name in enumerate(METHODS)}
    found: dict[tuple[str, str], dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: (regimes[run.regime], rank.get(run.method, len(rank)), run.varied)):
        found.setdefault((run.regime, run.name), {})[run.seed] = run
    return found
