"""Batch arithmetic: how many rows a prompt gives, and what verl makes of the rows of a training step.

verl trains on ``prompts x n`` rows, in mini-batches of ``ppo_mini_batch_size x n``, and pads what does not divide. Rows
that re-entry adds are therefore not only more rows but more optimizer steps, and that alone moves a comparison.
``rows=matched`` keeps the baseline's arithmetic: each prompt gives exactly ``n`` rows. ``rows=widened`` keeps its
optimizer steps: mini-batches grow by what was added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


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


def rows_of_steps(kind: str, rows: int, root_rows: int) -> int:
    """Rows of which a training step takes as many optimizer steps: the roots under ``widened``, else all.

    Args:
        kind: one of :data:`verl_gpo.config.names.ROWS`.
    """
    return root_rows if kind == "widened" else rows


def even_mini_batches(rows: int, as_many_as: int, mini_batches: Sequence[int], unit: int) -> list[int]:
    """Mini-batches of one size that take all rows in as many optimizer steps as some of the rows would take.

    Padding is then less than a unit a mini-batch. Mini-batches as configured would leave the last one nearly empty, and
    a whole optimizer step to a few rows.

    Args:
        rows: root and re-entry rows of the step.
        as_many_as: rows of which as many are taken (:func:`rows_of_steps`).
        mini_batches: rows of a mini-batch as configured: the actor's, and the critic's if there is one.
        unit: what has to divide every mini-batch.

    Returns:
        Rows of a mini-batch, for each of ``mini_batches``. They keep the numbers of optimizer steps unless ``unit``
        times the least common multiple of these is more than a mini-batch: such coarse ones take all rows in fewer
        steps, and stay as configured where that is closer.
    """
    steps = [step_arithmetic(max(as_many_as, 1), mini_batch).optimizer_steps for mini_batch in mini_batches]
    multiple = math.lcm(*steps) * unit
    padded = math.ceil(rows / multiple) * multiple

    def off(sizes: list[int]) -> int:
        taken = [step_arithmetic(rows, size, other_multiple=math.lcm(*sizes)).optimizer_steps for size in sizes]
        return sum(abs(count - wanted) for count, wanted in zip(taken, steps, strict=True))

    return min([padded // count for count in steps], list(mini_batches), key=off)
