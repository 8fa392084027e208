"""A run and its evaluations, as the raw results have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scripts.experiments.settings import LEARNING, METHODS, Settings, is_plain, label

#: Where the device of a run was not written down; its seconds are compared with nobody's.
UNKNOWN = "unknown"
#: Columns that are shares.
SHARES = ("accuracy", "low", "high", "root_mixed", "reentry_mixed", "easy_step", "hard_step")


@dataclass(frozen=True)
class Point:
    """One evaluation of a run; tokens, rows, optimizer steps and seconds are what training had spent by then.

    Attributes:
        run: number of the run.
        low, high: 95 % interval of the accuracy over problems.
        easy_step, hard_step: share of right lines among those that follow only right lines, by kind of step; None
            where no such line was met.
        distance: of the policy's weights from those that training started from, Euclidean; None where not measured.
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
    """One run that is finished; tokens, requests, rows and seconds are totals of it.

    Attributes:
        run: a number of its own.
        settings: what differs from method to method, each a column.
        training_steps: None for an offline optimizer.
        tokens: all that were generated, whatever for; ``tokens_root`` and the others are parts of it.
        pairs, pair_prompts: that an offline optimizer is trained on, and the prompts that they come from.
        seconds: training steps, validation left out; of an offline optimizer pairs and training.
        root_mixed, reentry_mixed: share of the groups whose outcomes differ; None without such groups.
        chosen, hits: critical steps, and those among them that are hard in truth; None for methods without.
        accuracy, low, high: last evaluation, with its 95 % interval over problems.
        base: the settings that the method has in its grid: what differs from them is part of the name.
        points: its evaluations, in order.
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
        """Two runs do not share it."""
        return self.grid, self.regime, self.method, self.settings, self.seed

    @property
    def name(self) -> str:
        """The method, and what differs from the method as its grid has it."""
        return label(self.method, self.settings, self.base)

    @property
    def name_at_any_rate(self) -> str:
        """The name without learning rate, schedule and bound on gradients."""
        ours = {name: getattr(self.base, name) for name in LEARNING}
        return label(self.method, replace(self.settings, **ours), self.base)

    @property
    def varied(self) -> bool:
        """Whether anything does."""
        return self.settings != self.base

    @property
    def plain(self) -> bool:
        """Whether this is an optimizer alone."""
        return is_plain(self.method)

    def same_machine(self, other: Run) -> bool:
        """Whether seconds may be compared."""
        return self.device != UNKNOWN and (self.cores, self.device) == (other.cores, other.device)


#: Runs of a method by seed.
Seeds = Mapping[int, Run]


def by_cell(runs: list[Run]) -> dict[tuple[str, str], dict[int, Run]]:
    """Runs by seed, by regime and name, in the order of a table: known methods first, variants behind their method."""
    regimes = {name: place for place, name in enumerate(dict.fromkeys(run.regime for run in runs))}
    rank = {name: place for place, name in enumerate(METHODS)}
    found: dict[tuple[str, str], dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: (regimes[run.regime], rank.get(run.method, len(rank)), run.varied)):
        found.setdefault((run.regime, run.name), {})[run.seed] = run
    return found
