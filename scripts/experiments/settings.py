"""The names of methods, and the settings that are columns of a row.

A method has a name that a reader knows. Everything else that differs between trainings is a field of :class:`Settings`,
with the same name in the YAML file of a grid, in the files of results, and in tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

#: The optimizers of ``recipes/arithmetic/run.sh``. To add one, add its name.
ONLINE = ("grpo", "ppo", "drgrpo", "rloo", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "dapo", "gspo")
#: The optimizers of ``recipes/arithmetic/offline.sh``.
OFFLINE = ("dpo", "kto", "simpo", "orpo")
#: Method -> the variable ``METHOD`` of the recipe, and the settings of ``algorithm.gpo`` that define the method.
GPO_METHODS: dict[str, tuple[str, Mapping[str, str]]] = {
    "random": ("random", {}),
    "tool_entropy": ("gpo", {"search": "tool_entropy"}),
    "gpo_paper": ("gpo", {}),
    "gpo_fast": ("gpo", {"preset": "fast"}),
    "lean": ("gpo", {"preset": "lean"}),
    "paper_steps": ("gpo", {"credit": "steps"}),
    "fast_steps": ("gpo", {"preset": "fast", "credit": "steps"}),
    "vineppo": ("gpo", {"preset": "vineppo"}),
    "spo": ("gpo", {"preset": "spo"}),
    "authors": ("gpo", {"preset": "authors"}),
    "pods": ("gpo", {"preset": "pods", "kept_rows": "8"}),  # as many rows as the others have; with more rollouts
    "oracle": ("gpo", {"search": "given"}),
}
#: Name of the optimizer alone in the YAML file of a grid. In a row the method has the name of its optimizer.
PLAIN = "plain"
#: The settings that decide how large an update is. Only methods with the same values of these are compared.
LEARNING = ("learning_rate", "schedule", "clip_grad")
#: All methods, in the order of tables.
METHODS = (*ONLINE, *OFFLINE, *GPO_METHODS)


@dataclass(frozen=True)
class Settings:
    """The settings of a training. None means the value of the method or of the recipe.

    Attributes:
        optimizer: one of :data:`ONLINE` or :data:`OFFLINE`.
        prompts: number of prompts in a training step; None for an offline optimizer.
        rollouts: number of rollouts of each prompt (``rollout.n``); None for an offline optimizer.
        mini_batches: number of mini-batches into which the prompts of a training step are divided.
        learning_rate: of the actor, at the start of the run; None for an offline optimizer.
        schedule: ``constant``, or ``cosine``, which decays to 0 over the run.
        clip_grad: bound on the norm of the gradient.
        rows_mode: ``algorithm.gpo.rows``.
        search, search_budget, n_mc, n_reentry, learn_from, rule, reset, anchor_outcome, explore_share: settings of
            ``algorithm.gpo`` with the same name. The last one does not exist any more; old rows have it.
        added_rows: ``even`` for runs that repeat older ones with code that divides added rows evenly over optimizer
            steps; older code padded them to whole mini-batches.
    """

    optimizer: str = "grpo"
    prompts: int | None = 8
    rollouts: int | None = 8
    mini_batches: int = 1
    learning_rate: float | None = 5e-4
    schedule: str = "constant"
    clip_grad: float = 1.0
    rows_mode: str | None = None
    search: str | None = None
    search_budget: int | None = None
    n_mc: int | None = None
    n_reentry: int | None = None
    learn_from: str | None = None
    rule: str | None = None
    reset: str | None = None
    anchor_outcome: str | None = None
    explore_share: float | None = None
    added_rows: str | None = None

    @property
    def offline(self) -> bool:
        """Whether the optimizer trains on pairs that are built before the training."""
        return self.optimizer in OFFLINE

    @property
    def learning(self) -> tuple[float | None, str, float]:
        """The values of :data:`LEARNING`."""
        return self.learning_rate, self.schedule, self.clip_grad


#: The settings that belong to ``algorithm.gpo``, and their keys there.
_GPO_KEYS = {"rows_mode": "rows"} | {
    name: name
    for name in ("search", "search_budget", "n_mc", "n_reentry", "learn_from", "rule", "reset", "anchor_outcome")
    + ("explore_share",)
}


def is_plain(method: str) -> bool:
    """Whether a method is an optimizer alone."""
    return method in ONLINE + OFFLINE


def recipe_method(method: str) -> str:
    """The variable ``METHOD`` of the recipe's script."""
    return "plain" if is_plain(method) else GPO_METHODS[method][0]


def overrides(method: str, settings: Settings) -> list[str]:
    """The arguments of verl for a method with its settings. Values that the recipe has anyway are left out."""
    actor = "actor_rollout_ref.actor"
    batch = settings.prompts // settings.mini_batches
    found = [
        f"data.train_batch_size={settings.prompts}",
        f"{actor}.ppo_mini_batch_size={batch}",
        f"critic.ppo_mini_batch_size={batch}",
        f"{actor}.optim.lr={settings.learning_rate}",
    ]
    if settings.rollouts != Settings.rollouts:
        found.append(f"actor_rollout_ref.rollout.n={settings.rollouts}")
    if settings.schedule != Settings.schedule:
        found.append(f"{actor}.optim.lr_scheduler_type={settings.schedule}")
    if settings.clip_grad != Settings.clip_grad:
        found.append(f"{actor}.optim.clip_grad={settings.clip_grad}")
    if not is_plain(method):
        own = dict(GPO_METHODS[method][1])
        own |= {key: getattr(settings, name) for name, key in _GPO_KEYS.items() if getattr(settings, name) is not None}
        found += [f"algorithm.gpo.{key}={value}" for key, value in own.items()]
    return found


def differences(settings: Settings, base: Settings) -> dict[str, str]:
    """The settings that differ from ``base``: name -> value as text.

    >>> differences(Settings(rollouts=4), Settings())
    {'rollouts': '4'}
    """
    pairs = ((field.name, getattr(settings, field.name), getattr(base, field.name)) for field in fields(Settings))
    return {name: _written(ours) for name, ours, theirs in pairs if ours != theirs}


def label(method: str, settings: Settings, base: Settings) -> str:
    """The name of a method in a table, followed by the settings that differ from those of the method in its grid.

    >>> label("grpo", Settings(rollouts=4, learning_rate=2e-3), Settings())
    'grpo rollouts=4 learning_rate=0.002'
    """
    return " ".join([method, *(f"{name}={value}" for name, value in differences(settings, base).items())])


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
