"""What a method draws, with a sampler whose outcomes are known."""

import asyncio
import itertools

import pytest

from tests.forecast.fakes import Coins
from verl_gpo.forecast.groups import read
from verl_gpo.forecast.methods import method
from verl_gpo.forecast.sample import Source, draw_group, fill, prompts_of


def steps_of_one(token_ids, log_probs=None):
    return list(range(1, len(token_ids) + 1))


def draw(name, coins, n=8, **shared):
    return asyncio.run(draw_group(method(name, n, shared), Source(5, coins, coins), steps_of_one, 4, 2, 1_000))


def test_grpo_draws_its_rollouts_and_nothing_else():
    coins = Coins([1.0, 0.0, 0.0, 0.0])
    found = draw("grpo", coins, 4)
    assert found.tokens == 16 and found.rows == 4 and found.rewards == (1.0, 0.0, 0.0, 0.0)
    assert coins.asked == [(0, 4, 1_000 + place) for place in range(4)]
    assert (found.prompt, found.batch) == (5, 2)


def test_a_random_reset_draws_four_roots_and_four_rollouts_from_a_state():
    coins = Coins([1.0, 0.0])
    found = draw("random", coins)
    starts = [prefix for prefix, _, _ in coins.asked]
    assert found.rows == 8 and starts[:4] == [0] * 4 and len(set(starts[4:])) == 1
    assert found.tokens == 16 + 4 * (4 - starts[4])


def test_places_without_a_reset_are_filled_with_roots():
    """All tokens are equally unsure and all roots failed: whatever `lean` chooses, a prompt has eight rows."""
    found = draw("lean", Coins([0.0]))
    assert found.rows == 8 and found.learnt == ()


def test_a_root_that_fails_takes_its_prompt_out():
    assert draw("grpo", Coins([1.0, 0.0], fail=[2]), 4) is None


def test_prompts_of_batches_are_apart_and_begin_again():
    assert list(itertools.islice(prompts_of(1, 2, [9, 8, 7, 6, 5]), 5)) == [8, 6, 8, 6, 8]
    assert list(itertools.islice(prompts_of(0, 2, [9, 8, 7, 6, 5]), 4)) == [9, 7, 5, 9]


def filled(tmp_path, tokens, there=(), coins=None, prompts=range(10), **more):
    coins = coins or Coins([1.0, 0.0])
    return asyncio.run(
        fill(
            method("grpo", 2),
            2,
            tokens,
            list(prompts),
            lambda row: Source(row, coins, coins),
            steps_of_one,
            4,
            list(there),
            tmp_path / "groups.jsonl",
            **more,
        )
    )


def test_a_batch_ends_with_the_group_that_reaches_its_tokens(tmp_path):
    found = filled(tmp_path, 17)  # groups of 8 tokens: three of them
    assert sorted((one.batch, one.prompt) for one in found) == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 3), (1, 5)]
    assert sorted(read(tmp_path / "groups.jsonl"), key=repr) == sorted(found, key=repr)


def test_a_batch_may_be_bounded_in_groups(tmp_path):
    assert len(filled(tmp_path, 1_000, most_groups=1)) == 2


def test_what_is_there_is_not_drawn_again(tmp_path):
    before = filled(tmp_path, 9)
    coins = Coins([1.0, 0.0])
    after = filled(tmp_path, 17, before, coins)
    assert len(before) == 4 and len(after) == 6 and len(coins.asked) == 4  # two groups of two
    assert {one.prompt for one in after} == {0, 1, 2, 3, 4, 5}


def test_prompts_that_only_fail_end_in_an_error(tmp_path):
    with pytest.raises(ValueError, match="grpo: ten prompts in a row"):
        filled(tmp_path, 8, coins=Coins([1.0], fail=range(1_000)))
    with pytest.raises(ValueError, match="1 prompts are too few for 2 batches"):
        filled(tmp_path, 8, prompts=[1])
