"""A grid: its YAML file, and its cells, one for each method, regime and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any, Optional, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.gym.tasks import TASKS
from recipes.smollm2.tasks import TASKS as LANGUAGE_TASKS
from scripts.experiments.settings import (
    GPO_METHODS,
    METHODS,
    OFFLINE,
    ONLINE,
    PLAIN,
    Settings,
    is_plain,
    label,
)

FOLDER = Path(__file__).with_name("grids")
ARITHMETIC, AGENTS = "arithmetic", "agents"
#: Tasks whose regimes have arguments of their recipe's ``prepare.py`` as they are.
PREPARED = (*LANGUAGE_TASKS, AGENTS)
SETUPS = Path(__file__).parents[2] / "recipes" / "smollm2" / "config" / "setup"


@dataclass  # not frozen: OmegaConf could not fill it
class Regime:
    """The problems to train on.

    Attributes:
        task: ``arithmetic``, a task of ``recipes/gym``, which takes none of the other attributes, or a task of
            ``recipes/smollm2``, for a pretrained language model, or ``agents``, that of ``recipes/agents``.
        n_steps, n_hard, hard_place, slip, n_signs: as the arguments of ``recipes/arithmetic/prepare.py``.
        steps: optimizer steps of the supervision. If hard steps are rare, the model needs more of them.
        target_low: lowest accuracy of the supervised model that is accepted. By default it is 0.2 below the share of
            supervised solutions that are right; if that is small, a model that has not learnt the steps may pass.
        prompt_tokens, response_tokens: longest prompt and response of the training, by default what the task needs.
        prepare: arguments of ``prepare.py`` of ``recipes/smollm2`` or ``recipes/agents``.
    """

    task: str = ARITHMETIC
    n_steps: int = 8
    n_hard: int = 3
    hard_place: str = "spread"
    slip: float = 0.25
    n_signs: int = 1
    steps: int = 900
    target_low: float | None = None
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    prepare: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> str:
        """The recipe's folder."""
        if self.task in LANGUAGE_TASKS:
            return "smollm2"
        return self.task if self.task in (ARITHMETIC, AGENTS) else "gym"

    @property
    def script(self) -> str:
        """The recipe's script."""
        return f"recipes/{self.recipe}/run.sh"

    @property
    def arguments(self) -> list[str]:
        """The arguments of the recipe's preparation."""
        if self.task != ARITHMETIC:
            return list(self.prepare)
        margin = 0.2  # the accuracy of the supervised model is near that of the data, and not equal to it
        success = (1 - self.slip) ** self.n_hard
        low = max(success - margin, 0.0) if self.target_low is None else self.target_low
        others = ("task", "target_low", "prompt_tokens", "response_tokens", "prepare")
        own = {name: value for name, value in asdict(self).items() if name not in others}
        own |= {"target_low": f"{low:.4f}", "target_high": f"{min(success + margin, 1.0):.4f}"}
        return [f"--{name.replace('_', '-')}={value}" for name, value in own.items()]

    @property
    def lengths(self) -> tuple[int, int]:
        """Longest prompt and longest response in tokens: six for each line, and some for the rest."""
        if self.task in LANGUAGE_TASKS:
            data = OmegaConf.load(SETUPS / f"{self.task}.yaml").data
            return self.prompt_tokens or data.max_prompt_length, self.response_tokens or data.max_response_length
        if self.task == AGENTS:  # of the recipe's run.sh, which has room for six moves
            return self.prompt_tokens or 32, self.response_tokens or 192
        if self.task != ARITHMETIC:
            return TASKS[self.task].prompt_tokens, TASKS[self.task].response_tokens + 8
        return self.prompt_tokens or 6 * self.n_steps + 16, self.response_tokens or 6 * (self.n_steps + 1) + 8


#: A method of the YAML file: the fields of :class:`Settings`, None if not given. ``regime_prompts``: number of prompts
#: in some regimes, where another number gives the wanted tokens. ``run``: false if only its variants are trained.
Entry = make_dataclass(
    "Entry",
    [(name, Optional[kind], field(default=None)) for name, kind in get_type_hints(Settings).items()]  # noqa: UP045
    + [("regime_prompts", dict[str, int], field(default_factory=dict)), ("run", bool, field(default=True))],
)
#: A method with some other settings; those that are not given are the method's.
Variant = make_dataclass("Variant", [("method", str)], bases=(Entry,), kw_only=True)


@dataclass  # not frozen: OmegaConf could not fill it
class Offline:
    """The budget of a training with an offline optimizer.

    Args:
        tokens: number of tokens that are generated for its pairs.
        steps: number of optimizer steps.
    """

    tokens: int = 150_000
    steps: int = 40


@dataclass  # not frozen: OmegaConf could not fill it
class Grid:
    """The YAML file.

    Args:
        grid: its name.
        regimes: name of each regime -> its problems.
        methods: name of each method -> its settings. The names are those of
            :data:`~scripts.experiments.settings.METHODS`; ``plain`` is the optimizer alone.
        seeds: each method is trained with each of them in each regime.
        training_steps: of each run; a multiple of ``evaluate_every``.
        evaluate_every: number of training steps between two evaluations.
        variants: methods with other settings, which are trained as well.
        optimizers: every method is trained with each of them; if empty, each with its own.
        samples: number of samples of each held-out problem in an evaluation.
        settings: arguments of verl, the same for all methods.
        offline: the budget of offline optimizers.
        apart: its runs are compared with each other only, so that they may start from other models than the runs of
            other grids. The supervision gives another model on another machine.
    """

    grid: str
    regimes: dict[str, Regime]
    methods: dict[str, Entry]
    seeds: list[int]
    training_steps: int
    evaluate_every: int
    variants: list[Variant] = field(default_factory=list)
    optimizers: list[str] = field(default_factory=list)
    samples: int = 4
    settings: list[str] = field(default_factory=list)
    offline: Offline = field(default_factory=Offline)
    apart: bool = False

    def base(self, method: str, regime: str, optimizer: str = "grpo") -> Settings:
        """The settings of a method in this grid. A method that the grid does not have gets the defaults."""
        if self.optimizers:
            written = PLAIN if is_plain(method) else method
            return _settings(written, optimizer, regime, self.methods.get(written))
        return _settings(method, None, regime, self.methods.get(method))

    def trained(self, regime: str) -> list[tuple[str, Settings]]:
        """The methods that are trained in a regime, with their settings, in order."""
        found = []
        for optimizer in self.optimizers or [None]:
            entries = [(name, entry, None) for name, entry in self.methods.items() if entry.run]
            entries += [(one.method, self.methods[one.method], one) for one in self.variants]
            for name, entry, variant in entries:
                settings = _settings(name, optimizer, regime, entry, variant)
                found.append((settings.optimizer if name == PLAIN else name, settings))
        return found

    def cells(self) -> Iterator[Cell]:
        """All trainings. All methods of a seed come before the next seed, so that an interrupted grid can be used."""
        for regime in self.regimes:
            for seed in self.seeds:
                for method, settings in self.trained(regime):
                    name = label(method, settings, self.base(method, regime, settings.optimizer))
                    yield Cell(self.grid, regime, method, settings, seed, name)


@dataclass(frozen=True)
class Cell:
    """One training of a grid. ``name`` is the method's name in tables, with the settings that differ from the
    grid's."""

    grid: str
    regime: str
    method: str
    settings: Settings
    seed: int
    name: str

    @property
    def key(self) -> tuple[str, str, str, Settings, int]:
        """Identifies the cell; a row of it has the same key."""
        return self.grid, self.regime, self.method, self.settings, self.seed

    @property
    def file_name(self) -> str:
        """A name for files, without characters that a shell would interpret."""
        return f"{self.grid}-{self.regime}-{self.name.replace('=', '').replace(' ', '_')}-{self.seed}"


def _settings(method: str, optimizer: str | None, regime: str, *entries: Any) -> Settings:
    """The settings of a method in a regime. What a later entry gives replaces what an earlier one gives."""
    given: dict[str, Any] = {"optimizer": method} if is_plain(method) else {}
    for entry in entries:
        if entry is not None:
            own = ((one.name, getattr(entry, one.name)) for one in fields(Settings))
            given |= {name: value for name, value in own if value is not None}
            if regime in entry.regime_prompts:
                given["prompts"] = entry.regime_prompts[regime]
    if optimizer:
        given["optimizer"] = optimizer
    if given.get("optimizer") in OFFLINE:  # the recipe has its own
        given |= {"prompts": None, "rollouts": None, "learning_rate": None}
    return Settings(**given)


def read_grid(path: Path) -> Grid:
    """Read a grid.

    Raises:
        ValueError: a key or a value is not allowed; the message names it and the file.
    """
    try:
        written = OmegaConf.load(path)
        grid: Grid = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Grid), written))
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: {error.full_key}: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if problem := next(_problems(grid, written), None):
        raise ValueError(f"{path}: {problem}")
    return grid


def _problems(grid: Grid, written: Mapping[str, Any]) -> Iterator[str]:
    """The reasons why a grid is not valid, one line each."""
    for name in ("regimes", "methods", "seeds"):
        if not getattr(grid, name):
            yield f"{name} must not be empty"
    if grid.evaluate_every < 1 or grid.training_steps % grid.evaluate_every:
        yield f"evaluate_every={grid.evaluate_every}: must divide training_steps={grid.training_steps}"
    for name, regime in grid.regimes.items():
        known = (ARITHMETIC, *TASKS, *PREPARED)
        if regime.task not in known:
            yield f"regimes.{name}.task={regime.task}: must be one of {', '.join(known)}"
        keys = set(written["regimes"][name]) - {"task"}
        if regime.task in PREPARED:
            keys -= {"prepare", "prompt_tokens", "response_tokens"}
        elif regime.prepare:
            yield f"regimes.{name}.prepare: is read with a task of {', '.join(PREPARED)} only"
        if regime.task != ARITHMETIC and keys:
            yield f"regimes.{name}: task={regime.task} has no key {', '.join(sorted(keys))}"
    allowed = (PLAIN, *GPO_METHODS) if grid.optimizers else METHODS
    for name in grid.methods:
        if name not in allowed:
            yield f"methods.{name}: must be one of {', '.join(allowed)}"
    for name in grid.optimizers:
        if name not in ONLINE + OFFLINE:
            yield f"optimizers: {name}: must be one of {', '.join(ONLINE + OFFLINE)}"
    for number, variant in enumerate(grid.variants):
        if variant.method not in grid.methods:
            yield f"variants[{number}].method={variant.method}: must be one of {', '.join(grid.methods)}"
    entries = {f"methods.{name}": entry for name, entry in grid.methods.items()}
    entries |= {f"variants[{number}]": entry for number, entry in enumerate(grid.variants)}
    for where, entry in entries.items():
        if unknown := ", ".join(sorted(set(entry.regime_prompts) - set(grid.regimes))):
            yield f"{where}.regime_prompts: {unknown}: must be regimes of the grid"
    for regime in grid.regimes:
        for name, settings in grid.trained(regime):
            if settings.prompts and settings.prompts % settings.mini_batches:
                yield f"{name}: mini_batches={settings.mini_batches}: must divide prompts={settings.prompts}"


def known_grids(folder: Path = FOLDER) -> dict[str, Grid]:
    """The grids of a folder by name.

    Raises:
        ValueError: a file is not a valid grid.
    """
    return {grid.grid: grid for grid in map(read_grid, sorted(folder.glob("*.yaml")))}
