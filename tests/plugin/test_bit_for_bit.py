"""``adv_estimator=gpo`` without re-entry rows beside verl's own estimators: where they are equal, and where not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from verl_gpo.plugin.estimators import BASES

LENGTH = 4
TOKENS = st.lists(st.integers(0, 1), min_size=LENGTH, max_size=LENGTH)
REWARD = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-10.0, 10.0, width=32, allow_nan=False))


def advantages(estimator, rewards_B, masks, uids_B, keys=None, base="grpo"):
    """Advantages and returns as verl's v1 trainer asks for them. The reward comes with the last token."""
    rewards_BT = torch.zeros(len(uids_B), LENGTH)
    rewards_BT[:, -1] = torch.tensor(rewards_B)
    tensors = {"token_level_rewards": rewards_BT, "response_mask": torch.tensor(masks)}
    data = DataProto(
        TensorDict(tensors, batch_size=len(uids_B)), non_tensor_batch={"uid": np.array(uids_B, dtype=object)}
    )
    config = OmegaConf.create({"gamma": 1.0, "gpo": {"base_estimator": base}})
    keys = keys or [f"{uid}_{number}_0" for number, uid in enumerate(uids_B)]
    batch = compute_advantage_for_multi_trajectories(data, keys, estimator, config=config).batch
    return batch["advantages"], batch["returns"]


@st.composite
def batches(draw):
    """Groups of 1 to 5 rows in any order; some rows are wholly masked, but of no group all.

    A batch has two tokens at least: with one, verl's whitening raises an error.
    """
    rows = []
    for group in range(draw(st.integers(1, 4))):
        members = draw(st.lists(st.tuples(REWARD, TOKENS), min_size=1, max_size=5))
        if sum(sum(mask) for _, mask in members) < 2:
            members[0] = (members[0][0], [1] * LENGTH)
        rows += [(reward, mask, f"p{group}") for reward, mask in members]
    return zip(*draw(st.permutations(rows)), strict=True)


@pytest.mark.parametrize("base", BASES)
@settings(max_examples=60)
@given(batch=batches())
def test_bit_for_bit_with_wholly_masked_rows_and_several_rows_of_a_uid(base, batch):
    batch = tuple(map(list, batch))
    for ours, verls in zip(advantages("gpo", *batch, base=base), advantages(base, *batch), strict=True):
        assert torch.equal(ours, verls)


# Three rows of p: 1 0 0, the last wholly masked; two rows of q: 1 1; two of padding, which share an id.
ROWS = ([1.0, 0.0, 0.0, 1.0, 1.0], [[1] * 4, [0, 1, 1, 1], [0] * 4, [1] * 4, [1, 1, 0, 0]], ["p"] * 3 + ["q"] * 2)
PADDED = (ROWS[0] + [0.0] * 2, ROWS[1] + [[0] * 4] * 2, ROWS[2] + ["pad"] * 2)


@pytest.mark.parametrize("base", BASES)
def test_padding_changes_no_advantage_of_gpo(base):
    padded, _ = advantages("gpo", *PADDED, base=base)
    assert torch.equal(padded[:5], advantages("gpo", *ROWS, base=base)[0])
    assert not padded[5:].any() and not padded.isnan().any()


@pytest.mark.parametrize("base", BASES)
def test_padding_in_verls_own(base):
    verls, ours = advantages(base, *PADDED)[0], advantages("gpo", *PADDED, base=base)[0]
    # gpg multiplies by rows / rows with a reward: 7 / 3 instead of 5 / 3.
    factor = 7 / 5 if base == "gpg" else 1.0
    assert torch.allclose(verls[:5], ours[:5] * factor)
    # opo divides the rewards of a group by its tokens, of which padding has none.
    assert verls[5:].isnan().all() if base == "opo" else not verls[5:].any()


# Two sessions of p: the first has two outputs with rewards 0 and 1, the second one with 0.
OUTPUTS, SESSIONS = ([0.0, 1.0, 0.0], [[1] * 4] * 3, ["p"] * 3), ["p_0_0", "p_0_1", "p_1_0"]


def test_several_outputs_of_a_session_under_grpo_are_compared_by_the_last_in_verls_own_and_all_in_gpo():
    verls, ours = (advantages(name, *OUTPUTS, keys=SESSIONS)[0][:, 0].tolist() for name in ("grpo", "gpo"))
    # verl: 1 and 0, mean 1/2, std sqrt(1/2); the first output has the advantage of the second.
    assert verls == pytest.approx([0.5 / 0.5**0.5] * 2 + [-0.5 / 0.5**0.5], abs=1e-4)
    # gpo: 0 1 0, mean 1/3, std sqrt(1/3).
    assert ours == pytest.approx([-1 / 3 / 3**-0.5, 2 / 3 / 3**-0.5, -1 / 3 / 3**-0.5], abs=1e-4)


@pytest.mark.parametrize("base", [base for base in BASES if base != "grpo"])
def test_several_outputs_of_a_session_are_equal_under_every_other_base(base):
    ours, verls = (advantages(name, *OUTPUTS, keys=SESSIONS, base=base)[0] for name in ("gpo", base))
    assert torch.equal(ours, verls)
