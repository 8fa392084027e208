"""Strategies on pooled responses whose values are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from verl_gpo.calibrate.curves import CURVES, TOKENS_PER_STEP, simulated_cases
from verl_gpo.calibrate.pool import PooledResponse
from verl_gpo.calibrate.replay import Outcome, calibration_error, pooled_case, replay
from verl_gpo.config import GPOConfig

# Three steps of two tokens. Whoever draws at s_1 fails and at s_2 succeeds, so V = .5 0 1 | 1, and step 1 is the best.
RESPONSE = PooledResponse(
    prompt=0,
    token_ids=(1, 2, 3, 4, 5, 6),
    log_probs=None,
    ends=(2, 4, 6),
    reward=1.0,
    group_rewards=(1.0, 0.0),
    group_tokens=(6, 6),
    draws=(((4, 0.0),) * 8, ((2, 1.0),) * 8),
    response_length=12,
)
KNOWN = pooled_case(RESPONSE, values=(0.5, 0.0, 1.0, 1.0))


def test_a_search_by_hand():
    # Four draws at each of s_1 (4 tokens each) and s_2 (2 each): 8 requests, 24 tokens; then 3 rollouts from s_1.
    outcome = replay(GPOConfig(n_mc=4, n_reentry=3), [KNOWN], repeats=2)
    assert outcome.hit == [True, True] and outcome.regret == [0.0, 0.0] and outcome.abstained == 0
    assert outcome.requests == [8, 8] and outcome.tokens == [24, 24] and outcome.extra_tokens == [12, 12]
    assert outcome.learnt == [12 / 36] * 2
    assert outcome.bias == [0.0, 0.0]  # rollouts from s_1 fail, and it is worth 0
    summary = outcome.summary()
    assert (summary["searches"], summary["hit_rate"], summary["precision"], summary["reentered"]) == (2, 1.0, 1.0, 1.0)


def test_a_miss_costs_its_regret():
    # In truth step 0 gains .5 and step 1 loses it again; the search sees a gain of 1 at step 1, worth -.5.
    case = pooled_case(RESPONSE, values=(0.5, 1.0, 0.5, 0.5))
    outcome = replay(GPOConfig(n_mc=4), [case])
    assert (outcome.hit, outcome.regret) == ([False], [1.0])
    assert replay(GPOConfig(n_mc=4), [case], tolerance=1.0).hit == [True]


def test_a_search_that_abstains_is_a_miss_without_precision():
    outcome = replay(GPOConfig(n_mc=4, min_advantage=0.99, rule="argmin"), [KNOWN], repeats=3)
    summary = outcome.summary()
    assert outcome.abstained == 3 and outcome.tokens == [24] * 3
    assert (summary["hit_rate"], summary["reentered"]) == (0.0, 0.0) and math.isnan(summary["precision"])


def test_every_second_draw_is_the_reference_and_the_search_never_sees_it():
    # At s_1 the even draws fail and the odd ones succeed.
    mixed = replace(RESPONSE, draws=(((4, 0.0), (4, 1.0)) * 4, ((2, 1.0),) * 8))
    case = pooled_case(mixed)
    assert case.values == (0.5, 0.0, 1.0, 1.0)
    outcome = replay(GPOConfig(n_mc=4, n_reentry=4), [case])
    # It sees V = .5 1 1 | 1 and chooses step 0. The reference, of four draws a state, finds step 1 about 1 better.
    assert 0.5 < outcome.regret[0] < 1.5 and outcome.hit[0] < 0.1
    assert pooled_case(mixed, values=(0.5, 0.5, 1.0, 1.0)).values == (0.5, 0.5, 1.0, 1.0)


def test_a_state_that_nothing_is_known_of_does_not_spoil_the_rest():
    # Everything was lost at s_2: its steps have no true value, and a search that asks there gets nothing.
    gap = replace(RESPONSE, draws=(RESPONSE.draws[0], ()))
    outcome = replay(GPOConfig(n_mc=2), [pooled_case(gap), pooled_case(RESPONSE)])
    assert len(outcome.tokens) == 2 and not np.isnan(outcome.regret).any()


def test_the_group_and_the_settings_of_anchors_are_the_cases_own():
    case = KNOWN
    assert [len(other.token_ids) for other in case.others] == [6] and case.others[0].reward == 0.0
    config = GPOConfig(n_mc=4, anchors=0, anchor_outcome="failed", skip_groups="mixed")
    assert replay(config, [case]).hit == [True]


def test_a_replay_repeats_with_its_seed():
    cases = simulated_cases("several jumps", 6, 4)
    config = GPOConfig(search="adaptive", n_mc=4)

    def facts(seed):
        outcome = replay(config, cases, repeats=2, seed=seed)
        return outcome.tokens, outcome.hit, outcome.confidence

    assert facts(0) == facts(0) != facts(1)


# Stated .95 .95 .25 .25 .25 .25; realized 1 0 0 0 1 0. The first decile: |.95 - .5| = .45 of weight 1/3; the second:
# |.25 - .25| = 0. Together .15.
def test_calibration_error_by_hand():
    stated, hit = [0.95, 0.95, 0.25, 0.25, 0.25, 0.25], [True, False, False, False, True, False]
    assert calibration_error(stated, hit) == pytest.approx(0.15)
    assert calibration_error([*stated, math.nan], [*hit, True]) == pytest.approx(0.15)  # that stated nothing
    assert calibration_error([1.0, 1.0], [True, True]) == 0.0
    assert math.isnan(calibration_error([], [])) and math.isnan(calibration_error([math.nan], [True]))


def test_a_summary_by_hand():
    outcome = Outcome(
        hit=[True, False],
        regret=[0.0, 0.5],
        confidence=[0.8, 0.4],
        tokens=[10, 20, 30, 40],
        requests=[1, 2, 3, 4],
        extra_tokens=[4, 4, 0, 0],
        learnt=[0.5],
        bias=[-0.25],
        abstained=2,
        cpu_seconds=0.008,
    )
    summary = outcome.summary()
    assert (summary["hit_rate"], summary["precision"], summary["reentered"]) == (0.25, 0.5, 0.5)  # of 4, of 2
    assert summary["decisive"] == 1.0 and math.isnan(summary["false_alarms"])  # where all are decisive
    # Wilson, 1 of 4: centre (.25 + .480182) / 1.960365 = .372472; half = .999795 sqrt(.046875 + .060023) = .326885.
    assert (summary["hit_low"], summary["hit_high"]) == pytest.approx((0.045587, 0.699358), abs=1e-4)
    assert (summary["tokens"], summary["requests"], summary["extra_tokens"]) == (25.0, 2.5, 2.0)
    assert (summary["regret"], summary["bias"], summary["cpu_ms"]) == (0.25, -0.25, 2.0)
    assert summary["calibration_error"] == pytest.approx(0.5 * 0.2 + 0.5 * 0.4)


def test_hits_and_false_alarms_by_hand():
    # Five searches: decisive for sure (hit), for sure (missed), for sure (abstained), never (chose), never (abstained).
    outcome = Outcome(
        decisive=[1.0, 1.0, 1.0, 0.0, 0.0],
        hit=[1.0, 0.0, 0.0],
        alarm=[0.0, 0.0, 1.0],
        confidence=[0.9, 0.4, 0.2],
        tokens=[1] * 5,
        abstained=2,
    )
    summary = outcome.summary()
    assert summary["decisive"] == pytest.approx(3 / 5)
    assert summary["hit_rate"] == pytest.approx(1 / 3)  # an abstention is a miss where there is a decisive step
    assert summary["false_alarms"] == pytest.approx(1 / 2)  # and no fault where there is none
    assert summary["precision"] == pytest.approx(1 / 3) and summary["reentered"] == pytest.approx(3 / 5)
    rows = {row["min_confidence"]: row for row in outcome.by_confidence((0.0, 0.3, 0.5))}
    assert (rows[0.3]["hit_rate"], rows[0.3]["false_alarms"]) == (pytest.approx(1 / 3), 0.0)
    assert (rows[0.5]["precision"], rows[0.5]["reentered"]) == (1.0, pytest.approx(1 / 5))


def test_a_response_that_is_probably_decisive_counts_by_its_probability():
    # Chosen right at .8 of being decisive, and chosen at .3 of it: hits .8 + .1 of 1.1; alarms .2 + .7 of .9.
    outcome = Outcome(decisive=[0.8, 0.3], hit=[0.8, 0.1], alarm=[0.2, 0.7], confidence=[0.5, 0.5], tokens=[1, 1])
    summary = outcome.summary()
    assert summary["hit_rate"] == pytest.approx(0.9 / 1.1) and summary["false_alarms"] == pytest.approx(1.0)


def test_searches_of_one_response_are_one_observation_in_the_interval():
    once = Outcome(hit=[1.0, 0.0], confidence=[0.5, 0.5], tokens=[1, 1]).summary()
    four = Outcome(hit=[1.0, 0.0] * 4, confidence=[0.5] * 8, tokens=[1] * 8, repeats=4).summary()
    assert (four["hit_low"], four["hit_high"]) == (once["hit_low"], once["hit_high"])


def test_abstaining_is_right_where_the_values_are_flat():
    # Values near 0 all along: no step is decisive, so the paper's search, which always chooses, gives false alarms.
    flat = simulated_cases("flat", 6, 20)
    jump = simulated_cases("one jump", 6, 20)
    always = replay(GPOConfig(n_mc=4), [*flat, *jump], decisive=0.2).summary()
    careful = replay(GPOConfig(n_mc=4, min_confidence=0.5), [*flat, *jump], decisive=0.2).summary()
    assert always["decisive"] == careful["decisive"] == 0.5
    assert careful["false_alarms"] < 0.15 < always["false_alarms"] and careful["hit_rate"] > 0.5


def test_what_a_threshold_lets_through_by_hand():
    # Four searches, one of which abstained; those that chose were right with 0.3 and 0.9, and wrong with 0.5.
    outcome = Outcome(hit=[True, False, True], confidence=[0.3, 0.5, 0.9], tokens=[1, 1, 1, 1], abstained=1)
    rows = outcome.by_confidence((0.0, 0.5, 0.6, 0.95))
    assert [(row["min_confidence"], row["reentered"], row["precision"], row["hit_rate"]) for row in rows] == [
        (0.0, 0.75, 2 / 3, 0.5),
        (0.5, 0.5, 0.5, 0.25),
        (0.6, 0.25, 1.0, 0.25),
    ]
    assert Outcome().by_confidence() == Outcome(hit=[True], confidence=[math.nan], tokens=[1]).by_confidence() == []


def test_an_empty_summary_is_no_error():
    assert Outcome().summary()["searches"] == 0


@pytest.mark.parametrize("steps", [3, 16])
@pytest.mark.parametrize("kind", CURVES)
def test_simulated_curves_are_values_and_end_at_an_outcome(kind, steps):
    for case in simulated_cases(kind, steps, 20):
        values = np.array(case.values)
        assert values.shape == (steps + 1,) and (values >= 0).all() and (values <= 1).all()
        assert case.root.reward == values[-1] in (0.0, 1.0)
        assert len(case.ends) == steps and case.ends[-1] == len(case.root.token_ids) == steps * TOKENS_PER_STEP
    first, again = (simulated_cases(kind, steps, 3, seed=4) for _ in range(2))
    assert [case.values for case in first] == [case.values for case in again]
