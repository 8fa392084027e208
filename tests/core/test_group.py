"""What is known of one prompt: states that anchors share, what is kept for re-entry, and steps merged for a budget."""

import pytest

from tests.core.fakes import LENGTH, pairs_of_tokens, root
from verl_gpo.config import GPOConfig
from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.draw import Drawn
from verl_gpo.core.group import Group, Place, _shared_states
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory


def response(*tokens, reward=0.0):
    return Trajectory(tokens, None, reward)


#: Four steps of two tokens. The second agrees with the first up to four tokens, the third with the second up to six.
ONE = response(0, 1, 2, 3, 4, 5, 6, 7, reward=1.0)
TWO = response(0, 1, 2, 3, 20, 21, 22, 23)
THREE = response(0, 1, 2, 3, 20, 21, 30, 31)


def group(roots, anchors=(0,), splitter=pairs_of_tokens, tokens_left=float("inf"), given=(), **settings):
    config = GPOConfig(**settings)
    search = SEARCHES[config.search]()
    return Group(config, search, splitter, LENGTH, list(roots), list(anchors), "s", given, tokens_left)


def counts(wanted):
    return {one.state: one.count for one in wanted}


def drawn(*rewards, censored=0):
    return Drawn(tuple(ScoredContinuation(Continuation((7,)), reward) for reward in rewards), censored)


# States that anchors share.


def test_states_are_shared_as_far_as_the_responses_agree():
    shared = _shared_states(group([ONE, TWO, THREE], anchors=(0, 1, 2)).views)
    first_three = {(later, state): Place(0, state) for later in (1, 2) for state in (0, 1, 2)}
    assert shared == {**first_three, (2, 3): Place(1, 3)}


def test_a_state_is_shared_where_both_responses_have_it():
    # The first is cut behind 2, 4 and 6 tokens, the second behind 4: its state 1 is the other's state 2.
    ends = {ONE.token_ids: [2, 4, 6, 8], TWO.token_ids: [4, 8]}
    views = group([ONE, TWO], anchors=(0, 1), splitter=lambda ids, log_probs=None: ends[tuple(ids)]).views
    assert _shared_states(views) == {(1, 0): Place(0, 0), (1, 1): Place(0, 2)}


def test_responses_that_begin_differently_share_their_prompt_only():
    views = group([ONE, response(9, 1, 2, 3)], anchors=(0, 1)).views
    assert _shared_states(views) == {(1, 0): Place(0, 0)}


def test_what_is_drawn_at_a_shared_state_is_drawn_once_and_known_to_all():
    both = group([ONE, TWO], anchors=(0, 1), n_mc=2)
    assert counts(both.next_round(float("inf"))) == {
        Place(0, 1): 2,
        Place(0, 2): 2,
        Place(0, 3): 2,
        Place(1, 3): 2,
    }
    both.observe({Place(0, 1): drawn(1.0, 0.0), Place(0, 3): drawn(1.0, 1.0), Place(1, 3): drawn(0.0, 0.0)})
    values = [[value.mean if value.known else None for value in view.values_K1] for view in both.views]
    assert values == [[0.5, 0.5, None, 1.0, 1.0], [0.5, 0.5, None, 0.0, 0.0]]
    assert both.next_round(float("inf")) == []  # every state was asked for


def test_a_shared_reset_state_is_learnt_from_once():
    both = group([ONE, TWO], anchors=(0, 1))
    chosen = [CriticalStep(1, 0.5), CriticalStep(1, 0.5)]
    assert counts(both.missing(chosen, float("inf"))) == {Place(0, 1): 4}
    first, second = both.results(chosen, {Place(0, 1): drawn(1.0, 0.0, 1.0, 0.0)})
    ((state, prefix, rollouts, critical),) = [(g.state, g.prefix, g.rollouts, g.critical) for g in first.groups]
    assert (state, prefix, len(rollouts), critical) == (1, (0, 1), 4, True)
    assert second.critical is chosen[1] and second.groups == ()


def test_a_reset_state_that_only_the_later_anchor_chose_is_the_later_ones():
    both = group([ONE, TWO], anchors=(0, 1))
    first, second = both.results([None, CriticalStep(2, 0.5)], {Place(0, 2): drawn(1.0, 0.0)})
    assert first.groups == () and [(g.state, g.prefix) for g in second.groups] == [(2, (0, 1, 2, 3))]


# What is kept for the re-entry rollouts. Of s_1 a continuation of 6 tokens is expected, of s_2 4, of s_3 2.


@pytest.mark.parametrize(
    ("tokens_left", "drawn_at"),
    [
        (80, {1: 4, 2: 4, 3: 4}),  # 4 rollouts of 8 tokens are kept: the search has 48, which is what it costs
        (79, {1: 4, 2: 4, 3: 3}),
        (60, {1: 4, 2: 1}),  # half of 60 at the most is kept: 24 for s_1, 4 for one continuation of s_2
        (11, {}),  # 5.5 tokens are no continuation of s_1
    ],
)
def test_tokens_for_the_reentry_rollouts_are_kept_up_to_half(tokens_left, drawn_at):
    one = group([ONE, root(first=50)])
    wanted = one.next_round(tokens_left - one.kept(tokens_left))
    assert counts(wanted) == {Place(0, state): count for state, count in drawn_at.items()}


def test_each_anchor_keeps_tokens_of_its_own():
    # Two anchors of four states keep 2 x 4 x 8 = 64 of 128 tokens; the first takes 48 of the others, the second 16.
    both = group([ONE, root(first=50)], anchors=(0, 1))
    assert both.kept(128) == 64
    assert counts(both.next_round(64)) == {Place(0, 1): 4, Place(0, 2): 4, Place(0, 3): 4, Place(1, 1): 2}


def test_a_search_that_learns_from_what_it_drew_keeps_nothing():
    one = group([ONE, root(first=50)], learn_from="reuse")
    assert one.kept(48) == 0
    wanted = one.next_round(48)
    assert counts(wanted) == {Place(0, 1): 4, Place(0, 2): 4, Place(0, 3): 4}


@pytest.mark.parametrize(("left", "count"), [(24, 4), (23, 3), (13, 2), (11, 0), (0, 0)])
def test_reentry_rollouts_are_drawn_as_far_as_tokens_go_and_never_one_alone(left, count):
    wanted = group([ONE, root(first=50)]).missing([CriticalStep(1, 0.5)], left)
    assert counts(wanted) == ({Place(0, 1): count} if count else {})


# Merging of steps. Eight tokens; two continuations a state of 4 tokens on average, two re-entry rollouts of 8.


@pytest.mark.parametrize(
    ("tokens_left", "ends"),
    [
        (40, (2, 4, 6, 8)),  # 16 are kept, three states cost 24
        (39, (2, 4, 8)),  # two states cost 16
        (32, (2, 4, 8)),
        (31, (4, 8)),  # 15.5 are left: one state costs 8
        (16, (4, 8)),
        (15, (8,)),  # 7.5 are left
        (1, (8,)),
    ],
)
def test_steps_are_merged_until_the_search_fits(tokens_left, ends):
    made = group([ONE, root(first=50)], tokens_left=tokens_left, n_mc=2, n_reentry=2)
    assert made.views[0].ends_K == ends and made.thinned == (len(ends) < 4)


def test_anchors_share_what_is_left():
    both = group([ONE, root(first=50)], anchors=(0, 1), tokens_left=62, n_mc=2, n_reentry=2)
    assert [view.ends_K for view in both.views] == [(4, 8), (4, 8)] and both.thinned


def test_steps_that_a_data_set_names_are_no_steps_of_a_merged_response():
    options = {"n_mc": 2, "n_reentry": 2, "given": (1,)}
    assert group([ONE, root(first=50)], **options).views[0].given == {1}
    assert group([ONE, root(first=50)], tokens_left=31, **options).views[0].given == frozenset()


def test_a_response_without_tokens_has_nothing_to_merge_or_to_draw():
    empty = group([response(), ONE], tokens_left=1)
    assert (empty.thinned, empty.next_round(100), empty.choose()) == (False, [], [None])


def test_where_roots_differ_in_length_more_is_reserved():
    # Roots of 8 and 2 tokens, 5 on average; the anchor has 2, so of s_1 = (20, 21)|.. none is left of the mean's 5 - 1.
    long, short = response(0, 1, 2, 3, 4, 5, 6, 7), response(20, 21)
    made = group([short, long], splitter=lambda ids, _=None: list(range(1, len(ids) + 1)))
    (one,) = made.next_round(100)
    # max(2 - 1, 1) and max(8 - 1, 1) are 4 on average, as is 5 - 1; behind seven tokens it is (1 + 1) / 2.
    assert (one.prefix_length, one.tokens) == (1, 4.0)
    later = group([response(*range(4)), response(*range(50, 58)), response(*range(60, 60))])
    assert [one.tokens for one in later.next_round(100)] == [max(4 - 2, (2 + 6 + 1) / 3)]
