"""The choice of pairs, by hand and in general."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.offline.pairs import RULES, TRUNCATED, Selection, Tally, select, unpair
from verl_gpo.offline.records import Record, Rollout, State


def rollout(name, reward, finish="stop"):
    return Rollout((name,), float(reward), finish)


def record(rollouts, prefix=(5, 6), index=0, visit=0):
    state = State(prefix, 1, 3, True, 0.5, 0.9, tuple(rollouts))
    roots = (rollout(90, 1), rollout(91, 0))
    return Record(index, visit, "p", (1, 2), roots, (state,), {"root": 2, "value": 0, "reentry": 4}, 0, "s")


def names(pairs):
    return [(pair.chosen.token_ids[0], pair.rejected.token_ids[0]) for pair in pairs]


def chosen(rollouts, **selection):
    return names(select([record(rollouts)], False, Selection(**selection), Tally()))


MIXED = [rollout(1, 0), rollout(2, 1), rollout(3, 0.5), rollout(4, 0), rollout(5, 1)]


def test_rules_by_hand():
    # By reward: 2 and 5 are right, 3 is half right, 1 and 4 are wrong. The best goes with the worst.
    assert chosen(MIXED, rule="balanced") == [(2, 4), (5, 1)]
    assert chosen(MIXED, rule="best_worst") == [(2, 4)]
    assert sorted(chosen(MIXED, rule="all")) == [(2, 1), (2, 3), (2, 4), (3, 1), (3, 4), (5, 1), (5, 3), (5, 4)]
    assert chosen(MIXED, rule="balanced", max_pairs=1) == [(2, 4)]
    assert len(chosen(MIXED, rule="all", max_pairs=3)) == 3
    assert sorted(chosen(MIXED, rule="all", min_gap=0.5)) == [(2, 1), (2, 4), (5, 1), (5, 4)]


@pytest.mark.parametrize("rule", RULES)
def test_no_pair_without_a_difference(rule):
    assert chosen([rollout(1, 1), rollout(2, 1)], rule=rule) == []
    assert chosen([rollout(1, 1)], rule=rule) == []
    assert chosen([], rule=rule) == []


@pytest.mark.parametrize("rule", RULES)
def test_what_was_written_twice_counts_once_and_not_at_all_with_two_rewards(rule):
    assert chosen([rollout(1, 1), rollout(1, 1), rollout(2, 0), rollout(2, 0)], rule=rule) == [(1, 2)]
    assert chosen([rollout(1, 1), rollout(1, 0)], rule=rule) == []
    assert chosen([rollout(1, 1), rollout(1, 0), rollout(2, 0)], rule=rule) == []


def test_what_was_cut_off():
    cut = [rollout(1, 1, "length"), rollout(2, 1), rollout(3, 0, "length"), rollout(4, 0)]
    assert sorted(chosen(cut, rule="all", truncated="rejected")) == [(2, 3), (2, 4)]
    assert chosen(cut, rule="all", truncated="drop") == [(2, 4)]
    assert sorted(chosen(cut, rule="all", truncated="keep")) == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert chosen(cut, rule="balanced", truncated="rejected") == [(2, 4)]


def test_a_pair_of_the_same_prompt_and_prefix_occurs_once():
    same = [record([rollout(1, 1), rollout(2, 0)], visit=visit) for visit in range(3)]
    other = record([rollout(1, 1), rollout(2, 0)], prefix=(5,))
    tally = Tally()
    pairs = list(select([*same, other], False, Selection(), tally))
    assert [pair.prompt_ids for pair in pairs] == [(1, 2, 5, 6), (1, 2, 5)]
    assert (tally.duplicate_pairs, tally.states, tally.states_with_pairs) == (2, 4, 2)


def test_whole_responses_are_paired_only_when_asked_for():
    without_states = Record(0, 0, "p", (1, 2), (rollout(8, 1), rollout(9, 0)), (), {}, 0, "s")
    assert names(select([without_states], True, Selection(), Tally())) == [(8, 9)]
    assert names(select([without_states], False, Selection(), Tally())) == []


def test_unpaired_rows_are_the_pairs_continuations_each_once():
    pairs = list(select([record(MIXED)], False, Selection(rule="all"), Tally()))
    rows = {row.rollout.token_ids[0]: row.label for row in unpair(pairs)}
    assert rows == {2: True, 5: True, 1: False, 4: False}  # 3 is chosen over some and rejected for others


rollouts = st.lists(
    st.builds(rollout, st.integers(0, 9), st.sampled_from([0, 0.5, 1]), st.sampled_from(["stop", "length"])), max_size=9
)


@given(rollouts, st.sampled_from(list(RULES)), st.sampled_from(list(TRUNCATED)), st.integers(0, 3))
def test_pairs_keep_the_rules(given_rollouts, rule, truncated, most):
    selection = Selection(rule, most, 0.25, truncated)
    pairs = list(select([record(given_rollouts)], False, selection, Tally()))
    may_choose, may_reject = TRUNCATED[truncated]
    for pair in pairs:
        assert pair.chosen.reward - pair.rejected.reward > 0.25
        assert pair.chosen.token_ids != pair.rejected.token_ids
        assert may_choose or pair.chosen.finish == "stop"
        assert may_reject or pair.rejected.finish == "stop"
    assert len(set(names(pairs))) == len(pairs)
    assert not most or len(pairs) <= most
    if rule == "balanced":
        used = [name for couple in names(pairs) for name in couple]
        assert len(set(used)) == len(used)
