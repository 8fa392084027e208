"""What the tests of learning share: continuations that are letters, and a group whose values are known."""

from tests.core.fakes import FakePolicy, root, run
from verl_gpo.core.learn import LEARN_FROM
from verl_gpo.core.search.adaptive import AdaptiveSearch
from verl_gpo.core.search.propose import ProposeSearch
from verl_gpo.core.search.uniform import UniformSearch
from verl_gpo.core.types import Trajectory

#: How searches draw: all states before the choice; the group afterwards, within the budget; a state by its group.
AT_ONCE, SEQUENTIAL, BY_GROUP = UniformSearch(), AdaptiveSearch(), ProposeSearch()


class Letter(str):
    """Stands for a continuation; capitals were cut short."""

    @property
    def cut(self):
        return self.isupper()


def letters(text):
    return tuple(map(Letter, text))


# What the search drew: two continuations at s_1, three at s_2, one at s_3.
DRAWN = {2: "cde", 1: "ab", 3: "f"}


def groups(learn_from, sequential=False, reset=2, added="", drawn=None):
    """Groups as (state, rollouts, critical)."""
    search = SEQUENTIAL if sequential else AT_ONCE
    drawn = {state: letters(samples) for state, samples in (drawn or DRAWN).items()}
    return [
        (group.state, "".join(group.rollouts), group.critical)
        for group in LEARN_FROM[learn_from].groups(
            search, drawn, reset, letters(added), lambda state: tuple(range(state))
        )
    ]


# Through the engine. The group's mean is .5 and the anchor right; V = .5 .5 .75 .25 | 1, so step 3 gains most, .75.
ROOTS = [root(reward=1.0), root(reward=0.0, first=50)]
REWARDS = {2: [1, 0, 1, 0], 4: [1, 1, 1, 0], 6: [1, 0, 0, 0, 1, 1, 0, 1]}


def through(learn_from, rewards=REWARDS, roots=ROOTS, fail=(), **settings):
    """One prompt through the procedure: the policy, and the result."""
    policy = FakePolicy(rewards, fail_sampling=fail)
    result = run(policy, roots, learn_from=learn_from, **{"n_mc": 4, "n_reentry": 3, **settings})
    return policy, result


def numbers(group):
    """Which requests, by their number from 1, a group is made of."""
    return [rollout.continuation.source for rollout in group.rollouts]


# Two anchors that agree on their first two steps, s_1 and s_2, and differ in s_3.
TWINS = [root(reward=1.0), Trajectory((0, 1, 2, 3, 20, 21, 22, 23), None, 0.0)]
