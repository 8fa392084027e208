"""The methods that a forecast compares: a number of rollouts and settings of ``algorithm.gpo``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import GPOConfig

#: The method that the others are compared with: GRPO with the user's number of rollouts.
BASE = "grpo"
_MATCHED = {"rows": "matched"}
#: name -> (factor on the number of rollouts of a prompt, settings). Reserved rows are shares of eight rollouts.
_TABLE: dict[str, tuple[float, dict[str, Any]]] = {
    BASE: (1, {"search": "none"}),
    "grpo_half_n": (0.5, {"search": "none"}),
    "grpo_twice_n": (2, {"search": "none"}),
    "random": (1, {"search": "random", **_MATCHED}),
    "lean": (1, {"preset": "lean"}),
    "propose": (1, {"search": "propose", "learn_from": "reuse", "rule": "abs", **_MATCHED}),
    "fast": (1, {"preset": "fast", **_MATCHED}),
    "paper": (1, {}),
    "steps": (1, {"credit": "steps"}),
    "fast_steps": (1, {"preset": "fast", "credit": "steps", **_MATCHED}),
    "pods": (2, {"preset": "pods"}),
    "vineppo": (1, {"preset": "vineppo"}),
}
NAMES = tuple(_TABLE)
#: Those of a forecast that names none: VinePPO's groups are so expensive that a batch has hardly one of them.
DEFAULT = tuple(name for name in NAMES if name != "vineppo")


@dataclass(frozen=True)
class Method:
    """One way to spend tokens on a prompt.

    Attributes:
        name: a key of :data:`NAMES`.
        rollouts: ``rollout.n``.
        config: settings of the search and the re-entry.
    """

    name: str
    rollouts: int
    config: GPOConfig

    @property
    def roots(self) -> int:
        """Rollouts that are drawn from the prompt before the search."""
        return self.rollouts - self.config.reserved_rows

    @property
    def kept(self) -> int | None:
        """How many of the roots are trained on; None for all."""
        return self.config.kept_rows if self.config.rows == "downsampled" else None


def method(name: str, rollouts: int, shared: Mapping[str, Any] | None = None) -> Method:
    """A method by its name.

    Args:
        name: of :data:`NAMES`.
        rollouts: the user's ``rollout.n``. Re-entry groups have the share of it that they have of eight.
        shared: settings of ``algorithm.gpo`` that all methods get, such as how steps are cut.

    Raises:
        ValueError: the method needs more rollouts.
        ConfigError: a setting that cannot be.
    """
    factor, own = _TABLE[name]
    number = int(rollouts * factor)
    settings = {**own, **(shared or {})}
    config = GPOConfig.from_mapping(settings, refuse_unread=False)
    if config.reserved_rows and "n_reentry" not in (shared or {}):
        settings["n_reentry"] = max(min(config.n_reentry * number // 8, number - 2), 1)
    if config.rows == "downsampled":
        settings["kept_rows"] = rollouts
    config = GPOConfig.from_mapping(settings, refuse_unread=False)
    if number - config.reserved_rows < 2 or (config.reserved_rows and config.n_reentry < 2):
        raise ValueError(f"--n={rollouts}: {name} needs more rollouts; leave it out of --methods")
    return Method(name, number, config)
