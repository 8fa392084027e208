"""verl's estimators on one hand-made batch of roots, re-entry rollouts and padding."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.ray_trainer import compute_advantage

from verl_gpo.core.advantage import reentry_uid
from verl_gpo.plugin.estimators import BASES, needs_group

LENGTH, PREFIX = 4, 2
REENTRY = reentry_uid("p", 0, 2)
ROOTS, REENTRIES, LONE, PADDING = slice(0, 4), slice(4, 6), 6, slice(7, 9)


def batch():
    """Roots of p: 1 0 0 0. From its state s_2: 1 0. From s_3, alone: 1. Two rows of padding."""
    rewards = torch.zeros(9, LENGTH)
    rewards[:7, -1] = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0])
    mask = torch.ones(9, LENGTH)
    mask[4:7, :PREFIX] = 0
    mask[7:] = 0
    uids = ["p"] * 4 + [REENTRY] * 2 + [reentry_uid("p", 1, 3)] + ["pad"] * 2
    return rewards, mask, np.array(uids, dtype=object)


def estimate(estimator, values=None, **settings):
    rewards, mask, uids = batch()
    tensors = {"token_level_rewards": rewards, "response_mask": mask}
    if values is not None:
        tensors["values"] = values
    data = DataProto(TensorDict(tensors, batch_size=9), non_tensor_batch={"uid": uids})
    gamma, lam = settings.pop("gamma", 1.0), settings.pop("lam", 1.0)
    config = OmegaConf.create({"gamma": gamma, "lam": lam, "gpo": settings})
    data = compute_advantage(data, estimator, gamma=gamma, lam=lam, config=config)
    return data.batch["advantages"], data.batch["returns"]


#: Outcome advantage of root rows and of re-entry rows, by hand, before what the estimator does to the whole batch.
BY_HAND = {
    # (R - mean) / std: roots mean 1/4, std 1/2; re-entry rows mean 1/2, std sqrt(1/2).
    "grpo": ([1.5, -0.5, -0.5, -0.5], [0.5 / 0.5**0.5, -0.5 / 0.5**0.5]),
    # R less the mean of the others.
    "rloo": ([1.0, -1 / 3, -1 / 3, -1 / 3], [1.0, -1.0]),
    # R less the length-weighted mean; all rows of a group are equally long here.
    "opo": ([0.75, -0.25, -0.25, -0.25], [0.5, -0.5]),
}


@pytest.mark.parametrize("estimator", BY_HAND)
@pytest.mark.parametrize("base", [False, True])
def test_group_estimators_compare_within_the_reset_state(estimator, base):
    """By the uid of the re-entry rows alone, in verl's own estimator; and the same through ``gpo``."""
    advantages, _ = estimate("gpo", base_estimator=estimator) if base else estimate(estimator)
    for rows, expected in zip((ROOTS, REENTRIES), BY_HAND[estimator], strict=True):
        assert advantages[rows, -1].tolist() == pytest.approx(expected, abs=1e-4)
    assert not advantages[REENTRIES, :PREFIX].any()
    # verl's opo divides by the tokens of a group, and padding has none; the loss leaves what is masked alone.
    assert not advantages[PADDING].nan_to_num().any() and (not base or not advantages.isnan().any())
    # A row that is alone keeps its whole reward in verl's, as if its baseline were 0. Through gpo it has none.
    assert advantages[LONE, -1].item() == pytest.approx(0.0 if base else 1.0, abs=1e-5)


@pytest.mark.parametrize("base", BASES)
def test_roots_get_what_they_get_without_reentry_rows(base):
    both, _ = estimate("gpo", base_estimator=base, reentry_weight=2.0)
    rewards, mask, uids = (values[ROOTS] for values in batch())
    if base == "grpo":
        alone, _ = core_algos.compute_grpo_outcome_advantage(rewards, mask, uids)
    else:
        config = OmegaConf.create({"gamma": 1.0})
        alone, _ = core_algos.get_adv_estimator_fn(base)(
            token_level_rewards=rewards, response_mask=mask, index=uids, config=config
        )
    assert torch.equal(both[ROOTS], alone)
    assert both[REENTRIES].abs().max() > 0 and not both[REENTRIES, :PREFIX].any()


def test_reinforce_plus_plus_has_no_common_baseline():
    """Whitened apart: root rows 1 0 0 0 and re-entry rows 1 0 1 each have mean 0 and variance 1 over their tokens."""
    advantages, _ = estimate("gpo", base_estimator="reinforce_plus_plus")
    _, mask, _ = batch()
    for rows in (ROOTS, slice(4, 7)):
        tokens = advantages[rows][mask[rows].bool()]
        assert tokens.mean().item() == pytest.approx(0, abs=1e-5) and tokens.var().item() == pytest.approx(1, abs=1e-3)
    # A single rollout is whitened with the other re-entry rows; it is not without a baseline.
    assert advantages[LONE, -1] == advantages[4, -1] > 0
    # verl's own takes one mean from all of them, 3/7 over outcomes; that is what is refused at start.
    stock, _ = estimate("reinforce_plus_plus")
    assert not torch.allclose(stock[ROOTS], advantages[ROOTS], atol=1e-2)


@pytest.mark.parametrize("base", ["reinforce_plus_plus", "reinforce_plus_plus_baseline"])
def test_re_entries_of_a_single_token_do_not_end_the_run(base):
    rewards, mask, uids = batch()
    mask[4:7] = 0
    mask[4, -1] = 1  # verl's whitening raises an error for it
    config = OmegaConf.create({"gamma": 1.0, "gpo": {"base_estimator": base}})
    advantages, _ = core_algos.get_adv_estimator_fn("gpo")(rewards, mask, uids, config=config)
    assert advantages[ROOTS].any() and not advantages[4:7].any()


def test_weights_apply_to_every_base():
    once, _ = estimate("gpo", base_estimator="rloo")
    twice, _ = estimate("gpo", base_estimator="rloo", reentry_weight=2.0)
    assert torch.equal(twice[ROOTS], once[ROOTS]) and torch.equal(twice[REENTRIES], 2 * once[REENTRIES])


def test_gae_values_a_reentry_row_from_its_reset_state():
    """gamma = .9, lambda = .5, by hand on a row whose first two tokens are its kept prefix.

    The critic says .2 .4 .5 .6 before each token, and the reward 1 comes with the last. Behind the prefix
    delta_3 = 1 - .6 = .4 and delta_2 = .9 * .6 - .5 = .04, so A_3 = .4 and A_2 = .04 + .45 * .4 = .22. The value that
    the first learnt token is held against is .5, the critic's of the reset state; .2 and .4 take no part.
    """
    values = torch.zeros(9, LENGTH)
    values[4] = torch.tensor([0.2, 0.4, 0.5, 0.6])
    _, returns = estimate("gae", values=values, gamma=0.9, lam=0.5)
    assert returns[4, PREFIX:].tolist() == pytest.approx([0.5 + 0.22, 0.6 + 0.4])
    other = values.clone()
    other[4, :PREFIX] = 99.0  # whatever the critic says of the prefix
    advantages, again = estimate("gae", values=other, gamma=0.9, lam=0.5)
    assert torch.equal(again[4, PREFIX:], returns[4, PREFIX:])
    # The same row without its prefix, as a rollout from a prompt that ends where it was reset.
    rewards, mask, _ = batch()
    short, _ = core_algos.compute_gae_advantage_return(
        rewards[4:5, PREFIX:], values[4:5, PREFIX:], mask[4:5, PREFIX:], 0.9, 0.5
    )
    long, _ = core_algos.compute_gae_advantage_return(rewards[4:5], values[4:5], mask[4:5], 0.9, 0.5)
    assert torch.allclose(short, long[:, PREFIX:])


def test_the_critic_does_not_learn_on_prefixes_and_padding():
    _, mask, _ = batch()
    values = torch.zeros(9, LENGTH)
    wrong = torch.where(mask.bool(), 0.0, 7.0)  # far off, but only where nothing is to be learnt
    loss, _ = core_algos.compute_value_loss(
        vpreds=values + wrong, returns=values, values=values, response_mask=mask, cliprange_value=0.5
    )
    assert loss.item() == 0.0


@pytest.mark.parametrize(
    ("estimator", "base", "needs"),
    [
        ("gae", "grpo", False),
        ("gpo", "grpo", True),
        ("gpo", "reinforce_plus_plus", False),
        ("gpo", "rloo", True),
        ("rloo", "grpo", True),
        ("somebodys_own", "grpo", True),
    ],
)
def test_who_needs_a_second_rollout_from_the_same_state(estimator, base, needs):
    assert needs_group(estimator, base) is needs
