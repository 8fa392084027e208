"""The grid of an experiment: its YAML file, and the training that a cell of it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.gym.tasks import TASKS
from scripts.recipe_runs import Training

ARITHMETIC = "arithmetic"


@dataclass  # not frozen: OmegaConf could not fill it
class Regime:
    """Problems to train on: arguments of ``recipes/arithmetic/prepare.py``, named as there, or a task of reasoning-gym.

    Where the hard kind is rare, the supervised model needs more ``steps`` to learn it. ``target_low`` is by default far
    below the data's root success, so that a model that cannot do the steps may pass where that is small. A task of
    reasoning-gym is as ``recipes/gym`` makes it, and has no other key.
    """

    task: str = ARITHMETIC
    n_steps: int = 8
    n_hard: int = 3
    hard_place: str = "spread"
    slip: float = 0.25
    n_signs: int = 1
    steps: int = 900
    target_low: float | None = None

    @property
    def script(self) -> str:
        return "recipes/arithmetic/run.sh" if self.task == ARITHMETIC else "recipes/gym/run.sh"

    @property
    def arguments(self) -> list[str]:
        if self.task != ARITHMETIC:
            return []
        margin = 0.2  # a supervised model comes close to the data's rate, not on it
        success = (1 - self.slip) ** self.n_hard
        low = max(success - margin, 0.0) if self.target_low is None else self.target_low
        own = {name: value for name, value in asdict(self).items() if name not in ("task", "target_low")}
        own |= {"target_low": f"{low:.4f}", "target_high": f"{min(success + margin, 1.0):.4f}"}
        return [f"--{name.replace('_', '-')}={value}" for name, value in own.items()]

    @property
    def lengths(self) -> tuple[int, int]:
        """Longest prompt and longest response that are wanted, in tokens: six a line, and room for the rest."""
        if self.task != ARITHMETIC:
            return TASKS[self.task].prompt_tokens, TASKS[self.task].response_tokens + 8
        return 6 * self.n_steps + 16, 6 * (self.n_steps + 1) + 8


@dataclass  # not frozen: OmegaConf could not fill it
class Method:
    """What is trained with: ``ALGO`` and ``METHOD`` of the recipe's script, and further settings of verl's.

    Args:
        prompts: of a training step; the mini-batch is as large, so that ``n`` rows a prompt make one optimizer step.
        regime_prompts: the same for some regimes, where another number gives the tokens that are wanted.
    """

    algo: str = "grpo"
    method: str = "gpo"
    prompts: int = 8
    regime_prompts: dict[str, int] = field(default_factory=dict)
    learning_rate: float = 5e-4
    settings: list[str] = field(default_factory=list)


@dataclass  # not frozen: OmegaConf could not fill it
class Grid:
    """The YAML file.

    Args:
        grid: its name, the question that it answers.
        training_steps: of each run.
        evaluate_every: training steps.
        samples: of each held-out problem in an evaluation.
        settings: of verl's, the same for all methods.
    """

    grid: str
    regimes: dict[str, Regime]
    methods: dict[str, Method]
    seeds: list[int]
    training_steps: int
    evaluate_every: int
    samples: int = 4
    settings: list[str] = field(default_factory=list)


def read_grid(path: Path) -> Grid:
    """Read a grid.

    Raises:
        ValueError: a key or value that cannot be, named with the file.
    """
    try:
        written = OmegaConf.load(path)
        grid: Grid = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Grid), written))
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: {error.full_key}: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    for name in ("regimes", "methods", "seeds"):
        if not getattr(grid, name):
            raise ValueError(f"{path}: {name} must not be empty")
    if grid.evaluate_every < 1 or grid.training_steps % grid.evaluate_every:
        raise ValueError(
            f"{path}: evaluate_every={grid.evaluate_every}: must divide training_steps={grid.training_steps}"
        )
    for name, regime in grid.regimes.items():
        if regime.task not in (ARITHMETIC, *TASKS):
            allowed = ", ".join((ARITHMETIC, *TASKS))
            raise ValueError(f"{path}: regimes.{name}.task={regime.task}: must be one of {allowed}")
        if regime.task != ARITHMETIC and len(written.regimes[name]) > 1:
            raise ValueError(f"{path}: regimes.{name}: task={regime.task} has no other key")
    for name, method in grid.methods.items():
        if unknown := set(method.regime_prompts) - set(grid.regimes):
            names = ", ".join(sorted(unknown))
            raise ValueError(f"{path}: methods.{name}.regime_prompts: {names}: must be regimes of the grid")
    return grid


def training(grid: Grid, regime: str, method: str, seed: int, folder: Path) -> Training:
    """The training of one cell."""
    problems, how = grid.regimes[regime], grid.methods[method]
    prompt, response = problems.lengths
    prompts = how.regime_prompts.get(regime, how.prompts)
    name = f"{grid.grid}-{regime}-{method}-{seed}".replace("=", "").replace(":", "_")
    return Training(
        name=name,
        algo=how.algo,
        method=how.method,
        seed=seed,
        steps=grid.training_steps,
        save_every=grid.evaluate_every,
        data=folder / regime / "data",
        out=folder / regime / name,
        script=problems.script,
        environment={
            "TASK": problems.task,
            "PREPARE_ARGS": " ".join(problems.arguments),
            "RESPONSE_LENGTH": str(response),
        },
        overrides=[
            f"data.max_prompt_length={prompt}",
            f"actor_rollout_ref.rollout.max_model_len={prompt + response}",
            f"data.train_batch_size={prompts}",
            f"actor_rollout_ref.actor.ppo_mini_batch_size={prompts}",
            f"critic.ppo_mini_batch_size={prompts}",
            f"actor_rollout_ref.actor.optim.lr={how.learning_rate}",
            *grid.settings,
            *how.settings,
        ],
    )
