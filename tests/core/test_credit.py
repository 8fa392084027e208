"""Step credit: exact cases by hand, invariants by hypothesis, and the expected gradient of an enumerable policy."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.core.advantage import group_advantages, is_reentry_uid, reentry_uid
from verl_gpo.core.credit import (
    StepCredit,
    credit_by_belief,
    credit_by_means,
    credited_advantages,
    credited_uid,
    on_unsure_tokens,
    split_credits,
    step_rewards,
)
from verl_gpo.core.curve import ValueCurve
from verl_gpo.core.values import UNKNOWN, StateValue, observed_value

VALUES = st.floats(0, 1, width=32)


def values(*means):
    """``V(s_0) .. V(s_K)``; None where nothing is known."""
    return [UNKNOWN if mean is None else StateValue(mean, 4) for mean in means[:-1]] + [observed_value(means[-1])]


def batch(rewards, mask=None, length=6):
    """Outcome rewards on the last token of six."""
    rewards_BT = torch.zeros(len(rewards), length)
    rewards_BT[:, -1] = torch.tensor(rewards)
    return rewards_BT, torch.ones_like(rewards_BT) if mask is None else torch.tensor(mask, dtype=torch.float32)


def grpo(rewards_BT, mask_BT, uids, kl_in_reward=False, normalize=True, reward_range=1.0):
    """GRPO's advantages with the credits that the group ids carry."""
    plain, credits = split_credits(uids)
    advantages = group_advantages(rewards_BT, mask_BT, plain, normalize)
    outcomes = rewards_BT.sum(dim=-1)
    bound = reward_range if normalize else None
    return credited_advantages(advantages, outcomes, mask_BT, plain, credits, bound, kl_in_reward)


# ------------------------------------------------------------------------------------------------- by the means


def test_the_worked_response_of_the_docstring():
    credit = credit_by_means((2, 4, 6), values(0.5, 0.5, 1.0, 1.0))
    assert credit == StepCredit(0.5, (2, 4, 6), (0.0, 0.5, 0.0), (1.0, 1.0, 1.0))
    # A group of 1 1 0 0: mean .5, std sqrt(1/3) = .57735; the jump of .5 gives .5 / .57735 = .866, as outcome does.
    advantages = grpo(*batch([1.0, 1.0, 0.0, 0.0]), [credited_uid("p", credit), "p", "p", "p"])
    assert advantages[0].tolist() == pytest.approx([0, 0, 0.8660, 0.8660, 0, 0], abs=1e-4)
    assert advantages[1].tolist() == pytest.approx([0.8660] * 6, abs=1e-4)
    assert advantages[2].tolist() == pytest.approx([-0.8660] * 6, abs=1e-4)


def test_a_certain_step_gets_nothing_and_opposing_steps_get_opposite_credit():
    # V: .5 .5 .9 .1, reward 0: A = 0, .4, -.8, -.1, sum -.5 = 0 - .5.
    credit = credit_by_means((1, 2, 4, 6), values(0.5, 0.5, 0.9, 0.1, 0.0))
    assert credit.advantages == pytest.approx((0.0, 0.4, -0.8, -0.1)) and credit.total == -0.5
    advantages = grpo(*batch([0.0, 1.0]), [credited_uid("p", credit), "p"], normalize=False)
    assert advantages[0].tolist() == pytest.approx([0.0, 0.4, -0.8, -0.8, -0.1, -0.1])


def test_states_without_a_value_make_one_segment_of_the_steps_around_them():
    credit = credit_by_means((1, 2, 4, 6), values(0.5, None, 0.75, None, 1.0))
    assert (credit.ends, credit.advantages) == ((2, 6), (0.25, 0.25))


@pytest.mark.parametrize(
    "means",
    [
        (0.5, 1.0),  # a response of one step has no state between two steps
        (0.5, None, None, 1.0),  # nothing was drawn
        (None, 0.5, 1.0),  # the group's mean is unknown
    ],
)
def test_without_evidence_there_is_no_credit(means):
    assert credit_by_means(tuple(range(1, len(means))), values(*means)) is None


@given(st.lists(st.one_of(st.none(), VALUES), min_size=1, max_size=8), VALUES, VALUES)
def test_advantages_telescope_whatever_is_known(inner, first, last):
    credit = credit_by_means(tuple(range(1, len(inner) + 2)), values(first, *inner, last))
    if all(mean is None for mean in inner):
        assert credit is None
    else:
        assert sum(credit.advantages) == pytest.approx(last - first, abs=1e-9)
        assert credit.ends[-1] == len(inner) + 1


def test_the_credit_of_a_row_is_its_own():
    """Several anchors in a group, roots that were not searched, branches, padding: each by itself."""
    one = StepCredit(0.5, (3, 6), (0.5, 0.0), (1.0, 1.0))
    two = StepCredit(-0.5, (3, 6), (0.25, -0.75), (1.0, 1.0))
    branch = reentry_uid("p", 0, 1)
    uids = [credited_uid("p", one), credited_uid("p", two), "p", "p", branch, branch, "pad0"]
    rewards, mask = batch([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    mask[4:6, :3], mask[6] = 0, 0
    advantages = grpo(rewards, mask, uids, normalize=False)
    assert advantages[0].tolist() == [0.5, 0.5, 0.5, 0, 0, 0]
    assert advantages[1].tolist() == [0.25, 0.25, 0.25, -0.75, -0.75, -0.75]
    assert advantages[2:4, 0].tolist() == [0.5, -0.5]
    assert advantages[4].tolist() == [0, 0, 0, 0.5, 0.5, 0.5] and advantages[5].tolist() == [0, 0, 0, -0.5, -0.5, -0.5]
    assert not advantages[6].any()


# --------------------------------------------------------------------------------------------------- the scale


def test_a_group_without_a_deviation_has_the_scale_of_one_success_in_it():
    # All fail; the search found that the response was at .5 after its first half. Nothing to divide by: one success of
    # four would have the deviation sqrt(1/4) = .5, so .5 becomes 1.
    credit = StepCredit(0.0, (3, 6), (0.5, -0.5), (1.0, 1.0))
    uids = [credited_uid("p", credit), "p", "p", "p"]
    advantages = grpo(*batch([0.0] * 4), uids)
    assert advantages[0].tolist() == [1, 1, 1, -1, -1, -1] and not advantages[1:].any()
    assert grpo(*batch([0.0] * 4), uids, normalize=False)[0].tolist() == [0.5] * 3 + [-0.5] * 3
    assert grpo(*batch([0.0] * 4), uids, reward_range=2.0)[0].tolist() == [0.5] * 3 + [-0.5] * 3


def test_a_tiny_deviation_does_not_blow_the_steps_up():
    credit = StepCredit(0.0, (3, 6), (0.5, -0.5), (1.0, 1.0))
    advantages = grpo(*batch([0.5, 0.5001, 0.5, 0.5001]), [credited_uid("p", credit), "p", "p", "p"])
    assert advantages[0].abs().max() == 1.0


def test_an_estimator_without_a_deviation_takes_the_scale_of_the_batch():
    # RLOO gives n / (n - 1) for a unit of reward: 2 in a group of two. The group of equal rewards shows no scale.
    credit = StepCredit(0.0, (3, 6), (0.5, -0.5), (1.0, 1.0))
    advantages, (_, mask) = torch.zeros(4, 6), batch([0.0] * 4)
    advantages[0], advantages[1] = 1.0, -1.0
    outcomes = torch.tensor([1.0, 0.0, 0.0, 0.0])
    result = credited_advantages(advantages, outcomes, mask, ["p", "p", "q", "q"], [None, None, credit, None])
    assert result[2].tolist() == [1, 1, 1, -1, -1, -1] and torch.equal(result[:2], advantages[:2])
    alone = credited_advantages(advantages[2:], outcomes[2:], mask[2:], ["q", "q"], [credit, None])
    assert alone[0].tolist() == [0.5] * 3 + [-0.5] * 3


# ------------------------------------------------------------------------------------------------- in a group id


@given(
    st.text(max_size=12),
    st.lists(st.tuples(st.integers(1, 50), st.floats(-2, 2), st.floats(0, 1)), min_size=1, max_size=5),
    st.floats(-2, 2),
)
def test_what_a_group_id_carries_comes_back_exactly(uid, runs, total):
    ends = tuple(itertools.accumulate(length for length, _, _ in runs))
    credit = StepCredit(total, ends, tuple(a for _, a, _ in runs), tuple(w for *_, w in runs))
    assert split_credits([credited_uid(uid, credit)]) == ([uid], [credit])
    assert "_" not in credited_uid("", credit) and not is_reentry_uid(credited_uid(uid, credit))


def test_other_group_ids_are_left_as_they_are():
    uids = ["p", reentry_uid("p", 0, 2), 7, ("p", 1), "pad0", "me@gpo.credit", "p@gpo.credit.x;y", "p@gpo.credit.0;2:1"]
    assert split_credits(uids) == (uids, [None] * 8)


def test_lengths_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match="2 ends, 1 advantages, 2 weights"):
        StepCredit(0.0, (1, 2), (0.0,), (1.0, 1.0))


# --------------------------------------------------------------------------------------------------- by the belief


def belief(draws, reward=1.0, log_probs=None, steps=4, size=4096):
    """Curves with and without the continuations: ``draws`` is state -> (successes, number)."""
    curve = ValueCurve(tuple(range(2, 2 * steps + 1, 2)), reward, log_probs)
    counts, successes = np.zeros(steps), np.zeros(steps)
    counts[0], successes[0] = 7, 3  # the other roots of the group
    prior = curve.sample(successes, counts, size, np.random.default_rng(0))
    for state, (right, number) in draws.items():
        counts[state], successes[state] = number, right
    posterior = curve.sample(successes, counts, size, np.random.default_rng(1))
    return credit_by_belief(tuple(range(2, 2 * steps + 1, 2)), reward - 0.5, posterior, prior)


def test_continuations_on_both_sides_of_a_step_give_it_weight_and_the_others_little():
    # s_2 fails eight times, s_3 succeeds eight times: the third step is the jump.
    credit = belief({2: (0, 8), 3: (8, 8)})
    assert credit.advantages[2] > 0.7 and credit.weights[2] > 0.5
    # The first step lies before what is known of s_2: it is known to end low, and starts at what the roots say.
    assert credit.advantages[3] < 0.15 and credit.advantages[0] < 0.05
    assert sum(credit.advantages) == pytest.approx(1.0 - 0.45, abs=0.12)


def test_no_continuation_leaves_nearly_all_weight_with_the_group():
    assert max(belief({}).weights) < 0.15


def test_a_step_that_the_policy_was_sure_of_gets_nothing_with_full_weight():
    log_probs = (-0.7, -0.7, 0.0, 0.0, -0.7, -0.7, -0.7, -0.7)
    credit = belief({2: (0, 8), 3: (8, 8)}, log_probs=log_probs)
    assert (credit.advantages[1], credit.weights[1]) == (0.0, 1.0)


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0.5, 4.0))
def test_weights_are_shares_whatever_the_curves(steps, seed, reward_range):
    rng = np.random.default_rng(seed)
    curves, prior = (rng.random((32, steps + 1)) * reward_range for _ in range(2))
    credit = credit_by_belief(tuple(range(1, steps + 1)), 0.0, curves, prior, reward_range)
    assert all(0.0 <= weight <= 1.0 for weight in credit.weights)
    assert sum(credit.advantages) == pytest.approx(float((curves[:, -1] - curves[:, 0]).mean()), abs=1e-9)


# ----------------------------------------------------------------------------------- masks of SPO, rewards for a critic


def test_the_mask_leaves_credit_on_the_unsure_tokens_only():
    credit = StepCredit(0.5, (3, 6), (0.5, -0.25), (1.0, 0.5))
    sure, unsure = np.log(0.95), np.log(0.5)
    masked = on_unsure_tokens(credit, (unsure, sure, sure, sure, unsure, unsure), 0.9)
    by_token, weights = masked.by_token()
    assert by_token.tolist() == [0.5, 0, 0, 0, -0.25, -0.25] and weights.tolist() == [1, 1, 1, 0.5, 0.5, 0.5]
    assert masked.total == 0.5
    # At the threshold itself a token is sure enough; without log-probs, or at 1, nothing is masked.
    assert on_unsure_tokens(credit, (np.log(0.9),) * 6, 0.9).by_token()[0].abs().max() == 0
    assert on_unsure_tokens(credit, None, 0.9) is credit and on_unsure_tokens(credit, (0.0,) * 6, 1.0) is credit


def test_step_rewards_sum_to_the_outcome():
    credit = StepCredit(0.5, (2, 4, 6), (0.25, 0.5, -0.25), (1.0, 0.5, 1.0))
    assert step_rewards(credit, 1.0).tolist() == [0, 0.25, 0, 0.25, 0, 0.5]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ((1, 1, 1, 0, 1, 1), [0, 0.25, 0.25, 0, 0, 0.5]),  # the second segment ends with an observation
        ((1, 1, 0, 0, 1, 1), [0, 0.5, 0, 0, 0, 0.5]),  # it is one
        ((0, 0, 1, 1, 1, 1), [0, 0, 0, 0.25, 0, 0.75]),  # nothing of the policy's stands before the first one's end
        ((1, 1, 1, 1, 1, 0), [0, 0.25, 0, 0.25, 0.5, 0]),  # and the response ends with one
    ],
)
def test_a_reward_on_an_observation_goes_to_the_policys_token_before_it(written, expected):
    credit = StepCredit(0.5, (2, 4, 6), (0.25, 0.5, -0.25), (1.0, 0.5, 1.0))
    assert step_rewards(credit, 1.0, written).tolist() == expected


@given(st.lists(st.tuples(st.integers(2, 3), VALUES, VALUES), min_size=1, max_size=6), VALUES, st.data())
def test_verls_gae_loses_no_reward_of_a_response_with_observations(runs, reward, data):
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    ends = tuple(itertools.accumulate(length for length, _, _ in runs))
    credit = StepCredit(0.0, ends, tuple(a for _, a, _ in runs), tuple(w for *_, w in runs))
    tokens = st.lists(st.sampled_from((0, 1)), min_size=ends[-1], max_size=ends[-1])
    written = data.draw(tokens.filter(lambda written: sum(written) > 1))  # verl normalizes by their variance
    rewards_BT = step_rewards(credit, reward, written)[None]
    mask_BT = torch.tensor([written], dtype=torch.float32)
    assert float((rewards_BT * mask_BT).sum()) == pytest.approx(reward, abs=1e-5)
    _, returns_BT = compute_gae_advantage_return(rewards_BT, torch.zeros_like(mask_BT), mask_BT, 1.0, 1.0)
    assert float(returns_BT[0, written.index(1)]) == pytest.approx(reward, abs=1e-5)


@given(st.lists(st.tuples(st.integers(1, 3), VALUES, VALUES), min_size=1, max_size=6), VALUES)
def test_rewards_sum_to_the_outcome_whatever_the_weights(runs, reward):
    ends = tuple(itertools.accumulate(length for length, _, _ in runs))
    credit = StepCredit(0.0, ends, tuple(a for _, a, _ in runs), tuple(w for *_, w in runs))
    rewards = step_rewards(credit, reward)
    assert len(rewards) == ends[-1] and float(rewards.sum()) == pytest.approx(reward, abs=1e-5)
