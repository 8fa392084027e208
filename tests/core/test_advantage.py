"""Group advantages: groups of root rows, re-entry rows and padding, by hand; equality with verl is tests/plugin's."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.advantage import exponential_advantages, group_advantages, is_reentry_uid, reentry_uid


def outcome(rewards, mask=None):
    """Rows of three tokens with the reward on the last one."""
    rewards_BT = torch.zeros(len(rewards), 3)
    rewards_BT[:, -1] = torch.tensor(rewards)
    return rewards_BT, torch.ones_like(rewards_BT) if mask is None else torch.tensor(mask, dtype=torch.float32)


def test_uids_of_reentry_groups():
    uid = reentry_uid("1b4e28ba-2fa1", 0, 3)
    assert is_reentry_uid(uid) and not is_reentry_uid("1b4e28ba-2fa1")
    assert "_" not in uid  # verl splits its keys there
    same_prompt = {reentry_uid("1b4e28ba-2fa1", a, k) for a in (0, 1, 11) for k in (1, 11)}
    assert len(same_prompt) == 6 and all(is_reentry_uid(uid) for uid in same_prompt)


def test_each_reset_state_has_its_own_baseline():
    reentry = reentry_uid("p", 0, 2)
    # Roots of p: 1 0 0 0, mean .25. Re-entry rollouts: 1 1 0, mean 2/3. With std off the advantage is R - mean.
    rewards, mask = outcome([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    mask[4:, 0] = 0.0  # the kept prefix carries no advantage
    advantages = group_advantages(rewards, mask, ["p"] * 4 + [reentry] * 3, normalize_by_std=False, reentry_weight=2.0)
    assert advantages[0].tolist() == [0.75] * 3
    assert advantages[1].tolist() == [-0.25] * 3
    assert advantages[4].tolist() == pytest.approx([0.0, 2 / 3, 2 / 3])
    assert advantages[6].tolist() == pytest.approx([0.0, -4 / 3, -4 / 3])


def test_standard_deviation_is_the_unbiased_one():
    # 1 0: mean .5, std sqrt(.5) = .70711; advantage .5 / (.70711 + 1e-6) = .70711 (1 - 1.4e-6)
    advantages = group_advantages(*outcome([1.0, 0.0]), ["p", "p"])
    assert advantages[:, 0].tolist() == pytest.approx([0.707106, -0.707106], abs=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_all_equal_groups_teach_nothing(normalize):
    uids = ["p", "p", reentry_uid("p", 0, 1), reentry_uid("p", 0, 1)]
    assert not group_advantages(*outcome([1.0] * 4), uids, normalize_by_std=normalize).any()


def test_a_reentry_row_alone_has_no_baseline_and_a_root_alone_keeps_its_reward():
    advantages = group_advantages(*outcome([1.0, 1.0]), ["p", reentry_uid("p", 0, 1)])
    assert advantages[0].tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert advantages[1].tolist() == [0.0] * 3


def test_the_critical_group_is_weighted_further():
    # Each group is 1 0: +-.5. Roots times 1, those from a reset state times 2.
    uids = [uid for group in ("p", reentry_uid("p", 0, 1), reentry_uid("p", 0, 2)) for uid in [group] * 2]
    rewards, mask = outcome([1.0, 0.0] * 3)
    advantages = group_advantages(rewards, mask, uids, normalize_by_std=False, reentry_weight=2.0)
    assert advantages[:, 0].tolist() == [0.5, -0.5, 1.0, -1.0, 1.0, -1.0]


def test_a_weight_of_zero_silences_the_reentry_rows_and_leaves_the_roots():
    uids = ["p", "p", reentry_uid("p", 0, 1), reentry_uid("p", 0, 1)]
    advantages = group_advantages(*outcome([1.0, 0.0, 1.0, 0.0]), uids, reentry_weight=0.0)
    assert advantages[:2].all() and not advantages[2:].any()


def test_padding_rows_change_nothing_and_get_nothing():
    rewards, mask = outcome([1.0, 0.0, 0.0, 0.0], mask=[[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]])
    padded = group_advantages(rewards, mask, ["p", "p", "pad0", "pad0"])
    alone = group_advantages(rewards[:2], mask[:2], ["p", "p"])
    assert torch.equal(padded[:2], alone) and not padded[2:].any()


def test_rows_may_stand_in_any_order():
    uids = ["p", reentry_uid("p", 0, 1), "q", "p", reentry_uid("p", 0, 1), "q"]
    rewards, mask = outcome([1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    order = [5, 2, 0, 4, 1, 3]
    expected = group_advantages(rewards, mask, uids)[order]
    assert torch.allclose(group_advantages(rewards[order], mask[order], [uids[i] for i in order]), expected)


def test_inputs_are_left_alone():
    rewards, mask = outcome([1.0, 0.0])
    before = rewards.clone()
    group_advantages(rewards, mask, ["p", "p"])
    assert torch.equal(rewards, before)


# ---------------------------------------------------------------------------------- advantage-weighted regression


def test_exponential_advantages_by_hand():
    # A = .5 -.5, beta = .5: e^1 and e^-1 over their mean, less 1.
    e, f = math.e, 1 / math.e
    expected = [e / ((e + f) / 2) - 1, f / ((e + f) / 2) - 1]
    assert exponential_advantages(torch.tensor([0.5, -0.5]), 0.5).tolist() == pytest.approx(expected)


def test_exponential_advantages_of_equal_rewards_teach_nothing():
    assert exponential_advantages(torch.zeros(3), 0.1).abs().max() == 0


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=8), st.floats(0.05, 100))
def test_exponential_advantages_are_centred_ordered_and_finite(rewards, beta):
    advantages = torch.tensor(rewards) - torch.tensor(rewards).mean()
    weights = exponential_advantages(advantages, beta)
    assert weights.isfinite().all() and abs(weights.sum()) < 1e-4 and (weights >= -1).all()
    order = advantages.argsort(stable=True)
    assert (weights[order].diff() >= -1e-5).all()


def test_a_high_temperature_gives_the_linear_form():
    advantages = torch.tensor([0.75, -0.25, -0.25, -0.25])
    assert torch.allclose(1e3 * exponential_advantages(advantages, 1e3), advantages, atol=1e-3)


def test_its_gradient_is_that_of_regression_on_the_tilted_policy():
    """On all actions, weighted by pi: E[w grad log pi] = grad of E_pi*[log pi], with pi* = pi exp(A/beta) / Z."""
    logits = torch.tensor([0.3, -0.2, 1.0, 0.1], dtype=torch.float64, requires_grad=True)
    rewards, beta = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64), 0.7
    policy = logits.softmax(0).detach()
    advantages = rewards - (policy * rewards).sum()
    tilted = policy * (advantages / beta).exp()
    tilted = tilted / tilted.sum()
    (regression,) = torch.autograd.grad((tilted * logits.log_softmax(0)).sum(), logits)
    weights = (advantages / beta).exp() / (policy * (advantages / beta).exp()).sum() - 1
    (ours,) = torch.autograd.grad((policy * weights * logits.log_softmax(0)).sum(), logits)
    assert torch.allclose(ours, regression)


def test_only_reentry_rows_are_tilted():
    rewards, mask = torch.tensor([[1.0], [0.0], [1.0], [0.0]]), torch.ones(4, 1)
    uids = ["p", "p", reentry_uid("p", 0, 2), reentry_uid("p", 0, 2)]
    tilted = group_advantages(rewards, mask, uids, exp_beta=0.5, reentry_weight=3.0)
    plain = group_advantages(rewards, mask, uids)
    assert torch.equal(tilted[:2], plain[:2])
    assert torch.allclose(tilted[2:, 0], 3 * exponential_advantages(torch.tensor([0.5, -0.5]), 0.5))


def test_group_ids_may_be_numbers_and_may_look_like_ours():
    rewards, mask = torch.tensor([[1.0], [0.0], [1.0], [0.0]]), torch.ones(4, 1)
    assert group_advantages(rewards, mask, [7, 7, 8, 8], normalize_by_std=False).flatten().tolist() == [
        *(0.5, -0.5),
        *(0.5, -0.5),
    ]
    assert not any(map(is_reentry_uid, ["me@example.org", "a@1.2", "p@gpo.0.1.x", "p@gpo.0.1", "@", 7, ("p", 1)]))
    assert not any(map(is_reentry_uid, ["p@gpo.reset.0.1", "p@gpo.reset.0.1.00000000", "@gpo.reset."]))
    assert is_reentry_uid(reentry_uid("me@example.org", 0, 3))


def test_equal_rewards_give_exactly_nothing_at_a_reset_state():
    # In single precision the mean of eight 0.2 is not 0.2, and its quotient by a deviation of 1e-8 no longer small.
    rewards, mask = torch.full((8, 1), 0.2), torch.ones(8, 1)
    assert group_advantages(rewards, mask, [reentry_uid("p", 0, 1)] * 8).abs().max() == 0.0
