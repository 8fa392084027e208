"""The policy gradient of a small model against one that is computed token by token."""

import pytest
import torch

from tests.forecast.fakes import drawn
from verl_gpo.forecast.gradient import chosen_weights, policy_gradient


class Bigram(torch.nn.Module):
    """The next token depends on the last one only: ``logits = table[last]``."""

    def __init__(self, words=5):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.ones(3))
        self.table = torch.nn.Parameter(torch.linspace(-1, 1, words * words).reshape(words, words) ** 2)

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.table[input_ids])


def by_hand(model, rows, trained, temperature=1.0):
    total = torch.zeros_like(model.table)
    for prompt, ids, start, advantages in rows:
        context = [*prompt, *ids]
        for place, advantage in enumerate(advantages):
            at = len(prompt) + start + place
            last, token = context[at - 1], context[at]
            probability = torch.softmax(model.table[last].detach() / temperature, 0)
            total[last] += advantage * (torch.eye(len(probability))[token] - probability) / temperature
    return (total / trained).flatten()


@pytest.mark.parametrize("at_once", [8192, 1])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gradient_by_hand(at_once, temperature):
    """A prefix of one token without loss, two runs of advantages, rows of different lengths, two prompts."""
    model = Bigram()
    groups = [
        drawn(prompt=0, trained=5, rows=[((1, 2, 3), 1, [(2, 2.0), (3, -1.0)]), ((4,), 0, [(1, 0.5)])]),
        drawn(prompt=1, trained=3, rows=[((3, 3), 0, [(2, 1.5)])]),
    ]
    prompts = {0: [0], 1: [2, 4]}
    rows = [([0], (1, 2, 3), 1, (2.0, -1.0)), ([0], (4,), 0, (0.5,)), ([2, 4], (3, 3), 0, (1.5, 1.5))]
    found = policy_gradient(model, [model.table], groups, prompts, temperature, at_once)
    assert found.tolist() == pytest.approx(by_hand(model, rows, 8, temperature).tolist(), abs=1e-6)


def test_a_batch_without_an_advantage_has_no_gradient():
    model = Bigram()
    assert not policy_gradient(model, [model.table], [drawn()], {0: [0]}).any()


def test_a_weight_that_is_not_used_has_no_gradient():
    model = Bigram()
    groups = [drawn(rows=[((1,), 0, [(1, 1.0)])])]
    found = policy_gradient(model, [model.unused, model.table], groups, {0: [0]})
    assert not found[:3].any() and found[3:].any()


def test_the_last_weights_that_fit_are_chosen():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))  # 6 + 3, 12 + 4
    assert list(chosen_weights(model, "", 100)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(chosen_weights(model, "", 16)) == ["1.weight", "1.bias"]
    assert list(chosen_weights(model, "weight", 17)) == ["1.weight"]
    assert list(chosen_weights(model, r"^0\.", 8)) == ["0.bias"]
    with pytest.raises(ValueError, match="--weights='x': must be found"):
        chosen_weights(model, "x", 100)
    with pytest.raises(ValueError, match="--most-weights=2: must be at least 3"):
        chosen_weights(model, "", 2)
