"""Step credit, segments without re-entry, replaced rows and rows left out: what cannot work is refused in one line."""

import pytest

from verl_gpo.config import PRESETS, ConfigError
from verl_gpo.plugin.checks import validate

ROLLOUT = "actor_rollout_ref.rollout"
STEPS = "algorithm.gpo.credit=steps"

BAD = {
    ("algorithm.gpo.n_reentry=0",): (
        "algorithm.gpo.n_reentry=0: must be at least 1 with credit=outcome: nothing would be learnt from search=uniform"
    ),
    (STEPS, "algorithm.gpo.n_reentry=0", "algorithm.gpo.search=random"): (
        "algorithm.gpo.n_reentry=0: must be at least 1 with search=random, which draws no other continuations "
        "than these"
    ),
    (STEPS, "algorithm.gpo.n_reentry=0", "algorithm.gpo.search=propose"): (
        "algorithm.gpo.n_reentry=0: must be at least 1 with search=propose, which draws no other continuations "
        "than these"
    ),
    (STEPS, "algorithm.gpo.n_reentry=0", "algorithm.gpo.learn_from=reuse"): (
        "algorithm.gpo.learn_from='reuse': is read with n_reentry above 0 only, and n_reentry is 0"
    ),
    (STEPS, "algorithm.adv_estimator=rloo"): (
        "algorithm.adv_estimator='rloo': must be gpo or gae with algorithm.gpo.credit=steps: the credit of a row "
        "is in its group id, which no other estimator reads (gpo has rloo, opo, gpg and "
        "reinforce_plus_plus_baseline as base_estimator)"
    ),
    (STEPS, "algorithm.gpo.base_estimator=reinforce_plus_plus"): (
        "algorithm.gpo.base_estimator='reinforce_plus_plus': must be one of grpo, rloo, opo, gpg, "
        "reinforce_plus_plus_baseline with algorithm.gpo.credit=steps: reinforce_plus_plus compares a row with "
        "the whole batch, so there is no advantage of a group to scale the steps to"
    ),
    (STEPS, "algorithm.adv_estimator=gae", "algorithm.gpo.credit_below=0.9"): (
        "algorithm.gpo.credit_below=0.9: must be 1 with adv_estimator=gae: its rewards come at the ends of "
        "steps, not at tokens"
    ),
    (STEPS, "algorithm.gpo.credit_below=0.9", f"{ROLLOUT}.calculate_log_probs=false"): (
        "actor_rollout_ref.rollout.calculate_log_probs=False: must be true with algorithm.gpo.credit_below, "
        "which asks how probable each token was"
    ),
    ("algorithm.gpo.credit_below=0.9",): (
        "algorithm.gpo.credit_below=0.9: is read with credit=steps only, and credit is outcome"
    ),
    ("algorithm.gpo.credit=tokens",): ("algorithm.gpo.credit='tokens': must be one of outcome, steps"),
    ("algorithm.gpo.search=none", STEPS): (
        "algorithm.gpo.credit='steps': is read with a search other than none only, and search is none"
    ),
    ("algorithm.gpo.rows=replaced",): ("algorithm.gpo.n_reentry=4: must be 1 with rows=replaced: a row for a row"),
    ("algorithm.gpo.rows=replaced", "algorithm.gpo.n_reentry=1", "algorithm.gpo.learn_from=reuse"): (
        "algorithm.gpo.learn_from='reuse': must be fresh or best with rows=replaced"
    ),
    ("algorithm.gpo.preset=authors", STEPS): (
        "algorithm.gpo.credit='steps': must be outcome with rows=replaced: the response that was searched is no row"
    ),
    ("algorithm.gpo.learn_from=best",): (
        "algorithm.gpo.rows='added': must be replaced with learn_from=best, which is one rollout"
    ),
    ("algorithm.gpo.preset=authors", "algorithm.gpo.rows=matched"): (
        "algorithm.gpo.rows='matched': must be replaced with learn_from=best, which is one rollout"
    ),
    ("algorithm.gpo.preset=vineppo", "algorithm.gpo.rows=matched"): (
        "algorithm.gpo.rows='matched': is read with n_reentry above 0 only, and n_reentry is 0 (preset vineppo), "
        "rows is matched"
    ),
    ("algorithm.gpo.rows=downsampled",): (
        "algorithm.gpo.rows='downsampled': is for search=none, and search is uniform"
    ),
    ("algorithm.gpo.preset=pods", f"{ROLLOUT}.n=4"): (
        "algorithm.gpo.kept_rows=4: must be below 4, actor_rollout_ref.rollout.n: otherwise no row would be left out"
    ),
    ("algorithm.gpo.preset=pods", "algorithm.gpo.kept_rows=1"): (
        "algorithm.gpo.kept_rows=1: must be an integer of at least 2"
    ),
    ("algorithm.gpo.preset=pods", "trainer.v1.sampler.custom_sampler.name=null"): (
        "trainer.v1.sampler.custom_sampler.name=None: must be build_replay_buffer, as in verl_gpo's gpo.yaml: it "
        "fits the mini-batches (rows=downsampled)"
    ),
    ("algorithm.gpo.kept_rows=4",): (
        "algorithm.gpo.kept_rows=4: is read with rows=downsampled only, and rows is added"
    ),
}


@pytest.mark.parametrize("overrides", BAD, ids=" ".join)
def test_refused_in_one_line(merged, overrides):
    with pytest.raises(ConfigError) as refused:
        validate.check(merged(*overrides))
    assert str(refused.value) == BAD[overrides]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_passes_with_a_group_estimator(merged, preset):
    gpo = validate.check(merged(f"algorithm.gpo.preset={preset}"))
    assert gpo.preset == preset


@pytest.mark.parametrize(
    "overrides",
    [
        (STEPS, "algorithm.adv_estimator=gae"),
        (STEPS, "algorithm.gpo.base_estimator=rloo"),
        (STEPS, "algorithm.gpo.search=random"),
        (STEPS, "algorithm.gpo.preset=lean"),
        ("algorithm.gpo.preset=vineppo", "algorithm.adv_estimator=gae", f"{ROLLOUT}.n=1"),
        ("algorithm.gpo.preset=spo", "algorithm.gpo.splitter=newline"),  # the option is the preset's own splitter's
        ("algorithm.gpo.preset=authors", "algorithm.adv_estimator=gae", f"{ROLLOUT}.n=1"),
        ("algorithm.gpo.preset=authors", "algorithm.gpo.search=random"),  # the random twin
        ("algorithm.gpo.n_reentry=0", "algorithm.gpo.enable=false"),
        ("algorithm.gpo.preset=pods", "algorithm.adv_estimator=rloo"),
    ],
    ids=" ".join,
)
def test_what_can_work_is_allowed(merged, overrides):
    validate.check(merged(*overrides))
