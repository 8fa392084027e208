"""What is trained with: the names of methods, and the settings that are columns of a row.

A method is a name that a reader knows. Whatever else differs from one training to another is a field of
:class:`Settings`, the same in a grid's YAML file, in the files of results and in the names that tables show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

#: Optimizers of ``recipes/arithmetic/run.sh``; to add one, add its name.
ONLINE = ("grpo", "ppo", "drgrpo", "rloo", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "dapo", "gspo")
#: Optimizers of ``recipes/arithmetic/offline.sh``.
OFFLINE = ("dpo", "kto", "simpo", "orpo")
#: Method -> ``METHOD`` of the recipe, and the settings of ``algorithm.gpo`` that define it.
GPO_METHODS: dict[str, tuple[str, Mapping[str, str]]] = {
    "random": ("random", {}),
    "gpo_paper": ("gpo", {}),
    "gpo_fast": ("gpo", {"preset": "fast"}),
    "lean": ("gpo", {"preset": "lean"}),
    "oracle": ("gpo", {"search": "given"}),
}
#: In a grid's file: the optimizer alone. In a row it is named by its optimizer.
PLAIN = "plain"
#: Settings that say how far a step goes: methods are compared with those that have them alike.
LEARNING = ("learning_rate", "schedule", "clip_grad")
#: All methods of rows, in the order of tables.
METHODS = (*ONLINE, *OFFLINE, *GPO_METHODS)


@dataclass(frozen=True)
class Settings:
    """The settings of a training. None means: as the method, or the recipe, has it.

    Attributes:
        optimizer: of :data:`ONLINE` or :data:`OFFLINE`.
        prompts: of a training step; None for an offline optimizer.
        rollouts: of a prompt (``rollout.n``); None for an offline optimizer.
        mini_batches: optimizer steps that the prompts of a training step are shared out over.
        learning_rate: of the actor; at its start, if it falls. None for an offline optimizer: the recipe's.
        schedule: ``constant``, or ``cosine``: falls to nothing over the run.
        clip_grad: bound on the length of a gradient.
        rows_mode: ``algorithm.gpo.rows``.
        search, search_budget, n_mc, n_reentry, learn_from, rule, reset, anchor_outcome, explore_share: of
            ``algorithm.gpo``.
        added_rows: ``even`` where a run repeats another one after the code began to share out added rows evenly over
            optimizer steps; they were padded to whole mini-batches before.
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
        """Whether pairs are made first and trained on then."""
        return self.optimizer in OFFLINE

    @property
    def learning(self) -> tuple[float | None, str, float]:
        """Values of :data:`LEARNING`."""
        return self.learning_rate, self.schedule, self.clip_grad


#: Settings of ``algorithm.gpo`` and their keys there.
_GPO_KEYS = {"rows_mode": "rows"} | {
    name: name
    for name in ("search", "search_budget", "n_mc", "n_reentry", "learn_from", "rule", "reset", "anchor_outcome")
    + ("explore_share",)
}


def is_plain(method: str) -> bool:
    """Whether a method is an optimizer alone."""
    return method in ONLINE + OFFLINE


def recipe_method(method: str) -> str:
    """``METHOD`` of the recipe's script."""
    return "plain" if is_plain(method) else GPO_METHODS[method][0]


def overrides(method: str, settings: Settings) -> list[str]:
    """Arguments of verl's for a method with its settings; what is as the recipe has it is left out."""
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
    """Names and values of the settings that differ from others, as a reader writes them."""
    pairs = ((field.name, getattr(settings, field.name), getattr(base, field.name)) for field in fields(Settings))
    return {name: _written(ours) for name, ours, theirs in pairs if ours != theirs}


def label(method: str, settings: Settings, base: Settings) -> str:
    """The name of a method in a table: what differs from the method as its grid has it stands behind it.

    >>> label("grpo", Settings(rollouts=4, learning_rate=2e-3), Settings())
    'grpo rollouts=4 learning_rate=0.002'
    """
    return " ".join([method, *(f"{name}={value}" for name, value in differences(settings, base).items())])


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
