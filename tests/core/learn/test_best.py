"""The best continuation of the reset state: one rollout, the first of equals."""

from tests.core.learn.fakes import through
from verl_gpo.core.learn import LEARN_FROM
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.types import Continuation, ScoredContinuation

BEST, SEARCH = LEARN_FROM["best"], SEARCHES["uniform"]()


def rollouts(*rewards, cut=()):
    return tuple(
        ScoredContinuation(Continuation((number,)), reward, cut=number in cut) for number, reward in enumerate(rewards)
    )


def test_the_first_of_the_highest_reward():
    samples = rollouts(0.0, 0.5, 1.0, 1.0)
    assert BEST.rollouts(SEARCH, samples, (), critical=True) == (samples[2],)
    assert BEST.rollouts(SEARCH, samples, (), critical=False) == ()
    assert BEST.rollouts(SEARCH, (), (), critical=True) == ()


def test_one_that_was_cut_is_never_learnt_from():
    samples = rollouts(0.0, 1.0, 0.5, cut={1})
    assert BEST.rollouts(SEARCH, samples, (), critical=True) == (samples[2],)


def test_nothing_is_drawn_unless_the_search_drew_nothing():
    assert [BEST.missing(SEARCH, 1, drawn, 1) for drawn in (0, 1, 4)] == [1, 0, 0]


def test_through_the_procedure_one_row_for_an_anchor():
    _, result = through("best", rows="replaced", n_reentry=1)
    assert [len(group.rollouts) for reentry in result.reentries for group in reentry.groups] == [1]
