"""Step credit, segments without re-entry, the authors' own form and PODS: two training steps each."""

import pytest

from tests.e2e.test_training import ARITHMETIC, assert_nothing_failed, assert_rollout_and_actor_agree

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]

RUNS = {
    "steps": ["algorithm.gpo.preset=fast", "algorithm.gpo.credit=steps"],
    "vineppo": ["algorithm.gpo.preset=vineppo", "algorithm.gpo.n_mc=3", "algorithm.gpo.min_step_tokens=3"],
    "spo": ["algorithm.gpo.preset=spo", "algorithm.gpo.n_mc=3", "algorithm.gpo.base_estimator=rloo"],
    "authors": ["algorithm.gpo.preset=authors", "algorithm.gpo.scored=response", "algorithm.gpo.min_step_tokens=3"],
    "authors_random": [
        "algorithm.gpo.preset=authors",
        "algorithm.gpo.search=random",
        "algorithm.gpo.min_step_tokens=3",
    ],
    "pods": ["algorithm.gpo.preset=pods", "algorithm.gpo.kept_rows=2", "algorithm.gpo.min_step_tokens=null"],
}


def trainings(folder):
    for name, own in RUNS.items():
        yield name, ARITHMETIC, 2, ["trainer.resume_mode=disable", "trainer.test_freq=-1", *own]


@pytest.mark.parametrize("name", RUNS)
def test_it_trains(trained, name):
    runs, _ = trained
    assert sorted(runs[name]) == [1, 2]
    for metrics in runs[name].values():
        assert_nothing_failed(metrics)
        # Where every failed row is replaced by a success, a group has nothing to compare.
        assert metrics["actor/grad_norm"] > 0 or (name == "authors" and metrics["critic/score/mean"] == 1)
        # Of replaced rows, too: the log-probs that they were sampled with are those that the actor computes.
        assert_rollout_and_actor_agree(metrics)


def test_searched_responses_are_credited_and_the_score_is_the_outcome_s(trained):
    runs, _ = trained
    for name in ("steps", "vineppo", "spo"):
        # A step of `fast` may find nothing worth a continuation.
        credited = [metrics for metrics in runs[name].values() if metrics.get("gpo/credit/responses", 0) > 0]
        assert len(credited) >= (1 if name == "steps" else 2)
        for metrics in credited:
            assert metrics["gpo/credit/segments"] > 1 and 0 < metrics["gpo/credit/weight"] <= 1
            assert 0 <= metrics["critic/score/mean"] <= 1 and metrics["critic/score/max"] <= 1


def test_without_reentry_every_row_is_a_root(trained):
    runs, _ = trained
    for name in ("vineppo", "spo"):
        for metrics in runs[name].values():
            assert metrics["gpo/rows"] == 16 and metrics["gpo/tokens/reentry"] == 0 < metrics["gpo/tokens/value"]
            assert metrics["gpo/credit/responses"] >= 4  # each prompt's, roots with the same tokens once
            assert metrics["critic/score/mean"] == pytest.approx(metrics["gpo/reward/root"])
            # Steps of a response differ, so that some tokens gain and some lose more than a whole response would.
            assert metrics["critic/advantages/min"] < 0 < metrics["critic/advantages/max"]


def test_rows_of_the_authors_form_are_as_many_as_before_and_some_are_replaced(trained):
    runs, _ = trained
    for name in ("authors", "authors_random"):
        check_replaced(runs[name])


def check_replaced(runs):
    assert all(metrics["gpo/rows"] == 16 and metrics["gpo/optimizer_steps"] == 1 for metrics in runs.values())
    assert sum(metrics.get("gpo/rollouts/replaced", 0) for metrics in runs.values()) > 0
    for metrics in runs.values():
        gained = metrics.get("gpo/rollouts/replaced", 0) * metrics.get("gpo/reward/reentry", 0) / 16
        assert metrics["critic/score/mean"] == pytest.approx(metrics["gpo/reward/root"] + gained, abs=1e-5)


def test_half_of_the_rollouts_are_trained_on(trained):
    runs, _ = trained
    for metrics in runs["pods"].values():
        assert metrics["gpo/rows"] == 8 and metrics["gpo/rollouts/left_out"] == 8
        assert metrics["gpo/optimizer_steps"] == 1
