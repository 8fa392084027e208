"""Batch arithmetic: the mini-batches and optimizer steps of a training step, given its number of rows.

verl trains on ``prompts x n`` rows, in mini-batches of ``ppo_mini_batch_size x n``, and pads the batch if they do not
divide it. So the rows that re-entry adds also add optimizer steps, and these alone change the result of a comparison.
With ``rows=matched`` each prompt gives exactly ``n`` rows, as in the baseline. With ``rows=widened`` the number of
optimizer steps is that of the baseline: the mini-batches become larger instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepArithmetic:
    """One training step.

    Attributes:
        rows: rows that are trained on.
        padding: empty rows that verl adds until the mini-batches divide the batch.
        optimizer_steps: optimizer steps of the actor.
    """

    rows: int
    padding: int
    optimizer_steps: int


def step_arithmetic(rows: int, mini_batch_rows: int, epochs: int = 1, other_multiple: int = 1) -> StepArithmetic:
    """Padding and optimizer steps that verl makes from a number of rows.

    Args:
        rows: root and re-entry rows of the step.
        mini_batch_rows: ``ppo_mini_batch_size x rollout.n`` of the actor.
        epochs: ``ppo_epochs``.
        other_multiple: another number that has to divide the batch: data-parallel ranks, the critic's mini-batch rows.
    """
    multiple = math.lcm(mini_batch_rows, other_multiple)
    padded = math.ceil(rows / multiple) * multiple
    return StepArithmetic(rows, padded - rows, padded // mini_batch_rows * epochs)


def rows_of_steps(kind: str, rows: int, root_rows: int) -> int:
    """Number of rows that sets the number of optimizer steps.

    It is the number of roots under ``widened``, and under ``downsampled``, where some roots are not trained on;
    otherwise that of all rows.

    Args:
        kind: one of :data:`verl_gpo.config.names.ROWS`.
        rows: rows that are trained on.
        root_rows: roots that were sampled.
    """
    return root_rows if kind in ("widened", "downsampled") else rows


def even_mini_batches(rows: int, as_many_as: int, mini_batches: Sequence[int], unit: int) -> list[int]:
    """Mini-batches of equal size that process all rows in the number of optimizer steps that ``as_many_as`` rows take.

    Each mini-batch then has less than one ``unit`` of padding. With mini-batches as configured, the last one could be
    nearly empty, and a few rows would get a whole optimizer step.

    Args:
        rows: root and re-entry rows of the step.
        as_many_as: number of rows that sets the number of optimizer steps (:func:`rows_of_steps`).
        mini_batches: rows of a mini-batch as configured: the actor's, and the critic's if there is one.
        unit: number that has to divide every mini-batch.

    Returns:
        Rows of a mini-batch, for each of ``mini_batches``. The numbers of optimizer steps are kept, unless ``unit``
        times the least common multiple of these numbers is larger than a mini-batch. Then either all rows are processed
        in fewer steps, or the mini-batches stay as configured, whichever is closer to the wanted number of steps.
    """
    steps = [step_arithmetic(max(as_many_as, 1), mini_batch).optimizer_steps for mini_batch in mini_batches]
    multiple = math.lcm(*steps) * unit
    padded = math.ceil(rows / multiple) * multiple

    def off(sizes: list[int]) -> int:
        taken = [step_arithmetic(rows, size, other_multiple=math.lcm(*sizes)).optimizer_steps for size in sizes]
        return sum(abs(count - wanted) for count, wanted in zip(taken, steps, strict=True))

    return min([padded // count for count in steps], list(mini_batches), key=off)
