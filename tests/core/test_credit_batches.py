"""Step credit in whole batches: any order, masks, padding, branches, several prompts, KL in the reward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_credit import VALUES, batch, grpo, values
from verl_gpo.core.advantage import group_advantages, reentry_uid
from verl_gpo.core.credit import StepCredit, credit_by_means, credited_advantages, credited_uid


@st.composite
def groups(draw):
    """Rewards, masks and credits of one group of 2 to 5 rows of six tokens, of which some are padding."""
    count = draw(st.integers(2, 5))
    rewards = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=count, max_size=count))
    lengths = draw(st.lists(st.integers(2, 6), min_size=count, max_size=count))
    credits = []
    for reward, length in zip(rewards, lengths, strict=True):
        cut = draw(st.integers(1, length - 1))
        means = values(sum(rewards) / count, draw(VALUES), reward)
        credits.append(credit_by_means((cut, length), means) if draw(st.booleans()) else None)
    mask = [[int(at < length) for at in range(6)] for length in lengths]
    return rewards, mask, credits


@settings(max_examples=150)
@given(groups(), st.permutations(range(8)))
def test_order_and_padding_change_nothing_and_rows_without_credit_are_untouched(group, order):
    rewards, mask, credits = group
    uids = ["p" if credit is None else credited_uid("p", credit) for credit in credits] + ["pad0", "pad1", "pad2"]
    rewards_BT, mask_BT = batch(rewards + [0.0] * 3, mask + [[0] * 6] * 3)
    order = [row for row in order if row < len(uids)]
    together = grpo(rewards_BT, mask_BT, uids)
    shuffled = grpo(rewards_BT[order], mask_BT[order], [uids[row] for row in order])
    assert torch.allclose(shuffled, together[order], atol=1e-6)
    plain = group_advantages(rewards_BT, mask_BT, ["p"] * len(rewards) + ["pad0", "pad1", "pad2"])
    for row, credit in enumerate(credits):
        assert not together[row][mask_BT[row] == 0].any()
        if credit is None:
            assert torch.equal(together[row], plain[row])
        elif len(set(rewards)) > 1:
            # Telescoping, in units of advantage: a token of each step, added up, is the group's advantage of the row.
            first, last = together[row, 0], together[row, credit.ends[-1] - 1]
            assert first + last == pytest.approx(float(plain[row, 0]), abs=1e-4)


@settings(max_examples=100)
@given(groups())
def test_a_weight_of_zero_is_the_group_s_advantage(group):
    rewards, mask, credits = group
    light = [None if c is None else StepCredit(c.total, c.ends, c.advantages, (0.0,) * len(c.ends)) for c in credits]
    uids = ["p" if credit is None else credited_uid("p", credit) for credit in light]
    rewards_BT, mask_BT = batch(rewards, mask)
    assert torch.allclose(grpo(rewards_BT, mask_BT, uids), group_advantages(rewards_BT, mask_BT, ["p"] * len(rewards)))


def test_a_weight_between_is_a_mixture():
    # Roots 1 0: the group gives +.5 without a deviation. Segment .5 of weight .25: .75 x .5 + .25 x .5 = .5; 0: .375.
    credit = StepCredit(0.5, (3, 6), (0.5, 0.0), (0.25, 0.25))
    advantages = grpo(*batch([1.0, 0.0]), [credited_uid("p", credit), "p"], normalize=False)
    assert advantages[0].tolist() == [0.5] * 3 + [0.375] * 3


def test_with_kl_in_the_reward_only_the_outcome_is_distributed():
    # Outcomes 1 and 0; the first row's penalty is .2 more: .8 - 0 gives +-.4. Its outcome's part is .5, KL's -.1.
    credit = StepCredit(0.5, (3, 6), (0.5, 0.0), (1.0, 1.0))
    rewards, mask = batch([1.0, 0.0])
    rewards[0, :2] = -0.1
    advantages = grpo(rewards, mask, [credited_uid("p", credit), "p"], kl_in_reward=True, normalize=False)
    assert advantages[0].tolist() == pytest.approx([0.4, 0.4, 0.4, -0.1, -0.1, -0.1])
    assert advantages[1].tolist() == pytest.approx([-0.4] * 6)


def test_a_batch_without_credit_is_handed_back():
    advantages, (_, mask) = torch.rand(2, 6), batch([1.0, 0.0])
    assert credited_advantages(advantages, torch.tensor([1.0, 0.0]), mask, ["p", "p"], [None, None]) is advantages


@st.composite
def batches(draw):
    """Several prompts with roots and branches, padding, masks, and rewards with a penalty of KL at every token."""
    rows = []
    for prompt in range(draw(st.integers(1, 3))):
        rewards = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4))
        for number, reward in enumerate(rewards):
            length = draw(st.integers(2, 6))
            cut, mean = draw(st.integers(1, length - 1)), sum(rewards) / len(rewards)
            credit = credit_by_means((cut, length), values(mean, draw(VALUES), reward))
            mask = [int(at < length and (at != 2 or number % 2 == 0)) for at in range(6)]  # some rows have a gap
            rows.append((f"p{prompt}", reward, mask, credit if draw(st.booleans()) else None))
        for reward in draw(st.lists(st.sampled_from([0.0, 1.0]), max_size=3)):
            rows.append((reentry_uid(f"p{prompt}", 0, 1), reward, [0, 0, 1, 1, 1, 1], None))
    rows += [(f"pad{number}", 0.0, [0] * 6, None) for number in range(draw(st.integers(0, 2)))]
    rows = draw(st.permutations(rows))
    penalty = draw(st.lists(st.floats(0, 0.125, width=32), min_size=len(rows), max_size=len(rows)))
    return rows, penalty


@settings(max_examples=150)
@given(batches(), st.booleans())
def test_under_kl_a_row_s_own_advantage_moves_by_its_steps_and_nothing_else_moves(batch_of, normalize):
    rows, penalty = batch_of
    rewards_BT, mask_BT = batch([reward for _, reward, _, _ in rows], [mask for *_, mask, _ in rows])
    rewards_BT = rewards_BT - torch.tensor(penalty)[:, None] * mask_BT
    plain_uids = [uid for uid, *_ in rows]
    uids = [uid if credit is None else credited_uid(uid, credit) for uid, _, _, credit in rows]
    plain = group_advantages(rewards_BT, mask_BT, plain_uids, normalize)
    together = grpo(rewards_BT, mask_BT, uids, kl_in_reward=True, normalize=normalize)
    for row, (_, _, mask, credit) in enumerate(rows):
        assert not together[row][mask_BT[row] == 0].any()
        if credit is None:
            assert torch.equal(together[row], plain[row])
            continue
        moved = together[row] - plain[row]
        step = credit.by_token()[0] - credit.total
        scales = {round(float(moved[at] / step[at]), 2) for at in range(len(step)) if mask[at] and abs(step[at]) > 0.05}
        assert len(scales) <= 1 and all(scale > 0 for scale in scales)  # one scale for all tokens of a row
