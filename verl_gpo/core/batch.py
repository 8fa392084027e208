"""Batch arithmetic: how many rows a prompt gives, and what verl makes of the rows of a training step.

verl trains on ``prompts x n`` rows, in mini-batches of ``ppo_mini_batch_size x n``, and pads what does not divide. Rows
that re-entry adds are therefore not only more rows but more optimizer steps, some of them half empty, and that alone
moves a comparison. ``rows=matched`` keeps the baseline's arithmetic: each prompt gives exactly ``n`` rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: What a prompt gives: its ``n`` roots and the re-entry rollouts ``added``, or ``matched`` to ``n`` rows in all.
ROWS = ("added", "matched")


def reserved_rows(rows: str, anchors: int, n_reentry: int) -> int:
    """Rows of each prompt that are kept for re-entry rollouts, out of its ``n``.

    What is not used of them goes to further roots of the same prompt, drawn after the search.

    Args:
        rows: one of :data:`ROWS`.
        anchors: responses of a group that are examined, at least 1 under ``matched``.
        n_reentry: rollouts from each reset state.
    """
    return anchors * n_reentry if rows == "matched" else 0


@dataclass(frozen=True)
class StepArithmetic:
    """One training step.

    Attributes:
        rows: rows that are learnt from.
        padding: empty rows that verl adds until the mini-batches divide them.
        optimizer_steps: of the actor.
    """

    rows: int
    padding: int
    optimizer_steps: int


def step_arithmetic(rows: int, mini_batch_rows: int, epochs: int = 1, other_multiple: int = 1) -> StepArithmetic:
    """What verl makes of so many rows.

    Args:
        rows: root and re-entry rows of the step.
        mini_batch_rows: ``ppo_mini_batch_size x rollout.n`` of the actor.
        epochs: ``ppo_epochs``.
        other_multiple: what else has to divide the batch: data-parallel ranks, the critic's mini-batch rows.
    """
    multiple = math.lcm(mini_batch_rows, other_multiple)
    padded = math.ceil(rows / multiple) * multiple
    return StepArithmetic(rows, padded - rows, padded // mini_batch_rows * epochs)
