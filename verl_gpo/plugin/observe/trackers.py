"""Sends histograms of critical positions and a table of trajectories to wandb, tensorboard and mlflow.

verl's logger accepts only numbers; it gets all ``gpo/*`` metrics. Histograms and tables are sent to the tracker's own
client, which verl has started in the same process (the trainer's), at the same step. ``trainer.logger`` says which
trackers are used.

=============  =========================================  ==========================================
tracker        ``gpo/critical/position_histogram``        ``gpo/trajectories``
=============  =========================================  ==========================================
wandb          histogram                                  table
tensorboard    histogram, in the run's subfolder ``gpo``  text, likewise
mlflow         (numbers only: ``gpo/critical/fifth_*``)   the artifact ``gpo/trajectories.json``
=============  =========================================  ==========================================
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.result import GroupResult
from ...core.segment.token_text import Decode
from ...core.turns import step_starts

logger = logging.getLogger(__name__)

#: verl's loggers that get histograms and tables, too.
TRACKERS = ("wandb", "tensorboard", "mlflow")
HISTOGRAM, TABLE = "gpo/critical/position_histogram", "gpo/trajectories"
BINS = 20
#: Columns of the table, and the maximal number of characters of a text: samples are sent along with the batch.
COLUMNS = {
    "step": None,
    "prompt": 400,
    "response": 800,
    "reward": None,
    "critical_step": 300,
    "advantage": None,
    "confidence": None,
    "reentry_reward": None,
}


def wanted(loggers: Any) -> tuple[str, ...]:
    """Which of verl's loggers (``trainer.logger``: a name or names) are given samples."""
    names = [loggers] if isinstance(loggers, str) else list(loggers or ())
    return tuple(name for name in TRACKERS if name in names)


def sample_row(roots: Sequence[Any], result: GroupResult, decode: Decode) -> dict[str, Any] | None:
    """A prompt's first anchor as a row of the table; None without one.

    Args:
        roots: verl's outputs of the root rollouts, in the order of the group.
        result: the result of GPO's procedure.
        decode: text of a list of ids.
    """
    if not result.reentries:
        return None
    reentry = result.reentries[0]
    root, critical = roots[reentry.anchor], reentry.critical
    rewards = [rollout.reward for rollout in reentry.rollouts]
    step = None
    if critical is not None:
        start = step_starts(reentry.ends, root.response_mask)[critical.index]
        step = f"{critical.index}: {decode(root.response_ids[start : reentry.ends[critical.index]])}"
    row = {
        "prompt": decode(root.prompt_ids),
        "response": decode(root.response_ids),
        "reward": float(root.reward_score),
        "critical_step": step,
        "advantage": None if critical is None else critical.advantage,
        "confidence": None if critical is None else critical.confidence,
        "reentry_reward": sum(rewards) / len(rewards) if rewards else None,
    }
    return {key: value[: COLUMNS[key]] if isinstance(value, str) else value for key, value in row.items()}


class Trackers:
    """The trackers of a run, in the trainer's process.

    Args:
        loggers: ``trainer.logger``.
        project, experiment: verl's names of the run, from which TensorBoard's folder is built.
    """

    def __init__(self, loggers: Any, project: str | None = None, experiment: str | None = None):
        self._left = list(wanted(loggers))
        self._project, self._experiment = project, experiment
        self._writer: Any = None

    def log(self, step: int, positions: Sequence[float], samples: Sequence[Mapping[str, Any]]) -> None:
        """Log one training step. A tracker that fails is reported once and not used again."""
        rows = [{"step": step, **sample} for sample in samples]
        for name in list(self._left):
            try:
                getattr(self, f"_{name}")(step, list(positions), rows)
            except Exception:
                self._left.remove(name)
                logger.warning("%s failed to log the histogram and trajectories; not used again", name, exc_info=True)

    def _wandb(self, step: int, positions: list[float], rows: list[dict[str, Any]]) -> None:
        import numpy as np
        import wandb

        if wandb.run is None:
            return
        data: dict[str, Any] = {}
        if positions:
            data[HISTOGRAM] = wandb.Histogram(np_histogram=np.histogram(positions, bins=BINS, range=(0.0, 1.0)))
        if rows:
            data[TABLE] = wandb.Table(columns=list(COLUMNS), data=[[row.get(c) for c in COLUMNS] for row in rows])
        if data:
            wandb.log(data, step=step)  # verl logs the same step afterwards, which wandb takes as one

    def _mlflow(self, step: int, positions: list[float], rows: list[dict[str, Any]]) -> None:
        import mlflow

        if rows and mlflow.active_run() is not None:
            mlflow.log_table({column: [row.get(column) for row in rows] for column in COLUMNS}, f"{TABLE}.json")

    def _tensorboard(self, step: int, positions: list[float], rows: list[dict[str, Any]]) -> None:
        """Log into a separate folder: TensorBoard reads only one event file of a folder at a time."""
        import numpy as np

        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            folder = os.environ.get("TENSORBOARD_DIR", f"tensorboard_log/{self._project}/{self._experiment}")
            self._writer = SummaryWriter(os.path.join(folder, "gpo"))
        if positions:
            self._writer.add_histogram(HISTOGRAM, np.array(positions), step, bins=np.linspace(0, 1, BINS + 1))
        if rows:
            self._writer.add_text(TABLE, "\n\n---\n\n".join(map(_markdown, rows)), step)
        self._writer.flush()


def _markdown(row: Mapping[str, Any]) -> str:
    """A row as text for TensorBoard; the model's text is in code blocks, so that it is not read as Markdown."""
    parts = []
    for column in COLUMNS:
        value = row.get(column)
        if isinstance(value, str):
            block = "\n".join(f"    {line}" for line in value.splitlines() or [""])
            parts.append(f"**{column}**\n\n{block}")
        elif value is not None:
            parts.append(f"**{column}** {value:g}")
    return "\n\n".join(parts)
