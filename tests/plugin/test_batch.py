"""Rows, padding and optimizer steps, by hand."""

import math

from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.plugin.batch import even_mini_batches, step_arithmetic


def test_added_rows_cost_half_empty_optimizer_steps():
    # 16 prompts of 8 in one mini-batch; 64 re-entry rollouts more pad to two.
    assert vars(step_arithmetic(128, 128)) == {"rows": 128, "padding": 0, "optimizer_steps": 1}
    assert vars(step_arithmetic(192, 128)) == {"rows": 192, "padding": 64, "optimizer_steps": 2}
    assert step_arithmetic(192, 64, epochs=2).optimizer_steps == 6


def test_a_critic_with_another_mini_batch_pads_more():
    # lcm(64, 96) = 192: 200 rows become 384, six mini-batches of the actor.
    assert vars(step_arithmetic(200, 64, other_multiple=96)) == {"rows": 200, "padding": 184, "optimizer_steps": 6}


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 4), st.integers(1, 8))
def test_padding_is_the_least_that_divides(rows, mini_batch, epochs, other):
    step = step_arithmetic(rows, mini_batch, epochs, other)
    padded = step.rows + step.padding
    assert padded % mini_batch == 0 and padded % other == 0
    assert not any((rows + less) % mini_batch == 0 and (rows + less) % other == 0 for less in range(step.padding))
    assert step.optimizer_steps == padded / mini_batch * epochs


def test_mini_batches_grow_by_what_was_added():
    # 16 prompts of 8 in one mini-batch, 64 re-entry rollouts: one of 192. With 61 of them, one of 192, too.
    assert even_mini_batches(192, 128, [128], 8) == [192] and even_mini_batches(189, 128, [128], 8) == [192]
    # Two optimizer steps of the actor and three of the critic: 200 rows become 240, which six eights divide.
    assert even_mini_batches(200, 192, [96, 64], 8) == [120, 80]
    # No root came back: the others make one.
    assert even_mini_batches(5, 0, [128], 8) == [8]
    # Nothing was added: as configured.
    assert even_mini_batches(128, 128, [128], 8) == [128] and even_mini_batches(128, 128, [32], 8) == [32]


def test_added_rows_are_shared_out_evenly():
    # 16 prompts of 8 in one mini-batch, 20 re-entry rollouts: two of 80, not one of 128 and one of 20 and padding.
    assert even_mini_batches(148, 148, [128], 8) == [80]
    assert vars(step_arithmetic(148, 80)) == {"rows": 148, "padding": 12, "optimizer_steps": 2}
    # Two of the actor's, three of the critic's: 148 rows become 192, which six units divide.
    assert even_mini_batches(148, 148, [128, 64], 8) == [96, 64]


@given(
    st.integers(1, 300), st.integers(0, 300), st.lists(st.integers(1, 16), min_size=1, max_size=2), st.integers(1, 8)
)
def test_optimizer_steps_stay_those_of_the_roots(roots, added, sizes, unit):
    mini_batches = [unit * size for size in sizes]
    widened = even_mini_batches(roots + added, roots, mini_batches, unit)
    assert not any(rows % unit for rows in widened)
    multiple = math.lcm(*widened)
    wanted = [step_arithmetic(roots, before).optimizer_steps for before in mini_batches]
    found = [step_arithmetic(roots + added, rows, other_multiple=multiple).optimizer_steps for rows in widened]
    if min(widened) >= math.lcm(*wanted) * unit:
        assert found == wanted
    else:  # mini-batches of hardly more than a unit cannot grow by less than one
        multiple = math.lcm(*mini_batches)
        added_steps = [step_arithmetic(roots + added, m, other_multiple=multiple).optimizer_steps for m in mini_batches]
        off, off_added = (sum(abs(a - b) for a, b in zip(steps, wanted, strict=True)) for steps in (found, added_steps))
        assert off <= off_added
