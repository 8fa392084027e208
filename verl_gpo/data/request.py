"""What is to be prepared: the options of ``python -m verl_gpo.data.prepare``, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from . import gym
from .registry import DATASETS, HOLDOUTS, REASONING_GYM, DataSet
from .templates import TEMPLATES


class PrepareError(ValueError):
    """A setting that cannot work, or data that differ from what was published. The message is one line."""


@dataclass(frozen=True)
class Request:
    """What to prepare. The fields are the options of the command line; ``entry`` is the data set that they name.

    Raises:
        PrepareError: an unknown data set, template or split, or a size that is not possible.
    """

    dataset: str
    local_path: Path | None = None
    template: str | None = None
    split: tuple[str, ...] = ()
    holdout: tuple[str, ...] = ()
    allow_partial: bool = False
    revision: str | None = None
    size: int = 1000
    test_size: int = 200
    seed: int = 0
    entry: DataSet = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry", self._entry())
        template = self.template or self.entry.template
        if template not in TEMPLATES:
            raise PrepareError(f"--template {template}: no such template; known are {', '.join(TEMPLATES)}")
        for split in self.split:
            if split not in self.entry.splits:
                raise PrepareError(f"--split {split}: {self.dataset} has only {', '.join(self.entry.splits)}")
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "split", tuple(s for s in self.entry.splits if not self.split or s in self.split))

    def _entry(self) -> DataSet:
        kind, _, task = self.dataset.partition(":")
        if kind == REASONING_GYM and task:
            for name, value in (("size", self.size), ("test-size", self.test_size)):
                if value < 0 or self.size + self.test_size == 0:
                    raise PrepareError(f"--{name} {value}: must be an integer of at least 0, and not both can be 0")
            return gym.entry(task, self.size, self.test_size)
        if self.dataset not in DATASETS:
            known = ", ".join([*DATASETS, f"{REASONING_GYM}:TASK"])
            raise PrepareError(f"--dataset {self.dataset}: no such data set; known are {known}")
        return DATASETS[self.dataset]

    def holdouts(self) -> dict[str, Path | None]:
        """The evaluation sets whose questions are kept out of the training set.

        Returns:
            Name of the evaluation set to its local copy, None for the hub.

        Raises:
            PrepareError: an unknown evaluation set.
        """
        entry = self.entry
        if "train" not in self.split or self.holdout == ("none",):
            return {}
        default = HOLDOUTS if entry.ability == "math" else ()
        chosen: dict[str, Path | None] = {}
        for item in self.holdout or default:
            name, _, path = item.partition("=")
            if name not in DATASETS or "test" not in DATASETS[name].splits:
                known = ", ".join(n for n, e in DATASETS.items() if "test" in e.splits)
                raise PrepareError(f"--holdout {item}: no such evaluation set; known are {known}, or none alone")
            chosen[name] = Path(path).expanduser() if path else self.local_path
        return chosen
