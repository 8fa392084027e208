"""Rows, padding and optimizer steps, by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.config import ConfigError, GPOConfig
from verl_gpo.core.batch import reserved_rows, step_arithmetic


def test_added_rows_cost_half_empty_optimizer_steps():
    # 16 prompts of 8 in one mini-batch; 64 re-entry rollouts more pad to two.
    assert vars(step_arithmetic(128, 128)) == {"rows": 128, "padding": 0, "optimizer_steps": 1}
    assert vars(step_arithmetic(192, 128)) == {"rows": 192, "padding": 64, "optimizer_steps": 2}
    assert step_arithmetic(192, 64, epochs=2).optimizer_steps == 6


def test_a_critic_with_another_mini_batch_pads_more():
    # lcm(64, 96) = 192: 200 rows become 384, six mini-batches of the actor.
    assert vars(step_arithmetic(200, 64, other_multiple=96)) == {"rows": 200, "padding": 184, "optimizer_steps": 6}


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 4), st.integers(1, 8))
def test_padding_is_the_least_that_divides(rows, mini_batch, epochs, other):
    step = step_arithmetic(rows, mini_batch, epochs, other)
    padded = step.rows + step.padding
    assert padded % mini_batch == 0 and padded % other == 0
    assert not any((rows + less) % mini_batch == 0 and (rows + less) % other == 0 for less in range(step.padding))
    assert step.optimizer_steps == padded / mini_batch * epochs


def test_reserved_rows():
    assert reserved_rows("added", 2, 4) == 0 and reserved_rows("matched", 2, 4) == 8
    assert GPOConfig().reserved_rows == 0 and GPOConfig(rows="matched", n_reentry=3).reserved_rows == 3


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"anchors": 0}, r"^algorithm.gpo.anchors=0: must be a number of responses with rows=matched$"),
        ({"learn_from": "all"}, r"^algorithm.gpo.learn_from='all': must be another with rows=matched: its rows vary$"),
        ({"rows": "equal"}, r"^algorithm.gpo.rows='equal': must be one of added, matched$"),
    ],
)
def test_what_cannot_be_matched_is_refused(field, message):
    with pytest.raises(ConfigError, match=message):
        GPOConfig(**{"rows": "matched", **field})
