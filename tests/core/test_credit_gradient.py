"""The expected gradient of step credit on a policy whose responses can all be enumerated."""

import itertools

import pytest
import torch

from verl_gpo.core.credit import credit_by_means, credited_advantages
from verl_gpo.core.values import StateValue, observed_value


def values(*means):
    return [StateValue(mean, 4) for mean in means[:-1]] + [observed_value(means[-1])]


def test_with_exact_values_the_expected_gradient_is_the_policy_gradient():
    """Three steps of two actions, all right: every response, weighted by its probability, with its exact credit."""
    logits = torch.tensor([[0.2, -0.3], [0.5, 0.1], [-0.4, 0.3]], dtype=torch.float64, requires_grad=True)
    right = logits.log_softmax(-1)[:, 0]
    (expected,) = torch.autograd.grad(right.sum().exp(), logits)  # of the success probability
    p = right.detach().exp()
    outcome, steps = torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)
    spread = {"outcome": 0.0, "steps": 0.0}
    for response in itertools.product((0, 1), repeat=3):
        alive = [all(action == 0 for action in response[:k]) for k in range(4)]
        exact = [float(p[k:].prod()) * alive[k] for k in range(4)]
        credit = credit_by_means((1, 2, 3), values(*exact))
        log_p = logits.log_softmax(-1)[torch.arange(3), torch.tensor(response)]
        probability = float(log_p.detach().sum().exp())
        # The group's mean is exact, too, and nothing is divided: the row's own advantage is R - V(s_0).
        own = torch.full((1, 3), credit.total, dtype=torch.float64)
        other = torch.zeros(1, 3, dtype=torch.float64)
        rows, outcomes = torch.cat([own, other]), torch.tensor([exact[-1], 0.0], dtype=torch.float64)
        token = credited_advantages(rows, outcomes, torch.ones(2, 3), ["p", "q"], [credit, None])[0]
        for name, advantages, total in (("outcome", own[0], outcome), ("steps", token, steps)):
            (gradient,) = torch.autograd.grad((advantages * log_p).sum(), logits, retain_graph=True)
            total += probability * gradient
            spread[name] += probability * float((gradient**2).sum())
    assert torch.allclose(outcome, expected, atol=1e-6) and torch.allclose(steps, expected, atol=1e-6)
    assert spread["steps"] < 0.9 * spread["outcome"]  # the same mean with less variance


def test_values_by_continuations_leave_the_expectation_unchanged():
    """The second of three steps, with one continuation at each state: every outcome of the two, by its probability."""
    exact = (0.25, 0.5, 0.8, 1.0)
    expected = 0.0
    for before, after in itertools.product((0.0, 1.0), repeat=2):
        probability = (exact[1] if before else 1 - exact[1]) * (exact[2] if after else 1 - exact[2])
        expected += probability * credit_by_means((1, 2, 3), values(exact[0], before, after, 1.0)).advantages[1]
    assert expected == pytest.approx(exact[2] - exact[1])
