"""What a training step is expected to cost, by hand: 4 steps of 25 tokens, so 75, 50 or 25 from an inner state."""

import pytest

from verl_gpo.config import GPOConfig
from verl_gpo.core.cost import expected_cost


def cost(n=8, prompts=1, examined=1.0, **settings):
    return expected_cost(GPOConfig(**settings), 4, 100.0, n, prompts, examined)


def test_the_papers_search():
    # 8 roots of 100; 3 states x 4 continuations of 50 on average; 4 rollouts of 50.
    paper = cost()
    assert (paper.root_tokens, paper.value_tokens, paper.reentry_tokens) == (800, 600, 200)
    assert (paper.root_rows, paper.reentry_rows, paper.requests) == (8, 4, 16)
    assert paper.multiple == 2.0


def test_switched_off_it_costs_the_plain_run():
    plain = cost(enable=False)
    assert plain.multiple == 1.0 and plain.reentry_rows == plain.requests == 0


def test_matched_rows_start_with_fewer_roots():
    matched = cost(rows="matched")
    assert (matched.root_rows, matched.reentry_rows) == (4, 4)
    assert matched.plain_tokens == 800 and matched.multiple == (400 + 600 + 200) / 800


def test_matched_rows_fill_up_with_roots_where_nothing_is_reentered():
    matched = cost(rows="matched", prompts=2, examined=0.5)
    assert (matched.root_rows, matched.reentry_rows) == (12, 4)
    assert cost(rows="matched", learn_from="reuse", n_mc=8).reentry_rows == 4  # no more than are reserved
    assert cost(rows="matched", learn_from="reuse", n_mc=2).reentry_rows == 2


def test_a_single_root_has_its_prompt_valued_too():
    assert cost(n=1).value_tokens == 4 * 4 * 50 and cost(n=2).value_tokens == 3 * 4 * 50


def test_a_proposal_is_checked_by_its_group_or_by_half_of_it():
    # Two proposals of 8 continuations of 50, one of which is learnt from; under split of 4, and 4 more afterwards.
    reuse = cost(search="propose", learn_from="reuse", n_reentry=8)
    assert (reuse.value_tokens, reuse.reentry_tokens, reuse.reentry_rows) == (800, 0, 8)
    split = cost(search="propose", learn_from="split", n_reentry=8)
    assert (split.value_tokens, split.reentry_tokens, split.reentry_rows) == (400, 200, 4)


@pytest.mark.parametrize("search", ["informative", "given", "random"])
@pytest.mark.parametrize("learn_from", ["fresh", "reuse", "split"])
def test_a_choice_without_a_search_costs_its_rollouts_alone(search, learn_from):
    # 4 rollouts of 50, whatever is learnt from: there are no continuations to learn from.
    chosen = cost(search=search, learn_from=learn_from)
    assert (chosen.value_tokens, chosen.reentry_tokens, chosen.reentry_rows) == (0, 200, 4)


def test_no_search_costs_the_plain_run():
    assert cost(search="none").multiple == 1.0 and cost(search="none").reentry_rows == 0


@pytest.mark.parametrize(("field", "value"), [("n", 0), ("prompts", 0), ("examined", 1.5)])
def test_what_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"^{field}={value}: must be"):
        cost(**{field: value})


def test_segments_without_reentry_cost_their_values_alone():
    # 8 anchors, 3 states each, 9 continuations of 50.
    segments = cost(anchors=0, n_mc=9, n_reentry=0, credit="steps")
    assert (segments.value_tokens, segments.reentry_tokens, segments.reentry_rows) == (8 * 3 * 9 * 50, 0, 0)
    assert (segments.root_rows, segments.multiple) == (8, (800 + 10_800) / 800)
    assert cost(n_reentry=0, credit="steps", learn_from="reuse").reentry_rows == 0


def test_a_replaced_row_is_no_further_row_and_the_roots_are_all_sampled():
    # At the prompt and at 3 states 4 continuations, of 50 by the model; of a group of 8 all may have failed.
    replaced = cost(search="highest", learn_from="best", rows="replaced", n_reentry=1, anchors=0)
    assert (replaced.root_rows, replaced.reentry_rows) == (0, 8) and replaced.root_tokens == 800
    assert (replaced.value_tokens, replaced.reentry_tokens) == (8 * 4 * 4 * 50, 0)
    twin = cost(search="random", rows="replaced", n_reentry=1, anchors=0, examined=0.5)
    assert (twin.root_rows, twin.reentry_rows, twin.reentry_tokens) == (4, 4, 4 * 50)


def test_rows_that_are_left_out_are_sampled():
    pods = cost(search="none", rows="downsampled", kept_rows=4, prompts=2)
    assert (pods.root_rows, pods.root_tokens, pods.multiple) == (8, 1600, 1.0)
    assert cost(search="none", rows="downsampled", kept_rows=4, enable=False).root_rows == 8
