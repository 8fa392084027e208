"""The gradients of ``bench_gradient`` on chains so short that all responses can be enumerated."""

import itertools
import json

import numpy as np
import pytest

from scripts import bench_gradient
from scripts.bench_gradient import METHODS, SEARCHES, main, measure, needed
from scripts.bench_gradient_chain import (
    at_first_error,
    at_pivotal,
    chain,
    exact_values,
    grpo,
    known_credit,
    most_informative,
    most_mixed_tokens,
    pods,
    policy_gradient,
    sampled_credit,
    standardized,
)
from scripts.bench_gradient_core import searched
from scripts.bench_gradient_tables import PAGE, page, signal, training
from scripts.bench_gradient_train import Skills, train
from verl_gpo.core.credit import credit_by_means
from verl_gpo.core.values import StateValue, step_advantages

Q_K = np.array([0.9, 0.3, 0.6, 0.75])
RESPONSES = np.array(list(itertools.product([False, True], repeat=4)))
PROBABILITY = np.where(RESPONSES, Q_K, 1 - Q_K).prod(1)


def test_gradient_is_the_derivative_of_the_success():
    theta = np.log(Q_K / (1 - Q_K))

    def success(theta):
        return np.prod(1 / (1 + np.exp(-theta)))

    slopes = [(success(theta + h) - success(theta - h)) / 2e-6 for h in 1e-6 * np.eye(4)]
    assert policy_gradient(Q_K) == pytest.approx(slopes, rel=1e-6)


def test_values_by_hand():
    # Right, then wrong: .9 * .3 * .6 * .75 = .1215 at first, .135 after the first step, 0 after the wrong one.
    assert exact_values(Q_K, np.array([True, False, True, True])) == pytest.approx([0.1215, 0.135, 0, 0, 0])
    assert exact_values(Q_K, np.array([True] * 4)) == pytest.approx([0.1215, 0.135, 0.45, 0.75, 1])


def test_step_credit_with_exact_values_is_unbiased():
    """Over all responses, sum_k A_k times the score of step k has the policy gradient as its mean."""
    values = exact_values(np.tile(Q_K, (16, 1)), RESPONSES)
    advantages = np.array([step_advantages([StateValue(value) for value in row]) for row in values.tolist()])
    mean = (PROBABILITY[:, None] * advantages * (RESPONSES - Q_K)).sum(0)
    assert mean == pytest.approx(policy_gradient(Q_K), rel=1e-12)
    # And it is the better estimate: its variance is below that of reward minus V(s_0).
    outcome = (RESPONSES.all(1) - values[0, 0])[:, None] * (RESPONSES - Q_K)
    assert (PROBABILITY[:, None] * outcome).sum(0) == pytest.approx(policy_gradient(Q_K), rel=1e-12)

    def variance(found):
        return (PROBABILITY[:, None] * found**2).sum() - (policy_gradient(Q_K) ** 2).sum()

    assert variance(advantages * (RESPONSES - Q_K)) < variance(outcome)


def test_sampled_credit_points_along_the_gradient():
    """All roots are anchors. The first advantage is short by the row's own share in the mean of the roots."""
    groups, n = 200_000, 4
    found = sampled_credit(n, n, 3)(np.tile(Q_K, (groups, 1)), np.random.default_rng(0)).gradient_GK / n
    expected = policy_gradient(Q_K) * [(n - 1) / n, 1, 1, 1]
    assert np.abs(found.mean(0) - expected) == pytest.approx(0, abs=4 * found.std(0).max() / groups**0.5)


def test_known_credit_is_the_gradient_of_each_row():
    groups = 200_000
    found = known_credit(2)(np.tile(Q_K, (groups, 1)), np.random.default_rng(0)).gradient_GK / 2
    assert np.abs(found.mean(0) - policy_gradient(Q_K)) == pytest.approx(0, abs=4 * found.std(0).max() / groups**0.5)


def test_group_means_as_baselines_shrink_the_gradient_by_one_row():
    """Dr.GRPO's expected gradient is (n - 1) / n of the policy gradient for each row, as a row is in its own mean."""
    groups, n = 200_000, 4
    found = grpo(n, by_std=False)(np.tile(Q_K, (groups, 1)), np.random.default_rng(0)).gradient_GK / n
    expected = policy_gradient(Q_K) * (n - 1) / n
    assert np.abs(found.mean(0) - expected) == pytest.approx(0, abs=4 * found.std(0).max() / groups**0.5)


def test_pods_trains_on_half_of_each_outcome_if_there_are_as_many():
    """Three of eight rollouts are right: of four rows two are right and two are wrong, so advantages are +-.866."""
    one = pods(8, 4)(np.tile([0.4], (1, 1)), np.random.default_rng(5))
    assert one.tokens_G.tolist() == [8] and one.rows == 4
    assert standardized(np.array([[0.0, 0.0, 1.0, 1.0]]))[0] == pytest.approx([-0.866, -0.866, 0.866, 0.866], abs=1e-3)
    assert one.gradient_GK[0, 0] == pytest.approx(0.866 * (2 * 0.6 + 2 * 0.4), abs=1e-3)


def test_where_each_choice_resets():
    q_GK = np.tile([0.999, 0.999, 0.5, 0.5], (1, 1))
    roots = np.array([[[True, True, True, True], [True, True, False, True]]])
    rng = np.random.default_rng(0)
    assert [int(part[0]) for part in at_first_error(q_GK, roots, 6, rng)] == [1, 2]
    # A group is mixed with the probability 1 - 2 / 64 before the last step, with 1 - .75^6 - .25^6 before the third.
    assert int(at_pivotal(q_GK, roots, 6, rng)[1][0]) == 3
    # Two unsure tokens ahead of s_2 and one of s_3; s_0 has as many as s_2 and costs more.
    assert int(most_informative(q_GK, roots, 6, rng)[1][0]) == 2
    # If tokens that are sure count as well, s_0 has the most.
    assert int(most_mixed_tokens(q_GK, roots, 6, rng)[1][0]) == 0


def test_needed_by_hand():
    # Mean (1, 0), true direction (1, 0); mean square 2, so 2 groups of 10 tokens; of one prompt (2 - 1) * 2 / 1 = 2.
    gradients, tokens = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([10.0, 10.0])
    assert needed(gradients, tokens, np.array([3.0, 0.0])) == pytest.approx(20)
    assert needed(gradients, tokens, np.array([3.0, 0.0]), same_prompt=True) == pytest.approx(20)
    assert needed(-gradients, tokens, np.array([3.0, 0.0])) == float("inf")


def test_chains():
    assert chain(24, 3, "late", 0.3)[-4:] == pytest.approx([0.999, *[0.3 ** (1 / 3)] * 3])
    assert chain(24, 24, "all", 0.3).prod() == pytest.approx(0.3)
    assert np.flatnonzero(chain(24, 3, "spread", 0.3) < 0.9).tolist() == [6, 12, 17]


def test_the_products_own_search_runs_on_a_chain():
    """Two late pivotal steps of eight: `lean` has 8 rows and draws fewer tokens than 8 responses."""
    q_GK = np.tile(chain(8, 2, "late", 0.4), (40, 1))
    found = searched("lean")(q_GK, np.random.default_rng(0))
    assert found.rows == 8 and found.tokens_G.max() <= 64 and found.tokens_G.mean() < 50
    assert np.isfinite(found.gradient_GK).all()


def test_the_products_own_grpo_is_the_benchmarks():
    """One root after another is drawn from the same random numbers, so both see the same rollouts."""
    q_GK = np.tile(chain(6, 3, "spread", 0.5), (1, 1))
    right = np.random.default_rng(3).random((1, 8, 6)) < q_GK[:, None]
    expected = (standardized(right.all(-1).astype(float))[..., None] * (right - q_GK[:, None])).sum(1)
    found = searched("grpo")(q_GK, np.random.default_rng(3))
    assert found.tokens_G.tolist() == [48.0] and found.gradient_GK == pytest.approx(expected, abs=1e-5)


def test_the_products_step_credit_is_unbiased_with_exact_values():
    """The mean over all responses of what ``core/credit`` puts on each token, times its score."""
    mean = np.zeros(4)
    for right_K, probability in zip(RESPONSES, PROBABILITY, strict=True):
        values = [StateValue(value, 1) for value in exact_values(Q_K, right_K).tolist()]
        credit_K, weight_K = credit_by_means((1, 2, 3, 4), values).by_token()
        assert weight_K.tolist() == [1.0] * 4
        mean += probability * credit_K.numpy() * (right_K - Q_K)
    assert mean == pytest.approx(policy_gradient(Q_K), rel=1e-5)


def test_training_stops_at_the_target():
    pool = Skills(steps=4, skills=5, easy=0, q=0.7)
    found = train(known_credit(4), pool, 4, np.array([0.2, 1e-9]), 2, 6_000)
    assert (found[0] < 6_000).all() and np.isinf(found[1]).all()


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_gradient, "REGIMES", [(0.3, 1, "late")])
    out = tmp_path / "result.json"
    assert main(["--out", str(out), "--sections", "signal,searches", "--groups", "60", "--searched", "40"]) == 0
    result = json.loads(out.read_text())
    assert [row["method"] for row in result["signal"]["rows"]] == list(METHODS)
    assert [row["method"] for row in result["searches"]["rows"]] == list(SEARCHES)
    assert "| 0.3 | 1 | late |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--sections", "signals"])
    assert "--sections=signals: must be of signal, searches, training" in capsys.readouterr().err


def test_tables_by_hand():
    regime = {"success": 0.3, "pivotal": 1, "place": "late"}
    rows = [regime | {"method": "grpo n=8", "needed": 200.0}, regime | {"method": "lean", "needed": 50.0}]
    assert signal(rows, ("lean", "oracle")).splitlines()[-1] == "| 0.3 | 1 | late | 0.25 |  |"
    trained = [
        {"chain": "equal", "method": "grpo n=8", "tokens": 100.0, "prompts": 4, "rate": 1.0},
        {"chain": "equal", "method": "lean", "tokens": float("inf"), "prompts": None, "rate": None},
    ]
    assert training(trained).splitlines()[-2:] == ["| `grpo n=8` | 1.00 | 4, 1 |", "| `lean` | inf | not reached |"]


def test_measure_says_how_far_the_mean_is_from_the_gradient():
    row = measure("grpo n=8", grpo(8), chain(6, 2, "late", 0.4), 4_000, 0)
    assert row["cosine"] > 0.98 and row["tokens"] == 48 and 0 < row["needed_same_prompt"] < row["needed"]


def test_the_page_has_the_tables_of_the_committed_result():
    assert page() == PAGE.read_text(encoding="utf-8"), "call python -m scripts.bench_gradient --page"
