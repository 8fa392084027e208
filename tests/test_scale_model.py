"""The cost model of a training step: its fit to runs, its form on GPUs by hand, and its page."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts import scale_model
from scripts.evidence_rows import read_results
from scripts.scale_fit import fit, held_out, least_squares, measured
from scripts.scale_gpu import (
    ASSUMED,
    LLAMA_70B,
    SCENARIOS,
    Assumptions,
    Load,
    Scenario,
    apart,
    flops_a_token,
    kv_tokens,
    sampling,
    step_seconds,
    together,
)
from tests.evidence_samples import a_run, write
from verl_gpo.config import GPOConfig
from verl_gpo.core.cost import expected_cost
from verl_gpo.core.search import adaptive
from verl_gpo.plan.architecture import Architecture

# ---- the fit ----


def made(regime, method, seed, rows, value, requests, steps=10.0, length=50.0, **changed):
    """A run whose seconds follow the model exactly."""
    roots = 1280.0 * length
    learnt = rows * length
    phases = {
        "seconds_gen": 10 * 0.5 + roots * 1e-4 + value * 2e-4 + requests * 1e-2,
        "seconds_old_log_prob": learnt * 3e-5,
        "seconds_update_actor": steps * 0.2 + learnt * 1e-4,
        "seconds_update_weights": 10 * 0.1,
    }
    return a_run(
        method, seed, regime=regime, rows=rows, optimizer_steps=steps, tokens_root=roots, tokens_value=value,
        requests_value=requests, requests_reenter=0.0, seconds=sum(phases.values()) + rows * 2e-3, **phases, **changed,
    )  # fmt: skip


RUNS = [
    run
    for number, length in enumerate((30.0, 50.0, 90.0))
    for run in (
        made(f"r{number}", "grpo", 0, 1280.0, 0.0, 0.0, length=length),
        made(f"r{number}", "gpo_fast", 0, 1600.0, 9000.0 + 500 * number, 900.0 - 300 * number, length=length),
        made(f"r{number}", "gpo_paper", 0, 1900.0, 70_000.0 * (1 + number), 5000.0, 20.0, length),
    )
]


def test_a_fit_finds_the_rates_that_the_seconds_were_made_of():
    known, notes = measured(RUNS)
    rates = fit(known).rates
    assert notes == [] and "update_critic" not in rates
    assert list(rates["gen"].values()) == pytest.approx([0.5, 1e-4, 2e-4, 1e-2])
    assert list(rates["update_actor"].values()) == pytest.approx([0.0, 0.2, 1e-4], abs=1e-9)
    assert list(rates["rest"].values()) == pytest.approx([0.0, 2e-3], abs=1e-9)


def test_cells_that_the_fit_did_not_see_are_predicted():
    known, _ = measured(RUNS)
    cells = held_out(known)
    assert len(cells) == 9
    for cell in cells:
        assert cell.errors["total"] == pytest.approx([0.0], abs=1e-6) and cell.step == pytest.approx(cell.measured_step)
    noisy = [replace(run, seconds_gen=2 * run.seconds_gen) if run.method == "gpo_fast" else run for run in RUNS[:3]]
    worse = held_out(measured([*noisy, *RUNS[3:]])[0])
    assert min(cell.errors["gen"][0] for cell in worse if cell.cell[1:] == ("r0", "gpo_fast")) < -0.3


def test_what_cannot_be_fitted_is_said():
    others = [made("r9", "gpo_fast", 0, 1600.0, 9000.0, 900.0), made("r0", "grpo", 1, 1280.0, 0.0, 0.0, cores=64)]
    known, notes = measured([*RUNS, *others])
    assert len(known) == len(RUNS)
    assert notes == [
        "1 runs on other machines are left out",
        "regimes without a run of roots alone are left out: r9",
    ]
    assert measured([]) == ([], [])


def test_a_cell_with_a_phase_of_its_own_is_not_predicted():
    known, _ = measured([*RUNS, made("r0", "ppo", 0, 1280.0, 0.0, 0.0, seconds_update_critic=9.0)])
    assert ("protocol", "r0", "ppo") not in {cell.cell for cell in held_out(known)}


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(deadline=None)
def test_least_squares_meets_its_conditions(seed, columns):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(8, columns)), rng.normal(size=8)
    x = least_squares(a, b)
    gradient = a.T @ (a @ x - b)
    # Karush, Kuhn and Tucker: nothing negative, no way down, and where x is above 0 the ground is level.
    assert (x >= 0).all() and (gradient > -1e-6).all() and (np.abs(gradient * x) < 1e-6).all()


# ---- GPUs ----

#: 44 + 16 weights in linear layers and output, 78 in all.
TINY = Architecture(2, 4, 1, 1, 1, 8, False)
EASY = Assumptions(
    flops=16, bandwidth=160, memory=156 + 8000, prefill_utilization=1, decode_utilization=1, decode_bandwidth=1,
    engine_step=0.5, request=3, engine_memory=1, link_utilization=1, train_utilization=1,
)  # fmt: skip
TWO = Scenario("two", TINY, 2, 1)


def test_the_sizes_of_a_model_by_hand():
    assert TINY.parameters == 78 and TINY.kv_bytes_per_token() == 8
    assert flops_a_token(TINY, 10) == 2 * 60 + 2 * 1 * 2 * 10
    assert kv_tokens(TWO, EASY) == 1000
    with pytest.raises(ValueError, match="two: the weights do not fit into 1 GPUs"):
        kv_tokens(TWO, replace(EASY, memory=100))
    assert pytest.approx(70.6e9, rel=0.01) == LLAMA_70B.parameters


@pytest.mark.parametrize(
    ("changed", "rounds", "engine_steps"),
    # All in flight: as long as the longest. One at a time: two each, and the end of the longest. In two rounds, twice.
    [({}, 1, 15), ({"sequences": 1}, 1, 25), ({"sequences": 1}, 2, 30), ({"memory": 156 + 80}, 1, 25)],
)
def test_a_phase_by_hand(changed, rounds, engine_steps):
    load = Load(requests=4, mean=10, longest=15, prefix=5, computed=6, rounds=rounds)
    # A token: 160 FLOP of 16 a second, 80 bytes of 160. A prefix token that is not cached: 140 FLOP.
    work = (4 * (10 * (10 + 0.5) + 3) + 6 * 140 / 16) / 2
    assert apart(TWO, load, replace(EASY, **changed)) == pytest.approx(engine_steps * (156 / 160 + 0.5) + work)
    assert apart(TWO, replace(load, requests=0)) == 0


def test_tensor_parallelism_divides_reading_and_computing_and_adds_reductions():
    load, wide = Load(4, 10, 15, 5, 0), replace(TWO, tensor_parallel=2)
    assert apart(replace(TWO, gpus=1), load, EASY) == pytest.approx(15 * (0.975 + 0.5) + 4 * (10 * 10.5 + 3))
    # One layer: two reductions an engine step.
    found = apart(wide, load, replace(EASY, all_reduce=1))
    assert found == pytest.approx(15 * (0.975 / 2 + 0.5 + 2) + 4 * (10 * 5.25 + 3))


def test_overlap_by_hand():
    roots, values = Load(4, 10, 15, 5, 0), Load(8, 4, 8, 5, 0, rounds=2)
    # The slowest prompt: 15 steps of the roots, and 4 in each of two rounds. An engine of one sequence: 20 and 16 steps
    # and 5 until the last root ends.
    work = apart(TWO, roots, EASY) + apart(TWO, values, EASY) - (15 + 2 * 8) * 1.475
    none = Load(0, 1, 1, 1, 0)
    assert together(TWO, (roots, values, none), EASY) == pytest.approx(23 * 1.475 + work)
    narrow = replace(EASY, sequences=1)
    assert together(TWO, (roots, values, none), narrow) == pytest.approx(41 * 1.475 + work)


def test_trainer_phases_by_hand():
    scenario = Scenario("", TINY, 2, 1, prompts=3, n=4, prompt_tokens=6, response_tokens=10, steps=5)
    assumed = replace(EASY, nvlink=156, sync_fixed=7, step_fixed=9)
    found = step_seconds(scenario, GPOConfig(enable=False), assumed)
    # 12 rows of 16 tokens, 120 + 4 x 16 FLOP each, on two GPUs of 16 a second; the update is three such, and one again.
    forward = 12 * 16 * 184 / 32
    assert (found.log_probs, found.update) == pytest.approx((forward, 4 * forward))
    assert (found.weights, found.rest, found.rows) == (1 + 7, 9, 12)
    assert found.values == found.reentry == 0 and found.overlapped == found.roots and found.least == found.most


#: Every kind of search and of learning.
CONFIGS = st.builds(
    lambda search, learn, n_mc, rows: GPOConfig(search=search, learn_from=learn, n_mc=n_mc, rows=rows),
    st.sampled_from(("uniform", "bisection", "adaptive", "propose", "informative", "random", "none")),
    st.sampled_from(("fresh", "reuse", "split")),
    st.integers(1, 12),
    st.sampled_from(("added", "matched")),
)
SIZES = st.builds(
    lambda prompts, length, steps: replace(SCENARIOS[0], prompts=prompts, response_tokens=length, steps=steps),
    st.integers(1, 512),
    st.integers(16, 8192),
    st.integers(1, 64),
)


@given(SIZES, CONFIGS)
@settings(deadline=None)
def test_sampling_has_the_tokens_that_the_package_expects(scenario, gpo):
    cost = expected_cost(gpo, scenario.steps, scenario.response_tokens, scenario.n, scenario.prompts)
    loads = sampling(scenario, gpo)
    expected = (cost.root_tokens, cost.value_tokens, cost.reentry_tokens)
    assert [load.requests * load.mean for load in loads] == pytest.approx(expected, abs=1e-6)
    assert all(load.longest >= load.mean - 1e-9 and load.rounds >= 1 for load in loads if load.requests)


@pytest.mark.parametrize(
    ("hits", "roots", "values", "fresh"),
    # 4 prompts of 100 tokens, 8 roots each; 3 states x 2 and 4 fresh of each prompt, behind 100 + 50 tokens.
    [(1.0, 400, 0, 0), (0.0, 3200, 24 * 150, 16 * 150), (0.75, 400 + 2800 / 4, 900, 600)],
)
def test_prefixes_that_the_cache_does_not_hold_are_computed_by_hand(hits, roots, values, fresh):
    scenario = replace(SCENARIOS[0], prompts=4, prompt_tokens=100, response_tokens=100, steps=4)
    loads = sampling(scenario, GPOConfig(n_mc=2), replace(ASSUMED, prefix_hits=hits))
    assert [load.computed for load in loads] == pytest.approx([roots, values, fresh])
    assert [(load.requests, load.mean, load.prefix) for load in loads] == [(32, 100, 100), (24, 50, 150), (16, 50, 150)]
    assert [load.longest for load in loads] == [200, 150, 150]  # twice the mean, of the three steps behind the first


@pytest.mark.parametrize(
    ("block", "rounds"),
    # 12 continuations, four states a round; log2 32 states; two proposals one after the other.
    [({}, 1), ({"preset": "fast"}, 3), ({"preset": "fast", "n_mc": 8}, 2), ({"search": "bisection"}, 5),
     ({"search": "propose"}, 2)],
)  # fmt: skip
def test_rounds_of_a_search_by_hand(block, rounds):
    assert sampling(SCENARIOS[0], GPOConfig.from_mapping(block))[1].rounds == rounds


@given(SIZES, CONFIGS)
@settings(deadline=None)
def test_overlap_never_costs_and_roots_are_never_free(scenario, gpo):
    found, plain = step_seconds(scenario, gpo), step_seconds(scenario, GPOConfig(enable=False))
    assert 0 < found.least <= found.most * (1 + 1e-9)
    assert found.overlapped >= found.roots * (1 - 1e-9)
    if gpo.rows == "added":
        assert found.most >= plain.most * (1 - 1e-9)


@given(SIZES, st.integers(1, 8))
@settings(deadline=None)
def test_more_continuations_cost_more(scenario, n_mc):
    less, more = (step_seconds(scenario, GPOConfig(n_mc=count)) for count in (n_mc, 2 * n_mc))
    assert more.most >= less.most and more.least >= less.least


def test_the_round_is_the_searchs():
    assert ASSUMED.round_states == adaptive._PICKS


# ---- the page ----


def test_the_page_has_the_fit_and_says_when_there_is_none(tmp_path, capsys):
    write(tmp_path / "results", RUNS)
    names = "\n".join(f"<!-- scale {name} -->\n<!-- /scale -->" for name in scale_model.SECTIONS)
    (tmp_path / "scale.md").write_text(names)
    arguments = ["--results", str(tmp_path / "results"), "--page", str(tmp_path / "scale.md")]
    assert scale_model.main([*arguments, "--check"]) == 1 and scale_model.main(arguments) == 0
    page = (tmp_path / "scale.md").read_text()
    assert "9 runs in 9 cells, on cpu, 2 cores." in page
    assert "| total |  | 9 | 0% | 0% |" in page
    assert "| gen | 5.00e-01 per training step, 1.00e-04 per root token, 2.00e-04 per other token" in page
    # 5 + 3.84 + 1.152 + 2 + 3.84 + 1 + 2.56 seconds of GRPO; 5 + 3.84 + 14 + 50 + 1.71 + 4 + 5.7 + 1 + 3.8 of paper.
    assert f"| protocol | r0 | gpo_paper | 1 | {89.05 / 19.392:.2f} | {89.05 / 19.392:.2f} |" in page
    assert scale_model.main([*arguments, "--check"]) == 0
    write(tmp_path / "results", RUNS[:3])
    assert scale_model.main(arguments) == 0
    assert "Nothing to fit yet: 3 cells of finished runs, of at least 4." in (tmp_path / "scale.md").read_text()
    capsys.readouterr()
    (tmp_path / "scale.md").write_text("")
    assert scale_model.main(arguments) == 1 and "scale.md: <!-- scale fit -->" in capsys.readouterr().err


def test_the_committed_page_is_what_results_and_assumptions_say():
    made = scale_model.page(read_results(scale_model.RESULTS), scale_model.PAGE)
    assert made[scale_model.PAGE] == scale_model.PAGE.read_text(encoding="utf-8"), "python scripts/scale_model.py"
    assert "Nothing on this page was measured on a GPU" in made[scale_model.PAGE]
