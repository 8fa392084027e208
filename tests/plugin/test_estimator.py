"""The estimator ``gpo`` through verl's own advantage path; without re-entry it is verl's ``grpo`` bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from verl_gpo.config import ConfigError
from verl_gpo.core.advantage import reentry_uid
from verl_gpo.core.credit import StepCredit, credited_uid
from verl_gpo.plugin.estimators import CREDITING

LENGTH = 5

REWARDS = st.one_of(
    st.sampled_from([0.0, 1.0]),
    st.floats(-100.0, 100.0, width=32, allow_nan=False),
)
# One row: the rewards of its tokens and their mask, which may be empty.
ROW = st.tuples(
    st.lists(REWARDS, min_size=LENGTH, max_size=LENGTH), st.lists(st.integers(0, 1), min_size=LENGTH, max_size=LENGTH)
)


@st.composite
def batches(draw):
    """Groups of 1 to 6 rows and some padding rows, in any order: (rewards, masks, uids)."""
    rows = []
    for group in range(draw(st.integers(1, 4))):
        rows += [(*row, f"prompt-{group}") for row in draw(st.lists(ROW, min_size=1, max_size=6))]
    for number in range(draw(st.integers(0, 3))):
        rows.append(([0.0] * LENGTH, [0] * LENGTH, f"padding-{number}"))
    rewards, masks, uids = zip(*draw(st.permutations(rows)), strict=True)
    return torch.tensor(rewards), torch.tensor(masks), np.array(uids, dtype=object)


def protocol(rewards_BT, mask_BT, uids_B):
    """A fresh batch as the trainer hands it to verl's functions, and its keys."""
    tensors = {"token_level_rewards": rewards_BT.clone(), "response_mask": mask_BT.clone()}
    data = DataProto(TensorDict(tensors, batch_size=len(uids_B)), non_tensor_batch={"uid": uids_B})
    return data, [f"{uid}_{number}_0" for number, uid in enumerate(uids_B)]


def algorithm(normalize=True, **gpo):
    return OmegaConf.create({"adv_estimator": "gpo", "norm_adv_by_std_in_grpo": normalize, "gpo": gpo})


@settings(max_examples=200)
@given(batch=batches(), normalize=st.booleans(), weight=st.sampled_from([0.0, 1.0, 3.0]))
def test_equals_grpo_bit_for_bit_without_reentry(batch, normalize, weight):
    # The weight of re-entry rows must not touch a batch that has none.
    config = algorithm(normalize, reentry_weight=weight)
    through = {}
    for estimator in ("grpo", "gpo"):
        data, keys = protocol(*batch)
        arguments = {"adv_estimator": estimator, "norm_adv_by_std_in_grpo": normalize, "config": config}
        many = compute_advantage_for_multi_trajectories(data, batch_keys=keys, **arguments).batch
        data, _ = protocol(*batch)
        plain = compute_advantage(data, **arguments).batch
        through[estimator] = (many["advantages"], many["returns"], plain["advantages"], plain["returns"])
    for ours, verls in zip(through["gpo"], through["grpo"], strict=True):
        assert torch.equal(ours, verls)
    stock, _ = core_algos.compute_grpo_outcome_advantage(
        batch[0].clone(), batch[1], batch[2], norm_adv_by_std_in_grpo=normalize
    )
    assert torch.equal(through["gpo"][0], stock) and through["gpo"][0].dtype == stock.dtype


def hand_made():
    """Roots of p: 1 0 0 0. From its state s_2: 1 0. From its state s_3, alone: 1. Two tokens of prefix are masked."""
    uids = ["p"] * 4 + [reentry_uid("p", 0, 2)] * 2 + [reentry_uid("p", 1, 3)]
    rewards, mask = torch.zeros(7, LENGTH), torch.ones(7, LENGTH, dtype=torch.int64)
    rewards[:, -1] = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0])
    mask[4:, :2] = 0
    return rewards, mask, np.array(uids, dtype=object)


def test_reentry_rows_have_their_own_baseline_and_weight():
    data, keys = protocol(*hand_made())
    config = algorithm(normalize=False, reentry_weight=0.5)
    data = compute_advantage_for_multi_trajectories(data, batch_keys=keys, adv_estimator="gpo", config=config)
    advantages = data.batch["advantages"]
    # Roots: mean .25, so .75 and -.25. Re-entry rows: mean .5, so +-.5, times the weight .5. One alone: 0.
    assert advantages[:4, -1].tolist() == [0.75, -0.25, -0.25, -0.25]
    assert advantages[4].tolist() == [0.0, 0.0, 0.25, 0.25, 0.25]
    assert advantages[5].tolist() == [0.0, 0.0, -0.25, -0.25, -0.25]
    assert not advantages[6].any()
    assert torch.equal(data.batch["returns"], advantages)


def test_roots_are_what_they_are_without_their_reentry_rows():
    rewards, mask, uids = hand_made()
    together, _ = protocol(rewards, mask, uids)
    alone, _ = protocol(rewards[:4], mask[:4], uids[:4])
    config = algorithm(reentry_weight=2.0)
    both, roots = (compute_advantage(data, "gpo", config=config).batch["advantages"] for data in (together, alone))
    assert torch.equal(both[:4], roots) and both[4].any()


def test_settings_that_are_absent_or_null_take_the_defaults():
    rewards, mask, uids = hand_made()
    estimate = core_algos.get_adv_estimator_fn("gpo")
    results = [
        estimate(rewards, mask, uids, config=config)[0]
        for config in (None, algorithm(), algorithm(reentry_weight=None), algorithm(reentry_weight=1.0))
    ]
    assert all(torch.equal(results[0], result) for result in results[1:])
    # The standard deviation of 1 0 is sqrt(.5), so normalized advantages are +-.5 / sqrt(.5) = +-.7071.
    assert results[0][4:6, -1].tolist() == pytest.approx([0.70711, -0.70711], abs=1e-4)


def test_a_wrong_setting_is_refused_here_too():
    data, _ = protocol(*hand_made())
    with pytest.raises(ConfigError, match=r"^algorithm.gpo.reentry_weight=-1: must be a number of at least 0$"):
        compute_advantage(data, "gpo", config=algorithm(reentry_weight=-1))


# ------------------------------------------------------------------------------------------------------ step credit


def credited(row=0, total=0.75):
    """The batch of :func:`hand_made`, its first root credited: .5 to two tokens, .25 to three."""
    rewards, mask, uids = hand_made()
    uids[row] = credited_uid("p", StepCredit(total, (2, 5), (0.5, 0.25), (1.0, 1.0)))
    return rewards, mask, uids


@pytest.mark.parametrize("normalize", [True, False])
def test_a_credited_row_has_the_advantages_of_its_steps_and_no_other_row_changes(normalize):
    plain, with_credit = (
        compute_advantage(protocol(*batch)[0], "gpo", config=algorithm(normalize)).batch["advantages"]
        for batch in (hand_made(), credited())
    )
    scale = 1 / (0.5 + 1e-6) if normalize else 1.0  # rewards 1 0 0 0: mean .25, std .5
    assert with_credit[0].tolist() == pytest.approx([0.5 * scale] * 2 + [0.25 * scale] * 3, abs=1e-5)
    assert torch.equal(with_credit[1:], plain[1:])


@pytest.mark.parametrize("base", CREDITING)
def test_every_group_estimator_scales_the_steps_as_it_scales_rewards(base):
    """The two steps' advantages sum to R - V(s_0) = .75, so one token of each adds up to the row's own advantage.

    OPO's baseline is weighted by lengths, which are equal here. The whitened one is centred over the batch, too, so it
    is compared with the difference of two rows.
    """
    config = algorithm(base_estimator=base)
    config.gamma = 1.0
    plain, with_credit = (
        compute_advantage(protocol(*batch)[0], "gpo", config=config).batch["advantages"]
        for batch in (hand_made(), credited())
    )
    scale = float(plain[0, 0] - plain[1, 0])  # a reward of 1 makes this difference
    assert with_credit[0].tolist() == pytest.approx([0.5 * scale] * 2 + [0.25 * scale] * 3, rel=1e-4)
    assert torch.equal(with_credit[1:], plain[1:])


def test_kl_in_the_reward_stays_with_the_tokens_of_a_credited_row():
    rewards, mask, uids = credited()
    rewards[0, 0] = -0.2  # a penalty: the outcome is .8, the mean .2
    config = algorithm(normalize=False)
    config.use_kl_in_reward = True
    advantages = compute_advantage(protocol(rewards, mask, uids)[0], "gpo", config=config).batch["advantages"]
    # The group gives .6, of which .75 is the outcome's: -.15 is left of it, beside .5 and .25.
    assert advantages[0].tolist() == pytest.approx([0.35, 0.35, 0.1, 0.1, 0.1])
    assert advantages[1].tolist() == pytest.approx([-0.2] * 5)


def test_returns_of_a_credited_row_are_its_advantages_as_in_grpo():
    data = compute_advantage(protocol(*credited())[0], "gpo", config=algorithm())
    assert torch.equal(data.batch["returns"], data.batch["advantages"])


@settings(max_examples=100)
@given(batch=batches(), normalize=st.booleans())
def test_a_weight_of_zero_everywhere_is_grpo(batch, normalize):
    rewards, mask, uids = batch
    none = StepCredit(0.0, (LENGTH,), (9.0,), (0.0,))
    light = np.array([uid if uid.startswith("pad") else credited_uid(uid, none) for uid in uids], dtype=object)
    plain, with_credit = (
        compute_advantage(protocol(rewards, mask, ids)[0], "gpo", config=algorithm(normalize)).batch["advantages"]
        for ids in (uids, light)
    )
    assert torch.allclose(plain, with_credit, atol=1e-5)
