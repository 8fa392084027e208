"""DPO on pairs at the critical state is advantage-weighted regression with weight ``exp(A / beta)`` (theorem 5.3).

The policy is a softmax at each node of a small tree, so everything is enumerated: leaves are whole continuations of
the critical state, ``V`` of a node is the expected reward under the reference policy, and the advantage of a
continuation is ``A = R - V(s_m)``, of its first step alone ``A = V(s_{m+1}) - V(s_m)``. Preferences are Bradley and
Terry's on ``A``.
"""

import itertools

import pytest
import torch

DEPTH, WIDTH = 3, 2
LEAVES = list(itertools.product(range(WIDTH), repeat=DEPTH))
NODES = [path for depth in range(DEPTH) for path in itertools.product(range(WIDTH), repeat=depth)]
NODE_OF = torch.tensor([[NODES.index(leaf[:k]) for k in range(DEPTH)] for leaf in LEAVES])
ACTION_OF = torch.tensor(LEAVES)
BETA = 0.5


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def log_probs(logits, first=0):
    """Of each leaf, from step ``first`` on: ``(leaves,)``. ``logits`` has a row for each node."""
    steps = torch.log_softmax(logits, dim=-1)
    return steps[NODE_OF[:, first:], ACTION_OF[:, first:]].sum(dim=1)


@pytest.fixture
def problem():
    """The reference policy's logits, rewards of the leaves, and the leaves' advantages."""
    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(len(NODES), WIDTH, generator=generator)
    rewards = torch.randint(0, 2, (len(LEAVES),), generator=generator).double()
    value = (log_probs(reference).exp() * rewards).sum()
    return reference, rewards, rewards - value


def dpo_loss(log_policy, log_reference, advantages, beta, weights=None):
    """Exact expectation over pairs drawn from the reference policy, labelled by Bradley and Terry's model."""
    drawn = log_reference.exp() if weights is None else weights
    pairs = drawn[:, None] * drawn[None, :]
    preferred = torch.sigmoid(advantages[:, None] - advantages[None, :])
    ratio = log_policy - log_reference
    margin = beta * (ratio[:, None] - ratio[None, :])
    return -(pairs * preferred * torch.nn.functional.logsigmoid(margin)).sum()


def weighted_regression_loss(log_policy, log_reference, advantages, beta):
    return -(log_reference.exp() * (advantages / beta).exp() * log_policy).sum()


def closed_form(log_reference, advantages, beta):
    return torch.softmax(log_reference + advantages / beta, dim=0)


def minimise(loss, start):
    parameter = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [parameter], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(parameter)
        value.backward()
        return value

    optimizer.step(closure)
    return parameter.detach()


def largest_difference(a, b):
    return (a - b).abs().max().item()


def test_the_optimum_of_dpo_is_that_of_advantage_weighted_regression(problem):
    reference, _, advantages = problem
    log_reference = log_probs(reference)
    dpo = minimise(lambda logits: dpo_loss(log_probs(logits), log_reference, advantages, BETA), reference)
    regression = minimise(
        lambda logits: weighted_regression_loss(log_probs(logits), log_reference, advantages, BETA), reference
    )
    wanted = closed_form(log_reference, advantages, BETA)
    assert largest_difference(log_probs(regression).exp(), wanted) < 1e-6
    assert largest_difference(log_probs(dpo).exp(), wanted) < 1e-6
    assert largest_difference(log_probs(dpo).exp(), log_reference.exp()) > 0.02  # it went somewhere


@pytest.mark.parametrize("wrong", [0.5 * BETA, 2 * BETA])
def test_with_another_beta_they_part(problem, wrong):
    reference, _, advantages = problem
    log_reference = log_probs(reference)
    dpo = minimise(lambda logits: dpo_loss(log_probs(logits), log_reference, advantages, BETA), reference)
    assert largest_difference(log_probs(dpo).exp(), closed_form(log_reference, advantages, wrong)) > 0.01


def test_at_the_critical_step_itself(problem):
    # Actions are the first steps, A = V(s_{m+1}) - V(s_m): what the theorem states.
    reference, rewards, _ = problem
    first = torch.tensor([leaf[0] for leaf in LEAVES])
    behind = log_probs(reference, first=1).exp() * rewards
    values = torch.zeros(WIDTH).index_add(0, first, behind)
    log_reference = torch.log_softmax(reference[0], dim=0)
    advantages = values - (log_reference.exp() * values).sum()
    dpo = minimise(lambda row: dpo_loss(torch.log_softmax(row, 0), log_reference, advantages, BETA), reference[0])
    assert largest_difference(torch.softmax(dpo, 0), closed_form(log_reference, advantages, BETA)) < 1e-6


def test_it_does_not_matter_which_pairs_are_drawn_as_long_as_all_can_be(problem):
    reference, _, advantages = problem
    log_reference = log_probs(reference)
    uniform = torch.full((len(LEAVES),), 1 / len(LEAVES))
    dpo = minimise(lambda logits: dpo_loss(log_probs(logits), log_reference, advantages, BETA, uniform), reference)
    assert largest_difference(log_probs(dpo).exp(), closed_form(log_reference, advantages, BETA)) < 1e-6


def test_the_baseline_drops_out(problem):
    # V(s_m) is the same for both continuations of a pair: the advantage may be the reward itself.
    reference, rewards, advantages = problem
    log_reference, start = log_probs(reference), (1.5 * reference).requires_grad_()
    gradients = [
        torch.autograd.grad(dpo_loss(log_probs(start), log_reference, said, BETA), start)[0]
        for said in (advantages, rewards)
    ]
    assert largest_difference(*gradients) < 1e-12


def test_gradients_agree_where_advantages_are_small(problem):
    # At the reference policy DPO's gradient is beta / 4 times, and the regression's 1 / beta times, E[A grad log pi].
    reference, _, advantages = problem
    small, start = 1e-3 * advantages, reference.clone().requires_grad_()
    log_reference = log_probs(reference)
    dpo = torch.autograd.grad(dpo_loss(log_probs(start), log_reference, small, BETA), start)[0]
    regression = torch.autograd.grad(weighted_regression_loss(log_probs(start), log_reference, small, BETA), start)[0]
    assert largest_difference(dpo / (BETA / 4), regression * BETA) < 1e-3 * (regression * BETA).abs().max()


def test_sampled_pairs_approach_it(problem):
    reference, _, advantages = problem
    log_reference = log_probs(reference)
    wanted = closed_form(log_reference, advantages, BETA)
    generator = torch.Generator().manual_seed(0)
    distances = []
    for count in (1_000, 100_000):
        drawn = torch.multinomial(log_reference.exp(), 2 * count, replacement=True, generator=generator).view(2, -1)
        prefers_first = torch.rand(count, generator=generator) < torch.sigmoid(
            advantages[drawn[0]] - advantages[drawn[1]]
        )
        chosen, rejected = torch.where(prefers_first, drawn, drawn.flip(0))
        share = torch.zeros(len(LEAVES), len(LEAVES)).index_put_((chosen, rejected), torch.tensor(1 / count), True)

        def loss(logits, share=share):
            ratio = log_probs(logits) - log_reference
            return -(share * torch.nn.functional.logsigmoid(BETA * (ratio[:, None] - ratio[None, :]))).sum()

        found = log_probs(minimise(loss, reference))
        distances.append((wanted * (wanted.log() - found)).sum().item())
    assert distances[1] < 0.01 and distances[1] < distances[0] / 5


def test_a_prefix_that_both_share_drops_out_of_dpo(problem):
    # So messages, whose chosen and rejected are whole responses, train DPO alike; KTO, SimPO and ORPO they do not.
    reference, _, _ = problem
    start = (1.5 * reference).requires_grad_()
    pairs = [(i, j) for i, a in enumerate(LEAVES) for j, b in enumerate(LEAVES) if a[0] == b[0] and i < j]
    chosen, rejected = torch.tensor(pairs).T
    gradients = []
    for first in (0, 1):
        ratio = log_probs(start, first) - log_probs(reference, first)
        loss = -torch.nn.functional.logsigmoid(BETA * (ratio[chosen] - ratio[rejected])).mean()
        gradients.append(torch.autograd.grad(loss, start)[0])
    assert largest_difference(*gradients) < 1e-12


def test_pairs_chosen_by_outcome_prefer_by_the_log_odds_of_success():
    # What the builder draws: two steps, a continuation of each, kept if exactly one succeeds. It is that of step a
    # with probability Q_a (1 - Q_b) / (Q_a (1 - Q_b) + Q_b (1 - Q_a)), Bradley and Terry's on the log-odds of Q.
    success = torch.tensor([0.1, 0.4, 0.5, 0.8])
    log_reference = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    drawn = log_reference.exp()[:, None] * log_reference.exp()[None, :]
    first_wins = drawn * success[:, None] * (1 - success[None, :])

    def loss(logits):
        ratio = torch.log_softmax(logits, 0) - log_reference
        return -(first_wins * torch.nn.functional.logsigmoid(BETA * (ratio[:, None] - ratio[None, :]))).sum()

    found = torch.softmax(minimise(loss, log_reference), 0)
    assert largest_difference(found, closed_form(log_reference, torch.logit(success), BETA)) < 1e-6
