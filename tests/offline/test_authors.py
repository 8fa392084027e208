"""``--method authors``: the pairs of the authors' own form, by hand."""

import asyncio
from dataclasses import replace

import pytest

from tests.core.fakes import LENGTH, pairs_of_tokens
from tests.offline.test_explore import Policy
from verl_gpo.config import GPOConfig
from verl_gpo.core.types import ScoredContinuation
from verl_gpo.offline.build_settings import _config, parse_args
from verl_gpo.offline.explore import Explorer
from verl_gpo.offline.pairs import Selection, Tally, select, unpair
from verl_gpo.offline.records import Task

NEEDED = ["--model", "m", "--data", "d", "--out", "o", "--method", "authors"]


class Alone(Policy):
    """Is asked for the reward of a continuation without the tokens before it, and knows where it began."""

    async def score(self, prefix, continuation):
        assert prefix == ()
        values = self.rewards[continuation.context_tokens]
        return ScoredContinuation(continuation, values.pop(0) if len(values) > 1 else values[0])


def settings(*given):
    return _config(parse_args([*NEEDED, *given]))


def record(policy, *given):
    _, config = settings("solved_reward=1", "min_step_tokens=1", *given)
    explorer = Explorer("authors", config, pairs_of_tokens, LENGTH, 2, "s")
    return asyncio.run(explorer.explore(Task(0, 4), "p", [1, 2, 3], policy, policy))


#: Root 1 fails, with four steps. Its prompt fails again, s_1 succeeds once of four, s_2 twice, s_3 never.
FAILED = {0: [1, 0, 0], 2: [0, 0, 1, 0], 4: [0, 1, 0, 1], 6: [0]}


def test_the_state_of_highest_mean_gives_the_pairs_and_both_sides_repeat_the_prefix():
    policy = Alone(FAILED)
    drawn = record(policy)
    ((state),) = drawn.states
    assert (state.step, state.steps, state.prefix, state.critical) == (2, 4, (), True)
    kept = (200, 201, 202, 203)  # of the second root
    assert all(rollout.token_ids[:4] == kept and len(rollout.token_ids) == 6 for rollout in state.rollouts)
    assert [rollout.reward for rollout in state.rollouts] == [0, 1, 0, 1]
    assert drawn.tokens["reentry"] == 0  # nothing was drawn after the search
    assert policy.asked() == {0: 2 + 4, 2: 4, 4: 4, 6: 4}


def test_the_prompt_of_a_pair_is_the_question():
    class Distinct(Alone):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            drawn = await super().sample(prefix, max_tokens, seed)
            return drawn if not prefix else replace(drawn, token_ids=(drawn.source, 8), log_probs=None)

    tally = Tally()
    (pair, _) = select([record(Distinct(FAILED))], False, Selection(), tally)
    assert pair.prompt_ids == (1, 2, 3)
    assert pair.chosen.token_ids[:4] == pair.rejected.token_ids[:4] == (200, 201, 202, 203)
    assert (pair.chosen.reward, pair.rejected.reward) == (1, 0)
    # KTO looks at each side by itself, prefix included.
    assert {row.label: row.rollout.token_ids[:4] for row in unpair([pair])} == dict.fromkeys(
        (True, False), pair.chosen.token_ids[:4]
    )


def test_where_every_response_is_right_nothing_is_drawn():
    assert record(Alone({0: [1]})).states == ()


def test_the_method_sets_the_preset():
    given, config = settings("n_mc=2")
    assert (config.search, config.learn_from, config.rows, config.scored) == (
        "highest",
        "reuse",
        "added",
        "continuation",
    )
    assert config.n_mc == 2 and given["preset"] == "authors" and isinstance(config, GPOConfig)
    with pytest.raises(ValueError, match="algorithm.gpo.preset='fast': is set by --method authors"):
        settings("preset=fast")
    with pytest.raises(ValueError, match="algorithm.gpo.search='uniform': is set by --method"):
        settings("search=uniform")
